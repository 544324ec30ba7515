"""The load generator counts what was answered, what was not, and what was answered wrongly."""

import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench import load, recommending, report
from bench.processes import Measured


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/gone":
            self.close_connection = True
            return
        self.send_response(500 if self.path == "/ill" else 200)
        self.send_header("Content-Length", str(len(body)))
        if self.path == "/closing":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is told."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def echoed(sent: bytes, received: bytes) -> str | None:
    return None if sent == received else "not what was sent"


@pytest.mark.parametrize("path", ["/", "/closing"])
def test_every_request_is_counted_once(url: str, path: str) -> None:
    seen = load.run(url + path, [b"1", b"22"], connections=4, requests=200, check=echoed)
    assert (seen.requests, seen.failures, seen.statuses[200], len(seen.latencies)) == (200, 0, 200, 200)
    assert 0 < seen.percentile(50) <= seen.percentile(99) <= seen.percentile(100)


def test_other_statuses_lost_replies_and_wrong_ones_are_failures(url: str) -> None:
    assert load.run(url + "/ill", [b"1"], connections=2, requests=20).failures == 20
    gone = load.run(url + "/gone", [b"1"], connections=2, requests=6)
    assert (gone.failures, gone.errors.total()) == (6, 6)
    wrong = load.run(url, [b"1"], connections=2, requests=20, check=lambda *_: "no")
    assert (wrong.failures, wrong.wrong) == (20, 20)
    assert wrong.complaints[0] == "no"


def test_nobody_there_is_told_and_ends(url: str) -> None:
    assert load.run("http://127.0.0.1:9", [b"1"], connections=2, seconds=0.2).statuses.total() == 0


def test_a_run_needs_an_end(url: str) -> None:
    with pytest.raises(ValueError, match="needs an end"):
        load.run(url, [b"1"])


def half(title: str, seen: float) -> str:
    section = report.Section(title, "t", ("a", "b", "c"), [("x", "y", "1")], [report.at_least("speed", 3, seen)])
    return report.markdown({"CPU": "one"}, section)


def test_a_missed_bar_is_told_as_missed() -> None:
    assert "1 of 1 bars missed" in half("S", 2.5)
    assert "**no**" in half("S", 2.5)
    assert "All 1 bars met" in half("S", 3)
    assert not report.at_most("peak", 1.5, float("nan")).met


def test_one_half_takes_its_own_place_alone() -> None:
    both = report.merged("", [half("Serving", 2), half("Batch", 4)])
    again = report.merged(both, [half("Serving", 5)])
    assert again == report.merged("", [half("Serving", 5), half("Batch", 4)])
    assert report.merged(again, []) == again


@pytest.mark.parametrize(
    ("rate", "p99", "wrong", "seconds", "peak", "missed"),
    [
        (30, 4.0, 0, 60.0, 400e6, []),
        (20, 4.0, 0, 60.0, 400e6, [0]),
        (30, 4.5, 0, 60.0, 400e6, [1]),
        (30, 4.0, 1, 60.0, 400e6, [2]),
        (30, 4.0, 0, 130.0, 500e6, [3, 4]),
    ],
)
def test_recommending_is_held_against_its_bars(
    rate: int, p99: float, wrong: int, seconds: float, peak: float, missed: list[int]
) -> None:
    ours = load.Result(1.0, [p99] * rate, Counter({200: rate}), wrong=wrong)
    echo = load.Result(1.0, [1.0] * 100, Counter({200: 100}))
    served = {recommending.RECOMMEND: [ours], recommending.ECHO: [echo]}
    effort = recommending.Effort()
    batches = {effort.rows: Measured(30.0, int(400e6), ""), effort.many: Measured(seconds, int(peak), "")}
    section = recommending._section(served, batches, effort)
    assert [place for place, bar in enumerate(section.bars) if not bar.met] == missed
    assert {len(row) for row in section.rows} == {len(section.head)}
