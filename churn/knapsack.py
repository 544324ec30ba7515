"""Who gets which offer under a budget: a multiple-choice knapsack in which a cost hangs on the offer alone.

At a price λ of money each customer takes the offer with the highest profit − λ·cost, or none. The λ at
which that just fits the budget B gives the bound λB + Σ max(0, profit − λ·cost) (Lagrange), and a plan
that leaves less unspent than one offer costs; what is between the two, :mod:`churn.knapsack_core` closes.
"""

from dataclasses import dataclass
from math import gcd, inf
from typing import TYPE_CHECKING

import numpy as np

from churn.knapsack_core import NOBODY, Table, improved

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_STATES = 1_500_000
"""How many partial plans are kept in all before the search gives up, about a second's work."""
_LARGEST_TABLE = 2_000_000


@dataclass(frozen=True)
class Choice:
    """A plan: each customer's offer as its place, or NOBODY, (n,); no plan's profit is above the bound."""

    offer: "NDArray[np.int64]"
    profit: float
    bound: float
    exact: bool
    """Whether it is proven that no plan is better."""


def choose(
    profit: "NDArray[np.float64]", cost: "NDArray[np.int64]", budget: int, most_states: int = MOST_STATES
) -> Choice:
    """The plan with the highest profit that costs no more than the budget.

    Args:
        profit: (n, k) of each customer with each offer; −inf where he may not have it. Nobody gets
            what brings him nothing.
        cost: (k,) of each offer, whole units of at least 0; their sum over all customers fits an integer.
        budget: in the same units, at least 0.
    """
    offer = np.full(len(profit), NOBODY, dtype=np.int64)
    within = np.flatnonzero(cost <= budget)
    within = within[np.argsort(cost[within], kind="stable")]  # of equal ones argmax takes the first: the cheapest
    rows = np.flatnonzero((profit[:, within] > 0).any(axis=1))
    if not len(rows):
        return Choice(offer, 0.0, 0.0, True)
    worth = profit[np.ix_(rows, within)]
    worth[worth <= 0] = -inf
    table = Table(worth, cost[within], _spendable(cost[within], budget))
    chosen, bound, exact = _solved(table, most_states)
    offer[rows] = np.where(chosen == NOBODY, NOBODY, within[chosen])
    total = float(table.gain(chosen).sum())
    return Choice(offer, total, total if exact else bound, exact)


def _solved(table: Table, most_states: int) -> tuple["NDArray[np.int64]", float, bool]:
    """A plan, the bound, and whether it is proven to be the best."""
    generous = table.best(0.0)
    if int(table.spent(generous).sum()) <= table.budget:
        return generous, float(table.gain(generous).sum()), True
    price, chosen = _priced(table, generous)
    bound = price * table.budget + float((table.gain(chosen) - price * table.spent(chosen)).sum())
    return improved(table, price, _filled(table, chosen), bound, most_states)


def _priced(table: Table, generous: "NDArray[np.int64]") -> tuple[float, "NDArray[np.int64]"]:
    """The lowest price at which the best choices fit the budget, to the last digit of a double, and those choices.

    A choice that is the same at two prices is the same between them: few customers are looked at often.
    """
    paid = table.cost > 0
    low, high = 0.0, float((table.worth[:, paid] / table.cost[paid]).max()) * (1 + 1e-9)
    at_low, at_high = generous, table.best(high)
    open_ = np.flatnonzero(at_low != at_high)
    at_low = at_low[open_]
    fixed = int(table.spent(at_high).sum()) - int(table.spent(at_high)[open_].sum())
    while len(open_) and low < (middle := (low + high) / 2) < high:
        tried = table.best(middle, open_)
        if fixed + int(table.spent(tried).sum()) > table.budget:
            low, at_low = middle, tried
        else:
            high, at_high[open_] = middle, tried
        now = at_high[open_]
        differ = at_low != now
        fixed += int(table.spent(now[~differ]).sum())
        open_, at_low = open_[differ], at_low[differ]
    return high, at_high


def _filled(table: Table, chosen: "NDArray[np.int64]") -> "NDArray[np.int64]":
    """The choices with what is left of the budget spent as well as one customer at a time can."""
    chosen = chosen.copy()
    left = table.budget - int(table.spent(chosen).sum())
    while left > 0:
        more = table.cost - table.spent(chosen)[:, None]
        gain = table.worth - table.gain(chosen)[:, None]
        rate = np.where((more > 0) & (more <= left) & (gain > 0), gain / np.maximum(more, 1), -inf)
        offer = rate.argmax(axis=1)
        rate = rate[table.rows, offer]
        order = np.flatnonzero(rate > -inf)
        order = order[np.argsort(-rate[order], kind="stable")]
        takes = np.cumsum(more[order, offer[order]])
        fits = int(np.searchsorted(takes, left, side="right"))
        if not fits:
            break
        chosen[order[:fits]] = offer[order[:fits]]
        left -= int(takes[fits - 1])
    return chosen


def in_order(
    profit: "NDArray[np.float64]",
    cost: "NDArray[np.int64]",
    budget: int,
    order: "NDArray[np.int64]",
    preferred: "NDArray[np.float64]",
) -> "NDArray[np.int64]":
    """The plan of who goes through the customers in an order while the budget lasts, (n,): each gets, of the
    offers that pay and that what is left still buys, the one that is preferred most.

    Args:
        preferred: (n, k), or (k,) if it is the same for all.
    """
    chosen = np.full(len(profit), NOBODY, dtype=np.int64)
    place, left = 0, budget
    while place < len(order):
        rest = order[place:]
        possible = (profit[rest] > 0) & (cost <= left)
        offer = np.where(possible, np.broadcast_to(preferred, profit.shape)[rest], -inf).argmax(axis=1)
        takes = possible[np.arange(len(rest)), offer]
        spent = np.cumsum(np.where(takes, cost[offer], 0))
        fits = int(np.searchsorted(spent, left, side="right"))
        chosen[rest[:fits]] = np.where(takes, offer, NOBODY)[:fits]
        if fits:
            left -= int(spent[fits - 1])
        place += fits  # the next one's offer is too dear by now: he is asked again
    return chosen


def _spendable(cost: "NDArray[np.int64]", budget: int) -> int:
    """The most that sums of these costs can come to within the budget: what no plan can spend does not count."""
    coins = [int(one) for one in cost if one > 0]
    if not coins:
        return budget
    unit = gcd(*coins)
    units = budget // unit
    if units > _LARGEST_TABLE:
        return units * unit
    possible = np.zeros(units + 1, dtype=bool)
    possible[0] = True
    for coin in sorted({coin // unit for coin in coins}):
        padded = np.zeros(-(-(units + 1) // coin) * coin, dtype=bool)
        padded[: units + 1] = possible
        possible = np.logical_or.accumulate(padded.reshape(-1, coin), axis=0).ravel()[: units + 1]
    return int(np.flatnonzero(possible)[-1]) * unit
