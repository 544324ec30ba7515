"""Whether a challenger may replace the champion: the gate, on customers that neither was fitted on.

The challenger need not be better. It must be no worse by more than a margin, and that must be
shown, not merely not refuted: the upper 95 % bound of what it loses stays below the margin
(non-inferiority; Piaggio et al. 2012, CONSORT, doi:10.1001/jama.2012.87802). Both models score the
same customers, so that a bootstrap draws customers and compares the two on each draw (Efron &
Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13): what makes some customers
hard for both cancels out.

Profit is judged by :func:`churn.profit.expected`, which no single threshold makes jump.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from churn import bootstrap, evaluation, profit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.economics import Economics

SMALLEST_SET = 50
SMALLEST_CLASS = 10
BOUND = 0.95
SMALLEST_SCALE = 0.1


@dataclass(frozen=True)
class Margins:
    """By how much a challenger may be worse and still pass."""

    log_loss: float = 0.005
    """In log loss, per customer."""
    profit: float = 0.01
    """As a share of the champion's expected profit."""
    calibration: float = 0.02
    """In ``calibration_error``, above what chance explains."""


@dataclass(frozen=True)
class Verdict:
    """What the gate found."""

    passed: bool
    reasons: list[str]
    """Why it refused, in words with figures; empty if it passed."""
    figures: dict[str, float]

    def as_tags(self) -> dict[str, str]:
        """Short texts for a registered version: ``gate``, ``gate_reason`` and each figure."""
        figures = {f"gate_{name}": f"{figure:.6g}" for name, figure in self.figures.items()}
        reasons = {"gate_reason": "; ".join(self.reasons)} if self.reasons else {}
        return {"gate": "passed" if self.passed else "refused"} | reasons | figures


def judge(
    target: "NDArray[np.int64]",
    challenger: "NDArray[np.float64]",
    champion: "NDArray[np.float64] | None",
    economics: "Economics",
    margins: Margins,
    *,
    draws: int = 2000,
    seed: int,
) -> Verdict:
    """Judge a challenger's probabilities by the champion's on the same customers, (n,) arrays.

    It passes if all of these hold:

    - log loss: the upper bound of challenger − champion is below its margin. Without a champion
      the rival is the set's own churn rate for everyone, and the margin 0;
    - profit: the upper bound of champion − challenger is below its margin, as a share of the
      champion's expected profit. Where that is small or negative, a share of it says nothing: the
      scale is then a tenth of what perfect foresight would bring on these customers. Without a
      champion there is nothing to hold it against;
    - calibration: ``calibration_error`` is at most its margin above the 99 % quantile of what
      chance alone shows if the challenger's probabilities are true.

    A set of fewer than 50 customers, or 10 of a class, is too small to tell: refused.

    Raises:
        ValueError: a probability or a target is no such thing (:func:`churn.profit.checked`).
    """
    target = np.asarray(target)
    counts = {"customers": float(len(target)), "churners": float(np.count_nonzero(target))}
    if too_small := _too_small(target):
        return Verdict(False, [too_small], counts)
    profit.checked(target, challenger)
    found = counts | _calibration(target, challenger, economics, draws, seed)
    reasons = []
    if champion is None:
        churn_rate = np.full(len(target), target.mean())
        found |= _log_loss(target, challenger, churn_rate, draws, seed)
        reasons += _exceeded("log loss, against the churn rate for everyone:", found, "log_loss_difference", 0.0)
    else:
        profit.checked(target, champion)
        found |= _log_loss(target, challenger, champion, draws, seed)
        found |= _profit(target, challenger, champion, economics, draws, seed)
        reasons += _exceeded("log loss, against the champion:", found, "log_loss_difference", margins.log_loss)
        reasons += _exceeded("expected profit, share lost:", found, "profit_loss", margins.profit)
    reasons += _uncalibrated(found, margins.calibration)
    return Verdict(not reasons, reasons, found)


def _too_small(target: "NDArray[np.int64]") -> str:
    churners = int(np.count_nonzero(target))
    stayers = len(target) - churners
    if len(target) >= SMALLEST_SET and min(churners, stayers) >= SMALLEST_CLASS:
        return ""
    return (
        f"the gate set is too small to tell: {len(target):,} customers, {churners:,} churned and {stayers:,} stayed; "
        f"at least {SMALLEST_SET} are needed, {SMALLEST_CLASS} of each"
    )


def _log_loss(
    target: "NDArray[np.int64]",
    challenger: "NDArray[np.float64]",
    rival: "NDArray[np.float64]",
    draws: int,
    seed: int,
) -> dict[str, float]:
    ours, theirs = (evaluation.log_losses(target, each) for each in (challenger, rival))
    return {
        "log_loss": float(ours.mean()),
        "rival_log_loss": float(theirs.mean()),
        "log_loss_difference": float((ours - theirs).mean()),
        "log_loss_difference_upper": upper_bound(ours - theirs, draws, seed),
    }


def _profit(
    target: "NDArray[np.int64]",
    challenger: "NDArray[np.float64]",
    champion: "NDArray[np.float64]",
    economics: "Economics",
    draws: int,
    seed: int,
) -> dict[str, float]:
    ours, theirs, foresight = (
        profit.expected(target, each, economics) for each in (challenger, champion, target.astype(np.float64))
    )
    # 0 only where no contact can pay at all, and then there is no loss either
    scale = float(max(theirs.mean(), SMALLEST_SCALE * foresight.mean())) or 1.0
    return {
        "expected_profit": float(ours.mean()),
        "champion_expected_profit": float(theirs.mean()),
        "profit_loss": float((theirs - ours).mean() / scale),
        "profit_loss_upper": upper_bound(theirs - ours, draws, seed) / scale,
    }


def upper_bound(differences: "NDArray[np.float64]", draws: int, seed: int) -> float:
    """The 95th percentile of the mean of (n,) differences over bootstrap draws."""
    return float(np.quantile(bootstrap.means(differences[:, None], draws, seed), BOUND))


def _calibration(
    target: "NDArray[np.int64]", challenger: "NDArray[np.float64]", economics: "Economics", draws: int, seed: int
) -> dict[str, float]:
    return {
        "calibration_error": evaluation.metrics(target, challenger, economics)["calibration_error"],
        "calibration_error_by_chance": evaluation.calibration_error_by_chance(challenger, draws=draws, seed=seed),
    }


def _exceeded(what: str, found: dict[str, float], name: str, margin: float) -> list[str]:
    """The reason if an upper bound is not below its margin, which no number is below if it is NaN."""
    upper = found[f"{name}_upper"]
    if upper < margin:
        return []
    return [f"{what} {found[name]:+.4f} with an upper 95 % bound of {upper:+.4f}, not below {margin:g}"]


def _uncalibrated(found: dict[str, float], margin: float) -> list[str]:
    error, chance = found["calibration_error"], found["calibration_error_by_chance"]
    if error <= chance + margin:
        return []
    return [
        f"calibration: probabilities are {error:.4f} off on average, of which chance explains at most {chance:.4f} "
        f"and the margin allows {margin:g} more"
    ]
