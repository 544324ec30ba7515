"""What each worker of the API does with the store, over a real SQLite file; and with a store that is ill."""

import gc
import hashlib
import logging
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from api import keeper as keeper_of
from api import metrics
from api.app import create_app
from api.keeper import Keeper
from api.serving import Serving
from churn import audit, prediction_log
from churn import settings as settings_of
from churn.keys import Keys, hash_of
from churn.prediction_log import InputHash
from churn.registry import Registry
from churn.settings import Settings
from churn.store import Store
from tests import versions
from tests.conftest import ROOT

DROPPED = "churn_predictions_dropped_total"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home in which a version is in service."""
    folder = tmp_path_factory.mktemp("versions")
    settings = settings_of.load().model_copy(update={"home": folder / "home"})
    registry = Registry(settings)
    number = versions.register(settings, versions.write(folder / "a"))
    registry.move(registry.version(number), by="the training", how="promote")
    return settings


@pytest.fixture(scope="module")
def serving(made: Settings) -> Serving:
    serving = Serving(made)
    serving.refresh()
    return serving


@pytest.fixture
def settings(made: Settings, tmp_path: Path) -> Settings:
    """With a store of its own."""
    return made.model_copy(update={"database_url": f"sqlite:///{tmp_path / 'store' / 'churn.db'}"})


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    """The same store, as somebody else sees it."""
    store = Store(settings)
    yield store
    store.close()


@pytest.fixture
def keeper(settings: Settings) -> Iterator[Keeper]:
    """One without its thread: a test says when it is attended to."""
    keeper = Keeper(settings)
    yield keeper
    keeper.let_go()


@pytest.fixture
def client(settings: Settings, serving: Serving, keeper: Keeper):
    return create_app(settings, serving=serving, keeper=keeper).test_client()


@pytest.fixture
def started(settings: Settings) -> Iterator[Callable[[], Keeper]]:
    """Starts keepers with their threads, and ends them."""
    all_of_them: list[Keeper] = []

    def start() -> Keeper:
        all_of_them.append(Keeper(settings))
        all_of_them[-1].start()
        return all_of_them[-1]

    yield start
    for one in all_of_them:
        one.close()


def blocked(settings: Settings) -> Path:
    """Puts a file where the store's folder should be; once it is removed the store can be used."""
    folder = Path(settings.store_url.removeprefix("sqlite:///")).parent
    folder.write_text("in the way")
    return folder


def until(happens: Callable[[], object], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.02)


def dropped() -> float:
    return metrics._REGISTRY.get_sample_value(DROPPED) or 0


def test_a_prediction_served_is_kept(client, keeper, store, serving) -> None:
    contract = serving.contract
    reply = client.post("/predict", json={contract.id: "C1", **contract.example}).get_json()
    assert store.revision() is None  # the request has not touched it
    keeper.attend()
    (row,) = prediction_log.newest(store)
    assert (row.model, row.version, row.probability) == (*reply["model"].values(), reply["churn_probability"])
    assert abs(datetime.now(UTC) - row.at) < timedelta(minutes=1)
    assert row.input_hash == hash_of_input(contract, contract.read(contract.example)[0])
    assert len(row.input_hash) == 64
    with store.read() as connection:
        everything = str([tuple(one) for one in connection.execute(sa.text("SELECT * FROM predictions"))])
    assert "C1" not in everything


def test_the_same_customer_has_the_same_hash_by_any_route(client, keeper, store, serving) -> None:
    contract = serving.contract
    one = dict(contract.example)
    floats = {name: float(one[name]) for name, column in contract.features.items() if column.is_numeric}
    wholes = {name: int(value) for name, value in floats.items() if value.is_integer()}
    assert floats
    for body in (
        one,
        {contract.id: "C1", **one},
        {contract.id: 2, **one},
        dict(reversed(one.items())),
        one | floats,
        one | wholes,
        {"customers": [one, {contract.id: "C3", **one}]},
    ):
        assert client.post("/predict", json=body).status_code == 200
    other = next({name: value} for name, column in contract.features.items() for value in column.values[1:])
    client.post("/predict", json=one | other)
    keeper.attend()
    newest, *others = (row.input_hash for row in prediction_log.newest(store))
    assert len(others) == 8
    assert len(set(others)) == 1
    assert newest not in others


