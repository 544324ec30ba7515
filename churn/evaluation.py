"""How good a model's probabilities are, and which of two models is better."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHOSEN_BY = "log_loss"
"""Candidates are compared by log loss: a proper score, so that it rewards honest probabilities,
which bands and costs are computed from, and not only their order (Gneiting & Raftery 2007,
doi:10.1198/016214506000001437). Lower is better."""


def metrics(target: "NDArray[np.int64]", probability: "NDArray[np.float64]") -> dict[str, float]:
    """Metrics of held-out probabilities, both arrays of shape (n,).

    ``roc_auc`` and ``pr_auc`` (average precision) judge the order, higher being better;
    ``brier`` and ``log_loss`` judge the probabilities, lower being better.
    """
    return {
        "roc_auc": float(roc_auc_score(target, probability)),
        "pr_auc": float(average_precision_score(target, probability)),
        "brier": float(brier_score_loss(target, probability)),
        "log_loss": float(log_loss(target, probability, labels=[0, 1])),
    }


def summary(per_fold: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean over the folds under each metric's name, standard deviation under ``<name>_std``."""
    told: dict[str, float] = {}
    for name in per_fold[0]:
        values = np.array([fold[name] for fold in per_fold])
        told[name] = float(values.mean())
        told[f"{name}_std"] = float(values.std(ddof=1))
    return told
