"""How good a model's probabilities are, how sure that is, and for whom.

Every metric of a set depends only on its distinct probabilities and on how many customers churned
and stayed at each. So one sorted table serves the metrics and every bootstrap draw, equal
probabilities count alike wherever their rows stand, and 1,000 draws take about a second.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import stdtrit

from churn import profit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.economics import Economics

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

CHOSEN_BY = "log_loss"
"""Candidates are compared by log loss: a proper score, so that it rewards honest probabilities,
which bands and costs are computed from, and not only their order (Gneiting & Raftery 2007,
doi:10.1198/016214506000001437). Lower is better."""

HEADLINES = ("roc_auc", "pr_auc", "brier", "log_loss", "expected_profit")
"""What is told first of a model."""

CERTAIN = 1e-15
"""A probability counts as at least this far from 0 and 1 in the log loss, which stays finite so."""
BINS = 10
SMALLEST_BIN = 10
TOP = 0.1
SMALLEST_GROUP = 30
"""Gaps are taken between groups of at least so many customers: in smaller ones chance makes them."""
POOLED = ("calibration_error",)


def metrics(target: "Ints", probability: "Floats", economics: "Economics") -> dict[str, float]:
    """Metrics of held-out probabilities, both arrays of shape (n,).

    ``roc_auc``, ``pr_auc`` (average precision), ``lift_top_10`` and ``capture_top_10`` judge the
    order, higher being better: the churn rate among the tenth with the highest probabilities, as
    a multiple of everyone's, and the share of all churners in it. ``brier`` and ``log_loss``
    judge the probabilities, ``calibration_error`` how far they are on average from the churn
    rate in ten bins of equal mass: lower is better. ``expected_profit`` and ``empc`` are those
    of :mod:`churn.profit`, per customer, in the contract's currency.

    A metric that a set with one class does not define is NaN; callers drop it.
    """
    values, churned, stayed = profit.counted(target, probability)
    return _Table.of(values, economics).metrics(churned, stayed)


def log_losses(target: "Ints", probability: "Floats") -> "Floats":
    """The log loss of each customer, (n,)."""
    clipped = np.clip(probability, CERTAIN, 1 - CERTAIN)
    return -np.log(np.where(target == 1, clipped, 1 - clipped))


@dataclass(frozen=True)
class _Table:
    """A set's distinct probabilities, ascending, and what a customer at each adds, (k,) all."""

    values: "Floats"
    losses: tuple["Floats", "Floats"]
    """The log loss if he churned, and if he stayed; the profit likewise."""
    gains: tuple["Floats", "Floats"]
    economics: "Economics"

    @classmethod
    def of(cls, values: "Floats", economics: "Economics") -> "_Table":
        ones = np.ones(len(values), dtype=np.int64)
        losses = log_losses(ones, values), log_losses(1 - ones, values)
        return cls(values, losses, profit.gains(values, economics), economics)

    def metrics(self, churned: "Floats", stayed: "Floats") -> dict[str, float]:
        """From how many churned and stayed at each probability, (k,) each, at least one customer."""
        customers = churned.sum() + stayed.sum()
        squares = churned @ (1 - self.values) ** 2 + stayed @ self.values**2
        captured = _captured(churned, stayed)
        return {
            "roc_auc": _roc_auc(churned, stayed),
            "pr_auc": _average_precision(churned, stayed),
            "brier": float(squares / customers),
            "log_loss": float((churned @ self.losses[0] + stayed @ self.losses[1]) / customers),
            "calibration_error": _calibration_error(self.values, churned, stayed),
            "lift_top_10": captured / TOP,
            "capture_top_10": captured,
            "expected_profit": float((churned @ self.gains[0] + stayed @ self.gains[1]) / customers),
            "empc": profit.empc_of_counts(churned, stayed, self.economics),
        }


def _roc_auc(churned: "Floats", stayed: "Floats") -> float:
    """The chance that a churner's probability is above a stayer's, a tie counting half."""
    pairs = churned.sum() * stayed.sum()
    below = np.cumsum(stayed) - stayed / 2
    return float(churned @ below / pairs) if pairs else float("nan")


def _average_precision(churned: "Floats", stayed: "Floats") -> float:
    if not churned.any():
        return float("nan")
    found, picked = np.cumsum(churned[::-1]), np.cumsum((churned + stayed)[::-1])
    there = picked > 0
    return float(churned[::-1][there] @ (found[there] / picked[there]) / churned.sum())


