"""Who has answered, kept in memory: nobody is missed, and the database is asked about nobody else."""

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from churn import answered, interactions
from churn.answered import Answered
from churn.errors import Unavailable
from churn.interaction_reading import Interaction
from churn.interaction_records import record
from churn.settings import load
from churn.store import Store

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(load().model_copy(update={"home": tmp_path}))


def tell(tmp_path: Path, *told: tuple[str, str], at: datetime | None = None) -> None:
    """As another process would."""
    other = Store(load().model_copy(update={"home": tmp_path}))
    record(other, [Interaction(0, name, "gift", event, at=at) for name, event in told], by="test")  # type: ignore[arg-type]
    other.close()


def test_who_answers_is_known_at_once_whoever_writes_it(store: Store, tmp_path: Path) -> None:
    known = Answered(store, LONG_AGO)
    assert not known.may_have("a")
    tell(tmp_path, ("a", "refused"), ("b", "accepted"), ("c", "shown"), ("d", "clicked"))
    assert [known.may_have(name) for name in "abcd"] == [True, True, False, False]
    tell(tmp_path, ("c", "refused"))
    assert [known.may_have(name) for name in "abcd"] == [True, True, True, False]
    assert Answered(store, LONG_AGO).may_have("c")


def test_an_answer_from_before_is_none(store: Store, tmp_path: Path) -> None:
    tell(tmp_path, ("a", "refused"), at=datetime.now(UTC) - timedelta(days=9))
    assert not Answered(store, datetime.now(UTC) - timedelta(days=8)).may_have("a")
    assert Answered(store, datetime.now(UTC) - timedelta(days=10)).may_have("a")


def test_the_database_is_read_again_only_where_it_has_been_written_to(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(tmp_path, ("a", "refused"))
    known = Answered(store, LONG_AGO)
    monkeypatch.setattr(answered, "SECONDS", 60.0)
    assert known.may_have("a")
    store.close()
    monkeypatch.setattr(store, "read", None)  # to ask now would fail
    assert [known.may_have(name) for name in "ab"] == [True, False]


def test_with_too_many_everybody_is_asked_about(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answered, "MOST", 2)
    known = Answered(store, LONG_AGO)
    tell(tmp_path, ("a", "refused"), ("b", "refused"))
    assert not known.may_have("x")
    tell(tmp_path, ("c", "refused"), ("d", "refused"))
    assert known.may_have("x")


def test_another_database_in_its_place_is_read_from_its_beginning(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answered, "SECONDS", 0.0)
    tell(tmp_path, ("a", "refused"), ("b", "refused"))
    known = Answered(store, LONG_AGO)
    assert known.may_have("a")
    store.close()
    for file in tmp_path.rglob("*.db*"):
        file.unlink()
    tell(tmp_path, ("c", "refused"))
    assert [known.may_have(name) for name in "abc"] == [False, False, True]


def test_reading_on_walks_no_index(store: Store, tmp_path: Path) -> None:
    """Only the interactions behind the last one are looked at, however many there are before."""
    tell(tmp_path, ("a", "refused"))
    asked: list[tuple[str, Any]] = []

    @sa.event.listens_for(sa.Engine, "before_cursor_execute")
    def note(*told: Any) -> None:
        asked.append(told[2:4])

    try:
        interactions.answered(store, LONG_AGO, 0, 9)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    (looked,) = [one for one in asked if "customer_id" in one[0]]
    store.close()
    with sqlite3.connect(next(tmp_path.rglob("*.db"))) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {looked[0]}", looked[1])]
    assert plan == ["SEARCH interactions USING INTEGER PRIMARY KEY (rowid>?)"]


@contextmanager
def slow(store: Store, seconds: float, error: Exception | None = None) -> Iterator[list[float]]:
    """Whatever is read takes so long; at which moments that was begun."""
    begun: list[float] = []
    own = store.read

    @contextmanager
    def read() -> Iterator[Any]:
        begun.append(time.monotonic())
        time.sleep(seconds)
        if error:
            raise error
        with own() as connection:
            yield connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "read", read)
        yield begun


def test_who_has_waited_for_another_ones_look_does_not_look_again(store: Store, tmp_path: Path) -> None:
    tell(tmp_path, ("a", "refused"))
    known = Answered(store, LONG_AGO)
    assert [known.may_have("a") for _ in range(2)] == [True, True]  # the first connection makes the log
    tell(tmp_path, ("c", "refused"))
    with slow(store, 0.2) as begun, ThreadPoolExecutor(4) as pool:
        assert list(pool.map(known.may_have, "abcd")) == [True, False, True, False]
    assert len(begun) == 1


def test_of_those_who_wait_for_a_database_that_hangs_nobody_waits_for_long(store: Store, tmp_path: Path) -> None:
    tell(tmp_path, ("a", "refused"))
    known = Answered(store, LONG_AGO)

    def took(name: str) -> float:
        started = time.monotonic()
        with pytest.raises(Unavailable):
            known.may_have(name)
        return time.monotonic() - started

    with slow(store, 1, Unavailable("it hangs")) as begun, ThreadPoolExecutor(4) as pool:
        waited = sorted(pool.map(took, "abcd"))
    assert waited[-1] < 1.5
    assert waited[-2] < answered.PATIENCE + 0.3
    assert len(begun) == 1
