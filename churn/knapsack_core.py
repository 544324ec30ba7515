"""The last step of a knapsack (:mod:`churn.knapsack`): closing the gap between a plan and the bound.

Any other plan stays below the bound by λ·(unspent) + the sum over customers of what they lose, at that
price, by not having their best. So only customers whose second choice loses less than the gap can make a
better plan; among those all combinations are tried, in order of loss, dearer and less profitable ones
being dropped (dynamic programming over such a core: Pisinger 1995, "A minimal algorithm for the
multiple-choice knapsack problem", doi:10.1016/0377-2217(95)00015-I). With many customers it is a handful.
"""

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NOBODY = -1
"""The choice of a customer who gets no offer."""
_TOLERANCE = 1e-11
"""Of the bound: what counts as nothing, being what sums of doubles are off by."""


@dataclass
class Table:
    """What each customer brings with each offer, and what may be spent."""

    worth: "NDArray[np.float64]"
    """(n, k), −inf where an offer is out of the question."""
    cost: "NDArray[np.int64]"
    """(k,), ascending."""
    budget: int
    rows: "NDArray[np.int64]" = field(init=False)

    def __post_init__(self) -> None:
        self.rows = np.arange(len(self.worth))

    def best(self, price: float, some: Any = slice(None)) -> "NDArray[np.int64]":
        """The choice of some customers at a price."""
        value = self.worth[some] - price * self.cost
        chosen = value.argmax(axis=1)
        return np.where(np.take_along_axis(value, chosen[:, None], axis=1)[:, 0] > 0, chosen, NOBODY)

    def gain(self, chosen: "NDArray[np.int64]") -> "NDArray[np.float64]":
        """The profit of each customer, (n,)."""
        return np.where(chosen == NOBODY, 0.0, self.worth[self.rows, chosen])

    def spent(self, chosen: "NDArray[np.int64]") -> "NDArray[np.int64]":
        """The cost of each customer, (n,)."""
        return np.where(chosen == NOBODY, 0, self.cost[chosen])


def improved(
    table: Table, price: float, chosen: "NDArray[np.int64]", bound: float, most_states: int
) -> tuple["NDArray[np.int64]", float, bool]:
    """The best plan, by trying all changes of the given one that could close the gap to the bound; first
    with few customers, since a smaller gap leaves fewer that must be tried."""
    negligible = _TOLERANCE * max(1.0, bound)
    for few in (8, 64, None):
        left = table.budget - int(table.spent(chosen).sum())
        gap = bound - float(table.gain(chosen).sum())
        if gap <= negligible:
            return chosen, bound, True
        change = _Changes(table, price, chosen, gap, few)
        search = _Search(loss=gap - price * left, left=left, price=price, gap=gap, negligible=negligible)
        proven = search.run(change, most_states)
        for customer, option in search.steps():
            chosen[change.customers[customer]] = option - 1
        if not proven or change.complete:
            break
    return chosen, bound, proven and change.complete


class _Changes:
    """What another choice than the plan's changes, for the customers for whom it matters, least loss first.

    Args:
        few: how many customers are tried of those for whom a change costs the same; None: as many as a
            better plan may need.
    """

    def __init__(
        self, table: Table, price: float, chosen: "NDArray[np.int64]", gap: float, few: int | None = None
    ) -> None:
        worth = np.concatenate([np.zeros((len(chosen), 1)), table.worth], axis=1)
        cost = np.concatenate([[0], table.cost])
        loss = (table.gain(chosen) - price * table.spent(chosen))[:, None] - (worth - price * cost)
        loss[table.rows, chosen + 1] = inf
        smallest = loss.min(axis=1)
        # what the plan itself loses can be won back beside what a change loses
        spare = gap - smallest[smallest < 0].sum()
        core = np.flatnonzero(smallest < spare)
        core = core[np.argsort(smallest[core], kind="stable")]
        more = cost - table.spent(chosen)[core, None]
        kept, self.complete = _needed(
            more, loss[core], spare, max(table.budget - table.spent(chosen).sum(), gap / price), few
        )
        self.customers, self.loss, self.smallest, self.cost = (
            core[kept],
            loss[core][kept],
            smallest[core][kept],
            more[kept],
        )
        self.won_back = np.minimum(self.smallest, 0.0)[::-1].cumsum()[::-1]
        """How much the customers from here on can win back, (core,), at most 0."""


