"""Which values were seen together: what keeps a proposed change from making a customer whom nobody has seen.

Of the rows that a version was trained on its file says, of each value of a category, with which values of
the other categories it ever stood in one row, and between what numbers; and how the numbers are spread.
That is a rule without knowledge of the columns: where a service is "none" in one column, the columns that
hang on it were never anything else.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from churn import array_file
from churn.columns import LARGEST_NUMBER
from churn.encoding import Encoded, Encoder, values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.contract import Contract

FILE = "combinations.npz"
LARGEST = 4_000
"""Values of all categories together; with more, the file is left out, and with it the rule."""
_CHUNK = 10_000
_LARGEST_FILE = 64 * 2**20
_NAMES = {"row_hash", "together", "low", "high", "spread"}
_HEADERS = 4_096
"""Bytes of the file that are not in its large arrays, at most."""
SPREAD = np.linspace(0.05, 0.95, 19)
"""The quantiles that are kept of each number."""


class Places:
    """Where each value of each category, and its absence, stands among all of them."""

    def __init__(self, contract: "Contract") -> None:
        encoder = Encoder(contract)
        self.numeric = [column.name for column in encoder.numeric]
        self.categorical = [column.name for column in encoder.categorical]
        self.sizes = np.array([len(values(column)) + 1 for column in encoder.categorical], dtype=np.int64)
        self.starts = np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.int64)

    @property
    def count(self) -> int:
        return int(self.starts[-1])

    def of(self, codes: "NDArray[np.int64]") -> "NDArray[np.int64]":
        """The places of rows of codes, (n, categories); a missing value has its column's last."""
        return self.starts[:-1] + np.where(codes < 0, self.sizes - 1, codes)


@dataclass(frozen=True)
class Combinations:
    """What was seen together. Places are those of :class:`Places`."""

    places: Places
    together: "NDArray[np.bool_]"
    """(places, places)"""
    low: "NDArray[np.float64]"
    """(places, numbers): the lowest number in rows with this value, NaN where there is none."""
    high: "NDArray[np.float64]"
    spread: "NDArray[np.float64]"
    """(numbers, quantiles), NaN of a number that is always missing."""

    def between(self, place: Any, number: Any, value: Any) -> "NDArray[np.bool_]":
        """Whether numbers lie where they were seen beside the values at these places; a missing number does."""
        with np.errstate(invalid="ignore"):
            inside = (value >= self.low[place, number]) & (value <= self.high[place, number])
        return np.asarray(inside | np.isnan(value))

    @cached_property
    def spreads(self) -> "dict[str, NDArray[np.float64]]":
        """The quantiles of each number that has any, by its column."""
        return {
            name: row for name, row in zip(self.places.numeric, self.spread, strict=True) if not np.isnan(row).any()
        }


def write(path: Path, contract: "Contract", rows: Encoded) -> Path | None:
    """Write what the rows show; None, and no file, where their categories have too many values, or so
    many beside so many numbers that the file would not be read again."""
    places = Places(contract)
    size = places.count**2 + 8 * len(places.numeric) * (2 * places.count + len(SPREAD)) + _HEADERS
    if places.count > LARGEST or size > _LARGEST_FILE:
        return None
    together = np.zeros((places.count, places.count), dtype=bool)
    low = np.full((places.count, len(places.numeric)), np.nan)
    high = low.copy()
    for start in range(0, len(rows), _CHUNK):
        found, numbers = places.of(rows.codes[start : start + _CHUNK]), rows.numbers[start : start + _CHUNK]
        seen = np.zeros((len(found), places.count), dtype=np.float32)
        np.put_along_axis(seen, found, 1, axis=1)
        together |= seen.T @ seen > 0
        for column in found.T:
            np.fmin.at(low, column, numbers)  # passes over what is missing
            np.fmax.at(high, column, numbers)
    spread = np.full((len(places.numeric), len(SPREAD)), np.nan)
    for place, column in enumerate(rows.numbers.T):
        if not np.isnan(column).all():
            spread[place] = np.nanquantile(column, SPREAD)
    hashed = np.array(contract.row_hash)
    np.savez_compressed(path, row_hash=hashed, together=together, low=low, high=high, spread=spread)
    return path


def load(folder: Path, contract: "Contract") -> Combinations | None:
    """What a version's file says; None where it has none.

    Raises:
        Exception: whatever numpy raises over a broken file.
        ValueError: it is another contract's, or holds a number that no contract allows.
    """
    path = next(folder.rglob(FILE), None)
    if path is None:
        return None
    arrays = array_file.read(path, _LARGEST_FILE, _NAMES.issubset)
    if str(arrays["row_hash"]) != contract.row_hash:
        raise ValueError(f"{FILE} was made for other columns than those of the contract")
    places = Places(contract)
    numbers = len(places.numeric)
    wanted = {
        "together": (np.bool_, (places.count, places.count)),
        "low": (np.float64, (places.count, numbers)),
        "high": (np.float64, (places.count, numbers)),
        "spread": (np.float64, (numbers, len(SPREAD))),
    }
    for name, (kind, shape) in wanted.items():
        if arrays[name].dtype != kind or arrays[name].shape != shape:
            raise ValueError(f"{FILE}: {name} is of type {arrays[name].dtype} and shape {arrays[name].shape}")
    for name in ("low", "high", "spread"):
        if (np.abs(arrays[name]) > LARGEST_NUMBER).any():  # NaN, which is nothing, is not
            raise ValueError(f"{FILE}: {name} holds a number beyond {LARGEST_NUMBER:g}")
    return Combinations(places, **{name: arrays[name] for name in wanted})
