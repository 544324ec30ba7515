"""How good a version's scores have proved, now that some of its customers have left or stayed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from churn import evaluation
from churn.truth import Proved

if TYPE_CHECKING:
    from churn.economics import Economics

FEWEST = 100
"""Outcomes that a judgement takes, of both kinds: chance moves the figures of fewer too far."""
TOLD = ("roc_auc", "pr_auc", "log_loss", "brier")


@dataclass(frozen=True)
class Performance:
    """Figures of held-out truth: probabilities that were given before the outcome was known."""

    outcomes: int
    churned: int
    version: str
    """Which version gave the probabilities; "any" where the one in service has too few outcomes of its own."""
    figures: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    calibration_error: float
    calibration_by_chance: float
    report: dict[str, float]
    """The figures of the same name of the version in service, on its report set."""

    def fallen(self, drop: float) -> str:
        """Why the version in service no longer does what it did; empty where it does.

        The order alone decides, by the ROC AUC: whoever tells of outcomes often tells of those who left
        first, and then a log loss says more of who was told of than of the model.
        """
        before, now = self.report.get("roc_auc"), self.figures.get("roc_auc")
        if self.version == "any" or before is None or now is None or "roc_auc" not in self.intervals:
            return ""
        low, high = self.intervals["roc_auc"]
        if now >= before - drop or high >= before:
            return ""
        return (
            f"ROC AUC {now:.3f} ({low:.3f} to {high:.3f}) on {self.outcomes:,} outcomes against {before:.3f} before, "
            f"more than {drop:g} below"
        )


def judge(
    outcomes: Sequence[Proved],
    champion: tuple[str, str],
    metrics: Mapping[str, float],
    economics: "Economics",
    seed: int,
) -> Performance | None:
    """The figures, by :func:`churn.evaluation.metrics`; None where too few outcomes are known.

    Args:
        champion: name and version of what is in service.
        metrics: of that version, those of its report set under ``report_<name>``.
    """
    own = [one for one in outcomes if (one.model, one.version) == champion]
    told, version = (own, champion[1]) if _enough(own) else (outcomes, "any")
    if not _enough(told):
        return None
    target = np.array([one.churned for one in told], dtype=np.int64)
    probability = np.array([one.probability for one in told], dtype=np.float64)
    figures = evaluation.metrics(target, probability, economics)
    intervals = evaluation.bootstrap(target, probability, economics, seed=seed)
    return Performance(
        outcomes=len(target),
        churned=int(target.sum()),
        version=version,
        figures={name: figures[name] for name in TOLD},
        intervals={name: intervals[name] for name in TOLD if name in intervals},
        calibration_error=figures["calibration_error"],
        calibration_by_chance=evaluation.calibration_error_by_chance(probability, seed=seed),
        report={name: metrics[f"report_{name}"] for name in TOLD if f"report_{name}" in metrics},
    )


def _enough(outcomes: Sequence[Proved]) -> bool:
    churned = sum(one.churned for one in outcomes)
    return len(outcomes) >= FEWEST and 0 < churned < len(outcomes)
