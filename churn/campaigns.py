"""Whom to contact with what under a budget, so that the expected profit is highest.

Each customer gets at most one offer, of those for his risk band and that he is eligible for. What an
offer brings with a customer is :func:`churn.value.expected_profit`; nobody is contacted who brings nothing.
What it costs is counted as if everybody accepted, contact and offer: no plan can exceed its budget.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import ceil, floor, inf
from typing import TYPE_CHECKING, Any

import numpy as np

from churn import knapsack
from churn.catalogue import BANDS, Offer
from churn.errors import Fault, InvalidData
from churn.knapsack_core import NOBODY
from churn.value import customer_value, expected_profit, revenue_at_risk

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.contract import Contract
    from churn.economics import Economics

_SMALLEST_UNIT = 6
"""Decimals of the currency to which costs are counted exactly; below that a cost is rounded up."""
_LARGEST_SUM = 2**61
BUDGET_LIMIT = 1e15


@dataclass(frozen=True)
class Piece:
    """Scored customers, a piece of them, in the order of their ids."""

    ids: list[str]
    probability: "NDArray[np.float64]"
    """(n,)"""
    band: "NDArray[np.int64]"
    """(n,), the place among BANDS."""
    monthly_value: "NDArray[np.float64]"
    """(n,), NaN where it is unknown."""
    features: Mapping[str, Sequence[Any]]
    """The columns that eligibility asks for, each of n values."""


class Offers:
    """The offers of a plan, and what each is worth with a customer.

    Args:
        named: which of the contract's; all, where None.

    Raises:
        InvalidData: the contract has no offer of a name.
    """

    def __init__(self, contract: "Contract", named: Sequence[str] | None = None) -> None:
        strangers = [name for name in named or () if name not in contract.offers]
        if strangers:
            known = ", ".join(contract.offers) or "none"
            message = f"there is no such offer; the contract's: {known}"
            raise InvalidData([Fault(None, "offers", name, message) for name in strangers])
        self.economics: Economics = contract.economics
        self.names = [name for name in contract.offers if named is None or name in named]
        self.offers: list[Offer] = [contract.offers[name] for name in self.names]
        mean = self.economics.acceptance_rate
        self.acceptance = np.array([mean if one.acceptance is None else one.acceptance for one in self.offers])
        contact = _exactly(self.economics.contact_cost)
        self.costs = [_exactly(one.cost) + contact for one in self.offers]
        """What each contact costs if the offer is accepted."""

    @property
    def columns(self) -> list[str]:
        """The features that eligibility asks for."""
        return list(dict.fromkeys(name for one in self.offers for name in one.eligibility))

    @property
    def bands(self) -> list[Any]:
        """The bands that an offer is for."""
        return [band for band in BANDS if any(band in one.bands for one in self.offers)]

    @property
    def least(self) -> float:
        """The probability below which no offer pays with anybody."""
        if self.economics.value_months is not None:
            return 0.0
        # a straight line in p: it crosses 0 between what a stayer and what a churner bring
        # plain numbers, since it goes into a query: PostgreSQL's driver does not know numpy's
        ends = [self.profit(np.full(1, p), np.full(1, np.nan))[0].tolist() for p in (0.0, 1.0)]
        crossings = [
            -low / (high - low) if high > 0 > low else 0.0 if low >= 0 else inf for low, high in zip(*ends, strict=True)
        ]
        return max(0.0, min(crossings, default=inf) - 1e-9)

    def profit(self, probability: "NDArray[np.float64]", monthly_value: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """What contacting each of n customers with each of k offers is expected to bring, (n, k)."""
        own = customer_value(monthly_value, self.economics)
        found = np.empty((len(probability), len(self.offers)))
        for place, offer in enumerate(self.offers):
            found[:, place] = expected_profit(
                probability,
                self.economics,
                offer_cost=offer.cost,
                acceptance=self.acceptance[place],
                customer_value=own,
            )
        return found

    def profit_where_allowed(self, piece: Piece) -> "NDArray[np.float64]":
        """:meth:`profit`, (n, k), −inf where an offer is not for the customer's band, or not for him."""
        found = self.profit(piece.probability, piece.monthly_value)
        for place, offer in enumerate(self.offers):
            allowed = np.isin(piece.band, [BANDS.index(band) for band in offer.bands])
            for name, values in offer.eligibility.items():
                known = set(values)
                allowed &= np.fromiter((value in known for value in piece.features[name]), bool, len(allowed))
            found[~allowed, place] = -inf
        return found