def _captured(churned: "Floats", stayed: "Floats") -> float:
    """The share of churners in the top tenth; of customers with equal probabilities on its border,
    and of the last one where the tenth is no whole number, the part that is expected."""
    if not churned.any():
        return float("nan")
    picked = np.concatenate([[0.0], np.cumsum((churned + stayed)[::-1])])
    found = np.concatenate([[0.0], np.cumsum(churned[::-1])])
    return float(np.interp(TOP * picked[-1], picked, found) / found[-1])


def _bins(customers: "Floats") -> "NDArray[np.intp]":
    """The bin of each distinct probability, (k,): that of its middle customer, so that equal
    probabilities stay together. At most :data:`BINS`, and no more than leave each about
    :data:`SMALLEST_BIN` customers."""
    total = customers.sum()
    count = int(np.clip(total // SMALLEST_BIN, 1, BINS))
    middle = (np.cumsum(customers) - customers / 2) / total
    which: NDArray[np.intp] = np.minimum((middle * count).astype(np.intp), count - 1)
    return which


def _calibration_error(values: "Floats", churned: "Floats", stayed: "Floats") -> float:
    """Over the bins, their customers as weights: |mean probability − churn rate|."""
    customers = churned + stayed
    excess = np.bincount(_bins(customers), weights=customers * values - churned)
    return float(np.abs(excess).sum() / customers.sum())


def reliability(target: "Ints", probability: "Floats") -> tuple["Floats", "Floats", "Floats"]:
    """Mean probability, churned and customers of each bin of ``calibration_error``, (bins,) all, ascending."""
    values, churned, stayed = profit.counted(target, probability)
    customers = churned + stayed
    which = _bins(customers)
    there = np.bincount(which) > 0
    summed = (customers * values, churned, customers)
    sums = [np.bincount(which, weights=each)[there].astype(np.float64) for each in summed]
    return sums[0] / sums[2], sums[1], sums[2]


def calibration_error_by_chance(probability: "Floats", *, draws: int = 2000, seed: int, level: float = 0.99) -> float:
    """The quantile of ``calibration_error`` that true probabilities, (n,), reach by chance alone.

    A small set shows an error even where there is none. Outcomes are drawn from the probabilities
    themselves, ``draws`` times (Bröcker & Smith 2007, doi:10.1175/WAF993.1).
    """
    random = np.random.default_rng(seed)
    _, which, customers = np.unique(probability, return_inverse=True, return_counts=True)
    bins = _bins(customers.astype(np.float64))[which]
    errors = np.empty(draws)
    for draw in range(draws):
        excess = np.bincount(bins, weights=probability - (random.random(len(probability)) < probability))
        errors[draw] = np.abs(excess).sum() / len(probability)
    return float(np.quantile(errors, level))


def summary(per_fold: Sequence[dict[str, float]], test_share: float) -> dict[str, float]:
    """The metrics of the folds in one: the mean under each name, the standard deviation between
    folds under ``<name>_std``, a 95 % interval of the mean under ``<name>_low`` and ``<name>_high``.

    The training rows of folds overlap, so that their figures vary together and the plain interval
    is too narrow: this is the corrected resampled t, with J folds the variance times
    1/J + test_share / (1 − test_share) and J − 1 degrees (Nadeau & Bengio 2003,
    doi:10.1023/A:1024068626366).

    Args:
        test_share: the share of the rows that a fold holds out, between 0 and 1: 1/k of k folds,
            repeated or not.

    A fold whose figure is NaN does not count for it; of one fold alone there is only the mean, and
    a metric that no fold defines is left out.
    """
    told: dict[str, float] = {}
    for name in dict.fromkeys(name for fold in per_fold for name in fold):
        values = np.array([fold[name] for fold in per_fold if not np.isnan(fold.get(name, np.nan))])
        if not len(values):
            continue
        told[name] = mean = float(values.mean())
        if len(values) > 1:
            told[f"{name}_std"] = std = float(values.std(ddof=1))
            error = std * np.sqrt(1 / len(values) + test_share / (1 - test_share))
            half = float(stdtrit(len(values) - 1, 0.975) * error)
            told |= {f"{name}_low": mean - half, f"{name}_high": mean + half}
    return told


def pooled(target: "Ints", probability: "Floats", economics: "Economics") -> dict[str, float]:
    """Metrics of all folds' held-out probabilities together, (n,), under ``pooled_<name>``.

    Only those of :data:`POOLED`, which a fold alone overstates: chance moves the churn rate of a
    small bin away from its probability, never towards it on average.
    """
    told = metrics(target, probability, economics)
    return {f"pooled_{name}": told[name] for name in POOLED}


def bootstrap(
    target: "Ints", probability: "Floats", economics: "Economics", *, draws: int = 1000, seed: int
) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals of the :func:`metrics` of a held-out set, (n,) arrays: customers
    are drawn anew with replacement (Efron & Tibshirani 1993, chapter 13).

    A draw that does not define a metric is left out of its interval, and a metric that none
    defines out of the result. ``calibration_error`` is left out: it is a sum of absolute values, which
    drawing anew inflates, so that its interval would lie above the truth; set it beside
    :func:`calibration_error_by_chance`.
    """
    values, churned, stayed = profit.counted(target, probability)
    table, random = _Table.of(values, economics), np.random.default_rng(seed)
    counts = np.concatenate([churned, stayed]).astype(np.int64)
    found: dict[str, list[float]] = {}
    for _ in range(draws):
        drawn = random.multinomial(counts.sum(), counts / counts.sum()).astype(np.float64)
        for name, figure in table.metrics(drawn[: len(values)], drawn[len(values) :]).items():
            found.setdefault(name, []).append(figure)
    kept = {name: np.array(figures)[~np.isnan(figures)] for name, figures in found.items() if name not in POOLED}
    return {
        name: (float(np.quantile(figures, 0.025)), float(np.quantile(figures, 0.975)))
        for name, figures in kept.items()
        if len(figures)
    }


def by_group(target: "Ints", probability: "Floats", groups: "NDArray[Any]", threshold: float) -> list[dict[str, Any]]:
    """How the model treats each group of customers, (n,) labels, at the decision threshold.

    Of each group: ``group``, ``customers``, ``churn_rate``, ``mean_probability``, ``roc_auc``,
    ``calibration`` (mean probability − churn rate), ``contacted`` (the share at or above the
    threshold), ``recall`` (that share among its churners) and ``false_positive_rate`` (among its
    stayers). What a group does not define is None, and so is the label of customers without one.
    """
    import pandas as pd

    target, probability = profit.checked(target, probability)
    codes, labels = pd.factorize(np.asarray(groups, dtype=object), use_na_sentinel=False)
    rows = []
    for code, label in enumerate(labels.tolist()):
        of_group = codes == code
        name = {"group": None if pd.isna(label) else label}
        rows.append(name | _of_group(target[of_group], probability[of_group], threshold))
    return sorted(rows, key=lambda row: (row["group"] is None, str(row["group"])))


def _of_group(target: "Ints", probability: "Floats", threshold: float) -> dict[str, Any]:
    _, churned, stayed = profit.counted(target, probability)
    told = {
        "churn_rate": target.mean(),
        "mean_probability": probability.mean(),
        "roc_auc": _roc_auc(churned, stayed),
        "calibration": probability.mean() - target.mean(),
        "contacted": np.mean(probability >= threshold),
        "recall": _share(probability[target == 1] >= threshold),
        "false_positive_rate": _share(probability[target == 0] >= threshold),
    }
    return {"customers": len(target)} | {name: None if np.isnan(x) else float(x) for name, x in told.items()}


def _share(flags: "NDArray[np.bool_]") -> float:
    return float(flags.mean()) if len(flags) else float("nan")


def gaps(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The largest differences between the groups of :func:`by_group`, those of at least
    :data:`SMALLEST_GROUP` customers: ``demographic_parity_difference`` of the share contacted and
    ``equal_opportunity_difference`` of the recall (Hardt et al. 2016, arXiv:1610.02413).

    A difference with fewer than two groups to compare is left out.
    """
    large = [row for row in rows if row["customers"] >= SMALLEST_GROUP]
    told = {}
    for name, field in (("demographic_parity_difference", "contacted"), ("equal_opportunity_difference", "recall")):
        figures = [row[field] for row in large if row[field] is not None]
        if len(figures) > 1:
            told[name] = max(figures) - min(figures)
    return told