def test_the_hash_of_an_input_stays_as_it_is(serving) -> None:
    """What stands in a store must mean the same to the next version of churn."""

    class Contract:
        features = {
            name: contract_column(kind)
            for name, kind in (("b", "number"), ("a", "integer"), ("ü", "category"), ("c", "boolean"), ("d", "number"))
        }

    customer = {"a": 27, "b": -0.0, "c": True, "d": None, "ü": "é", "id": "C1"}
    text = '{"columns":["b","a","ü","c","d"],"values":[0.0,27,"é",true,null]}'
    assert hash_of_input(Contract, customer) == hashlib.sha256(text.encode()).hexdigest()
    assert hash_of_input(Contract, customer | {"b": 0}) == hash_of_input(Contract, customer)


def hash_of_input(contract, customer: dict[str, object]) -> str:
    hashing = InputHash(contract)
    return hashing.of(hashing.values(customer))


def contract_column(kind: str):
    from churn.columns import Column

    return Column(name="x", type=kind, values=["é", "e"] if kind == "category" else [])


def test_a_thousand_customers_of_one_request_are_kept(client, keeper, store, serving) -> None:
    example = serving.contract.example
    reply = client.post("/predict", json={"customers": [example] * 1_000}).get_json()
    keeper.attend()
    rows = prediction_log.newest(store, 2_000)
    assert [row.probability for row in rows] == [one["churn_probability"] for one in reply["predictions"]]
    assert len({row.at for row in rows}) == 1


def test_what_is_no_prediction_is_not_kept(client, keeper, store) -> None:
    client.post("/predict", json={})
    client.get("/schema")
    keeper.attend()
    assert prediction_log.newest(store) == []


def test_with_no_days_nothing_is_kept(settings, serving, store) -> None:
    now = datetime.now(UTC)
    prediction_log.write(store, [prediction_log.Row(now, "m", "1", "0" * 64, 0.5)])
    keeper = Keeper(settings.model_copy(update={"prediction_days": 0}))
    client = create_app(settings, serving=serving, keeper=keeper).test_client()
    assert client.post("/predict", json=serving.contract.example).status_code == 200
    keeper._prune_due = 0
    keeper.attend()
    assert prediction_log.newest(store) == []
    keeper.let_go()


def test_what_was_kept_long_enough_goes_a_chunk_a_round(keeper, store, monkeypatch) -> None:
    now = datetime.now(UTC)
    old, young = now - timedelta(days=30, minutes=1), now - timedelta(days=29, hours=23)
    prediction_log.write(store, [prediction_log.Row(at, "m", "1", "0" * 64, 0.5) for at in [old] * 5 + [young]])
    monkeypatch.setattr(keeper_of, "CHUNK", 2)
    monkeypatch.setattr(prediction_log.prune, "__defaults__", (2,))
    keeper.attend()
    assert len(prediction_log.newest(store)) == 6  # not at once after a start
    keeper._prune_due = 0
    left = []
    for _ in range(4):
        keeper.attend()
        left.append(len(prediction_log.newest(store)))
    assert left == [4, 2, 1, 1]


def test_too_many_that_wait_are_dropped_and_counted(settings, client, keeper, store, serving, monkeypatch) -> None:
    monkeypatch.setattr(keeper_of, "MOST_ROWS", 10)
    example, before = serving.contract.example, dropped()
    way = blocked(settings)
    for customers in (8, 3, 2):  # of the second request there is no room for all
        assert client.post("/predict", json={"customers": [example] * customers}).status_code == 200
        keeper.attend()
    assert client.post("/predict", json=example).status_code == 200
    assert dropped() - before == 4
    way.unlink()
    keeper._again = 0
    keeper.attend()
    assert len(prediction_log.newest(store)) == 10
    client.post("/predict", json=example)
    keeper.attend()
    assert len(prediction_log.newest(store)) == 11
    assert f"{DROPPED} " in client.get("/metrics").get_data(as_text=True)


