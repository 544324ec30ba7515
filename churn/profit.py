"""What a retention campaign brings in when a model's probabilities choose whom to contact.

All figures are per customer, in the contract's currency. A churner who is contacted accepts at
rate γ and then stays: γ(CLV − d) − f. A customer who would have stayed takes the offer as well:
−(d + f). Nobody else costs or brings anything. γ follows Beta(α, β); CLV, d and f are those of
:class:`churn.economics.Economics` (Verbraken, Verbeke & Baesens 2013, doi:10.1109/TKDE.2012.50).
"""

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betaincc

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from churn.economics import Economics


def checked(target: "ArrayLike", probability: "ArrayLike") -> tuple["NDArray[np.int64]", "NDArray[np.float64]"]:
    """Both as arrays of one shape (n,), n at least 1.

    Raises:
        ValueError: the shapes differ or are empty, a target is neither 0 nor 1, or a probability
            is not a number from 0 to 1.
    """
    outcome, chance = np.asarray(target), np.asarray(probability, dtype=np.float64)
    if outcome.ndim != 1 or outcome.shape != chance.shape or not len(outcome):
        raise ValueError(f"target {outcome.shape} and probability {chance.shape} are not both of one shape (n,), n ≥ 1")
    if not np.isin(outcome, (0, 1)).all():
        raise ValueError("a target is neither 0 nor 1")
    if not ((chance >= 0) & (chance <= 1)).all():
        raise ValueError("a probability is not a number from 0 to 1")
    return outcome.astype(np.int64), chance


def counted(
    target: "ArrayLike", probability: "ArrayLike"
) -> tuple["NDArray[np.float64]", "NDArray[np.float64]", "NDArray[np.float64]"]:
    """The distinct probabilities, ascending, and how many churned and stayed at each, (k,) all."""
    outcome, chance = checked(target, probability)
    values, which = np.unique(chance, return_inverse=True)
    churned, stayed = (np.bincount(which[outcome == label], minlength=len(values)) for label in (1, 0))
    return values, churned.astype(np.float64), stayed.astype(np.float64)


def realised(
    target: "NDArray[np.int64]", probability: "NDArray[np.float64]", threshold: float, economics: "Economics"
) -> "NDArray[np.float64]":
    """Profit of each customer, (n,), when those at or above the threshold are contacted and
    churners accept at the mean rate."""
    target, probability = checked(target, probability)
    churner, stayer = _per_contact(economics)
    return np.where(probability >= threshold, np.where(target == 1, churner, stayer), 0.0)


def expected(
    target: "NDArray[np.int64]", probability: "NDArray[np.float64]", economics: "Economics"
) -> "NDArray[np.float64]":
    """Profit of each customer, (n,), expected over the distribution of the acceptance rate.

    For each rate γ the customers at or above its own threshold (d + f) / (γ(CLV − d) + d) are
    contacted, the best decision if the probabilities are true (Elkan 2001, "The foundations of
    cost-sensitive learning"). Other than :func:`realised` it is continuous in the probability and
    does not jump when a customer crosses one threshold.
    """
    target, probability = checked(target, probability)
    churned, stayed = gains(probability, economics)
    return np.where(target == 1, churned, stayed)


def gains(
    probability: "NDArray[np.float64]", economics: "Economics"
) -> tuple["NDArray[np.float64]", "NDArray[np.float64]"]:
    """The :func:`expected` profit of customers with these probabilities, (k,) each: if they churn,
    and if they stay.

    In closed form. A customer is contacted for every γ of at least g = ((d + f)/p − d) / (CLV − d).
    With I the regularised incomplete beta function, P(γ ≥ g) = 1 − I_g(α, β), and the integral of
    γ over the same range is its mean times 1 − I_g(α + 1, β).
    """
    alpha, beta = economics.acceptance.alpha, economics.acceptance.beta
    needed = _needed_acceptance(probability, economics)
    contacted = betaincc(alpha, beta, needed)
    accepted = economics.acceptance_rate * betaincc(alpha + 1, beta, needed)
    churned = (economics.customer_value - economics.offer_cost) * accepted - economics.contact_cost * contacted
    return churned, -(economics.offer_cost + economics.contact_cost) * contacted


