"""The kinds of model that a training compares. A new candidate is one entry here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lightgbm import LGBMClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

if TYPE_CHECKING:
    from optuna import Trial

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Candidate:
    """A kind of model: how it is built, and what a search may choose."""

    label: str
    scale: bool
    """Whether its numbers are standardised first."""
    build: Callable[..., Any]
    """From parameters to an unfitted classifier."""
    params: Params
    """Where the search begins, and what holds without one."""
    space: Callable[["Trial"], dict[str, Any]]
    """What the search draws over ``params``."""
    in_search: Params = field(default_factory=dict)
    """What stands in for ``params`` while searching, where that is cheaper and says as much."""


def _linear(trial: "Trial") -> dict[str, Any]:
    return {"C": trial.suggest_float("C", 0.01, 30, log=True)}


def _forest(trial: "Trial") -> dict[str, Any]:
    return {
        "max_depth": trial.suggest_int("max_depth", 6, 12),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 4, 30),
        "max_features": trial.suggest_float("max_features", 0.1, 0.6),
    }


def _boosted(trial: "Trial") -> dict[str, Any]:
    return {
        "n_estimators": trial.suggest_int("n_estimators", 200, 600, step=50),
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.04, log=True),
        "num_leaves": trial.suggest_int("num_leaves", 3, 10),
        "min_child_samples": trial.suggest_int("min_child_samples", 10, 60),
        "colsample_bytree": trial.suggest_float("colsample_bytree", 0.25, 0.7),
        "reg_lambda": trial.suggest_float("reg_lambda", 0.1, 10, log=True),
    }


# One thread each: a training runs its candidates side by side as it is.
CANDIDATES: dict[str, Candidate] = {
    "logistic_regression": Candidate(
        "logistic regression", scale=True, build=LogisticRegression, params={"C": 1.0, "max_iter": 2_000}, space=_linear
    ),
    # Bounded depth and leaves: nearly calibrated as it is, and each score is explained in
    # milliseconds; explaining deep trees takes a tenth of a second.
    "random_forest": Candidate(
        "random forest",
        scale=False,
        build=RandomForestClassifier,
        params={"n_estimators": 200, "max_depth": 9, "min_samples_leaf": 10, "max_features": 0.25, "n_jobs": 1},
        space=_forest,
        in_search={"n_estimators": 50},
    ),
    # Slow learning of small trees; its own defaults overfit a few thousand customers.
    "lightgbm": Candidate(
        "boosted trees (LightGBM)",
        scale=False,
        build=LGBMClassifier,
        params={
            "n_estimators": 400,
            "learning_rate": 0.02,
            "num_leaves": 5,
            "min_child_samples": 20,
            "subsample": 0.7,
            "subsample_freq": 1,
            "colsample_bytree": 0.35,
            "reg_lambda": 1.0,
            "n_jobs": 1,
            "deterministic": True,
            "force_row_wise": True,
            "verbose": -1,
        },
        space=_boosted,
    ),
}
