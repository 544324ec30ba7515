"""Who has answered to a recommendation lately, kept in memory, so that the database is asked about nobody else.

Most customers have not, and a look into the database costs as much as all else that a recommendation does.
"""

import threading
import time
from datetime import datetime
from typing import TYPE_CHECKING

from churn import interactions
from churn.errors import Unavailable

if TYPE_CHECKING:
    from churn.store import Store

MOST = 200_000
"""Customers that are kept; of more, each is asked about."""
PATIENCE = 0.5
"""Seconds that a thread waits for another one's look into the database."""
SECONDS = 1.0
"""How old what is known may be, where the database is a server. A file says when it has been written to."""


class Answered:
    """The customers with answers since a moment. Every method raises as :class:`churn.store.Store` does."""

    def __init__(self, store: "Store", since: datetime) -> None:
        self._store, self._since = store, since
        self._customers: set[str] = set()
        self._newest = 0
        """The last interaction that has been looked at. They are written one after another, so none comes before it."""
        self._stamp: object = None
        self._due = 0.0
        self._reading = threading.Lock()

    def may_have(self, customer_id: str) -> bool:
        """Whether a customer may have answered; if not, he has not.

        Raises:
            Unavailable: another thread is asking, and has had no answer for :data:`PATIENCE` seconds.
        """
        if not self._is_fresh:
            self._look()
        return customer_id in self._customers or len(self._customers) > MOST

    @property
    def _is_fresh(self) -> bool:
        return self._store.stamp == self._stamp and time.monotonic() < self._due

    def _look(self) -> None:
        if not self._reading.acquire(timeout=PATIENCE):  # else all wait for a database that hangs, one after another
            raise Unavailable(f"the database {self._store.name} has not said for {PATIENCE:g} s who has answered")
        try:
            if not self._is_fresh:  # it is, where another thread has read meanwhile
                stamp = self._store.stamp
                self._read()
                self._stamp, self._due = stamp, time.monotonic() + SECONDS
        finally:
            self._reading.release()

    def _read(self) -> None:
        if len(self._customers) > MOST:
            return
        newest, found = interactions.answered(self._store, self._since, self._newest, MOST + 1)
        if newest < self._newest:  # another database has taken the place of that one
            newest, self._customers = interactions.answered(self._store, self._since, 0, MOST + 1)
        else:
            self._customers |= found
        self._newest = newest


__all__ = ["MOST", "PATIENCE", "Answered"]
