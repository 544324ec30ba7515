"""Sums of small trees as tables of their finitely many answers, for a million rows at a time.

The thresholds of a tree cut its features into intervals, and so the rows into cells: all rows of a
cell are explained alike. A tree of four splits has at most sixteen.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from churn.leaves import Leaves, Owners, by_depth, contributions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

NUMBERS = 2_000_000
"""How many numbers the tables may hold: 16 MB. The largest boosted model that a search may find has 1.3 million."""
_MOST_GAMES = 8_000_000
"""Pairs of cell and leaf that are worked out, slots counted, while a version is loaded: at most a second."""


@dataclass(frozen=True)
class Tables:
    """Trees by the cells that their thresholds cut the features into: a row's cell is the sum of
    the strides of the thresholds that it is above, and a table says what each cell adds."""

    owners: Owners
    split_feature: "Ints"
    split_at: "Floats"
    """(U,), the different thresholds of all trees."""
    split: "Ints"
    stride: "Ints"
    """(S, T): each tree's thresholds as places in the two above, and their strides, 0 where it has fewer."""
    start: "Ints"
    """(T,), each tree's first line of the table."""
    table: "Floats"
    """(cells, owners)"""

    @property
    def width(self) -> int:
        return len(self.start) * self.owners.count

    def contributions(self, features: "Floats") -> "Floats":
        above = features[:, self.split_feature] > self.split_at
        cell = np.repeat(self.start[None, :], len(features), axis=0)
        for split, stride in zip(self.split, self.stride, strict=True):
            cell += above[:, split] * stride
        found: Floats = self.table[cell].sum(axis=1)
        return found


@dataclass
class _Grid:
    """One tree's cells, counted by mixed radix: the first feature's interval goes fastest."""

    cuts: "dict[int, Floats]"
    """By feature, its thresholds, rising."""

    @property
    def cells(self) -> int:
        return math.prod(len(cuts) + 1 for cuts in self.cuts.values())

    def strides(self) -> dict[int, int]:
        found, stride = {}, 1
        for feature, cuts in self.cuts.items():
            found[feature] = stride
            stride *= len(cuts) + 1
        return found


def tabled(leaves: Leaves, owners: Owners) -> Tables | None:
    """The tables of these trees, or None where they would be large."""
    grids: list[_Grid] = []
    cells = games = 0
    for lines in np.split(np.arange(len(leaves.tree)), np.flatnonzero(np.diff(leaves.tree)) + 1):
        grids.append(_grid(leaves, lines))
        cells += grids[-1].cells
        games += grids[-1].cells * len(lines) * leaves.feature.shape[1]
        if cells * owners.count > NUMBERS or games > _MOST_GAMES:
            return None
    return _filled(leaves, owners, grids) if grids else None


def _grid(leaves: Leaves, lines: "Ints") -> _Grid:
    feature = leaves.feature[lines]
    ends = np.stack([leaves.low[lines], leaves.high[lines]])
    finite = np.isfinite(ends)
    # a slot without any end lets every row pass: no tree of ours has one
    return _Grid({int(f): np.unique(ends[finite & (feature == f)]) for f in np.unique(feature[feature >= 0])})


def _filled(leaves: Leaves, owners: Owners, grids: list[_Grid]) -> Tables:
    sizes = [grid.cells for grid in grids]
    start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    flat = [
        (tree, feature, cut, stride)
        for tree, grid in enumerate(grids)
        for feature, stride in grid.strides().items()
        for cut in grid.cuts[feature].tolist()
    ]
    splits = {pair: place for place, pair in enumerate(dict.fromkeys((feature, cut) for _, feature, cut, _ in flat))}
    widths = np.bincount([tree for tree, *_ in flat], minlength=len(grids))
    split = np.zeros((widths.max(initial=0), len(grids)), dtype=np.int64)
    strides = np.zeros_like(split)
    taken = [0] * len(grids)
    for tree, feature, cut, stride in flat:
        split[taken[tree], tree], strides[taken[tree], tree] = splits[feature, cut], stride
        taken[tree] += 1
    return Tables(
        owners,
        np.array([feature for feature, _ in splits], dtype=np.int64),
        np.array([cut for _, cut in splits], dtype=np.float64),
        split,
        strides,
        start[:-1],
        _table(leaves, owners, grids, start),
    )


def _table(leaves: Leaves, owners: Owners, grids: list[_Grid], start: "Ints") -> "Floats":
    """What each cell of each tree adds, (cells, owners): for each leaf and each cell of its tree."""
    table = np.zeros(int(start[-1]) * owners.count)
    number = np.concatenate([[0], np.cumsum(np.diff(leaves.tree) > 0)])
    slots = [_slots(leaves, line, grids[tree]) for line, tree in enumerate(number.tolist())]
    for depth, lines in by_depth(leaves):
        cells = np.diff(start)[number[lines]]
        leaf = np.repeat(np.arange(len(lines)), cells)
        cell = np.arange(len(leaf)) - np.repeat(np.cumsum(cells) - cells, cells)
        stride, radix, first, last = np.array([slots[line] for line in lines.tolist()], dtype=np.int64).T[:, :, leaf]
        interval = cell // stride % radix
        met = (first <= interval) & (interval <= last)
        added = contributions(met[None], leaves.cover[lines][leaf, :depth].T, leaves.value[lines][leaf])[0]
        owner = owners.of[leaves.feature[lines][leaf, :depth]].T
        place = (start[number[lines]][leaf] + cell) * owners.count + owner
        table += np.bincount(place.ravel(), added.ravel(), minlength=len(table))
    return table.reshape(-1, owners.count)


def _slots(leaves: Leaves, line: int, grid: _Grid) -> list[tuple[int, int, int, int]]:
    """Of each slot of a leaf: its feature's stride and number of intervals, and the first and last that pass."""
    strides = grid.strides()
    found = []
    for feature, low, high in zip(leaves.feature[line], leaves.low[line], leaves.high[line], strict=True):
        if feature >= 0:
            cuts = grid.cuts[int(feature)]
            first, last = np.searchsorted(cuts, low, side="right"), np.searchsorted(cuts, high)
            found.append((strides[int(feature)], len(cuts) + 1, int(first), int(last)))
    return found