@dataclass(frozen=True)
class Plan:
    """Who is contacted with what: arrays over the customers with whom an offer pays, in the order of their ids."""

    offers: Offers
    budget: float
    customers: Piece
    profit: "NDArray[np.float64]"
    """(n, k)"""
    chosen: "NDArray[np.int64]"
    """(n,): an offer's place, or NOBODY."""
    upper_bound: float
    exact: bool
    """Whether no plan is better; else none is worth more than the bound."""
    baseline: Mapping[str, Any]
    """What contacting in order of probability would bring with the same budget, each with the offer that
    brings most; and, as ``best``, what it would at its best."""
    note: str
    """Why nobody is contacted; else empty."""

    @cached_property
    def order(self) -> "NDArray[np.int64]":
        """Those who are contacted, the highest expected profit first, (m,)."""
        there = np.flatnonzero(self.chosen != NOBODY)
        gain = self.profit[there, self.chosen[there]]
        return there[np.lexsort((there, -self.customers.probability[there], -gain))]

    @property
    def summary(self) -> dict[str, Any]:
        """The plan's sums, in the contract's currency."""
        there = np.flatnonzero(self.chosen != NOBODY)
        kept = self.customers.probability[there] * self.offers.acceptance[self.chosen[there]]
        return {
            "budget": self.budget,
            **_sums(self.offers, self.profit, self.chosen),
            "expected_churners_kept": float(kept.sum()),
            "baseline": dict(self.baseline),
            "upper_bound": self.upper_bound,
            "exact": self.exact,
            "by_offer": [self._of_offer(place) for place in range(len(self.offers.names))],
            "note": self.note,
        }

    def _of_offer(self, place: int) -> dict[str, Any]:
        there = np.flatnonzero(self.chosen == place)
        return {
            "offer": self.offers.names[place],
            "label": self.offers.offers[place].label,
            "cost": float(self.offers.costs[place]),
            "customers": len(there),
            "spent": float(self.offers.costs[place] * len(there)),
            "expected_profit": float(self.profit[there, place].sum()),
        }

    def rows(self, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """The customers who are contacted, the highest expected profit first."""
        customers, offers = self.customers, self.offers
        at_risk = revenue_at_risk(customers.probability, customers.monthly_value, offers.economics)
        for i in self.order[:limit].tolist():
            place = int(self.chosen[i])
            yield {
                "customer_id": customers.ids[i],
                "offer": offers.names[place],
                "label": offers.offers[place].label,
                "cost": float(offers.costs[place]),
                "churn_probability": float(customers.probability[i]),
                "risk": BANDS[int(customers.band[i])],
                "expected_profit": float(self.profit[i, place]),
                "revenue_at_risk": None if np.isnan(at_risk[i]) else float(at_risk[i]),
            }


def plan(pieces: Iterable[Piece], offers: Offers, budget: float) -> Plan:
    """The plan with the highest expected profit that costs no more than the budget.

    Args:
        pieces: the customers; of those with whom nothing pays, nothing is kept.
        budget: in the contract's currency, from 0 to BUDGET_LIMIT.

    Raises:
        InvalidData: the budget is no such number.
    """
    if not 0 <= budget <= BUDGET_LIMIT:
        raise InvalidData([Fault(None, "budget", budget, f"expected a number from 0 to {BUDGET_LIMIT:g}")])
    customers, profit = _worthwhile(pieces, offers)
    cost, most = _units(offers.costs, budget, len(profit))
    best = knapsack.choose(profit, cost, most)
    sorted_ = _by_probability(offers, customers, profit, cost, most)
    by_best, strongest = sorted_[0], max(sorted_, key=lambda one: _gain(profit, one[1]))
    baseline = {
        "how": by_best[0],
        **_sums(offers, profit, by_best[1]),
        "best": {"how": strongest[0], "expected_profit": _gain(profit, strongest[1])},
    }
    chosen = strongest[1] if _gain(profit, strongest[1]) > best.profit else best.offer
    note = "" if (chosen != NOBODY).any() else _why_nobody(offers, len(profit), budget)
    worth = _gain(profit, chosen)
    bound = worth if best.exact else max(best.bound, worth)
    return Plan(offers, budget, customers, profit, chosen, bound, best.exact, baseline, note)


def _worthwhile(pieces: Iterable[Piece], offers: Offers) -> tuple[Piece, "NDArray[np.float64]"]:
    """The customers with whom some offer pays, and what each offer brings with each, (n, k)."""
    ids: list[str] = []
    parts: list[tuple[NDArray[Any], ...]] = []
    for piece in pieces:
        profit = offers.profit_where_allowed(piece)
        keep = np.flatnonzero((profit > 0).any(axis=1))
        ids += [piece.ids[i] for i in keep.tolist()]
        parts.append((piece.probability[keep], piece.band[keep], piece.monthly_value[keep], profit[keep]))
    if not parts:
        nobody = np.empty(0)
        return Piece([], nobody, nobody.astype(np.int64), nobody, {}), np.empty((0, len(offers.names)))
    probability, band, monthly, profit = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Piece(ids, probability, band, monthly, {}), profit


def _by_probability(
    offers: Offers, customers: Piece, profit: "NDArray[np.float64]", cost: "NDArray[np.int64]", budget: int
) -> "list[tuple[str, NDArray[np.int64]]]":
    """The plans that sorting by probability can come to, each with how it is made: customers are contacted
    in this order, as long as the budget lasts, with an offer that pays."""
    order = np.argsort(-customers.probability, kind="stable")
    ways = {
        "the offer that brings most": (profit, profit),
        "the cheapest offer that pays": (profit, -cost.astype(float)),
    }
    for place, name in enumerate(offers.names):
        alone = np.where(np.arange(len(cost)) == place, profit, -inf)
        ways[f"{name} and nothing else"] = (alone, alone)
    return [
        (f"in order of probability, each with {how}", knapsack.in_order(allowed, cost, budget, order, preferred))
        for how, (allowed, preferred) in ways.items()
    ]


def _gain(profit: "NDArray[np.float64]", chosen: "NDArray[np.int64]") -> float:
    there = np.flatnonzero(chosen != NOBODY)
    return float(profit[there, chosen[there]].sum())


def _sums(offers: Offers, profit: "NDArray[np.float64]", chosen: "NDArray[np.int64]") -> dict[str, Any]:
    counts = np.bincount(chosen[chosen != NOBODY], minlength=len(offers.costs)).tolist()
    spent = sum((cost * count for cost, count in zip(offers.costs, counts, strict=True)), Fraction(0))
    return {"spent": float(spent), "customers": sum(counts), "expected_profit": _gain(profit, chosen)}


def _why_nobody(offers: Offers, worthwhile: int, budget: float) -> str:
    if not offers.names:
        return "the contract has no offers"
    if not worthwhile:
        return "there is no customer in the offers' bands who is eligible for one that pays"
    return f"the cheapest contact costs {float(min(offers.costs)):g}, and the budget is {budget:g}"


def _exactly(amount: float) -> Fraction:
    """The decimal number that was written."""
    return Fraction(repr(amount))


def _units(costs: Sequence[Fraction], budget: float, customers: int) -> tuple["NDArray[np.int64]", int]:
    """The costs, (k,), and the budget in whole units that are small enough for every cost to be whole, and
    large enough for all costs together to be an integer. Else costs are rounded up, the budget down."""
    most = max([*costs, Fraction(1)]) * max(customers, 1)
    unit = Fraction(1, 10**_SMALLEST_UNIT)
    for decimals in range(_SMALLEST_UNIT):
        if all((cost * 10**decimals).denominator == 1 for cost in costs):
            unit = Fraction(1, 10**decimals)
            break
    while most / unit > _LARGEST_SUM:
        unit *= 10
    whole = np.array([ceil(cost / unit) for cost in costs], dtype=np.int64)
    return whole, floor(min(_exactly(budget), most) / unit)
