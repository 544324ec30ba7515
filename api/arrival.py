"""How long a request's body may take to arrive.

gunicorn hands a request on when its headers are there, and a thread then waits for the body: whoever
sends it drop by drop would occupy the thread for as long as they like. The proxy of the compose stack
holds requests until they are whole, up to a size; beyond that, and without it, this is the bound.
"""

import socket
import threading
import time
from contextlib import suppress
from http import HTTPStatus

from flask import request
from werkzeug.exceptions import HTTPException

from api.problems import BadBody

BODY_SECONDS = 10.0
_LOOK_SECONDS = 1.0

_waiting: dict[socket.socket, float] = {}
"""The connections that a body is read from, and until when it may arrive."""
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
    until = _waiting[connection] = time.monotonic() + BODY_SECONDS
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
        for connection, until in list(_waiting.items()):
            if until < now:
                with suppress(OSError):  # it has just ended by itself
                    connection.shutdown(socket.SHUT_RD)