def test_with_the_database_down_the_api_serves_and_the_keys_come_with_it(
    settings, serving, started, caplog, monkeypatch
) -> None:
    monkeypatch.setattr(keeper_of, "RETRY_SECONDS", 0.1)
    way = blocked(settings)
    keeper = started()
    guarded = settings.model_copy(update={"bind": "0.0.0.0"})  # noqa: S104
    client = create_app(settings, serving=serving, keeper=keeper).test_client()
    closed = create_app(guarded, serving=serving, keeper=keeper).test_client()
    until(lambda: "the API serves on" in caplog.text)
    assert not keeper.knows_keys
    example = serving.contract.example
    assert client.post("/predict", json=example).status_code == 200
    header = {"Authorization": "Bearer churn_no-such-key"}
    assert closed.post("/predict", json=example, headers=header).status_code == 503
    way.unlink()
    until(lambda: keeper.knows_keys)
    store = Store(settings)
    _, secret = Keys(store).make("crm", "read", by="ann")
    until(lambda: hash_of(secret) in keeper.keys)
    assert closed.post("/predict", json=example, headers=header).status_code == 401
    assert closed.post("/predict", json=example, headers={"Authorization": f"Bearer {secret}"}).status_code == 200
    until(lambda: len(prediction_log.newest(store)) == 2)
    assert caplog.text.count("the API serves on") == 1  # once, and not at each try
    assert "answers again" in caplog.text
    store.close()


def test_keys_that_were_known_stay_good_while_the_database_is_down(keeper, settings, store, monkeypatch) -> None:
    monkeypatch.setattr(keeper_of, "KEYS_SECONDS", 0)
    key, secret = Keys(store).make("crm", "read", by="ann")
    keeper.attend()
    assert keeper.keys == {hash_of(secret): key}
    with store.write() as connection:
        connection.execute(sa.text("ALTER TABLE api_keys RENAME TO hidden"))
    keeper.attend()
    assert (keeper.keys, keeper.knows_keys) == ({hash_of(secret): key}, True)
    with store.write() as connection:
        connection.execute(sa.text("ALTER TABLE hidden RENAME TO api_keys"))
    Keys(store).revoke("crm", by="ann")
    keeper._again = 0
    keeper.attend()
    assert keeper.keys == {}


def test_a_key_s_last_use_is_noted_once_a_minute(keeper, store) -> None:
    keys = Keys(store)
    first, second = (keys.make(name, "read", by="ann")[0] for name in "ab")

    def last() -> list[datetime | None]:
        keeper.attend()
        return [key.last_used for key in keys.all()]

    assert last() == [None, None]
    keeper.used(first.id)
    noted = last()[0]
    assert noted is not None
    assert abs(datetime.now(UTC) - noted) < timedelta(minutes=1)
    keeper.used(first.id)
    keeper.used(second.id)
    assert last() == [noted, None]
    keeper._used_due = 0
    later = last()
    assert later[0] > noted
    assert later[1]


def test_marks_of_use_outlive_an_outage(keeper, settings, store) -> None:
    way = blocked(settings)
    keeper.used(1)
    keeper.attend()
    way.unlink()
    key, _ = Keys(store).make("crm", "read", by="ann")
    keeper._again = 0
    keeper.attend()
    assert Keys(store).all()[0].last_used
    assert key.id == 1


def entry(subject: str = "version 2") -> audit.Entry:
    return audit.entry(action="rollback", by="ann", source="10.0.0.9", subject=subject)


def test_an_entry_of_the_trail_is_written_while_its_request_waits(started, store) -> None:
    keeper = started()
    until(lambda: keeper.knows_keys)
    began = time.monotonic()
    keeper.audit(entry())
    assert audit.entries(store) == [audit.entries(store)[0]]
    assert time.monotonic() - began < keeper_of.AUDIT_SECONDS
    assert audit.entries(store)[0].subject == "version 2"


