"""A customer's row as it would be once he has taken a product or an offer, as far as a model can see that.

With a product its column becomes a value that means "owns it", and its price is added to the monthly value;
an offer sets the columns that it ``changes`` and takes its ``discount`` off. Where another product's column
then holds a value that the version's training rows never held beside the new one ("no phone service", once
there is phone service), it becomes a value that means "does not own it" and was seen there
(:mod:`churn.combinations`). Where no such value was seen, or a number leaves the contract's range, there is
no row to ask a model about.
"""

from typing import TYPE_CHECKING

import numpy as np

from churn.combinations import Combinations, Places
from churn.encoding import MISSING, Encoded, Encoder, values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.columns import Scalar
    from churn.contract import Contract

_NOBODY = MISSING - 1
"""The code where nobody was seen so."""


class Uptake:
    """The rows of a contract's products and offers, in this order.

    Args:
        seen: which values stood together in the classifier's training rows; None: nothing is known of that,
            and other columns stay as they are.
    """

    def __init__(self, contract: "Contract", seen: Combinations | None) -> None:
        self._contract, self._seen = contract, seen
        self._places = Places(contract)
        self._columns = Encoder(contract).categorical
        self._numeric = self._places.numeric
        self._owned = [_codes_owned(contract, column.name) for column in self._columns]
        taken: list[dict[str, Scalar]] = [{name: one.owned[0]} for name, one in contract.products.items()]
        taken += [one.changes for one in contract.offers.values()]
        self._codes = np.array([self._table(one) for one in taken], dtype=np.int64).reshape(
            len(taken), self._places.count
        )
        """(items, places): what the code of a value becomes."""
        numbers = [[_number(one, name) for name in self._numeric] for one in taken]
        self._numbers = np.array(numbers, dtype=np.float64).reshape(len(taken), len(self._numeric))
        """(items, numbers): what a number becomes; NaN: it stays."""
        self._set_money([bool(one) for one in taken])

    def _set_money(self, changes: list[bool]) -> None:
        products, offers = self._contract.products.values(), self._contract.offers.values()
        self._added = np.array([one.monthly_price for one in products] + [0.0] * len(offers))
        self._kept = np.array([1.0] * len(products) + [1 - one.discount for one in offers])
        self._changes = np.array(changes, dtype=bool)
        self._monthly: int | None = None
        if self._contract.monthly_value is not None:
            self._monthly = self._numeric.index(self._contract.monthly_value)
            self._money = self._contract.features[self._contract.monthly_value]

    def rows(self, encoded: Encoded, items: "NDArray[np.int64]") -> tuple[Encoded, "NDArray[np.int64]"]:
        """One customer's rows after each of some items alone, of those where a model sees a change.

        Args:
            encoded: the customer, (1, …).
            items: places of m items.

        Returns:
            The rows, and which of the m items they belong to.
        """
        codes = self._codes[items[:, None], self._places.of(encoded.codes)]
        visible = self._changes[items] & (codes > _NOBODY).all(axis=1)
        new = self._numbers[items]
        numbers = np.where(np.isnan(new), encoded.numbers, new)
        if self._monthly is not None:
            numbers[:, self._monthly] = paid = numbers[:, self._monthly] * self._kept[items] + self._added[items]
            unknown = np.isnan(paid)
            # an offer that is a discount and nothing else is seen by its price alone
            visible |= (self._kept[items] < 1) & ~unknown & (codes > _NOBODY).all(axis=1)
            visible &= self._fits(paid) | unknown
        there = np.flatnonzero(visible)
        return Encoded(numbers[there], codes[there]), there

    def _fits(self, paid: "NDArray[np.float64]") -> "NDArray[np.bool_]":
        """Which monthly values the contract allows, (m,)."""
        low, high = self._money.bounds
        inside = (paid >= low) & (paid <= high)
        return inside & (paid == np.floor(paid)) if self._money.type == "integer" else inside

    def _table(self, taken: "dict[str, Scalar]") -> "NDArray[np.int64]":
        """What each place's code becomes where these values are set, (places,)."""
        own = [code for size in self._places.sizes.tolist() for code in (*range(size - 1), MISSING)]
        becomes = np.array(own, dtype=np.int64)
        new = {
            place: values(column).index(taken[column.name])
            for place, column in enumerate(self._columns)
            if column.name in taken
        }
        if self._seen is not None and new:
            places = [int(self._places.starts[place]) + code for place, code in new.items()]
            beside = np.logical_and.reduce(self._seen.together[places], axis=0)
            if not beside[places].all():
                return np.full(len(becomes), _NOBODY)
            for place in range(len(self._columns)):
                self._repair(becomes, place, beside)
        for place, code in new.items():
            becomes[self._places.starts[place] : self._places.starts[place + 1]] = code
        return becomes

    def _repair(self, becomes: "NDArray[np.int64]", place: int, beside: "NDArray[np.bool_]") -> None:
        """Replace a column's values that were never seen beside the new ones."""
        part = slice(int(self._places.starts[place]), int(self._places.starts[place + 1]))
        owned, seen = self._owned[place], beside[part]
        strange = ~seen
        becomes[part][strange] = _NOBODY
        if owned is None:
            return
        free = np.flatnonzero(seen[:-1] & ~owned[:-1])
        if len(free):
            becomes[part][strange & ~owned] = free[0]


def _codes_owned(contract: "Contract", name: str) -> "NDArray[np.bool_] | None":
    """Which codes of a product's column mean "owns it", the last one being a missing value; None of another column."""
    entry = contract.products.get(name)
    if entry is None:
        return None
    return np.array([*(value in entry.owned for value in values(contract.features[name])), False])


def _number(taken: "dict[str, Scalar]", name: str) -> float:
    return float(taken[name]) if name in taken else np.nan
