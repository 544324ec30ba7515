"""What customers own, could own and are eligible for, as truth values over whole arrays of rows."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from churn.encoding import Encoder, values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.contract import Contract
    from churn.encoding import Encoded

Required = Mapping[str, Sequence[Any]]
"""Columns and the values that they may have."""


class Ownership:
    """Reads products and offers off encoded rows.

    A value that is missing meets no condition, so that a customer of whom a product's column says
    nothing does not own it.

    Args:
        contract: of the rows.
    """

    def __init__(self, contract: "Contract") -> None:
        encoder = Encoder(contract)
        self.products = list(contract.products)
        """Their columns, in the contract's order."""
        self.offers = list(contract.offers)
        products, offers = contract.products.values(), contract.offers.values()
        self._owned = ConditionGroups([{name: contract.products[name].owned} for name in self.products], encoder)
        self._required = ConditionGroups([product.requires for product in products], encoder)
        self._eligible = ConditionGroups([offer.eligibility for offer in offers], encoder)

    def owned(self, encoded: "Encoded") -> "NDArray[np.bool_]":
        """Which products each customer owns, (n, products)."""
        return self._owned.met(encoded)

    def allowed(self, encoded: "Encoded") -> "NDArray[np.bool_]":
        """For which products each customer has what they require, owned or not, (n, products)."""
        return self._required.met(encoded)

    def possible(self, encoded: "Encoded") -> "NDArray[np.bool_]":
        """Which products each customer does not own and has what they require, (n, products)."""
        return self.allowed(encoded) & ~self.owned(encoded)

    def eligible(self, encoded: "Encoded") -> "NDArray[np.bool_]":
        """Which offers' eligibility each customer meets, (n, offers). Their bands are the caller's to ask."""
        return self._eligible.met(encoded)


class ConditionGroups:
    """Groups of conditions; a group is met where all of its conditions are.

    Args:
        groups: an empty one is always met.
        encoder: of the rows that will be asked about.
    """

    def __init__(self, groups: Sequence[Required], encoder: Encoder) -> None:
        coded = {column.name: place for place, column in enumerate(encoder.categorical)}
        single = {(name, tuple(allowed)): None for group in groups for name, allowed in group.items()}
        by_code = [one for one in single if one[0] in coded]
        by_number = [one for one in single if one[0] not in coded]
        self._columns = np.array([coded[name] for name, _ in by_code], dtype=np.intp)
        self._lines = np.arange(len(by_code))
        self._tables = _tables(by_code, encoder)
        number = {column.name: place for place, column in enumerate(encoder.numeric)}
        self._numbers = [(number[name], np.array(allowed, dtype=np.float64)) for name, allowed in by_number]
        # a condition that is always met stands last: it fills up the shorter groups
        where = {one: place for place, one in enumerate([*by_code, *by_number])}
        widest = max([1, *map(len, groups)])
        self._groups = np.full((len(groups), widest), len(where), dtype=np.intp)
        for line, group in enumerate(groups):
            self._groups[line, : len(group)] = [where[name, tuple(allowed)] for name, allowed in group.items()]

    def met(self, encoded: "Encoded") -> "NDArray[np.bool_]":
        """Which groups each row meets, (n, groups)."""
        single = np.ones((len(encoded), len(self._lines) + len(self._numbers) + 1), dtype=bool)
        if len(self._lines):
            single[:, : len(self._lines)] = self._tables[self._lines, encoded.codes[:, self._columns]]
        for place, (column, allowed) in enumerate(self._numbers, start=len(self._lines)):
            single[:, place] = np.isin(encoded.numbers[:, column], allowed)
        if self._groups.shape[1] == 1:
            return single[:, self._groups[:, 0]]
        return np.asarray(single[:, self._groups].all(axis=2))


def _tables(conditions: Sequence[tuple[str, Sequence[Any]]], encoder: Encoder) -> "NDArray[np.bool_]":
    """For each condition, (conditions, codes), whether a code meets it; a missing one's, -1, finds the last."""
    known = {column.name: values(column) for column in encoder.categorical}
    width = max([len(known[name]) for name, _ in conditions], default=0) + 1
    tables = np.zeros((len(conditions), width), dtype=bool)
    for table, (name, allowed) in zip(tables, conditions, strict=True):
        kinds = {(type(value), value) for value in allowed}  # True is not 1
        table[: len(known[name])] = [(type(value), value) in kinds for value in known[name]]
    return tables
