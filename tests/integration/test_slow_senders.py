"""Whoever sends a body drop by drop gives the thread back."""

import socket
import threading
import time
from pathlib import Path

import httpx

from api.arrival import BODY_SECONDS
from tests.versions import NOBODY, Gunicorn

HEADERS = (
    b"POST /models/churn-classifier/rollback HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: 1000\r\n\r\n"
)
THREADS = 4


def drip(port: int, replies: list[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=1) as one:
        one.sendall(HEADERS)
        for _ in range(60):
            try:
                one.sendall(b" ")
                reply = one.recv(1_000)
            except TimeoutError:
                continue
            except OSError:
                return
            replies.append(reply)
            return


def test_a_body_that_does_not_arrive_is_not_waited_for(tmp_path: Path) -> None:
    with Gunicorn(tmp_path, tracking_uri=NOBODY, workers=1) as api:
        while True:  # it serves no model, and need not
            try:
                httpx.get(f"{api.url}/health/live", timeout=5)
                break
            except httpx.TransportError:
                time.sleep(0.1)
        replies: list[bytes] = []
        slow = [threading.Thread(target=drip, args=(api.port, replies)) for _ in range(THREADS)]
        began = time.monotonic()
        for one in slow:
            one.start()
        time.sleep(1)  # they have all threads now
        assert httpx.get(f"{api.url}/health/live", timeout=60).status_code == 200
        waited = time.monotonic() - began
        for one in slow:
            one.join(60)
        print(f"\nanswered after {waited:.1f} s, with all threads taken at first")
        assert BODY_SECONDS - 2 < waited < 2 * BODY_SECONDS
        assert len(replies) == len(slow)
        assert {reply.split(b"\r\n")[0].split(b" ", 2)[1] for reply in replies} == {b"408"}
        assert b"application/problem+json" in replies[0]
