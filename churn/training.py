"""The candidates: from validated rows to fitted pipelines over raw rows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline

from churn.errors import Fault, InvalidData, NotReady
from churn.preprocessing import make_preprocessor

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from churn.contract import Contract


@dataclass(frozen=True)
class Candidate:
    """A kind of model that a training may choose."""

    label: str
    scale: bool
    """Whether its numbers are standardised first."""
    build: Callable[[int], Any]
    """From a seed to an unfitted classifier."""


CANDIDATES: dict[str, Candidate] = {
    "logistic_regression": Candidate(
        "Logistic regression", True, lambda seed: LogisticRegression(max_iter=2_000, random_state=seed)
    ),
    # Bounded depth and leaves: probabilities that are nearly calibrated, and scores that do not
    # wait for deep trees. `n_jobs=1`: a training runs its candidates side by side as it is.
    "random_forest": Candidate(
        "Random forest",
        False,
        lambda seed: RandomForestClassifier(
            n_estimators=200, max_depth=12, min_samples_leaf=10, n_jobs=1, random_state=seed
        ),
    ),
}


def build(name: str, contract: "Contract", seed: int) -> Pipeline:
    """An unfitted pipeline: raw contract rows in, churn probability out.

    Raises:
        NotReady: no candidate has that name.
    """
    if name not in CANDIDATES:
        raise NotReady(f"no candidate is called {name!r}; there are {', '.join(CANDIDATES)}")
    candidate = CANDIDATES[name]
    return Pipeline(
        [
            ("preprocess", make_preprocessor(contract, scale=candidate.scale)),
            ("model", candidate.build(seed)),
        ]
    )


@dataclass(frozen=True)
class Fold:
    """One fold's held-out part: where its rows stand, (n,), their target and probabilities."""

    rows: "NDArray[np.intp]"
    target: "NDArray[np.int64]"
    probability: "NDArray[np.float64]"


def cross_validate(
    pipeline: Pipeline, features: "pd.DataFrame", target: "pd.Series[int]", *, folds: int, seed: int
) -> Iterator[Fold]:
    """Fit a copy of the pipeline on each fold's other rows and score the held-out ones.

    Every candidate of a training meets the same folds, since they depend on the seed alone.

    Raises:
        InvalidData: a class has fewer rows than there are folds.
    """
    rarest = int(target.value_counts().reindex([0, 1], fill_value=0).min())
    if rarest < folds:
        message = f"each of its two classes needs at least {folds} rows, one has {rarest}"
        raise InvalidData([Fault(None, str(target.name), None, message)])
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for fitted_on, held_out in splitter.split(features, target):
        model = clone(pipeline).fit(features.iloc[fitted_on], target.iloc[fitted_on])
        probability = model.predict_proba(features.iloc[held_out])[:, 1]
        yield Fold(held_out, target.iloc[held_out].to_numpy(), probability)
