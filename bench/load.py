"""A closed-loop load generator for HTTP/1.1 over keep-alive connections.

Requests are built before the run and one thread serves all connections, so that a request costs the client some
70 µs and the server under test keeps its cores. Each connection has one request under way and sends the next as soon
as the reply is there: the latencies are those of a caller that waits, not of arrivals at a fixed rate.

    python -m bench.load http://127.0.0.1:5055/predict --body customer.json --connections 16 --seconds 10
"""

import argparse
import math
import selectors
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

Check = Callable[[bytes, bytes], str | None]
"""The body sent and the body of its 200 reply -> what is wrong with the reply, or None."""

OK = 200
KEPT_COMPLAINTS = 10


@dataclass
class Result:
    """What a run saw. Every request is in `statuses` or in `errors`, once."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    """Milliseconds from the first byte sent to the last byte of the reply, ascending; a retry's wait included."""
    statuses: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    """Requests that got no reply, by the name of the exception."""
    wrong: int = 0
    """200 replies that the check refused."""
    complaints: list[str] = field(default_factory=list)
    """The first few words of the check."""
    retries: int = 0
    """Requests sent once more since a reused connection closed before any byte of the reply (RFC 9112, 9.3.1)."""

    @property
    def requests(self) -> int:
        return self.statuses.total() + self.errors.total()

    @property
    def failures(self) -> int:
        """Requests without a right answer: no reply, another status than 200, or refused by the check."""
        return self.requests - self.statuses[OK] + self.wrong

    @property
    def rate(self) -> float:
        """Replies of status 200 per second."""
        return self.statuses[OK] / self.seconds if self.seconds else 0.0

    def percentile(self, percent: float) -> float:
        """Nearest-rank percentile of the latencies in milliseconds; NaN where nothing was answered."""
        if not self.latencies:
            return math.nan
        return self.latencies[max(math.ceil(percent / 100 * len(self.latencies)), 1) - 1]

    def __str__(self) -> str:
        spread = ", ".join(f"p{q:g} {self.percentile(q):.2f} ms" for q in (50, 95, 99, 100))
        return f"{self.requests} requests, {self.rate:.0f}/s, {spread}, {self.failures} failed, {self.retries} retried"


def run(
    url: str,
    bodies: Sequence[bytes] = (),
    *,
    connections: int = 16,
    requests: int | None = None,
    seconds: float | None = None,
    stop: threading.Event | None = None,
    check: Check | None = None,
    timeout: float = 30.0,
) -> Result:
    """Load `url` until `requests` were sent, `seconds` have passed or `stop` is set, whichever comes first.

    `bodies` are JSON texts posted in turn; without one it is a GET. What is under way at the end is waited for, at most
    `timeout` seconds. ValueError where nothing would ever end the run.
    """
    if requests is None and seconds is None and stop is None:
        raise ValueError("a run needs an end: requests, seconds or stop")
    return _Run(url, bodies, requests, seconds, stop, check, timeout).through(connections)


class _Connection:
    """One keep-alive connection and the request that is under way on it."""

    __slots__ = ("body", "buffer", "reused", "sock", "started", "wire")

    def __init__(self) -> None:
        self.sock: socket.socket | None = None
        self.reused = False
        self.started = 0.0
        self.body = self.wire = self.buffer = b""


class _BrokenReplyError(OSError):
    """Bytes that are no HTTP/1.1 reply with a Content-Length, or a connection that ended within one."""