def _needed(
    more: "NDArray[np.int64]", loss: "NDArray[np.float64]", spare: float, surplus: float, few: int | None
) -> tuple["NDArray[np.int64]", bool]:
    """Which customers of the core, (m, choices), are enough, and whether they are proven to be.

    A better plan makes at most so many changes: else some of them together cost nothing and lose something,
    and are better left. Of changes that cost the same it then needs only so many, those that lose least.

    Args:
        surplus: how far from the given plan's the cost of a better one can be.
    """
    kinds, kind = np.unique(more, return_inverse=True)
    kind = np.where(loss < spare, kind.reshape(more.shape), -1)
    unit, largest = max(int(np.gcd.reduce(kinds)), 1), int(np.abs(kinds).max())
    winning = int((loss < 0).any(axis=1).sum())
    changes = ((winning + 2) * largest + surplus) / unit + 1 + winning
    of_kind = [np.nonzero(kind == one) for one in range(len(kinds))]
    ranked = [rows[np.argsort(loss[rows, columns], kind="stable")] for rows, columns in of_kind]
    sums = [np.cumsum(np.sort(np.maximum(loss[where], 0))) for where in of_kind]
    changes = min(changes, sum(int(np.searchsorted(one, spare)) for one in sums))
    alike = int(np.unique(more[0], return_counts=True)[1].max())  # offers of one cost: a customer stands there as often
    most = (int(changes) + 1 if few is None else few) * alike
    kept = np.unique(np.concatenate([rows[:most] for rows in ranked]))
    return kept, bool(most > changes * alike or len(kept) == len(more))


@dataclass
class _Search:
    """Partial plans by what they cost more than the one begun with; ``loss``: how far below the bound, at the price."""

    loss: float
    left: int
    price: float
    gap: float
    """Between the bound and the best plan found."""
    negligible: float

    def __post_init__(self) -> None:
        self._history: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        self._best: tuple[int, int] = (0, 0)
        """After how many customers the best plan was found, and its place among the states there."""

    def run(self, change: _Changes, most_states: int) -> bool:
        """Whether all that could be better was tried."""
        more, loss, states = np.zeros(1, dtype=np.int64), np.array([self.loss]), 0
        for i in range(len(change.customers)):
            if (
                not len(loss)
                or loss.min() + min(change.won_back[i], 0) + max(change.smallest[i], 0) >= self._worthwhile
            ):
                return True
            if states > most_states:
                return False
            rest = float(change.won_back[i + 1]) if i + 1 < len(change.won_back) else 0.0
            more, loss = self._step(more, loss, change.cost[i], change.loss[i], rest)
            states += len(more)
            self._look(more, loss)
        return True

    @property
    def _worthwhile(self) -> float:
        return self.gap - self.negligible

    def _step(
        self,
        more: "NDArray[np.int64]",
        loss: "NDArray[np.float64]",
        costs: "NDArray[np.int64]",
        losses: "NDArray[np.float64]",
        rest: float,
    ) -> tuple["NDArray[np.int64]", "NDArray[np.float64]"]:
        """The states after one more customer has each of his options, or is left as he is (option −1)."""
        possible = np.flatnonzero(losses < inf)
        added = np.concatenate([[0], costs[possible]])
        lost = np.concatenate([[0.0], losses[possible]])
        new_more, new_loss = (more[None] + added[:, None]).ravel(), (loss[None] + lost[:, None]).ravel()
        parent = np.tile(np.arange(len(more)), len(added))
        option = np.repeat(np.concatenate([[-1], possible]), len(more))
        keep = np.flatnonzero(new_loss + rest < self._worthwhile)
        order = keep[np.lexsort((new_loss[keep], new_more[keep]))]
        # of two that differ in cost the dearer must be the more profitable
        profit = self.price * new_more[order] - new_loss[order]
        before = np.concatenate([[-inf], np.maximum.accumulate(profit)[:-1]]) if len(order) else profit
        order = order[profit > before]
        self._history.append((parent[order], option[order]))
        return new_more[order], new_loss[order]

    def _look(self, more: "NDArray[np.int64]", loss: "NDArray[np.float64]") -> None:
        short = np.where(more <= self.left, loss + self.price * (self.left - more), inf)
        if len(short) and short.min() < self._worthwhile:
            self.gap = float(short.min())
            self._best = len(self._history), int(short.argmin())

    def steps(self) -> list[tuple[int, int]]:
        """The changes of the best plan found: the customer's place in the core, and his option."""
        count, state = self._best
        found = []
        for i in range(count - 1, -1, -1):
            parents, options = self._history[i]
            if options[state] >= 0:
                found.append((i, int(options[state])))
            state = int(parents[state])
        return found
