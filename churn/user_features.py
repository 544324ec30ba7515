"""What the recommender sees of a customer: one feature per column, and one per product that he owns.

A product's own column is seen as owned or not. The monthly value and what the contract calls unseen
are left out, since they tell what a customer owns.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from pydantic import Field

from churn import wording
from churn.columns import Column, Part
from churn.encoding import Encoder, values
from churn.ownership import Ownership

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.contract import Contract
    from churn.encoding import Encoded

BINS = 8
"""At most so many quantile bins for a number."""


class Seen(Part):
    """A column and how it becomes a feature."""

    column: str
    kind: Literal["number", "category"]
    edges: list[float] = []
    """Of a number, where its bins end and the next begin: a bin holds its lower edge."""
    size: int = Field(ge=1)
    """Features of the column; the first is a missing value's."""


class UserFeatures:
    """Turns encoded rows into features. Build it with :meth:`fit`, or of what :attr:`seen` held.

    Args:
        contract: of the rows.
        seen: the columns, in the contract's order.

    Raises:
        ValueError: they are not the columns that the contract lets the recommender see.
    """

    def __init__(self, contract: "Contract", seen: list[Seen]) -> None:
        encoder = Encoder(contract)
        self.seen = seen
        self.ownership = Ownership(contract)
        columns = [contract.features[name] for name in _visible(contract)]
        if faults := list(_faults(seen, columns)):
            raise ValueError(f"the features are not the contract's: {faults[0]}")
        starts = np.cumsum([0, *[one.size for one in seen]])
        self.traits_count = int(starts[-1])
        self.names: list[str] = []
        """Of every feature; those of owned products come last, in the order of the products."""
        self.labels: list[str] = []
        """The same in the contract's words."""
        for name, label in _told(contract, seen, columns):
            self.names.append(name)
            self.labels.append(label)
        columns += [contract.features[name] for name in contract.products]
        sizes = [*(one.size for one in seen), *(1 for _ in contract.products)]
        self.nameable: NDArray[np.bool_] = np.repeat([not column.sensitive for column in columns], sizes)
        """Which features may be named to people, (features,): those of sensitive columns may not."""
        numeric = {column.name: place for place, column in enumerate(encoder.numeric)}
        coded = {column.name: place for place, column in enumerate(encoder.categorical)}
        self._numbers = [
            (line, numeric[one.column], np.array(one.edges), start + 1)
            for line, (one, start) in enumerate(zip(seen, starts[:-1].tolist(), strict=True))
            if one.kind == "number"
        ]
        self._lines = np.array([line for line, one in enumerate(seen) if one.kind == "category"], dtype=np.intp)
        self._codes = np.array([coded[seen[line].column] for line in self._lines], dtype=np.intp)
        self._starts = starts[:-1][self._lines] + 1  # a code of -1, a missing one, finds the first

    @classmethod
    def fit(cls, contract: "Contract", encoded: "Encoded") -> Self:
        """Learn where the bins of numbers end, so that each holds about as many of these customers."""
        encoder = Encoder(contract)
        places = {column.name: place for place, column in enumerate(encoder.numeric)}
        seen = []
        for name in _visible(contract):
            if name in places:
                edges = _edges(encoded.numbers[:, places[name]])
                seen.append(Seen(column=name, kind="number", edges=edges, size=len(edges) + 2))
            else:
                size = 1 + len(values(contract.features[name]))
                seen.append(Seen(column=name, kind="category", size=size))
        return cls(contract, seen)

    def __len__(self) -> int:
        return len(self.names)

    def traits(self, encoded: "Encoded") -> "NDArray[np.int64]":
        """Of each customer and seen column, (n, columns), which of the features is his."""
        found = np.empty((len(encoded), len(self.seen)), dtype=np.int64)
        if len(self._lines):
            found[:, self._lines] = encoded.codes[:, self._codes] + self._starts
        for line, column, edges, start in self._numbers:
            numbers = encoded.numbers[:, column]
            bins = edges.searchsorted(numbers, side="right") + start
            found[:, line] = np.where(np.isnan(numbers), start - 1, bins)
        return found

    def owned(self, encoded: "Encoded") -> "NDArray[np.bool_]":
        """Which products each customer owns, (n, products)."""
        return self.ownership.owned(encoded)


def _visible(contract: "Contract") -> list[str]:
    hidden = {*contract.products, contract.monthly_value, *contract.recommendation.unseen}
    return [name for name in contract.features if name not in hidden]


def _edges(numbers: "NDArray[np.float64]") -> list[float]:
    known = numbers[~np.isnan(numbers)]
    distinct = np.unique(known)
    if len(distinct) <= BINS:
        edges: list[float] = distinct[1:].tolist()
        return edges
    quantiles = np.quantile(known, np.arange(1, BINS) / BINS, method="inverted_cdf")
    found: list[float] = np.unique(quantiles[quantiles > distinct[0]]).tolist()
    return found


def _faults(seen: list[Seen], columns: list[Column]) -> Iterator[str]:
    if [one.column for one in seen] != [column.name for column in columns]:
        yield "other columns are seen"
        return
    for one, column in zip(seen, columns, strict=True):
        kind = "number" if column.is_numeric else "category"
        size = len(one.edges) + 2 if column.is_numeric else 1 + len(values(column))
        if one.kind != kind or one.size != size:
            yield f"{one.column} is seen as {one.kind} of {one.size}"
        if not np.isfinite(one.edges).all() or (np.diff(one.edges) <= 0).any():
            yield f"the bins of {one.column} are out of order"


def _told(contract: "Contract", seen: list[Seen], columns: list[Column]) -> Iterator[tuple[str, str]]:
    """The name and the label of every feature, in order."""
    for one, column in zip(seen, columns, strict=True):
        yield f"{one.column}=", wording.phrase(column, None)
        if one.kind == "number":
            yield from _bins(one, column)
            continue
        for value in values(column):
            yield f"{one.column}={value}", wording.phrase(column, value)
    for name, product in contract.products.items():
        yield f"{name}+", product.label or contract.features[name].title


def _bins(one: Seen, column: Column) -> Iterator[tuple[str, str]]:
    edges = [f"{edge:.15g}" for edge in one.edges]
    unit = f" {column.unit}" if column.unit else ""
    if not edges:
        yield f"{one.column}~0", f"{column.title} known"
        return
    yield f"{one.column}~0", f"{column.title} under {edges[0]}{unit}"
    for place, (low, high) in enumerate(zip(one.edges, one.edges[1:], strict=False), start=1):
        last = high - 1 if column.type == "integer" else high
        span = f"{low:.15g}" if last == low else f"{low:.15g} to {last:.15g}"
        yield f"{one.column}~{place}", f"{column.title} {span}{unit}"
    yield f"{one.column}~{len(edges)}", f"{column.title} of at least {edges[-1]}{unit}"