def test_in_an_outage_an_entry_holds_nobody_back_and_stands_in_the_log(
    started, settings, store, caplog, monkeypatch
) -> None:
    monkeypatch.setattr(keeper_of, "RETRY_SECONDS", 0.1)
    way = blocked(settings)
    keeper = started()
    until(lambda: "the API serves on" in caplog.text)
    began = time.monotonic()
    for number in "23":
        keeper.audit(entry(f"version {number}"))
    assert time.monotonic() - began < 1
    told = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert len(told) == 2
    assert entry("version 3").as_json().split('"action"')[1] in told[1]
    way.unlink()
    until(lambda: store.revision() and len(audit.entries(store)) == 2)
    assert [one.subject for one in audit.entries(store)] == ["version 3", "version 2"]


def test_what_waits_is_written_at_the_end(started, store, serving) -> None:
    keeper = started()
    until(lambda: keeper.knows_keys)
    scorer = serving.scorer()
    customer = scorer.contract.read(scorer.contract.example)[0]
    keeper.record(scorer, [customer] * 1_000, scorer.predict([customer] * 1_000))
    began = time.monotonic()
    keeper.close()
    assert time.monotonic() - began < keeper_of.CLOSE_SECONDS
    assert len(prediction_log.newest(store, 2_000)) == 1_000


def test_what_cannot_be_written_at_the_end_is_counted(started, settings, serving, caplog) -> None:
    blocked(settings)
    keeper, before = started(), dropped()
    scorer = serving.scorer()
    customer = scorer.contract.read(scorer.contract.example)[0]
    keeper.record(scorer, [customer] * 3, scorer.predict([customer] * 3))
    began = time.monotonic()
    keeper.close()
    assert time.monotonic() - began < keeper_of.CLOSE_SECONDS
    assert dropped() - before == 3
    assert "3 predictions are lost" in caplog.text


def test_what_a_round_meets_does_not_end_the_thread(started, store, caplog, monkeypatch) -> None:
    monkeypatch.setattr(keeper_of, "FLUSH_SECONDS", 0.05)
    keeper = started()
    until(lambda: keeper.knows_keys)
    keeper._served.append(())  # type: ignore[arg-type]
    until(lambda: "the keeper of the store failed" in caplog.text)
    keeper.audit(entry())
    assert len(audit.entries(store)) == 1


def test_on_a_full_disk_requests_go_on(settings, serving, tmp_path, caplog) -> None:
    (tmp_path / "full.db").symlink_to("/dev/full")
    ill = settings.model_copy(update={"database_url": f"sqlite:///{tmp_path / 'full.db'}"})
    keeper = Keeper(ill)
    client = create_app(ill, serving=serving, keeper=keeper).test_client()
    for _ in range(3):
        assert client.post("/predict", json=serving.contract.example).status_code == 200
        keeper.attend()
    assert "full.db" in caplog.text
    keeper.let_go()


def test_the_thread_ends_with_its_application(settings, serving) -> None:
    app = create_app(settings, serving=serving)
    keeper = weakref.ref(app.extensions["churn.keeper"])
    thread = keeper()._thread  # type: ignore[union-attr]
    until(lambda: keeper().knows_keys)  # type: ignore[union-attr]
    del app
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()
    assert keeper() is None


def test_the_api_starts_without_sqlalchemy() -> None:
    code = "import sys, api.app; print({'sqlalchemy', 'alembic', 'psycopg2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_two_workers_keep_every_prediction_also_those_of_their_last_second(made, settings, store) -> None:
    with versions.Gunicorn(made.home, tracking_uri=made.tracking_uri, CHURN_DATABASE_URL=settings.store_url) as server:
        server.wait_ready()
        contract = Serving(made).contract
        replies = [server.post("/predict", contract.example).json() for _ in range(40)]
        replies += server.post("/predict", {"customers": [contract.example] * 300}).json()["predictions"]
        assert len(server.workers()) == 2
    assert len(prediction_log.newest(store, 1_000)) == len(replies) == 340
