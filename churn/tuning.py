"""A search for a candidate's parameters, and whether it needs a calibrator, within a time budget.

It sees the rows that it is given and no others: called inside each fold, it makes the
cross-validation nested, so that the figures of a candidate include the choosing of its parameters
(Cawley & Talbot 2010, "On over-fitting in model selection", JMLR 11).
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_predict, train_test_split

from churn.candidates import Candidate
from churn.preprocessing import make_preprocessor

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from churn.contract import Contract

INNER_FOLDS = 3
MOST_TRIALS = 20
MOST_ROWS = 20_000
"""A search on more rows than this sees a sample: parameters differ by less than their noise."""
WORTH_CALIBRATING = 0.001
"""The fall in log loss from which a calibrator is worth a model that is a layer deeper."""
_CERTAIN = 1e-6


@dataclass(frozen=True)
class Tuned:
    """What a search found."""

    params: dict[str, Any]
    calibrate: bool
    trials: int
    """How many sets of parameters were tried, the defaults among them; 0 without a search."""


@dataclass(frozen=True)
class _Fold:
    fitted_on: "NDArray[np.float64]"
    fitted_target: "NDArray[np.int64]"
    held_out: "NDArray[np.float64]"
    rows: "NDArray[np.intp]"


def tune(
    candidate: Candidate,
    contract: "Contract",
    features: "pd.DataFrame",
    target: "pd.Series[int]",
    *,
    seconds: float,
    seed: int,
) -> Tuned:
    """Search a candidate's parameters by the log loss over inner folds.

    Args:
        features, target: (n, columns) and (n,).
        seconds: after which no further trial begins; 0 means no search at all.
    """
    if seconds <= 0:
        return Tuned(dict(candidate.params), False, 0)
    began = time.monotonic()
    features, target = _sample(features, target, seed)
    known = np.asarray(target, dtype=np.int64)
    folds = _folds(candidate, contract, features, known, seed)
    best: tuple[float, dict[str, Any], NDArray[np.float64]] | None = None
    trials = 0

    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=6))
    while trials == 0 or (trials < MOST_TRIALS and time.monotonic() - began < seconds):
        trial = study.ask() if trials else None
        drawn = candidate.space(trial) if trial else {}
        margin = _out_of_fold(candidate, dict(candidate.params) | drawn, folds, len(known), seed)
        loss = log_loss(known, _probability(margin))
        if trial:
            study.tell(trial, loss)
        if best is None or loss < best[0]:
            best = loss, drawn, margin
        trials += 1
    assert best is not None  # noqa: S101 (the first trial always runs)
    return Tuned(dict(candidate.params) | best[1], _calibration_helps(known, best[2], seed), trials)


def _sample(features: "pd.DataFrame", target: "pd.Series[int]", seed: int) -> tuple["pd.DataFrame", "pd.Series[int]"]:
    if len(features) <= MOST_ROWS:
        return features, target
    kept, _ = train_test_split(np.arange(len(features)), train_size=MOST_ROWS, stratify=target, random_state=seed)
    return features.iloc[kept], target.iloc[kept]


def _folds(
    candidate: Candidate, contract: "Contract", features: "pd.DataFrame", target: "NDArray[np.int64]", seed: int
) -> list[_Fold]:
    """The folds, preprocessed once for all trials."""
    rarest = int(np.bincount(target, minlength=2).min())
    splitter = StratifiedKFold(max(2, min(INNER_FOLDS, rarest)), shuffle=True, random_state=seed)
    made = []
    for fitted_on, held_out in splitter.split(features, target):
        step = make_preprocessor(contract, scale=candidate.scale).fit(features.iloc[fitted_on])
        made.append(
            _Fold(
                step.transform(features.iloc[fitted_on]),
                target[fitted_on],
                step.transform(features.iloc[held_out]),
                held_out,
            )
        )
    return made


def _out_of_fold(
    candidate: Candidate, params: dict[str, Any], folds: list[_Fold], rows: int, seed: int
) -> "NDArray[np.float64]":
    """The log odds, (n,), that models with these parameters give the rows they were not fitted on."""
    margin = np.empty(rows)
    for fold in folds:
        model = candidate.build(**(params | dict(candidate.in_search)), random_state=seed)
        model.fit(fold.fitted_on, fold.fitted_target)
        share = np.clip(model.predict_proba(fold.held_out)[:, 1], _CERTAIN, 1 - _CERTAIN)
        margin[fold.rows] = np.log(share / (1 - share))
    return margin


def _probability(margin: "NDArray[np.float64]") -> "NDArray[np.float64]":
    return np.asarray(1 / (1 + np.exp(-margin)))


def _calibration_helps(target: "NDArray[np.int64]", margin: "NDArray[np.float64]", seed: int) -> bool:
    """Whether Platt's sigmoid, fitted on one half of the out-of-fold scores, mends the other half."""
    halves = StratifiedKFold(2, shuffle=True, random_state=seed)
    platt = LogisticRegression(C=1e6)
    mended = cross_val_predict(platt, margin[:, None], target, cv=halves, method="predict_proba")[:, 1]
    return bool(log_loss(target, _probability(margin)) - log_loss(target, mended) > WORTH_CALIBRATING)
