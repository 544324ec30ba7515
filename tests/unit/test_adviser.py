"""What a worker keeps of the store between two recommendations: a slow or broken database holds up nobody."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from api import adviser as advising
from api.adviser import Adviser
from api.keeper import Keeper
from churn import contract as contracts
from churn import interactions
from churn.errors import Unavailable
from churn.interaction_reading import Interaction
from churn.interaction_records import record
from churn.recommender import Recommender
from churn.scoring import Scorer
from churn.settings import Settings, load
from churn.store import Store
from tests import recommenders, versions


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load().model_copy(update={"home": tmp_path})


@pytest.fixture
def keeper(settings: Settings) -> Keeper:
    return Keeper(settings)


@pytest.fixture
def adviser(settings: Settings, keeper: Keeper) -> Adviser:
    return Adviser(settings, keeper)


@pytest.fixture(scope="module")
def recommender(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    return recommenders.read(recommenders.write(tmp_path_factory.mktemp("recommender") / "of"))


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    return versions.read(versions.write(tmp_path_factory.mktemp("scorer") / "of"))


def tell(store: Store, *events: str) -> None:
    offer = next(iter(contracts.load(load().contract).offers))
    record(store, [Interaction(0, f"C{n}", offer, event) for n, event in enumerate(events)], by="test")  # type: ignore[arg-type]


def eventually(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.01)


@contextmanager
def hanging(store: Store, seconds: float) -> Iterator[list[float]]:
    """Whatever is read then takes so long, and fails; at which moments that was begun."""
    begun: list[float] = []

    @contextmanager
    def read() -> Iterator[Any]:
        begun.append(time.monotonic())
        time.sleep(seconds)
        raise Unavailable("it hangs")
        yield

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "read", read)
        yield begun


def test_a_database_that_hangs_holds_up_one_request_and_no_others(adviser: Adviser, keeper: Keeper) -> None:
    tell(keeper.store, "refused")
    with hanging(keeper.store, 1) as begun, ThreadPoolExecutor(4) as pool:
        started = time.monotonic()
        assert list(pool.map(adviser.known, ["C0", "C1", "C2", "C3"])) == [None] * 4
        assert time.monotonic() - started < 1.5
        assert len(begun) == 1
        assert adviser.known("C0") is None  # it is left alone for a moment
        assert len(begun) == 1


def test_once_it_has_failed_one_request_at_a_time_tries_it(
    adviser: Adviser, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(keeper.store, "refused")
    monkeypatch.setattr(advising, "RETRY_SECONDS", 0.0)
    with hanging(keeper.store, 0):
        assert adviser.known("C0") is None
    with hanging(keeper.store, 1) as begun, ThreadPoolExecutor(4) as pool:
        first = pool.submit(adviser.known, "C0")
        eventually(lambda: len(begun) == 1)
        started = time.monotonic()
        assert [adviser.known(name) for name in ("C0", "C1", "C2")] == [None] * 3
        assert time.monotonic() - started < 0.3
        assert first.result() is None
        assert len(begun) == 1
    known = adviser.known("C0")
    assert known
    assert known.refused  # it answers again


def test_counts_that_fail_hide_no_refusal(
    adviser: Adviser, keeper: Keeper, recommender: Recommender, scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(keeper.store, "refused")
    failed = threading.Event()

    def fail(*_: object) -> None:
        failed.set()
        raise Unavailable("statement timeout")

    monkeypatch.setattr(interactions, "offer_counts", fail)
    assert adviser.advice(recommender, scorer).ranking.counts == {}
    assert failed.wait(5)
    known = adviser.known("C0")
    assert known
    assert known.refused


def test_the_first_request_does_not_wait_for_slow_counts(
    adviser: Adviser, keeper: Keeper, recommender: Recommender, scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(keeper.store, "accepted", "shown")
    ready, count = threading.Event(), interactions.offer_counts

    def slow(store: Store, offers: list[str]) -> Any:
        ready.wait(10)
        return count(store, offers)

    monkeypatch.setattr(interactions, "offer_counts", slow)
    monkeypatch.setattr(advising, "FIRST_SECONDS", 0.1)
    started = time.monotonic()
    first = adviser.advice(recommender, scorer)
    assert adviser.advice(recommender, scorer) is first
    assert time.monotonic() - started < 5
    assert first.ranking.counts == {}
    ready.set()
    eventually(lambda: adviser.advice(recommender, scorer) is not first)
    assert list(adviser.advice(recommender, scorer).ranking.counts.values()) == [(2, 1, 0)]


def test_the_first_request_has_counts_that_are_quick(
    adviser: Adviser, keeper: Keeper, recommender: Recommender, scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advising, "FIRST_SECONDS", 10.0)
    tell(keeper.store, "accepted", "shown")
    assert list(adviser.advice(recommender, scorer).ranking.counts.values()) == [(2, 1, 0)]


def test_an_advice_that_is_made_while_counts_change_does_not_outlive_them(
    adviser: Adviser, recommender: Recommender, scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    adviser.advice(recommender, scorer)
    eventually(lambda: not adviser._counting.locked())
    other = replace(recommender)
    offer = next(iter(recommender.contract.offers))
    made = advising.Advice

    def make(*given: Any) -> Any:
        found = made(*given)
        adviser._counts = {offer: interactions.Counts(9, 3, 1)}  # as the counting thread would, at this very moment
        return found

    monkeypatch.setattr(advising, "Advice", make)
    assert adviser.advice(other, scorer).ranking.counts == {}
    monkeypatch.setattr(advising, "Advice", made)
    assert adviser.advice(other, scorer).ranking.counts == {offer: (9, 3, 1)}
