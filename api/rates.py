"""How many requests a key may make: exact over all workers, and over containers that share CHURN_HOME.

The generic cell rate algorithm in its form of virtual scheduling (ITU-T I.371, annex A; ATM Forum,
Traffic Management 4.0, 4.4.2): all that is kept of a key is when its next request would be due if
each took ``60 s / limit``. After a quiet minute ``limit`` requests pass at once, from then on one
each ``60 s / limit``.
"""

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

from flask import Flask, Response, g

from api.problems import Denied
from churn.settings import Settings

log = logging.getLogger(__name__)

FILE = Path("serving") / "rates"
"""Where the moments stand in CHURN_HOME: eight bytes for each key, at its id. It may be deleted."""
_SECOND = 10**9
_SLOT = 8


class Turn(NamedTuple):
    """What became of a request: let in if ``wait`` is 0. ``left`` requests may follow at once."""

    left: int
    wait: int
    """Nanoseconds after which the next request is let in."""


class Rates:
    """The limit of every key, kept in one file.

    Written by ``pwrite`` and not through a mapping: on a full disk that is an error to tell of,
    while a mapped page without a block behind it ends the process (SIGBUS).

    Args:
        limit: requests in a minute, at least 1.
        clock: nanoseconds that all who share the file count alike; it may jump.
    """

    def __init__(self, file: Path, limit: int, clock: Callable[[], int] = time.time_ns) -> None:
        self.limit = limit
        self._path = file
        self._clock = clock
        # whole nanoseconds: as floats since 1970 their sum would miss the limit by one here and there
        self._step = 60 * _SECOND // limit
        self._window = self._step * limit
        self._threads = threading.Lock()  # flock is between processes
        self._file: int | None = None
        self._failing = False

    def take(self, key: int) -> Turn:
        """Count a request. Where that fails it is let in: the service matters more than its limit."""
        with self._threads:
            try:
                turn = self._take(key)
            except OSError as error:
                if not self._failing:  # once, and not at each request
                    log.warning("no request is held to its limit: %s", error)
                self._failing = True
                return Turn(self.limit, 0)
            self._failing = False
            return turn

    def _take(self, key: int) -> Turn:
        file = self._opened()
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            now = self._clock()
            due = int.from_bytes(os.pread(file, _SLOT, key * _SLOT), "little")
            if due > now + self._window:  # nobody can be that far ahead: the clock has been put back
                due = now + self._window
                os.pwrite(file, due.to_bytes(_SLOT, "little"), key * _SLOT)
            due = max(due, now) + self._step
            wait = due - self._window - now
            if wait > 0:
                return Turn(0, wait)
            os.pwrite(file, due.to_bytes(_SLOT, "little"), key * _SLOT)
            return Turn(-wait // self._step, 0)
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)

    def _opened(self) -> int:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._file


def register(app: Flask, settings: Settings) -> None:
    """Hold every request that comes with a key to the limit; after ``api.access``, which finds the key."""
    if not settings.rate_limit:
        return
    rates = Rates(settings.home / FILE, settings.rate_limit)
    policy = f'"key";q={rates.limit};w=60'

    def hold() -> None:
        if g.key is None:
            return
        g.turn = turn = rates.take(g.key.id)
        if turn.wait:
            raise Denied(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"this key may ask {rates.limit:,} times a minute; wait {_seconds(turn)} s",
                {"Retry-After": str(_seconds(turn))},
            )

    def tell(reply: Response) -> Response:
        """As draft-ietf-httpapi-ratelimit-headers-10 has it."""
        turn: Turn | None = g.get("turn")
        if turn is not None:
            reply.headers["RateLimit-Policy"] = policy
            reply.headers["RateLimit"] = f'"key";r={turn.left};t={_seconds(turn)}'
        return reply

    app.before_request(hold)
    app.after_request(tell)


def _seconds(turn: Turn) -> int:
    """Whole seconds to wait, rounded up."""
    return -(-turn.wait // _SECOND)
