"""Whether a compiled scorer says what its pipeline says: on every row, and on rows made up around them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from churn.compiled import TOLERANCE
from churn.encoding import MISSING, Encoded, Encoder, values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.columns import Column
    from churn.scoring import Source

JITTERED = 50_000
_CHANGED = 0.2
"""Share of the categories of a made-up row that are drawn anew."""


@dataclass(frozen=True)
class Parity:
    """How far two sources are apart, at most, over so many rows."""

    rows: int
    largest_difference: float

    @property
    def holds(self) -> bool:
        return self.largest_difference <= TOLERANCE  # not of NaN


def compare(one: "Source", other: "Source", rows: Encoded) -> Parity:
    difference = np.abs(one.probabilities(rows) - other.probabilities(rows))
    return Parity(len(rows), float(difference.max(initial=0.0)))


def jitter(rows: Encoded, encoder: Encoder, count: int, seed: int) -> Encoded:
    """Made-up rows that the contract allows: drawn with replacement, numbers moved by a few
    percent and kept in their range, a fifth of the categories drawn anew, gaps where there may be."""
    random = np.random.default_rng(seed)
    drawn = random.integers(len(rows), size=count)
    numbers, codes = rows.numbers[drawn], rows.codes[drawn]
    for place, column in enumerate(encoder.numeric):
        numbers[:, place] = _moved(numbers[:, place], column, random)
    for place, column in enumerate(encoder.categorical):
        anew = random.random(count) < _CHANGED
        lowest = MISSING if column.may_be_missing else 0
        codes[anew, place] = random.integers(lowest, len(values(column)), size=int(anew.sum()))
    return Encoded(numbers, codes)


def _moved(column: "NDArray[np.float64]", of: "Column", random: np.random.Generator) -> "NDArray[np.float64]":
    low, high = of.bounds
    spread = np.nanstd(column) if np.isfinite(column).any() else 1.0
    moved = np.clip(
        column * random.normal(1, 0.05, len(column)) + random.normal(0, 0.02 * spread, len(column)), low, high
    )
    if of.type == "integer":
        moved = np.clip(np.round(moved), low, high)
    if of.may_be_missing:
        moved[random.random(len(moved)) < 0.05] = np.nan
    return moved
