"""Clients that ask for predictions while something else happens."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from bench.load import Check, Result, run


@contextmanager
def asking(url: str, body: bytes, *, connections: int, check: Check) -> Iterator[list[Result]]:
    """Requests over all connections until the block ends; what they saw is then in the list."""
    stop, found = threading.Event(), []

    def work() -> None:
        found.append(run(url, [body], connections=connections, stop=stop, check=check))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join(60)
