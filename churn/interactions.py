"""What customers did with what was recommended to them: shown, clicked, accepted, refused.

What a customer refused is not recommended to him again for a time, the answers to an offer make its
expected acceptance better, and what was accepted or clicked joins the next training of the recommender.
:mod:`churn.interaction_records` writes them.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, func, select, union

from churn.schema import interactions as table

if TYPE_CHECKING:
    from sqlalchemy import Select

    from churn.settings import Settings
    from churn.store import Store

WEIGHTS = {"shown": 0.0, "clicked": 0.3, "accepted": 1.0, "refused": 0.0}
"""What an event says of a customer's liking, from 0 to 1."""


class Kept(NamedTuple):
    """An interaction as the store has it."""

    id: int
    customer_id: str
    item: str
    event: str
    at: datetime
    received: datetime
    by: str
    version: str | None

    @classmethod
    def of(cls, row: Any) -> "Kept":
        """A row of the table as what it means."""
        return cls(*(getattr(row, name) for name in cls._fields))


class Known(NamedTuple):
    """A customer's last answer to each item, since a moment."""

    refused: frozenset[str]
    accepted: frozenset[str]


NOTHING_KNOWN = Known(frozenset(), frozenset())


class Counts(NamedTuple):
    """Customers who had to do with an item. Whoever clicked or answered was shown it, whether or not that was told."""

    shown: int
    accepted: int
    refused: int


class Weighted(NamedTuple):
    """What a training takes of a customer and an item; the weight is above 0 and at most 1."""

    customer_id: str
    item: str
    weight: float


def page(store: "Store", customer_id: str, number: int, limit: int) -> tuple[list[Kept], int]:
    """Some of a customer's interactions, newest first, and how many there are.

    Args:
        number: of the page, from 1.
        limit: of a page.
    """
    if "\0" in customer_id:  # PostgreSQL has no such text
        return [], 0
    ours = table.c.customer_id == customer_id
    ordered = table.select().where(ours).order_by(table.c.at.desc(), table.c.id.desc())
    with store.read() as connection:
        total = connection.execute(select(func.count()).where(ours)).scalar_one()
        found = connection.execute(ordered.limit(limit).offset((number - 1) * limit))
        return [Kept.of(row) for row in found], total


def held_back_since(settings: "Settings") -> datetime:
    """The moment since which a refusal counts."""
    return datetime.now(UTC) - timedelta(days=settings.refused_days)


_ANSWERS = (table.c.event == "accepted") | (table.c.event == "refused")
_IN_TIME = (table.c.at, table.c.id)
# made once: each request for a recommendation asks it
_OF_ONE = (
    select(table.c.item, table.c.event)
    .where(table.c.customer_id == bindparam("customer"), table.c.at >= bindparam("since"), _ANSWERS)
    .order_by(*_IN_TIME)
)

_BEHIND = select(table.c.customer_id).where(table.c.id > bindparam("after"), table.c.at >= bindparam("since"), _ANSWERS)
"""Without a DISTINCT, for which SQLite would walk an index from end to end instead of reading on from the last."""


def known(store: "Store", customer_id: str, since: datetime) -> Known:
    """What a customer answered last to each item, as far as that was since a moment.

    Raises:
        Unavailable, NotReady: as :class:`churn.store.Store`.
    """
    if "\0" in customer_id:  # PostgreSQL has no such text
        return NOTHING_KNOWN
    with store.read() as connection:
        last = dict(connection.execute(_OF_ONE, {"customer": customer_id, "since": since}).all())
    return _known(last)


def answered(store: "Store", since: datetime, after: int, most: int) -> tuple[int, set[str]]:
    """The customers who have answered since a moment, of the interactions behind one; and the newest there is.

    Args:
        after: the interaction's number, 0 for all.
        most: customers that are told.
    """
    newest = select(func.coalesce(func.max(table.c.id), 0))
    found: set[str] = set()
    with store.read() as connection:
        last = int(connection.execute(newest).scalar_one())
        if last > after:
            asked = connection.execution_options(yield_per=1_000).execute(_BEHIND, {"after": after, "since": since})
            for customer in asked.scalars():  # what is written between the two is told now and once more
                found.add(customer)
                if len(found) >= most:
                    break
    return last, found


def all_known(store: "Store", since: datetime) -> dict[str, Known]:
    """The same of every customer who has answered since."""
    asked = select(table.c.customer_id, table.c.item, table.c.event).where(table.c.at >= since, _ANSWERS)
    last: dict[str, dict[str, str]] = {}
    with store.read() as connection:
        ordered = asked.order_by(*_IN_TIME)
        for customer, item, event in connection.execution_options(yield_per=1_000).execute(ordered):
            last.setdefault(customer, {})[item] = event
    return {customer: _known(answers) for customer, answers in last.items()}


def _known(last: dict[str, str]) -> Known:
    refused, accepted = (
        frozenset(item for item, event in last.items() if event == wanted) for wanted in ("refused", "accepted")
    )
    return Known(refused, accepted)


def offer_counts(store: "Store", offers: Iterable[str]) -> dict[str, Counts]:
    """How many customers had to do with each offer, by its name; one of which nothing is known is left out."""
    found = {}
    with store.read() as connection:
        for offer in offers:
            shown, accepted, refused = (
                int(connection.execute(asked, {"item": offer}).scalar_one()) for asked in (_OF_ALL, *_OF_EACH)
            )
            if shown:
                found[offer] = Counts(shown, accepted, refused)
    return found


def _customers(*events: str) -> "Select[Any]":
    """How many had to do with an item in one of these ways. Each way by itself is in the order of an index: a
    COUNT(DISTINCT …) over all of them takes SQLite twice as long."""
    of_item = select(table.c.customer_id).where(table.c.item == bindparam("item"))
    each = [of_item.where(table.c.event == event).distinct() for event in events]
    return select(func.count()).select_from(union(*each).subquery())


_OF_ALL = _customers(*WEIGHTS)
_OF_EACH = (_customers("accepted"), _customers("refused"))


def weights(store: "Store") -> Iterator[Weighted]:
    """What customers like, by customer and item: the most that they showed since they refused it last."""
    asked = select(table.c.customer_id, table.c.item, table.c.event).where(table.c.event != "shown")
    ordered = asked.order_by(table.c.customer_id, table.c.item, *_IN_TIME)
    with store.read() as connection:
        rows = connection.execution_options(yield_per=1_000).execute(ordered)
        for (customer, item), events in groupby(rows, lambda row: (row[0], row[1])):
            weight = 0.0
            for _, _, event in events:
                weight = 0.0 if event == "refused" else max(weight, WEIGHTS[event])
            if weight > 0:
                yield Weighted(customer, item, weight)


def for_training(settings: "Settings") -> Iterator[Weighted]:
    """:func:`weights`, as they are asked for; none where there is no store yet, which this does not make.

    Raises:
        Unavailable, NotReady: the store cannot be asked: there may be interactions that nobody sees.
    """
    from churn.store import existing

    with existing(settings) as store:
        if store is not None:
            yield from weights(store)


__all__ = [
    "NOTHING_KNOWN",
    "WEIGHTS",
    "Counts",
    "Kept",
    "Known",
    "Weighted",
    "all_known",
    "answered",
    "for_training",
    "held_back_since",
    "known",
    "offer_counts",
    "page",
    "weights",
]
