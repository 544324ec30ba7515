"""The leaves of fitted trees as the players of small games, and each game's Shapley values.

Of a leaf's path a row meets what it asks of a feature or does not (o = 1 or 0), and where the
feature is not known, the share z of the training rows does, as the path-dependent TreeSHAP has it
(Lundberg et al. 2020, doi:10.1038/s42256-019-0138-9). So a leaf of value v is the game
v(S) = v ∏_{j in S} o_j ∏_{j not in S} z_j. A coalition's weight in the Shapley value,
|S|!(d-|S|-1)!/d!, is ∫ t^|S| (1-t)^(d-1-|S|) dt over [0, 1], hence

    φ_i = v (o_i - z_i) ∫ ∏_{j≠i} (z_j (1-t) + o_j t) dt,

a polynomial of degree d - 1, which Gauss and Legendre integrate exactly in ⌈d/2⌉ points.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Owners:
    """Which raw column each column of the matrix belongs to, (k,), of so many raw columns."""

    of: "Ints"
    count: int

    @cached_property
    def sums(self) -> "Floats":
        """(k, count): what sums one-hot columns back into their own."""
        return np.eye(self.count)[self.of]


@dataclass(frozen=True)
class Leaves:
    """The leaves of trees, (L,), each with the features of its path, (L, D), unused slots last.

    A row meets a slot where its feature lies in (low, high].
    """

    tree: "Ints"
    """(L,), which never falls."""
    feature: "Ints"
    """-1 in an unused slot."""
    low: "Floats"
    high: "Floats"
    cover: "Floats"
    """The share z of training rows that pass the path's splits on the feature."""
    value: "Floats"

    def scaled(self, by: float, plus: float) -> "Leaves":
        """The leaves of ``by`` times the sum of these trees, ``plus`` a constant: one more leaf, without a path."""
        if plus == 0:
            return replace(self, value=by * self.value)

        def longer(some: "NDArray[Any]", last: float) -> "NDArray[Any]":
            return np.concatenate([some, np.full_like(some[:1], last)])

        return Leaves(
            longer(self.tree, self.tree[-1] + 1),
            longer(self.feature, -1),
            longer(self.low, -np.inf),
            longer(self.high, np.inf),
            longer(self.cover, 1),
            longer(by * self.value, plus),
        )


def contributions(met: "Bools", cover: "Floats", value: "Floats") -> "Floats":
    """What each slot of leaves with equally many, d, adds to the output.

    Args:
        met: which slots rows meet, (n, d, L).
        cover, value: (d, L) and (L,).

    Returns:
        (n, d, L)
    """
    found = np.zeros(met.shape)
    points, weights = np.polynomial.legendre.leggauss((len(cover) + 1) // 2)
    for point, weight in zip((points + 1) / 2, weights / 2, strict=True):
        factor = cover * (1 - point) + met * point  # never 0, since no cover is and no point is 1
        found += (factor.prod(axis=1) * weight)[:, None] / factor
    return np.asarray(found * (met - cover) * value, dtype=np.float64)


def by_depth(leaves: Leaves) -> Iterator[tuple[int, "Ints"]]:
    """Numbers of features on a path, and which leaves have so many."""
    depths = (leaves.feature >= 0).sum(axis=1)
    for depth in np.unique(depths[depths > 0]).tolist():
        yield depth, np.flatnonzero(depths == depth)
