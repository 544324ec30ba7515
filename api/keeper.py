"""What each worker has to do with the store, in a thread of its own: no request waits for a database.

The thread keeps a snapshot of the active keys, and writes what requests leave behind: predictions,
the last use of keys, entries of the audit trail. With the database down the API serves on, with the
keys that were known last, and what is to be written waits.
"""

import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from flask import current_app

from api import metrics
from churn import audit, prediction_log
from churn.errors import ChurnError
from churn.keys import Key, Keys
from churn.prediction_log import CHUNK, InputHash, Row
from churn.settings import Settings

if TYPE_CHECKING:
    from churn.contract import Contract
    from churn.scoring import ModelVersion, Prediction, Scorer
    from churn.store import Store

log = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0
"""Between two rounds: how long what is to be written waits, where the database answers."""
KEYS_SECONDS = 3.0
"""How old the snapshot of the keys may be: for so long a revoked key may still be good."""
USED_SECONDS = 60.0
"""Between two notes of a key's last use."""
RETRY_SECONDS = 2.0
"""How long a database that did not answer is left alone."""
PRUNE_SECONDS = 3600.0
"""Between two looks for predictions that have been kept long enough."""
AUDIT_SECONDS = 3.0
"""How long a request waits for its entry in the audit trail to be written."""
CLOSE_SECONDS = 5.0
MOST_ROWS = 100_000
"""Predictions that wait at most; what comes then is dropped, and counted."""
_MOST_ENTRIES = 10_000
_BREATH = 16
"""Predictions that are hashed in one go, before a request that waits for the interpreter gets its turn."""

Served = tuple[float, "ModelVersion", InputHash, tuple[Any, ...], float]
"""A prediction as a request leaves it: when, by which version, of what, how probable. Few and small
objects: what a request leaves behind is looked through by the garbage collector of later ones."""


class _Waiting:
    """An entry of the audit trail on its way."""

    def __init__(self, entry: audit.Entry) -> None:
        self.entry = entry
        self.written = threading.Event()


