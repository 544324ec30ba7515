"""Writing interactions: each is kept once, however often it is told."""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from churn.errors import Fault, Refused
from churn.interaction_reading import KEY, Interaction
from churn.interactions import Kept
from churn.schema import interactions as table

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from churn.store import Store

CHUNK = 2_000
"""Interactions that one transaction writes at most: on SQLite all other writers wait for it."""
_LOOK_UP = 500
"""Keys that are looked up at once: an old SQLite takes 999 values in a statement."""


class Recorded(NamedTuple):
    """What has been done with interactions."""

    kept: list[Kept]
    """Each of those that were told, in order, as it was recorded first; the id is 0 in a dry run."""
    new: int


class _Mark(NamedTuple):
    """What an interaction is told apart by, and the hash of what is said under it; None where nothing does."""

    key: str | None
    digest: str | None


class _Place(NamedTuple):
    """Where the interaction of a key is: in the store, or among the new ones."""

    digest: str | None
    where: Kept | int


def record(
    store: "Store", told: Sequence[Interaction], *, by: str, request_key: str | None = None, dry_run: bool = False
) -> Recorded:
    """Keep interactions, all or none, in one transaction: at most :data:`CHUNK` of them.

    One that was told before is not kept again, and the answer is as it was then: under the same key, by
    the same caller; or, without a key, of the same customer, item, event, moment and version, whoever
    tells it. Of one with neither a key nor a moment nobody could know that it is the same.

    Args:
        by: who tells of them.
        request_key: what the caller calls all of them together by, instead of a key for each.
        dry_run: whether to do all but keep them.

    Raises:
        Refused: something else was told under the same key.
        Unavailable, NotReady: as :class:`churn.store.Store`.
    """
    marks = _marks(told, by, request_key)
    now = datetime.now(UTC)
    rows: list[dict[str, Any]] = []
    found: list[Kept | int] = []
    with store.write(alone="interactions") as connection:
        places = _places(connection, [mark.key for mark in marks if mark.key])
        for one, mark in zip(told, marks, strict=True):
            place = places.get(mark.key or "")
            if place is None:
                place = _Place(mark.digest, len(rows))
                rows.append(_row(one, mark, now, by))
                places |= {mark.key: place} if mark.key else {}
            elif place.digest != mark.digest:
                raise Refused(_another(one.key or request_key))
            found.append(place.where)
        made = _unkept(rows) if dry_run else _insert(connection, rows)
    return Recorded([made[where] if isinstance(where, int) else where for where in found], len(rows))


class Check:
    """Whether interactions may be kept that are too many for one transaction; nothing is written.

    Of each it holds 32 bytes at most: numbers made of the first 8 bytes of its hashes. Two keys of ten million have the
    same number once in 400,000 times.

    Args:
        by: who tells of them.

    Raises:
        Unavailable, NotReady: from :meth:`add`, as :class:`churn.store.Store`.
    """

    def __init__(self, store: "Store", by: str) -> None:
        self._store, self._by = store, by
        self._seen: list[NDArray[np.int64]] = []
        """(n, 3): key, what is said under it, row."""
        self._kept: list[NDArray[np.int64]] = []
        """(n,): the keys that the store has."""

    def add(self, told: Sequence[Interaction]) -> list[Fault]:
        """Look some up; what is wrong: keys under which the store has something else."""
        marks = [(one, mark) for one in told if (mark := _mark(one, self._by)).key]
        faults = []
        for start in range(0, len(marks), CHUNK):
            some = marks[start : start + CHUNK]
            with self._store.read() as connection:
                places = _places(connection, [str(mark.key) for _, mark in some])
            self._kept.append(np.array([_number(key) for key in places], dtype=np.int64))
            for one, mark in some:
                place = places.get(str(mark.key))
                if place and place.digest != mark.digest:
                    faults.append(Fault(one.row, KEY, one.key, _USED))
        self._seen.append(_numbers([(_number(mark.key), _number(mark.digest), one.row) for one, mark in marks]))
        return faults

    def contradictions(self) -> list[Fault]:
        """Of all that were added, those that tell something else under a key than the first of that key."""
        seen = self._all
        _, first, of = np.unique(seen[:, 0], return_index=True, return_inverse=True)
        firsts = seen[first[of]]
        other = np.flatnonzero(firsts[:, 1] != seen[:, 1])
        return [
            Fault(int(seen[place, 2]), KEY, None, f"row {firsts[place, 2]} tells something else under the same key")
            for place in other
        ]

    def new(self) -> int:
        """How many of them, each counted once, the store does not have."""
        kept = np.concatenate([np.empty(0, np.int64), *self._kept])
        return len(np.setdiff1d(self._all[:, 0], kept))

    @property
    def _all(self) -> "NDArray[np.int64]":
        return np.concatenate([_numbers([]), *self._seen])


_USED = "was used before, and something else was told under it; take a new one"


def _numbers(rows: list[tuple[int, int, int]]) -> "NDArray[np.int64]":
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def _number(hashed: str | None) -> int:
    return int.from_bytes(bytes.fromhex(hashed or "")[:8], signed=True)


def _another(key: str | None) -> str:
    return f"the idempotency key {key!r} {_USED}"


def _marks(told: Sequence[Interaction], by: str, request_key: str | None) -> list[_Mark]:
    if request_key is None:
        return [_mark(one, by) for one in told]
    # of the whole body: under the same key nothing may be added to it either
    digest = _hash([one.told for one in told])
    return [_Mark(_hash(["request", by, request_key, place]), digest) for place in range(len(told))]


def _mark(one: Interaction, by: str) -> _Mark:
    if one.key is not None:
        return _Mark(_hash(["key", by, one.key]), _hash(one.told))
    if one.at is not None:
        return _Mark(_hash(["same", *one.told]), _hash(one.told))
    return _Mark(None, None)


def _hash(told: list[Any]) -> str:
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _places(connection: "Connection", keys: Sequence[str]) -> dict[str, _Place]:
    found: dict[str, _Place] = {}
    for start in range(0, len(keys), _LOOK_UP):
        asked = table.select().where(table.c.key.in_(keys[start : start + _LOOK_UP]))
        found |= {row.key: _Place(row.digest, Kept.of(row)) for row in connection.execute(asked)}
    return found


def _row(one: Interaction, mark: _Mark, now: datetime, by: str) -> dict[str, Any]:
    values = {"customer_id": one.customer_id, "item": one.item, "event": one.event, "version": one.version}
    return values | {"at": one.at or now, "received": now, "by": by} | mark._asdict()


def _insert(connection: "Connection", rows: list[dict[str, Any]]) -> list[Kept]:
    if not rows:
        return []
    statement = table.insert().returning(table.c.id, sort_by_parameter_order=True)
    numbers = connection.execute(statement, rows).scalars()
    return [one._replace(id=number) for one, number in zip(_unkept(rows), numbers, strict=True)]


def _unkept(rows: list[dict[str, Any]]) -> list[Kept]:
    return [Kept(0, *(row[name] for name in Kept._fields[1:])) for row in rows]


__all__ = ["CHUNK", "Check", "Recorded", "record"]
