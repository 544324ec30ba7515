"""The predictions served, as they are kept: when, by which version, of which input, how probable.

The input itself is not kept, only its hash: the store holds nothing of a customer.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from churn.contract import Contract
    from churn.store import Store

_ARRAYS = {"at": "timestamptz", "model": "text", "version": "text", "input_hash": "text", "probability": "float8"}
"""The columns and their types in PostgreSQL."""
_AT_ONCE = 150
"""Rows of one statement of SQLite, of which an old one takes 999 values."""
CHUNK = 5_000
"""Rows that one transaction writes or removes at most: the others wait for no more than that."""


class Row(NamedTuple):
    """One prediction."""

    at: datetime
    model: str
    version: str
    input_hash: str
    probability: float


class InputHash:
    """SHA-256, in hex, of a customer's features as JSON: ``{"columns":[…],"values":[…]}``, without
    spaces, in the contract's order.

    The id is not of it, and every value is as :meth:`churn.columns.Column.read` gives it: 27 and
    27.0 in an integer's column, 80 and 80.0 in a number's, are the same.
    """

    def __init__(self, contract: "Contract") -> None:
        self._names = list(contract.features)
        self._numbers = [place for place, name in enumerate(self._names) if contract.features[name].type == "number"]
        # the columns are hashed once, and each customer's values after them
        self._begun = hashlib.sha256(
            f'{{"columns":{_ENCODER.encode(self._names)},"values":'.encode("utf-8", "surrogatepass")
        )

    def values(self, customer: Mapping[str, Any]) -> tuple[Any, ...]:
        """What is hashed of a customer: much smaller than the customer."""
        return tuple([customer[name] for name in self._names])

    def of(self, values: tuple[Any, ...]) -> str:
        """The hash of a customer's :meth:`values`."""
        told = list(values)
        for place in self._numbers:
            if told[place] is not None:
                told[place] = float(told[place]) + 0.0  # -0.0 is 0.0
        found = self._begun.copy()
        found.update(f"{_ENCODER.encode(told)}}}".encode("utf-8", "surrogatepass"))
        return found.hexdigest()


# json.dumps would make one for each customer
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def write(store: "Store", rows: Sequence[Row]) -> None:
    """Write predictions, all or none.

    Raises:
        Unavailable, NotReady: as :class:`churn.store.Store`.
    """
    if not rows:
        return
    with store.write() as connection:
        if connection.dialect.name == "postgresql":
            _write_arrays(connection, rows)
        else:
            _write_values(connection, rows)


def _write_arrays(connection: "Connection", rows: Sequence[Row]) -> None:
    """An array for each column: less than half the work of as many rows of values, here and in the server."""
    from sqlalchemy import text

    columns = ", ".join(_ARRAYS)
    arrays = ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in _ARRAYS.items())
    statement = text(f"INSERT INTO predictions ({columns}) SELECT * FROM unnest({arrays})")  # noqa: S608  # constants
    values = zip(*rows, strict=True)
    connection.execute(statement, dict(zip(_ARRAYS, map(list, values), strict=True)))


def _write_values(connection: "Connection", rows: Sequence[Row]) -> None:
    """Many rows in one statement: Python's sqlite3 lets go of the interpreter once for each, and has to
    fight the requests for it each time."""
    for start in range(0, len(rows), _AT_ONCE):
        piece = rows[start : start + _AT_ONCE]
        marks = ", ".join(["(?, ?, ?, ?, ?)"] * len(piece))
        values = ((_moment(row.at), *row[1:]) for row in piece)
        connection.exec_driver_sql(
            f"INSERT INTO predictions ({', '.join(_ARRAYS)}) VALUES {marks}",  # noqa: S608  # constants
            tuple(chain.from_iterable(values)),
        )


def _moment(at: datetime) -> str:
    """As :class:`churn.store.Moment` has SQLite keep it."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def prune(store: "Store", before: datetime, most: int = CHUNK) -> int:
    """Remove the oldest predictions of before a moment, and no more than so many of them.

    Returns:
        How many were removed; as many as ``most`` means that there may be more.

    Raises:
        Unavailable, NotReady: as :class:`churn.store.Store`.
    """
    from sqlalchemy import select

    from churn.store import predictions

    old = select(predictions.c.id).where(predictions.c.at < before).order_by(predictions.c.at).limit(most)
    with store.write() as connection:
        return connection.execute(predictions.delete().where(predictions.c.id.in_(old))).rowcount


def newest(store: "Store", limit: int = 100) -> list[Row]:
    """The predictions served last, newest first.

    Raises:
        Unavailable, NotReady: as :class:`churn.store.Store`.
    """
    from churn.store import predictions

    ordered = predictions.select().order_by(predictions.c.at.desc(), predictions.c.id.desc()).limit(limit)
    with store.read() as connection:
        found = connection.execute(ordered)
        return [Row(row.at, row.model, row.version, row.input_hash, row.probability) for row in found]


__all__ = ["CHUNK", "InputHash", "Row", "newest", "prune", "write"]