class Keeper:
    """The store as a worker knows it. All but :meth:`attend` and :meth:`close` cost a request some microseconds.

    Attributes:
        keys: the active keys by the hashes of their secrets, as they were read last.
        knows_keys: whether they have been read at all.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.keys: Mapping[str, Key] = {}
        self.knows_keys = False
        self._served: deque[Served] = deque()
        self._rows: deque[Row] = deque()
        self._counting = threading.Lock()
        self._used: dict[int, float] = {}
        self._entries: deque[_Waiting] = deque(maxlen=_MOST_ENTRIES)
        self._hashing: tuple[Contract, InputHash] | None = None
        self._wake = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._failing: ChurnError | None = None
        self._again = self._keys_due = self._used_due = 0.0
        # workers that were started together do not all prune together
        self._prune_due = time.monotonic() + 30 + os.getpid() % 60

    @cached_property
    def _store(self) -> "Store":
        from churn.store import Store  # SQLAlchemy takes longer to import than the API to start

        return Store(self._settings)

    @property
    def store(self) -> "Store":
        """The store itself, for a request that has to wait for what it says."""
        return self._store

    def record(
        self, scorer: "Scorer", customers: "Sequence[Mapping[str, Any]]", predictions: "Sequence[Prediction]"
    ) -> None:
        """Have predictions kept, where the settings keep any."""
        if not self._settings.prediction_days:
            return
        now, model, hashing = time.time(), scorer.model, self._input_hash(scorer.contract)
        served = [
            (now, model, hashing, hashing.values(customer), prediction.churn_probability)
            for customer, prediction in zip(customers, predictions, strict=True)
        ]
        with self._counting:
            fits = len(self._served) + len(self._rows) + len(served) <= MOST_ROWS
            if fits:
                self._served.extend(served)
        if not fits:
            metrics.dropped(len(served))

    def _input_hash(self, contract: "Contract") -> InputHash:
        known = self._hashing
        if known is None or known[0] is not contract:
            self._hashing = known = contract, InputHash(contract)
        return known[1]

    def used(self, key_id: int) -> None:
        """Note that a key has been used."""
        self._used[key_id] = time.time()

    def audit(self, entry: audit.Entry) -> None:
        """Have an entry written, and wait a moment until it is. Where the database does not answer it
        is written later, and stands in the log meanwhile: nobody's rollback waits for an outage."""
        waiting = _Waiting(entry)
        self._entries.append(waiting)
        self._wake.set()
        if self._failing or not waiting.written.wait(AUDIT_SECONDS):
            audit.not_written(entry, self._failing or f"not within {AUDIT_SECONDS:g} s; it is tried on")

    def start(self) -> None:
        """Begin to attend to the store, until :meth:`close`, or until nobody holds this keeper any more."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=_attend, args=(weakref.ref(self), self._wake), name="keeper", daemon=True
            )
            self._thread.start()

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Write what waits, as far as that is done in so many seconds, and end."""
        self._closing = True
        self._wake.set()
        if self._thread:
            self._thread.join(seconds)
        left = len(self._served) + len(self._rows)
        if left:
            metrics.dropped(left)
            log.warning("%d predictions are lost: the database has not taken them", left)

    def attend(self) -> None:
        """One round: whatever is due. With the database down it is tried again after a pause."""
        self._hash()
        if time.monotonic() < self._again and not self._closing:
            return
        try:
            self._read_keys()
            self._write_entries()
            self._write_predictions()
            self._write_used()
            self._prune()
        except ChurnError as error:
            if self._failing is None:  # once, and not at each try
                log.warning("%s; the API serves on, and what is to be written waits", error)
            self._failing = error
            self._again = time.monotonic() + RETRY_SECONDS
        else:
            if self._failing:
                log.warning("the database answers again")
            self._failing = None

    def _hash(self) -> None:
        done = 0
        while self._served:
            at, model, hashing, values, probability = self._served.popleft()
            self._rows.append(
                Row(datetime.fromtimestamp(at, UTC), model.name, model.version, hashing.of(values), probability)
            )
            done += 1
            if done % _BREATH == 0:
                time.sleep(0)

    def _read_keys(self) -> None:
        if not self._closing and time.monotonic() >= self._keys_due:
            self.keys = Keys(self._store).active()
            self.knows_keys = True
            self._keys_due = time.monotonic() + KEYS_SECONDS

    def _write_entries(self) -> None:
        while self._entries:
            waiting = list(self._entries)
            with self._store.write() as connection:
                audit.write(connection, [one.entry for one in waiting])
            for one in waiting:
                one.written.set()
                self._entries.popleft()

    def _write_predictions(self) -> None:
        while rows := list(islice(self._rows, CHUNK)):
            prediction_log.write(self._store, rows)
            for _ in rows:
                self._rows.popleft()
            self._read_keys()  # much may have been waiting, and a revoked key does not wait for it

    def _write_used(self) -> None:
        if not self._used or (time.monotonic() < self._used_due and not self._closing):
            return
        noted, self._used = self._used, {}
        try:
            Keys(self._store).used({key: datetime.fromtimestamp(at, UTC) for key, at in dict(noted).items()})
        except ChurnError:
            self._used = {**noted, **self._used}
            raise
        self._used_due = time.monotonic() + USED_SECONDS

    def _prune(self) -> None:
        """Remove one chunk at a time, so that what is to be written waits for no more than that."""
        if self._closing or time.monotonic() < self._prune_due:
            return
        kept_from = datetime.now(UTC) - timedelta(days=self._settings.prediction_days)
        if prediction_log.prune(self._store, kept_from) < CHUNK:
            self._prune_due = time.monotonic() + PRUNE_SECONDS

    def let_go(self) -> None:
        """Close the connections, if any were opened."""
        if "_store" in self.__dict__:
            self._store.close()


def _attend(found: "weakref.ref[Keeper]", wake: threading.Event) -> None:
    """The thread. It holds no keeper while it rests, so that one whom its application has left ends."""
    while (keeper := found()) is not None:
        last = keeper._closing
        try:
            keeper.attend()
            if last:
                keeper.let_go()
        except Exception:  # the thread must outlive whatever a round meets
            log.exception("the keeper of the store failed")
        if last:
            return
        del keeper
        wake.wait(FLUSH_SECONDS)
        wake.clear()


def keeper() -> Keeper:
    """The one of the application that handles this request."""
    found: Keeper = current_app.extensions["churn.keeper"]
    return found
