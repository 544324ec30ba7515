"""How long a request's body may take to arrive, and a long reply to be taken.

gunicorn hands a request on when its headers are there, and a thread then waits for the body: whoever
sends it drop by drop would occupy the thread for as long as they like. The proxy of the compose stack
holds requests until they are whole, up to a size; beyond that, and without it, this is the bound. A
body that is small is whole within :data:`BODY_SECONDS`; a file, in or out, must keep a :class:`Pace`.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus

from flask import request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from api.problems import BadBody

BODY_SECONDS = 10.0
LEAST_RATE = 64 * 1024
"""Bytes in a second that a file must move at, on average."""
PAUSE_SECONDS = 30.0
"""How long nothing at all may move meanwhile."""
READ_ON_SECONDS = 5.0
"""How long a body that is refused is read on."""
_LOOK_SECONDS = 1.0

_waiting: dict[socket.socket, tuple[float, int]] = {}
"""The connections that are waited for, until when, and which of their directions is cut then."""
_starting = threading.Lock()
_watch: threading.Thread | None = None


def read_body() -> bytes:
    """The body of the request that this thread answers.

    Raises:
        BadBody: 408, it was not whole in time.
        HTTPException: it is too large, or its sender has gone.
    """
    connection: socket.socket | None = request.environ.get("gunicorn.socket")
    if connection is None:  # another server, or a test
        return request.get_data(cache=False)
    _be_watched()
    until = time.monotonic() + BODY_SECONDS
    _waiting[connection] = until, socket.SHUT_RD
    try:
        found = request.get_data(cache=False)
    except (HTTPException, OSError) as error:
        if time.monotonic() < until:
            raise
        raise _late() from error
    finally:
        _waiting.pop(connection, None)
    if time.monotonic() >= until:  # what was cut may look like a body that ends there
        raise _late()
    return found


class Pace:
    """The time that a file has on its way through this request's connection, as more of it moves.

    Args:
        how: what is cut when it comes to a standstill: ``socket.SHUT_RD`` of one that arrives, so
            that its sender can still be told, ``socket.SHUT_RDWR`` of one that is sent.
        seconds: what it has at first; else :data:`PAUSE_SECONDS`.
    """

    def __init__(self, how: int, seconds: float | None = None) -> None:
        self._connection: socket.socket | None = request.environ.get("gunicorn.socket")
        self._how = how
        self._until = time.monotonic() + (PAUSE_SECONDS if seconds is None else seconds)

    @property
    def lost(self) -> bool:
        """Whether the time was over."""
        return self._connection is not None and time.monotonic() >= self._until

    def begin(self) -> None:
        if self._connection is not None:
            _be_watched()
            _waiting[self._connection] = self._until, self._how

    def moved(self, count: int) -> None:
        """Count bytes that have moved."""
        self._until = min(self._until + count / LEAST_RATE, time.monotonic() + PAUSE_SECONDS)
        if self._connection in _waiting:
            _waiting[self._connection] = self._until, self._how

    def end(self) -> None:
        if self._connection is not None:
            _waiting.pop(self._connection, None)


def read_pieces(most: int, size: int = 64 * 1024) -> Iterator[bytes]:
    """The body of the request that this thread answers, piece by piece; it must keep its pace.

    Raises:
        BadBody: 408, it did not; 413, it has more than ``most`` bytes; 400, it broke off.
    """
    request.max_content_length = most
    pace, whole = Pace(socket.SHUT_RD), False
    pace.begin()
    try:
        while piece := request.stream.read(size):
            pace.moved(len(piece))
            yield piece
        whole = not pace.lost  # what was cut may look like a body that ends there
    except RequestEntityTooLarge as error:
        raise BadBody(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a file may have {most / 2**20:,.0f} MiB") from error
    except (HTTPException, OSError) as error:
        if not pace.lost:
            raise BadBody(HTTPStatus.BAD_REQUEST, "the body broke off") from error
    finally:
        pace.end()
    if not whole:
        rate = f"{LEAST_RATE // 1024} KiB in a second"
        raise BadBody(HTTPStatus.REQUEST_TIMEOUT, f"the body came too slowly: less than {rate}")


def read_on(size: int = 256 * 1024) -> None:
    """Read for a while what nobody wants, so that its sender comes to hear the answer: gunicorn reads
    64 KiB, and a connection that is closed over more is reset, answer and all."""
    if "gunicorn.socket" not in request.environ:
        return
    pace = Pace(socket.SHUT_RD, READ_ON_SECONDS)
    pace.begin()
    try:
        with suppress(OSError):  # broken off, or no chunks at all
            while not pace.lost and request.environ["wsgi.input"].read(size):
                pass
    finally:
        pace.end()


def _late() -> BadBody:
    return BadBody(HTTPStatus.REQUEST_TIMEOUT, f"the body was not whole within {BODY_SECONDS:g} seconds")


def _be_watched() -> None:
    """Start the thread, once in each worker: one of before a fork would not be in it."""
    global _watch
    if _watch is None or not _watch.is_alive():
        with _starting:
            if _watch is None or not _watch.is_alive():
                _watch = threading.Thread(target=_cut_the_late, name="arrival", daemon=True)
                _watch.start()


def _cut_the_late() -> None:
    while True:
        time.sleep(_LOOK_SECONDS)
        now = time.monotonic()
        for connection, (until, how) in list(_waiting.items()):
            if until < now:
                with suppress(OSError):  # it has just ended by itself
                    connection.shutdown(how)