def empc(target: "NDArray[np.int64]", probability: "NDArray[np.float64]", economics: "Economics") -> float:
    """Expected maximum profit per customer: for each acceptance rate the best threshold in hindsight.

    It judges the order of the probabilities alone (Verbraken et al. 2013), and is never below the
    mean of :func:`expected`.
    """
    _, churned, stayed = counted(target, probability)
    return empc_of_counts(churned, stayed, economics)


def empc_of_counts(churned: "NDArray[np.float64]", stayed: "NDArray[np.float64]", economics: "Economics") -> float:
    """:func:`empc` from how many churned and stayed at each distinct probability, (k,) each, ascending.

    The corners of the ROC curve's convex hull are the blocks of the isotonic regression of the
    target on the probability (Fawcett & Niculescu-Mizil 2007, doi:10.1007/s10994-007-5011-0), so
    that deciding by a block's own churn rate is to stand at the best corner for every γ.
    """
    from scipy.optimize import isotonic_regression

    customers = churned + stayed
    there = customers > 0
    churned, stayed, customers = churned[there], stayed[there], customers[there]
    starts = isotonic_regression(churned / customers, weights=customers).blocks[:-1]
    churned, stayed = np.add.reduceat(churned, starts), np.add.reduceat(stayed, starts)
    if_churned, if_stayed = gains(churned / (churned + stayed), economics)
    return float((churned @ if_churned + stayed @ if_stayed) / customers.sum())


def curve(
    target: "NDArray[np.int64]", probability: "NDArray[np.float64]", economics: "Economics", points: int = 101
) -> tuple["NDArray[np.float64]", "NDArray[np.float64]"]:
    """Thresholds from 0 to 1 and the mean :func:`realised` profit at each, (points,) both."""
    thresholds = np.linspace(0, 1, points)
    return thresholds, at(thresholds, target, probability, economics)


def best_threshold(
    target: "NDArray[np.int64]", probability: "NDArray[np.float64]", economics: "Economics"
) -> tuple[float, float]:
    """The threshold with the highest mean :func:`realised` profit in hindsight, and that profit.

    It flatters: it was chosen on these very customers. Infinite, contacting nobody, where none pays.
    """
    thresholds = np.append(np.unique(probability), np.inf)
    told = at(thresholds, target, probability, economics)
    best = int(told.argmax())
    return float(thresholds[best]), float(told[best])


def at(
    thresholds: "NDArray[np.float64]",
    target: "NDArray[np.int64]",
    probability: "NDArray[np.float64]",
    economics: "Economics",
) -> "NDArray[np.float64]":
    """The mean :func:`realised` profit at each of the thresholds, (k,)."""
    target, probability = checked(target, probability)
    churner, stayer = _per_contact(economics)
    churners, stayers = (_at_or_above(np.sort(probability[target == label]), thresholds) for label in (1, 0))
    return (churner * churners + stayer * stayers) / len(target)


def _at_or_above(ascending: "NDArray[np.float64]", thresholds: "NDArray[np.float64]") -> "NDArray[np.intp]":
    return len(ascending) - np.searchsorted(ascending, thresholds, side="left")


def _per_contact(economics: "Economics") -> tuple[float, float]:
    """What contacting a churner and contacting a stayer bring at the mean acceptance rate."""
    gain = economics.acceptance_rate * (economics.customer_value - economics.offer_cost)
    return gain - economics.contact_cost, -(economics.offer_cost + economics.contact_cost)


def _needed_acceptance(probability: "NDArray[np.float64]", economics: "Economics") -> "NDArray[np.float64]":
    """The acceptance rate from which contacting pays, (k,), 1 where it never does."""
    cost = economics.offer_cost + economics.contact_cost
    if cost == 0:  # then anybody is worth a contact, even at p = 0, where the quotient is 0/0
        return np.zeros_like(probability)
    with np.errstate(divide="ignore", over="ignore"):
        needed = (cost / probability - economics.offer_cost) / (economics.customer_value - economics.offer_cost)
    return np.clip(needed, 0.0, 1.0)
