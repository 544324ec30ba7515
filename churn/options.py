"""The single changes that could be made of a customer, and which of them go together."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from churn.columns import Scalar
from churn.encoding import values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.columns import Column
    from churn.scoring import Scorer

_STEPS = 20
"""Into about so many steps of a round size the spread of a number is divided."""


@dataclass(frozen=True)
class Option:
    """One column's new value, and what it costs the company in the contract's currency."""

    column: str
    value: Scalar | None
    cost: float


class Options:
    """What could be changed of one customer, within the contract and what was seen.

    Args:
        customer: whose values the contract has read.
    """

    def __init__(self, scorer: "Scorer", customer: Mapping[str, Any]) -> None:
        self.contract = scorer.contract
        self.customer = customer
        self._seen = scorer.seen
        self._order = list(self.contract.features)
        self._place = {column.name: place for place, column in enumerate(scorer.encoder.categorical)}
        self._number = {column.name: place for place, column in enumerate(scorer.encoder.numeric)}
        # a category may have thousands of values, and each of them is an option
        self._codes = {
            column.name: {value: code for code, value in enumerate(values(column))}
            for column in scorer.encoder.categorical
        }
        self.all = [option for column in self.contract.features.values() for option in self._of(column)]

    def _of(self, column: "Column") -> Iterator[Option]:
        if not column.actionable:
            return
        now = self.customer[column.name]
        if column.is_numeric:
            if now is not None:
                yield from (
                    Option(column.name, value, self._cost(column, value - now)) for value in self._round(column, now)
                )
            return
        yield from (Option(column.name, value, self._cost(column)) for value in values(column) if value != now)

    @staticmethod
    def _cost(column: "Column", units: float = 1.0) -> float:
        """Where the contract says nothing, each change counts as 1, also that of a number."""
        return 1.0 if column.change_cost is None else round(column.change_cost * abs(units), 9)

    def _round(self, column: "Column", now: float) -> Iterator[float | int]:
        """Round values within the middle nine tenths of the column, as far as they were seen; what the customer
        pays is never raised, since to ask for more keeps nobody."""
        spread = self._seen.spreads.get(column.name) if self._seen else None
        if spread is None:
            return
        low, high = float(spread[0]), float(spread[-1])
        step = _round_step((high - low) / _STEPS, whole=column.type == "integer")
        if column.name == self.contract.monthly_value:
            high = min(high, now)
        if not high - low < 1e3 * step:  # too wide for steps, or without an end
            return
        for count in range(math.ceil(low / step), math.floor(high / step) + 1):
            value = round(count * step, 9)
            if value != now and column.allows(value):
                yield int(value) if column.type == "integer" else value

    def clashes(self, options: Sequence[Option]) -> "tuple[NDArray[np.bool_], NDArray[np.bool_]]":
        """With which of the customer's own values each option cannot stand, (m, columns), and with which
        other option, (m, m): two of one column, a product without what it requires, and what was never seen together.
        """
        own, other = self._never_seen(options)
        for product, entry in self.contract.products.items():
            for needed, allowed in entry.requires.items():
                has = np.array([one.column == product and one.value in entry.owned for one in options], dtype=bool)
                lacks = np.array([one.column == needed and one.value not in allowed for one in options], dtype=bool)
                own[has, self._order.index(needed)] |= self.customer[needed] not in allowed
                own[lacks, self._order.index(product)] |= self.customer[product] in entry.owned
                other |= (has[:, None] & lacks) | (lacks[:, None] & has)
        columns = np.array([self._order.index(one.column) for one in options], dtype=np.int64)
        own[np.arange(len(options)), columns] = False  # the value that it replaces
        return own, other | (columns[:, None] == columns)

    def _never_seen(self, options: Sequence[Option]) -> "tuple[NDArray[np.bool_], NDArray[np.bool_]]":
        own = np.zeros((len(options), len(self._order)), dtype=bool)
        other = np.zeros((len(options), len(options)), dtype=bool)
        if self._seen is None:
            return own, other
        now = [Option(name, self.customer[name], 0.0) for name in self._order]
        return self._strange(options, now), self._strange(options, options)

    def _strange(self, some: Sequence[Option], others: Sequence[Option]) -> "NDArray[np.bool_]":
        """Which pairs of values were never seen in one row, (some, others)."""
        assert self._seen is not None  # noqa: S101  # for the type checker: who calls has asked
        found = np.zeros((len(some), len(others)), dtype=bool)
        here, there = self._split(some), self._split(others)
        found[np.ix_(here.categories, there.categories)] = ~self._seen.together[here.places[:, None], there.places]
        found[np.ix_(here.categories, there.numbers)] = ~self._seen.between(
            here.places[:, None], there.columns, there.values
        )
        found[np.ix_(here.numbers, there.categories)] = ~self._seen.between(
            there.places, here.columns[:, None], here.values[:, None]
        )
        return found

    def _split(self, options: Sequence[Option]) -> "_Split":
        assert self._seen is not None  # noqa: S101
        starts, sizes = self._seen.places.starts, self._seen.places.sizes
        categories = [i for i, one in enumerate(options) if one.column in self._place]
        numbers = [i for i, one in enumerate(options) if one.column in self._number]
        places = [
            starts[place] + (sizes[place] - 1 if code is None else code)
            for place, code in ((self._place[options[i].column], self.code(options[i])) for i in categories)
        ]
        return _Split(
            np.array(categories, dtype=np.int64),
            np.array(places, dtype=np.int64),
            np.array(numbers, dtype=np.int64),
            np.array([self._number[options[i].column] for i in numbers], dtype=np.int64),
            np.array([options[i].value for i in numbers], dtype=np.float64),
        )

    def code(self, option: Option) -> int | None:
        """Where a category's value stands among its column's; None of a missing one."""
        if option.value is None:
            return None
        return self._codes[option.column][option.value]

    def unseen(self, given: Sequence[Option]) -> list[str]:
        """The pairs of values that all the given changes would bring about and that were never seen, in words."""
        if self._seen is None or not given:
            return []
        own, other = self._never_seen(given)
        changed = {one.column for one in given}
        found = []
        for i, one in enumerate(given):
            for place in np.flatnonzero(own[i]):
                name = self._order[int(place)]
                if name not in changed:
                    found.append((one, Option(name, self.customer[name], 0.0)))
            found += [(one, given[int(j)]) for j in np.flatnonzero(other[i]) if j > i]
        return [f"{self._said(one)} beside {self._said(two)}" for one, two in found]

    def _said(self, option: Option) -> str:
        column = self.contract.features[option.column]
        value = "missing" if option.value is None else column.label_of(option.value)
        return f"{column.title} = {value}"


@dataclass(frozen=True)
class _Split:
    """Categories and numbers among options: which they are, and where their values stand."""

    categories: "NDArray[np.int64]"
    places: "NDArray[np.int64]"
    numbers: "NDArray[np.int64]"
    columns: "NDArray[np.int64]"
    values: "NDArray[np.float64]"


def _round_step(size: float, *, whole: bool) -> float:
    """The nearest larger of 1, 2 or 5 times a power of ten; of whole numbers at least 1."""
    if size <= 0 or not math.isfinite(size):
        return 1.0
    power = 10.0 ** math.floor(math.log10(size))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= size * (1 - 1e-9))
    return max(1.0, step) if whole else step
