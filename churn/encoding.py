"""Rows as two arrays of numbers: what the compiled scorer takes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from churn.columns import Column
    from churn.contract import Contract

MISSING = -1
"""The code of a category that is missing; a missing number is NaN."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Validated rows. The columns of each array stand in the contract's order."""

    numbers: "NDArray[np.float64]"
    """(n, integers and numbers)"""
    codes: "NDArray[np.int64]"
    """(n, categories and booleans): where a value stands among its column's :func:`values`."""

    def __len__(self) -> int:
        return len(self.numbers)

    def at(self, rows: "slice | NDArray[np.int64] | NDArray[np.intp] | NDArray[np.bool_]") -> "Encoded":
        """Some of the rows."""
        return Encoded(self.numbers[rows], self.codes[rows])


def values(column: "Column") -> list[Any]:
    """The values of a category or boolean, in the order of their codes."""
    return [False, True] if column.type == "boolean" else list(column.values)


class Encoder:
    """Encodes the validated rows of one contract, and decodes them."""

    def __init__(self, contract: "Contract") -> None:
        columns = contract.features.values()
        self.numeric = [column for column in columns if column.is_numeric]
        self.categorical = [column for column in columns if not column.is_numeric]
        self._numeric = [column.name for column in self.numeric]
        self._codes = [
            (column.name, {None: MISSING} | {value: code for code, value in enumerate(values(column))})
            for column in self.categorical
        ]
        self.names = list(contract.features)
        """Of all columns, in the contract's order."""

    def customers(self, customers: Sequence[Mapping[str, Any]]) -> Encoded:
        """Customers whose values :meth:`Column.read` has passed."""
        numbers = np.array([[customer[name] for name in self._numeric] for customer in customers], dtype=np.float64)
        codes = np.array([[c[customer[name]] for name, c in self._codes] for customer in customers], dtype=np.int64)
        # without a column of a kind, its array still has one line per customer
        shape = len(customers), -1
        return Encoded(numbers.reshape(shape), codes.reshape(shape))

    def frame(self, rows: "pd.DataFrame") -> Encoded:
        """Rows in the types that :func:`churn.data.validate` gives, (n, columns)."""
        import pandas as pd

        numbers = np.empty((len(rows), len(self.numeric)))
        for place, column in enumerate(self.numeric):
            numbers[:, place] = rows[column.name]
        codes = np.empty((len(rows), len(self.categorical)), dtype=np.int64)
        for place, column in enumerate(self.categorical):
            known = pd.Index(values(column), dtype=object)
            codes[:, place] = known.get_indexer(pd.Index(rows[column.name], dtype=object))
        return Encoded(numbers, codes)

    def rows(self, encoded: Encoded) -> "pd.DataFrame":
        """The rows as the pipeline takes them: the reverse of :meth:`frame`."""
        import pandas as pd

        found: dict[str, Any] = {}
        for place, column in enumerate(self.numeric):
            exact = column.type == "integer" and not column.may_be_missing
            found[column.name] = encoded.numbers[:, place].astype("int64" if exact else "float64")
        for place, column in enumerate(self.categorical):
            exact = column.type == "boolean" and not column.may_be_missing
            known = np.array([*values(column), None], dtype=object)  # the code of a missing one is the last
            found[column.name] = pd.Series(known[encoded.codes[:, place]], dtype=bool if exact else object)
        return pd.DataFrame({name: found[name] for name in self.names})


def customers(encoded: Encoded, encoder: Encoder) -> list[dict[str, Any]]:
    """The rows as plain values that JSON can hold, a missing one being None."""
    told = []
    for numbers, codes in zip(encoded.numbers.tolist(), encoded.codes.tolist(), strict=True):
        row: dict[str, Any] = {}
        for column, number in zip(encoder.numeric, numbers, strict=True):
            whole = column.type == "integer" and not math.isnan(number)
            row[column.name] = None if math.isnan(number) else int(number) if whole else number
        for column, code in zip(encoder.categorical, codes, strict=True):
            row[column.name] = None if code == MISSING else values(column)[code]
        told.append(row)
    return told
