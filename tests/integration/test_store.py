"""The store on SQLite: what it promises on every database, and what is SQLite's own."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from churn import audit, prediction_log
from churn import settings as settings_of
from churn.doctor import _store as look
from churn.errors import NotReady, Unavailable
from churn.keys import Keys
from churn.settings import Settings
from churn.store import REVISION, Store
from tests import store_contract
from tests.conftest import free_port


@pytest.mark.parametrize("check", store_contract.CHECKS, ids=lambda check: check.__name__)
def test_the_store_on_sqlite(check: store_contract.Check, tmp_path: Path) -> None:
    check(f"sqlite:///{tmp_path / 'own' / 'churn.db'}", tmp_path)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of.load().model_copy(update={"home": tmp_path / "home"})


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    store = Store(settings)
    yield store
    store.close()


def at(path: Path | str) -> Store:
    return Store(store_contract.settings_of(f"sqlite:///{path}"))


def test_it_lies_in_the_home_readable_by_its_owner_alone(store: Store, settings: Settings) -> None:
    assert store.revision() is None
    assert not settings.home.exists()  # a look leaves no trace
    store.migrate()
    database = settings.home / "churn.db"
    assert store.name == str(database)
    for path in settings.home.glob("churn.db*"):
        assert path.stat().st_mode & 0o077 == 0 or path.suffix == ".lock", path
    assert database.exists()


@pytest.mark.parametrize("name", ["per%20cent %s", "a?b#c", "spaces and ünïcödé", "a+b@c:d", "q'uote"])
def test_any_name_of_a_home_will_do(tmp_path: Path, name: str) -> None:
    store = Store(settings_of.load().model_copy(update={"home": tmp_path / name}))
    store.migrate()
    assert (tmp_path / name / "churn.db").stat().st_size > 0
    store.close()


def test_readers_do_not_wait_for_a_writer(store: Store, settings: Settings) -> None:
    Keys(store).make("crm", "read", by="ann")
    other = Store(settings)
    with store.write() as connection:
        connection.execute(sa.text("DELETE FROM api_keys"))
        assert len(Keys(other).active()) == 1
    assert Keys(other).active() == {}
    other.close()


def test_a_writer_waits_for_another_and_says_so_in_the_end(store: Store, settings: Settings, monkeypatch) -> None:
    store.migrate()
    monkeypatch.setattr("churn.database.LOCK_SECONDS", 0.2)
    other = Store(settings)
    with (
        store.write(),
        pytest.raises(Unavailable, match=r"churn\.db does not answer: database is locked"),
        other.write(),
    ):
        pass
    other.close()


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    (tmp_path / "churn.db").symlink_to("/dev/full")
    with pytest.raises(NotReady, match=r"churn\.db: "):
        at(tmp_path / "churn.db").migrate()


def test_a_disk_that_fills_up_is_named_and_nothing_is_half_written(store: Store) -> None:
    with store.write() as connection:
        pages = connection.execute(sa.text("PRAGMA page_count")).scalar()
        connection.execute(sa.text(f"PRAGMA max_page_count = {pages + 4}"))
    rows = [prediction_log.Row(audit.entry(action="", by="", source="", subject="").at, "m", "1", "0" * 64, 0.5)]
    with pytest.raises(NotReady, match=r"churn\.db: database or disk is full"):
        prediction_log.write(store, rows * 5_000)
    assert prediction_log.newest(store) == []
    prediction_log.write(store, rows)
    assert len(prediction_log.newest(store)) == 1


@pytest.mark.parametrize("place", ["/dev/null", "/proc/1", "/proc/self/task"])  # root may not write here either
def test_a_folder_that_cannot_be_written_is_named(place: str) -> None:
    with pytest.raises(NotReady, match=place):
        at(f"{place}/churn.db").migrate()


def test_a_file_that_is_no_database_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "churn.db"
    path.write_text("the list of customers " * 500)
    for use in (at(path).migrate, at(path).revision):
        with pytest.raises(NotReady, match=r"churn\.db: file is not a database"):
            use()
    assert path.read_text() == "the list of customers " * 500


def test_a_database_of_other_tables_is_taken_into_use(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "churn.db") as other:
        other.execute("CREATE TABLE own (id INTEGER)")
    assert at(tmp_path / "churn.db").migrate() == REVISION


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("mysql://user:Gxq7@host/name", "mysql is not spoken here"),
        ("postgresql+asyncpg://user:Gxq7@host/name", "asyncpg is not spoken here"),
        ("sqlite://", "the store is a file"),
        ("sqlite:///:memory:", "the store is a file"),
        ("sqlite:///churn.db?mode=ro", "has no options"),
        ("user:Gxq7@host", "is no address"),
        ("postgresql://user:Gxq7@host:port/name", "is no address"),
        ("postgresql://user:p@Gxq7@host/name", "written %40"),
        ("Gxq7", "is no address"),
    ],
)
def test_an_address_that_is_none_is_refused_without_its_password(address: str, reason: str) -> None:
    with pytest.raises(NotReady, match=reason) as refusal:
        Store(store_contract.settings_of(address)).migrate()
    assert "Gxq7" not in str(refusal.value)
    assert "CHURN_DATABASE_URL" in str(refusal.value)


def test_a_server_that_is_not_there_is_named_at_once() -> None:
    port = free_port()
    store = Store(store_contract.settings_of(f"postgresql://churn:Gxq7@127.0.0.1:{port}/churn?sslmode=disable"))
    with pytest.raises(Unavailable, match=rf"postgresql://churn@127\.0\.0\.1:{port}/churn does not answer") as refusal:
        store.migrate()
    assert "Gxq7" not in str(refusal.value)


def test_what_doctor_says(store: Store, settings: Settings) -> None:
    assert (look(settings).state, "no tables yet" in look(settings).detail) == ("off", True)
    assert not settings.home.exists()
    store.migrate()
    found = look(settings)
    assert (found.subject, found.state, found.detail) == ("store", "ok", f"{store.name}, revision {REVISION}")
    with store.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    assert (look(settings).state, "9999" in look(settings).detail) == ("broken", True)
    gone = settings.model_copy(update={"database_url": "postgresql://churn:Gxq7@127.0.0.1:9/churn"})
    assert (look(gone).state, "Gxq7" in look(gone).detail) == ("broken", False)
