"""The limit of a key's requests: exact over processes, patient with clocks, and never in the service's way."""

import logging
import math
import subprocess
import sys
import time
from pathlib import Path

import pytest

from api.rates import FILE, Rates
from tests.unit.test_access import SECRETS, app_of, bearer

SECOND = 10**9
NOW = 1_700_000_000 * SECOND


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def let_in(rates: Rates, tries: int, key: int = 1) -> int:
    return sum(rates.take(key).wait == 0 for _ in range(tries))


@pytest.mark.parametrize("limit", [1, 7, 60, 6_000, 7_001])
def test_a_quiet_minute_allows_the_limit_and_then_one_at_a_time(tmp_path: Path, clock: Clock, limit: int) -> None:
    rates = Rates(tmp_path / "rates", limit, clock)
    assert rates.take(1) == (limit - 1, 0)
    assert let_in(rates, limit + 5) == limit - 1
    left, wait = rates.take(1)
    assert left == 0
    assert wait == 60 * SECOND // limit
    clock.now += wait - 1
    assert rates.take(1).wait == 1
    clock.now += 1
    assert let_in(rates, 3) == 1
    clock.now += 60 * SECOND
    assert let_in(rates, limit + 5) == limit


def test_each_key_has_its_own(tmp_path: Path, clock: Clock) -> None:
    rates = Rates(tmp_path / "rates", 5, clock)
    assert [let_in(rates, 9, key) for key in (1, 2, 70_000)] == [5, 5, 5]


def test_it_outlives_a_restart_and_another_limit(tmp_path: Path, clock: Clock) -> None:
    assert let_in(Rates(tmp_path / "rates", 5, clock), 9) == 5
    assert let_in(Rates(tmp_path / "rates", 5, clock), 9) == 0
    clock.now += 30 * SECOND
    assert let_in(Rates(tmp_path / "rates", 60, clock), 90) == 30  # half of the minute is used up


def test_a_clock_that_is_put_back_locks_nobody_out(tmp_path: Path, clock: Clock) -> None:
    rates = Rates(tmp_path / "rates", 60, clock)
    assert let_in(rates, 60) == 60
    clock.now -= 86_400 * SECOND
    assert rates.take(1).wait == SECOND  # as if it had just used all, and no longer
    clock.now += SECOND
    assert let_in(rates, 9) == 1


def test_a_file_of_nonsense_locks_nobody_out(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "rates").write_bytes(b"\xff" * 20)
    rates = Rates(tmp_path / "rates", 60, clock)
    clock.now += rates.take(1).wait
    assert let_in(rates, 9) == 1


PROCESS = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from api.rates import Rates
file, start = map(Path, sys.argv[1:3])
rates = Rates(file, int(sys.argv[3]), lambda: 1_700_000_000 * 10**9)
print("ready", flush=True)
while not start.exists():
    time.sleep(0.001)
with ThreadPoolExecutor(4) as pool:
    print(sum(pool.map(lambda _: rates.take(1).wait == 0, range(int(sys.argv[3])))))
"""


def test_two_processes_let_in_no_more_than_the_limit_together(tmp_path: Path) -> None:
    limit, start = 10_000, tmp_path / "start"
    command = [sys.executable, "-c", PROCESS, tmp_path / "rates", start, str(limit)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    start.touch()
    counts = [int(process.communicate(timeout=60)[0]) for process in both]
    assert sum(counts) == limit
    assert min(counts) > 0


def test_a_limit_that_cannot_be_kept_is_told_once_and_lets_pass(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "no-folder").touch()
    rates = Rates(tmp_path / "no-folder" / "rates", 3, clock)
    with caplog.at_level(logging.WARNING):
        assert let_in(rates, 10) == 10
    assert len(caplog.messages) == 1
    assert "no-folder" in caplog.text
    full = Rates(Path("/dev/full"), 3, clock)  # a disk without room
    assert let_in(full, 10) == 10
    assert "No space left" in caplog.text


# --- over HTTP


def test_who_waits_as_long_as_it_is_told_is_let_in(tmp_path: Path) -> None:
    client = app_of(tmp_path, rate_limit=60).test_client()
    headers = bearer(SECRETS["read"])
    began = time.monotonic()
    replies = [client.get("/models", headers=headers) for _ in range(70)]
    passed = [reply.status_code for reply in replies].count(200)
    assert 60 <= passed <= 60 + math.ceil(time.monotonic() - began)
    last = next(reply for reply in replies if reply.status_code == 429)
    assert last.content_type == "application/problem+json"
    assert "60 times a minute" in last.get_json()["detail"]
    assert last.headers["Retry-After"] == "1"
    assert last.headers["RateLimit"] == '"key";r=0;t=1'
    assert replies[0].headers["RateLimit-Policy"] == '"key";q=60;w=60'
    assert replies[0].headers["RateLimit"] == '"key";r=59;t=0'
    assert client.get("/models", headers=bearer(SECRETS["write"])).status_code == 200  # another key
    time.sleep(int(last.headers["Retry-After"]))
    assert client.get("/models", headers=headers).status_code == 200


def test_health_and_who_has_no_key_are_not_counted(tmp_path: Path) -> None:
    client = app_of(tmp_path, rate_limit=1).test_client()
    assert {client.get("/models").status_code for _ in range(5)} == {200}
    assert {client.get("/health/live", headers=bearer(SECRETS["read"])).status_code for _ in range(5)} == {200}
    assert not (tmp_path / FILE).exists()


def test_without_a_limit_nothing_is_counted(tmp_path: Path) -> None:
    client = app_of(tmp_path, rate_limit=0).test_client()
    replies = [client.get("/models", headers=bearer(SECRETS["read"])) for _ in range(5)]
    assert {reply.status_code for reply in replies} == {200}
    assert "RateLimit" not in replies[0].headers
