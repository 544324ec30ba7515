"""The truth that has come in: the last outcome of each customer, and how it joins a training."""

import hashlib
import json
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

    from churn.contract import Contract
    from churn.settings import Settings
    from churn.store import Store

log = logging.getLogger(__name__)

_PIECE = 10_000


class Kept(NamedTuple):
    """An outcome as the store has it; from ``scored`` on all None where he had not been scored before."""

    customer_id: str
    churned: bool
    at: datetime
    scored: datetime | None
    model: str | None
    version: str | None
    probability: float | None
    features: dict[str, Any] | None
    """By column, as JSON has them."""


class Proved(NamedTuple):
    """What an outcome says of the score that was given before it."""

    churned: bool
    probability: float
    model: str
    version: str


class Known(NamedTuple):
    """What a look at the outcomes takes of them."""

    proved: list[Proved]
    """Of the last outcome of each customer, where he had been scored before it."""
    joinable: int
    """How many outcomes there are that a training could learn from, earlier ones of a customer among them:
    who is told of anew is something new."""


def newest(store: "Store") -> Iterator[Kept]:
    """The last outcome of each customer, by his id. A customer may stay, and leave later.

    Raises:
        Unavailable, NotReady: as :class:`churn.store.Store`.
    """
    return (one for one, last in _all(store) if last)


def _all(store: "Store") -> Iterator[tuple[Kept, bool]]:
    """Every outcome by customer, the last one first, and whether it is that."""
    from churn.schema import outcomes as table

    ordered = table.select().order_by(table.c.customer_id, table.c.at.desc())
    before = None
    with store.read() as connection:
        for row in connection.execution_options(yield_per=1_000).execute(ordered):
            told = json.loads(row.features) if row.features else None
            values = (row.at, row.scored, row.model, row.version, row.probability, told)
            yield Kept(row.customer_id, row.churned, *values), row.customer_id != before
            before = row.customer_id


def known(store: "Store", contract: "Contract") -> Known:
    """What the outcomes say of scores, and how many could be learned from: read one by one, since there may
    be millions.

    Raises:
        Unavailable, NotReady: as :class:`churn.store.Store`.
    """
    proved, joinable = [], 0
    for one, last in _all(store):
        joinable += _fits(one, contract)
        if last and one.probability is not None:
            names = sys.intern(one.model or ""), sys.intern(one.version or "")  # a few, and not a copy for each
            proved.append(Proved(one.churned, one.probability, *names))
    return Known(proved, joinable)


def _fits(one: Kept, contract: "Contract") -> bool:
    return bool(one.features) and not contract.read(one.features or {})[1]


def summary(store: "Store") -> dict[str, Any]:
    """How many outcomes there are: ``outcomes``, ``customers``, ``churned``, ``unscored``, and ``first``,
    ``last`` and ``received``, None where there are none.

    Raises:
        Unavailable, NotReady: as :class:`churn.store.Store`.
    """
    from sqlalchemy import case, func, select

    from churn.schema import outcomes as table

    asked = select(
        func.count().label("outcomes"),
        func.count(table.c.customer_id.distinct()).label("customers"),
        func.count(case((table.c.churned, 1))).label("churned"),
        func.count(case((table.c.scored.is_(None), 1))).label("unscored"),
        func.min(table.c.at).label("first"),
        func.max(table.c.at).label("last"),
        func.max(table.c.received).label("received"),
    )
    with store.read() as connection:
        return dict(connection.execute(asked).one()._mapping)


def kept(settings: "Settings") -> Iterator[Kept]:
    """The last outcome of each customer, as it is asked for; none where there is no store yet, which this
    does not make.

    Raises:
        Unavailable, NotReady: the store cannot be asked: there may be outcomes that nobody sees.
    """
    from churn.store import existing

    with existing(settings) as store:
        if store is not None:
            yield from newest(store)


def join(
    frame: "pd.DataFrame", contract: "Contract", outcomes: Iterable[Kept]
) -> "tuple[pd.DataFrame, dict[str, str]]":
    """Training rows with what has become of customers since, and what to write down of it.

    A customer among the rows gets the outcome as his target, and the features that he had when he was
    scored last before it: those of after it would tell what is to be predicted. Others are added.
    An outcome of a customer who was not scored before it, or whose features do not fit the
    present contract, is passed over. Of the outcomes no more than some thousands are held as they came.

    Args:
        frame: as :func:`churn.data.validate` gives it, with ids and target.

    Returns:
        The frame, in the same types, and ``outcomes`` (how many joined) and ``outcomes_hash``; nothing
        where none has joined.
    """
    import pandas as pd

    if not contract.id:
        return frame, {}
    taken, left, pieces = hashlib.sha256(), 0, []
    for some in _pieces(outcomes):
        fitting = [one for one in some if _fits(one, contract)]
        left += len(some) - len(fitting)
        if fitting:
            pieces.append(_rows(fitting, contract)[frame.columns])
        for one in fitting:
            taken.update(json.dumps([one.customer_id, one.churned, one.features], sort_keys=True).encode())
    if left:
        log.warning("%d outcomes join no training: not scored before it, or under another contract", left)
    if not pieces:
        return frame, {}
    rows = pd.concat(pieces, ignore_index=True)
    others = frame[~frame[contract.id].str.strip().isin(rows[contract.id])]
    joined = pd.concat([others, rows], ignore_index=True)
    log.info("%d outcomes join the training, %d of them of further customers", len(rows), len(joined) - len(frame))
    return joined, {"outcomes": str(len(rows)), "outcomes_hash": taken.hexdigest()}


def _pieces(outcomes: Iterable[Kept]) -> Iterator[list[Kept]]:
    several = iter(outcomes)
    return iter(lambda: list(islice(several, _PIECE)), [])


def _rows(outcomes: Sequence[Kept], contract: "Contract") -> "pd.DataFrame":
    """Outcomes that fit, as training rows: the id, the features and the target."""
    import pandas as pd

    from churn.encoding import Encoder

    encoder = Encoder(contract)
    rows = encoder.rows(encoder.customers([contract.read(one.features or {})[0] for one in outcomes]))
    rows.insert(0, str(contract.id), pd.Series([one.customer_id for one in outcomes], dtype="str"))
    rows[contract.target.column] = pd.Series([one.churned for one in outcomes]).astype("int64")
    return rows
