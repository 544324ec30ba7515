"""An interaction as a request or a file tells it: every field held against what it may be."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from churn.errors import Fault
from churn.outcomes import read_at

Event = Literal["shown", "clicked", "accepted", "refused"]
EVENTS: tuple[Event, ...] = get_args(Event)
ID, ITEM, EVENT, AT, VERSION, KEY = "customer_id", "item", "event", "at", "version", "idempotency_key"
"""The fields of an interaction, in a request and as columns of a file."""
FIELDS = (ID, ITEM, EVENT, AT, VERSION, KEY)
LONGEST_ID, LONGEST_KEY, LONGEST_VERSION = 250, 200, 20


@dataclass(frozen=True, slots=True)
class Interaction:
    """What one customer did with one item."""

    row: int
    """Where it stands in its request or file, for messages."""
    customer_id: str
    item: str
    event: str
    at: datetime | None = None
    """None: now."""
    version: str | None = None
    """The recommender's version that recommended it, where that is known."""
    key: str | None = None
    """What the caller calls it by, so that it is kept once."""

    @property
    def told(self) -> list[str | None]:
        """What is said, as JSON has it."""
        at = None if self.at is None else self.at.astimezone(UTC).isoformat()
        return [self.customer_id, self.item, self.event, at, self.version]


class Reader:
    """Reads interactions.

    Args:
        items: those that there are to be recommended.
    """

    def __init__(self, items: Collection[str]) -> None:
        self._items = list(items)
        self._now = datetime.now(UTC)

    def read(self, row: int, given: Any) -> tuple[Interaction | None, list[Fault]]:
        """One interaction, or what is wrong with it.

        Args:
            row: where it stands, for messages.
        """
        if not isinstance(given, Mapping):
            return None, [Fault(row, "", given, "expected an object: an interaction")]
        told = {name: str(given[name]).strip() for name in (ID, VERSION) if given.get(name) is not None}
        at, _, wrong = read_at(given.get(AT), self._now)
        faults = [Fault(row, name, given.get(name), message) for name, message in self._faults(given, told, wrong)]
        if faults:
            return None, faults
        key = given.get(KEY) or None
        return Interaction(row, told[ID], given[ITEM], given[EVENT], at, told.get(VERSION), key), []

    def _faults(self, given: Mapping[str, Any], told: dict[str, str], wrong: str) -> Iterator[tuple[str, str]]:
        if not _is_name(given.get(ID)) or not _fits(told[ID], LONGEST_ID):
            yield ID, "expected the id of a customer: a text or a whole number"
        if given.get(ITEM) not in self._items:
            yield ITEM, f"there is no such item; expected one of {', '.join(self._items) or 'none: there are none'}"
        if given.get(EVENT) not in EVENTS:
            yield EVENT, f"expected one of {', '.join(EVENTS)}"
        if wrong:
            yield AT, wrong
        if given.get(VERSION) is not None and not (_is_name(given[VERSION]) and _fits(told[VERSION], LONGEST_VERSION)):
            yield VERSION, "expected the version of the recommender: a text or a whole number"
        if given.get(KEY) is not None and key_fault(given[KEY]):
            yield KEY, key_fault(given[KEY])
        for name in given:
            if name not in FIELDS:
                yield name, "an interaction has no such field"


def key_fault(key: object) -> str:
    """What is wrong with an idempotency key; empty where nothing is."""
    if isinstance(key, str) and _fits(key, LONGEST_KEY):
        return ""
    return f"expected a text of 1 to {LONGEST_KEY} characters"


def _is_name(given: object) -> bool:
    return isinstance(given, str | int) and not isinstance(given, bool)


def _fits(text: str, longest: int) -> bool:
    """Whether a database can hold it: no lone surrogate, no NUL."""
    whole = text.encode(errors="replace").decode() == text
    return bool(text.strip()) and len(text) <= longest and "\0" not in text and whole


__all__ = [
    "AT",
    "EVENT",
    "EVENTS",
    "FIELDS",
    "ID",
    "ITEM",
    "KEY",
    "VERSION",
    "Event",
    "Interaction",
    "Reader",
    "key_fault",
]
