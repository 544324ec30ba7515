"""From validated rows to fitted pipelines over raw rows, and what they say of rows they never saw."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import RepeatedStratifiedKFold, StratifiedKFold
from sklearn.pipeline import Pipeline

from churn.candidates import CANDIDATES, Candidate
from churn.errors import Fault, InvalidData, NotReady
from churn.preprocessing import make_preprocessor
from churn.tuning import Tuned, tune

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from churn.contract import Contract

CALIBRATION_FOLDS = 5


@dataclass(frozen=True)
class Plan:
    """How much work a training puts into each candidate."""

    folds: int = 5
    repeats: int = 1
    """How often the cross-validation is repeated, each time over other folds."""
    seconds: float = 0
    """Budget of all searches of one candidate together: those inside the folds and the last one."""
    seed: int = 20

    @property
    def fits(self) -> int:
        return self.folds * self.repeats + 1

    @property
    def seconds_per_fit(self) -> float:
        return self.seconds / self.fits


def candidate_of(name: str) -> Candidate:
    """The candidate of that name.

    Raises:
        NotReady: there is none.
    """
    if name not in CANDIDATES:
        raise NotReady(f"no candidate is called {name!r}; there are {', '.join(CANDIDATES)}")
    return CANDIDATES[name]


def build(name: str, contract: "Contract", seed: int, tuned: Tuned | None = None) -> Pipeline:
    """An unfitted pipeline: raw contract rows in, churn probability out.

    Args:
        tuned: what a search found; left out, the candidate's own parameters.

    Raises:
        NotReady: no candidate has that name.
    """
    candidate = candidate_of(name)
    model = candidate.build(**(tuned.params if tuned else candidate.params), random_state=seed)
    if tuned and tuned.calibrate:
        # one calibrator over one model, so that its score has an additive explanation
        folds = StratifiedKFold(CALIBRATION_FOLDS, shuffle=True, random_state=seed)
        model = CalibratedClassifierCV(model, method="sigmoid", cv=folds, ensemble=False)
    return Pipeline([("preprocess", make_preprocessor(contract, scale=candidate.scale)), ("model", model)])


def fit(
    name: str, contract: "Contract", features: "pd.DataFrame", target: "pd.Series[int]", *, seconds: float, seed: int
) -> tuple[Pipeline, Tuned]:
    """Search a candidate's parameters on these rows and fit it to them.

    Args:
        features, target: raw rows (n, columns) and 0 or 1 for each (n,).
        seconds: budget of the search; 0 means none.
    """
    tuned = tune(candidate_of(name), contract, features, target, seconds=seconds, seed=seed)
    return build(name, contract, seed, tuned).fit(features, target), tuned


@dataclass(frozen=True)
class Fold:
    """One fold's held-out part: where its rows stand, (n,), their target and probabilities."""

    repeat: int
    rows: "NDArray[np.intp]"
    target: "NDArray[np.int64]"
    probability: "NDArray[np.float64]"
    tuned: Tuned


def cross_validate(
    name: str, contract: "Contract", features: "pd.DataFrame", target: "pd.Series[int]", plan: Plan
) -> Iterator[Fold]:
    """Search and fit on each fold's other rows, and score the held-out ones.

    Every candidate of a training meets the same folds, since they depend on the seed alone.

    Raises:
        InvalidData: a class has fewer rows than there are folds.
    """
    rarest = int(target.value_counts().reindex([0, 1], fill_value=0).min())
    if rarest < plan.folds:
        message = f"each of its two classes needs at least {plan.folds} rows to train on, one has {rarest}"
        raise InvalidData([Fault(None, str(target.name), None, message)])
    splitter = RepeatedStratifiedKFold(n_splits=plan.folds, n_repeats=plan.repeats, random_state=plan.seed)
    for number, (fitted_on, held_out) in enumerate(splitter.split(features, target)):
        rows, known = features.iloc[fitted_on], target.iloc[fitted_on]
        model, tuned = fit(name, contract, rows, known, seconds=plan.seconds_per_fit, seed=plan.seed)
        probability = model.predict_proba(features.iloc[held_out])[:, 1]
        yield Fold(number // plan.folds, held_out, target.iloc[held_out].to_numpy(), probability, tuned)


@dataclass(frozen=True)
class OutOfFold:
    """The held-out predictions of all folds, (folds x rows,): every row once per repeat."""

    repeat: "NDArray[np.int64]"
    rows: "NDArray[np.intp]"
    target: "NDArray[np.int64]"
    probability: "NDArray[np.float64]"

    @classmethod
    def of(cls, folds: list[Fold]) -> "OutOfFold":
        return cls(
            np.concatenate([np.full(len(fold.rows), fold.repeat) for fold in folds]),
            np.concatenate([fold.rows for fold in folds]),
            np.concatenate([fold.target for fold in folds]),
            np.concatenate([fold.probability for fold in folds]),
        )

    def first(self) -> "OutOfFold":
        """Those of the first repeat: every row once, as plots and groups want it."""
        kept = self.repeat == 0
        return OutOfFold(self.repeat[kept], self.rows[kept], self.target[kept], self.probability[kept])
