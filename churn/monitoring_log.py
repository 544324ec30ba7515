"""What each look at the customers has found, and what came of it."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Row, Select

    from churn.store import Store


@dataclass(frozen=True)
class Look:
    """One look."""

    key: str
    """Names the run that looked; the same key is one look."""
    at: datetime
    version: str
    """The version in service that was looked at."""
    current_hash: str
    """SHA-256 of the file of the customers."""
    retrain: bool
    """Whether it calls for a training."""
    reason: str
    report: str
    """Where its page is, from the address of MLflow's pages on."""
    figures: dict[str, Any]


def keep(store: "Store", look: Look) -> None:
    """Write a look down, in the place of an earlier one of the same key.

    Raises:
        Unavailable, NotReady: as :class:`churn.store.Store`.
    """
    from churn.schema import monitoring_runs as table
    from churn.store import fit_key

    key = fit_key(look.key)
    told = {**vars(look), "key": key, "figures": json.dumps(look.figures, ensure_ascii=False)}
    with store.write(alone=True) as connection:
        connection.execute(table.delete().where(table.c.key == key))
        connection.execute(table.insert().values(told))


def latest(store: "Store", limit: int = 10) -> list[Look]:
    """The looks, newest first.

    Raises:
        Unavailable, NotReady: as :class:`churn.store.Store`.
    """
    from churn.schema import monitoring_runs as table

    return _read(store, table.select().limit(limit))


def calls(store: "Store", but: str = "") -> list[Look]:
    """The looks that called for a training, newest first, the one of a key left out.

    Raises:
        Unavailable, NotReady: as :class:`churn.store.Store`.
    """
    from churn.schema import monitoring_runs as table
    from churn.store import fit_key

    return _read(store, table.select().where(table.c.retrain, table.c.key != fit_key(but)))


def _read(store: "Store", asked: "Select[Any]") -> list[Look]:
    from churn.schema import monitoring_runs as table

    with store.read() as connection:
        return [_look(row) for row in connection.execute(asked.order_by(table.c.at.desc(), table.c.id.desc()))]


def _look(row: "Row[Any]") -> Look:
    figures = json.loads(row.figures)
    return Look(row.key, row.at, row.version, row.current_hash, row.retrain, row.reason, row.report, figures)