class _Run:
    def __init__(
        self,
        url: str,
        bodies: Sequence[bytes],
        requests: int | None,
        seconds: float | None,
        stop: threading.Event | None,
        check: Check | None,
        timeout: float,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname is None:
            raise ValueError(f"{url!r} is not an http:// address")
        self.address = (parts.hostname, parts.port or 80)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self.wires = [(body, _post(path, parts.netloc, body)) for body in bodies] or [(b"", _get(path, parts.netloc))]
        self.requests, self.seconds, self.stop = requests, seconds, stop
        self.check, self.timeout = check, timeout
        self.result = Result()
        self.sent = 0
        self.selector = selectors.DefaultSelector()

    def through(self, connections: int) -> Result:
        began = time.perf_counter()
        self.end = math.inf if self.seconds is None else began + self.seconds
        lanes = [_Connection() for _ in range(connections)]
        scan = began + 1
        try:
            for lane in lanes:
                self._next(lane)
            while self.selector.get_map():
                for key, _ in self.selector.select(1):
                    self._read(key.data)
                if (now := time.perf_counter()) > scan:
                    self._expire(lanes, now)
                    scan = now + 1
        finally:
            for lane in lanes:
                self._close(lane)
            self.selector.close()
        self.result.seconds = time.perf_counter() - began
        self.result.latencies.sort()
        return self.result

    def _goes_on(self) -> bool:
        if self.stop is not None and self.stop.is_set():
            return False
        return (self.requests is None or self.sent < self.requests) and time.perf_counter() < self.end

    def _next(self, lane: _Connection) -> None:
        """Send the connection's next request; close it when the run is over."""
        while self._goes_on():
            lane.body, lane.wire = self.wires[self.sent % len(self.wires)]
            self.sent += 1
            lane.started = time.perf_counter()
            if self._send(lane):
                return
            time.sleep(0.01)  # a server that is away is asked again, not hammered
        self._close(lane)

    def _send(self, lane: _Connection) -> bool:
        """True when the request is under way; otherwise it is counted as an error."""
        lane.buffer = b""
        try:
            if lane.sock is None:
                self._open(lane)
            if lane.sock is not None:
                lane.sock.sendall(lane.wire)
        except OSError as error:
            return self._lost(lane, error)
        return True

    def _lost(self, lane: _Connection, error: OSError) -> bool:
        """A reused connection that closed before any byte of the reply: send again. Anything else is an error."""
        may_retry = lane.reused and not lane.buffer and not isinstance(error, TimeoutError | _BrokenReplyError)
        self._close(lane)
        if may_retry:
            self.result.retries += 1
            return self._send(lane)
        self.result.errors[type(error).__name__.strip("_")] += 1
        return False

    def _open(self, lane: _Connection) -> None:
        lane.sock = socket.create_connection(self.address, timeout=self.timeout)
        lane.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A timeout of Python's would cost a poll() per call; the kernel's own costs nothing.
        lane.sock.settimeout(None)
        lane.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", math.ceil(self.timeout), 0))
        lane.reused = False
        self.selector.register(lane.sock, selectors.EVENT_READ, lane)

    def _close(self, lane: _Connection) -> None:
        if lane.sock is not None:
            self.selector.unregister(lane.sock)
            lane.sock.close()
            lane.sock = None

    def _read(self, lane: _Connection) -> None:
        if lane.sock is None:
            return
        try:
            received = lane.sock.recv(1 << 18)
            if not received:
                raise _BrokenReplyError if lane.buffer else ConnectionResetError
            lane.buffer += received
            reply = _reply(lane.buffer)
        except OSError as error:
            if not self._lost(lane, error):
                self._next(lane)
            return
        if reply is not None:
            self._count(lane, *reply)
            self._next(lane)

    def _count(self, lane: _Connection, status: int, body: bytes, closes: bool) -> None:
        result = self.result
        result.latencies.append((time.perf_counter() - lane.started) * 1000)
        result.statuses[status] += 1
        lane.reused = True
        if closes:
            self._close(lane)
        if status == OK and self.check is not None and (complaint := self.check(lane.body, body)) is not None:
            result.wrong += 1
            if len(result.complaints) < KEPT_COMPLAINTS:
                result.complaints.append(complaint)

    def _expire(self, lanes: list[_Connection], now: float) -> None:
        for lane in lanes:
            if lane.sock is not None and now - lane.started > self.timeout:
                self._lost(lane, TimeoutError())
                self._next(lane)


def _get(path: str, host: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n\r\n".encode()


def _post(path: str, host: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _reply(data: bytes) -> tuple[int, bytes, bool] | None:
    """Status, body and whether the server closes the connection; None while bytes are missing."""
    head, found, body = data.partition(b"\r\n\r\n")
    if not found:
        return None
    lines = head.lower().split(b"\r\n")
    headers = dict(line.split(b":", 1) for line in lines[1:] if b":" in line)
    try:
        status, length = int(lines[0].split(b" ", 2)[1]), int(headers[b"content-length"])
    except (IndexError, KeyError, ValueError):
        raise _BrokenReplyError(f"not a reply with a Content-Length: {head[:200]!r}") from None
    if len(body) < length:
        return None
    if len(body) > length:
        raise _BrokenReplyError("more bytes than the Content-Length says")
    return status, body, b"close" in headers.get(b"connection", b"")


def main() -> int:
    """Exit status 1 where a request failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description="load one route and tell what was seen")
    parser.add_argument("url")
    parser.add_argument("--body", type=Path, help="a file with the JSON to post; without it the route is read by GET")
    parser.add_argument("--connections", type=int, default=16)
    end = parser.add_mutually_exclusive_group()
    end.add_argument("--seconds", type=float)
    end.add_argument("--requests", type=int)
    asked = parser.parse_args()
    bodies = [asked.body.read_bytes()] if asked.body else []
    seconds = asked.seconds if asked.seconds or asked.requests else 10.0
    seen = run(asked.url, bodies, connections=asked.connections, requests=asked.requests, seconds=seconds)
    print(seen)
    for what, times in [*seen.statuses.items(), *seen.errors.items()]:
        print(f"  {what}: {times}")
    return 1 if seen.failures else 0


if __name__ == "__main__":
    sys.exit(main())
