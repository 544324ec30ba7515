"""Exact Shapley values of linear models and of sums of trees, in numpy alone.

A forest is explained leaf by leaf (:mod:`churn.leaves`); trees of few leaves, as boosting makes
them, by tables that are worked out once (:mod:`churn.tree_tables`).
"""

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from churn.leaves import Leaves, Owners, by_depth, contributions
from churn.tree_tables import Tables, tabled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

_AT_ONCE = 400_000
"""Numbers of an intermediate array; more would not fit the caches."""


class Game(Protocol):
    """What can be explained: values of features -> how much each adds to the output."""

    base: float
    """The output where no feature is known."""

    @property
    def seen(self) -> "Bools":
        """Which of the matrix's columns the output depends on at all, (k,)."""

    def contributions(self, features: "Floats") -> "Floats":
        """(n, k) -> (n, owners)."""


class Linear:
    """``intercept + features @ weight``; a feature that is not known is at its mean.

    Args:
        weight, mean: (k,).
    """

    def __init__(self, weight: "Floats", mean: "Floats", intercept: float, owners: Owners) -> None:
        self._weight, self._mean, self._owners = weight, mean, owners
        self.base = float(intercept + weight @ mean)

    @property
    def seen(self) -> "Bools":
        return np.asarray(self._weight != 0)

    def contributions(self, features: "Floats") -> "Floats":
        found: Floats = ((features - self._mean) * self._weight) @ self._owners.sums
        return found


class Trees:
    """A sum of trees. Small ones become tables of their finitely many answers.

    Args:
        single: whether rows are compared in float32, as scikit-learn does.
    """

    def __init__(self, leaves: Leaves, owners: Owners, *, single: bool) -> None:
        self._single = single
        self._used = np.unique(leaves.feature[leaves.feature >= 0])
        self._columns = len(owners.of)
        self.base = float((leaves.value * leaves.cover.prod(axis=1)).sum())
        self._way: Tables | _ByLeaf = tabled(leaves, owners) or _ByLeaf(leaves, owners)

    @property
    def seen(self) -> "Bools":
        found = np.zeros(self._columns, dtype=bool)
        found[self._used] = True
        return found

    @property
    def is_tabled(self) -> bool:
        return isinstance(self._way, Tables)

    def contributions(self, features: "Floats") -> "Floats":
        if self._single:
            with np.errstate(over="ignore"):  # what is larger than any float32 is above each threshold all the same
                features = features.astype(np.float32).astype(np.float64)
        found = np.empty((len(features), self._way.owners.count))
        step = max(1, _AT_ONCE // self._way.width)
        for start in range(0, len(features), step):
            rows = slice(start, start + step)
            found[rows] = self._way.contributions(features[rows])
        return found


class _ByLeaf:
    """Trees of any size, leaf by leaf."""

    def __init__(self, leaves: Leaves, owners: Owners) -> None:
        self.owners = owners
        self._parts = [_part(leaves, depth, lines) for depth, lines in by_depth(leaves)]
        self.width = 4 * max((part.feature.size for part in self._parts), default=1)

    def contributions(self, features: "Floats") -> "Floats":
        found = np.zeros((len(features), self.owners.count))
        for part in self._parts:
            asked = features[:, part.feature]
            added = contributions((asked > part.low) & (asked <= part.high), part.cover, part.value)
            owner = self.owners.of[part.feature].ravel()
            for row, some in enumerate(added.reshape(len(features), -1)):
                found[row] += np.bincount(owner, some, minlength=self.owners.count)
        return found


def _part(leaves: Leaves, depth: int, lines: "Ints") -> Leaves:
    """The leaves of one depth, their slots as rows: (depth, L)."""

    def slots(some: "NDArray[Any]") -> "NDArray[Any]":
        return np.ascontiguousarray(some[lines, :depth].T)

    return Leaves(
        leaves.tree[lines],
        slots(leaves.feature),
        slots(leaves.low),
        slots(leaves.high),
        slots(leaves.cover),
        leaves.value[lines],
    )
