"""The audit trail: who promoted, rolled back, made or revoked a key, from where, and what came of it.

An entry that cannot be written does not hold back what it tells of: a rollback in an emergency goes
ahead. The whole entry then stands in the log, at level ERROR.
"""

import getpass
import json
import logging
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from churn.errors import ChurnError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from churn.settings import Settings
    from churn.store import Store

DONE, UNCHANGED, REFUSED, FAILED = "done", "unchanged", "refused", "failed"
_LENGTHS = {"action": 40, "by": 250, "source": 100, "subject": 250, "outcome": 20, "detail": 2_000}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One thing that somebody did, or tried to."""

    at: datetime
    action: str
    """``promote``, ``rollback``, ``key.make`` or ``key.revoke``."""
    by: str
    source: str
    """From where: a remote address, ``command line`` or ``airflow``."""
    subject: str
    """What it was done to: a version, a key."""
    outcome: str
    """``done``; ``unchanged``: it was so already; ``refused`` and ``failed``, with the reason as detail."""
    detail: str

    def as_json(self) -> str:
        return json.dumps(asdict(self), default=datetime.isoformat, ensure_ascii=False)


Write = Callable[[Entry], None]
"""Takes an entry for the trail, and does not fail."""


def person() -> str:
    """Who runs this process, as ``user@host``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def entry(*, action: str, by: str, source: str, subject: str, outcome: str = DONE, detail: str = "") -> Entry:
    """An entry of this moment: printable, each text in one line and no longer than its column."""
    given = {"action": action, "by": by, "source": source, "subject": subject, "outcome": outcome, "detail": detail}
    return Entry(datetime.now(UTC), **{name: _line(told)[: _LENGTHS[name]] for name, told in given.items()})


def _line(told: str) -> str:
    return " ".join("".join(sign if sign.isprintable() else " " for sign in told).split())


def write(connection: "Connection", entries: Sequence[Entry]) -> None:
    """Write entries within a transaction."""
    from churn.store import audit

    connection.execute(audit.insert(), [asdict(one) for one in entries])


def writer(settings: "Settings") -> Write:
    """What writes entries to the store of the settings, or, where that fails, to the log."""

    def into_store(told: Entry) -> None:
        from churn.store import Store

        store = Store(settings)
        try:
            with store.write() as connection:
                write(connection, [told])
        except ChurnError as error:
            not_written(told, error)
        finally:
            store.close()

    return into_store


def not_written(told: Entry, why: object) -> None:
    """Keep an entry in the log."""
    log.error("the audit trail could not be written (%s): %s", why, told.as_json())


def entries(store: "Store", limit: int = 50) -> list[Entry]:
    """The newest entries, newest first.

    Raises:
        Unavailable, NotReady: as :class:`churn.store.Store`.
    """
    from churn.store import audit

    newest = audit.select().order_by(audit.c.at.desc(), audit.c.id.desc()).limit(limit)
    with store.read() as connection:
        found = connection.execute(newest)
        return [Entry(row.at, row.action, row.by, row.source, row.subject, row.outcome, row.detail) for row in found]
