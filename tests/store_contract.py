"""What the store promises on every database: checks that take the address of an empty one.

``tests/integration/test_store.py`` runs them on SQLite, and the tests of the stack on its PostgreSQL::

    @pytest.mark.parametrize("check", [*CHECKS, *POSTGRESQL_CHECKS], ids=lambda check: check.__name__)
    def test_the_store_on_postgresql(check, tmp_path):
        with scratch("postgresql://postgres:…@host/postgres") as url:
            check(url, tmp_path)
"""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import get_args
from uuid import uuid4

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from churn import audit, interaction_records, interactions, prediction_log, scoring_runs
from churn import contract as contracts
from churn.campaign_base import CampaignBase
from churn.campaigns import Offers
from churn.customer_list import Order, Sort, Wish, page
from churn.customer_scores import CustomerScores, Run
from churn.customer_scores import Row as Score
from churn.errors import ChurnError, NotReady, Refused, Unavailable
from churn.interaction_reading import Interaction
from churn.interaction_records import record as tell
from churn.keys import Key, Keys, hash_of, new_secret
from churn.monitoring_log import Look, calls, keep, latest
from churn.prediction_log import Row
from churn.schema import customer_scores
from churn.settings import Settings, load
from churn.store import METADATA, MIGRATIONS, REVISION, Store
from tests.conftest import ROOT

Check = Callable[[str, Path], None]


@contextmanager
def scratch(url: str) -> Iterator[str]:
    """The address of a new and empty database on a PostgreSQL server; it is dropped at the end.

    Args:
        url: of any database there, by a user who may create others.
    """
    name = f"churn_test_{uuid4().hex[:12]}"
    server = sa.make_url(url).set(drivername="postgresql+psycopg2")
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    try:
        yield server.set(drivername="postgresql", database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(sa.text(f'DROP DATABASE "{name}" WITH (FORCE)'))
        engine.dispose()


def settings_of(url: str) -> Settings:
    return load().model_copy(update={"database_url": url, "database_url_file": None})


@contextmanager
def opened(url: str) -> Iterator[Store]:
    store = Store(settings_of(url))
    try:
        yield store
    finally:
        store.close()


def migrations_from_nothing_make_the_tables(url: str, _: Path) -> None:
    with opened(url) as store:
        assert store.revision() is None
        assert store.migrate() == REVISION == store.revision()
        with store.read() as connection:
            assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    assert ScriptDirectory(str(MIGRATIONS)).get_heads() == [REVISION]


def what_is_ready_is_not_migrated_again(url: str, _: Path) -> None:
    """A second start imports no alembic and runs one statement."""
    with opened(url) as store:
        store.migrate()
    code = (
        "import sys; from tests.store_contract_worker import store; from sqlalchemy import Engine, event; seen = []\n"
        "event.listen(Engine, 'before_cursor_execute', lambda *told: seen.append(told[2]))\n"
        "assert store(sys.argv[1]).migrate(); own = [one for one in seen if not one.startswith('BEGIN')]\n"
        "assert own == ['SELECT version_num FROM alembic_version'], own; assert 'alembic' not in sys.modules"
    )
    done = _python(code, url)
    assert done.returncode == 0, done.stderr


def ten_processes_migrate_once(url: str, _: Path) -> None:
    code = "import sys; from tests.store_contract_worker import store; print(store(sys.argv[1]).migrate())"
    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(lambda _: _python(code, url), range(10)))
    assert [one.stderr for one in found] == [""] * 10
    assert [one.stdout.strip() for one in found] == [REVISION] * 10
    with opened(url) as store, store.read() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM alembic_version")).scalar() == 1


def a_newer_revision_is_refused(url: str, _: Path) -> None:
    with opened(url) as store, store.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with opened(url) as store:
        for use in (store.migrate, lambda: audit.entries(store), Keys(store).active):
            with pytest.raises(NotReady, match="of revision '9999', and this version of churn knows none after"):
                use()
        assert store.revision() == "9999"


def an_emptied_database_gets_its_tables_anew(url: str, _: Path) -> None:
    """As when a volume is thrown away while the API runs."""
    with opened(url) as store:
        Keys(store).make("crm", "read", by="ann")
        with store.write() as connection:
            METADATA.drop_all(connection)
            connection.execute(sa.text("DROP TABLE alembic_version"))
        with pytest.raises(NotReady):
            Keys(store).active()
        assert Keys(store).active() == {}


def what_a_transaction_began_is_undone_with_it(url: str, _: Path) -> None:
    with opened(url) as store:
        with pytest.raises(RuntimeError), store.write() as connection:
            audit.write(connection, [audit.entry(action="promote", by="ann", source="here", subject="1")])
            raise RuntimeError
        assert audit.entries(store) == []


def times_are_utc_and_aware(url: str, _: Path) -> None:
    eastern = datetime(2026, 3, 1, 1, 30, 0, 123456, tzinfo=timezone(timedelta(hours=-5)))
    with opened(url) as store:
        prediction_log.write(store, [Row(eastern, "m", "1", "0" * 64, 0.25)])
        (found,) = prediction_log.newest(store)
        assert found.at == eastern
        assert found.at.tzinfo is UTC
        assert found[1:] == ("m", "1", "0" * 64, 0.25)
        Keys(store).make("crm", "read", by="ann")
        with pytest.raises(sa.exc.StatementError, match="without a zone"):
            Keys(store).used({1: datetime(2026, 3, 1)})


def a_key_lives_and_dies(url: str, _: Path) -> None:
    with opened(url) as store:
        keys = Keys(store, source="a test")
        key, secret = keys.make("crm", "write", by="ann@host")
        assert keys.active() == {hash_of(secret): key}
        assert (key.name, key.scope, key.created_by, key.revoked, key.last_used) == (
            "crm", "write", "ann@host", None, None,
        )  # fmt: skip
        assert abs(datetime.now(UTC) - key.created) < timedelta(minutes=1)
        with pytest.raises(Refused, match="named 'crm' already"):
            keys.make("crm", "read", by="bob")
        other, _secret = keys.make("CRM", "read", by="bob")  # letters count
        gone = keys.revoke("crm", by="bob")
        assert gone.revoked is not None
        assert not gone.may("read")
        assert list(keys.active().values()) == [other]
        for name, reason in (("crm", "revoked already, since"), ("nobody", "there is no key 'nobody'")):
            with pytest.raises(Refused, match=reason):
                keys.revoke(name, by="bob")
        again, new = keys.make("crm", "read", by="ann@host")  # a name is free again
        assert keys.all() == [gone, other, again]
        assert new != secret
        told = [(one.action, one.subject, one.by, one.source, one.detail) for one in audit.entries(store)]
        assert told == [
            ("key.make", "crm", "ann@host", "a test", "scope read"),
            ("key.revoke", "crm", "bob", "a test", "scope write"),
            ("key.make", "CRM", "bob", "a test", "scope read"),
            ("key.make", "crm", "ann@host", "a test", "scope write"),
        ]
        with store.read() as connection:
            everything = str([connection.execute(table.select()).all() for table in METADATA.sorted_tables])
        assert secret not in everything


def a_key_needs_a_name_and_a_scope(url: str, folder: Path) -> None:
    with opened(url) as store:
        keys = Keys(store)
        for name in ("", "a b", "ä", "x" * 61, "a/b", "a\n", "'; --", "a\0"):
            for attempt in (
                lambda name=name: keys.make(name, "read", by="ann"),
                lambda name=name: keys.ensure(folder / "key", name, "read", by="ann"),
            ):
                with pytest.raises(Refused, match="1 to 60 letters"):
                    attempt()
        for scope in ("", "root", "READ"):
            with pytest.raises(Refused, match="the scopes are read, write, admin"):
                keys.make("crm", scope, by="ann")
        assert keys.all() == []
        assert audit.entries(store) == []
        assert keys.make("a.B_c-" + "9" * 54, "admin", by="x" * 999)[0].created_by == "x" * 250


def the_last_use_of_a_key_only_moves_on(url: str, _: Path) -> None:
    now = datetime.now(UTC)
    with opened(url) as store:
        keys = Keys(store)
        first, second = (keys.make(name, "read", by="ann")[0] for name in ("a", "b"))
        keys.used({})
        keys.used({second.id: now, first.id: now, 999: now})
        keys.used({first.id: now - timedelta(hours=1), second.id: now + timedelta(hours=1)})
        assert [key.last_used for key in keys.all()] == [now, now + timedelta(hours=1)]


def the_key_in_a_file_is_made_once(url: str, folder: Path) -> None:
    file = folder / "deep" / "web_app_key"
    with opened(url) as store:
        keys = Keys(store)
        key = keys.ensure(file, "web-app", "write", by="migrate")
        secret = file.read_text()
        assert (key.name, key.scope, list(keys.active())) == ("web-app", "write", [hash_of(secret)])
        assert file.stat().st_mode & 0o777 == 0o440
        assert keys.ensure(file, "web-app", "write", by="migrate") == key
        assert file.read_text() == secret
        assert len(audit.entries(store)) == 1
        assert [one.name for one in file.parent.iterdir()] == ["web_app_key"]


def the_key_in_a_file_is_taken_up(url: str, folder: Path) -> None:
    """By a new database, which has never heard of it, and instead of another of that name."""
    file, secret = folder / "key", new_secret()
    file.write_text(secret + "\n")
    with opened(url) as store:
        keys = Keys(store)
        old, _secret = keys.make("web-app", "write", by="ann")
        key = keys.ensure(file, "web-app", "write", by="migrate")
        assert keys.active() == {hash_of(secret): key}
        assert file.read_text() == secret + "\n"
        assert [one.id for one in keys.all() if one.revoked] == [old.id]


def a_revoked_key_stays_revoked_and_the_file_gets_a_new_one(url: str, folder: Path) -> None:
    file = folder / "key"
    with opened(url) as store:
        keys = Keys(store)
        for scope, spoil in (
            ("write", lambda: keys.revoke("web-app", by="ann")),
            ("write", lambda: (file.chmod(0o600), file.write_text(" \n"))),
            ("write", file.unlink),
            ("admin", lambda: None),  # the same name with another scope
        ):
            before = keys.ensure(file, "web-app", "write", by="migrate")
            secret = file.read_text()
            spoil()
            after = keys.ensure(file, "web-app", scope, by="migrate")
            assert file.read_text() != secret
            assert after.id != before.id
            assert list(keys.active()) == [hash_of(file.read_text())]
            assert after.scope == scope


def a_file_of_another_key_is_left_alone(url: str, folder: Path) -> None:
    file = folder / "key"
    with opened(url) as store:
        keys = Keys(store)
        keys.ensure(file, "web-app", "write", by="migrate")
        with pytest.raises(Refused, match="the secret of the key 'web-app'"):
            keys.ensure(file, "other", "write", by="migrate")
        file.unlink()
        for content in (b"hunter2", b"churn_short", b"\xff\xfe", b"churn_" + b"x" * 42 + b"!"):
            file.write_bytes(content)
            with pytest.raises(Refused, match="holds no secret"):
                keys.ensure(file, "web-app", "write", by="migrate")
            assert file.read_bytes() == content
        for place in (folder, Path("/dev/null/key")):
            with pytest.raises(NotReady, match=str(place)):
                keys.ensure(place, "web-app", "write", by="migrate")
        assert len(keys.active()) == 1


def of_many_at_once_one_makes_the_key(url: str, folder: Path) -> None:
    file = folder / "shared" / "key"
    code = (
        "import sys, pathlib; from churn.keys import Keys; from tests.store_contract_worker import store\n"
        "print(Keys(store(sys.argv[1])).ensure(pathlib.Path(sys.argv[2]), 'web-app', 'write', by='migrate').id)"
    )
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: _python(code, url, str(file)), range(6)))
    assert [one.stderr for one in found] == [""] * 6
    assert len({one.stdout for one in found}) == 1
    with opened(url) as store:
        assert list(Keys(store).active()) == [hash_of(file.read_text())]
        assert len(Keys(store).all()) == 1


def of_many_at_once_one_gets_the_name(url: str, _: Path) -> None:
    def make(number: int) -> Key | None:
        with opened(url) as own:
            try:
                return Keys(own).make("crm", "read", by=f"person {number}")[0]
            except Refused:
                return None

    with opened(url) as store, ThreadPoolExecutor(8) as pool:
        store.migrate()
        made = [key for key in pool.map(make, range(8)) if key]
        assert list(Keys(store).active().values()) == made
        assert len(audit.entries(store)) == 1


def record(store: Store, **told: str) -> None:
    with store.write() as connection:
        audit.write(connection, [audit.entry(**told)])


def an_entry_is_one_printable_line_that_fits(url: str, _: Path) -> None:
    with opened(url) as store:
        record(
            store, action="promote" * 20, by="ann\0\n\x1b[31m" + "b" * 300, source="s" * 200, subject="ü" * 300,
            outcome="refused", detail="two\r\nlines\0 ''; DROP TABLE audit; --" + "x" * 3000,
        )  # fmt: skip
        (found,) = audit.entries(store)
        assert found.by.startswith("ann [31mb")
        assert found.detail.startswith("two lines ''; DROP TABLE audit; --x")
        assert [len(one) for one in (found.action, found.by, found.source, found.subject, found.detail)] == [
            40, 250, 100, 250, 2000,
        ]  # fmt: skip
        assert found.at.tzinfo is UTC


def entries_come_newest_first(url: str, _: Path) -> None:
    with opened(url) as store:
        for number in range(7):
            record(store, action="promote", by="ann", source="here", subject=str(number))
        assert [one.subject for one in audit.entries(store, 3)] == ["6", "5", "4"]
        assert len(audit.entries(store)) == 7


def predictions_are_pruned_in_chunks_from_the_oldest(url: str, _: Path) -> None:
    now = datetime.now(UTC)
    rows = [Row(now - timedelta(days=day), "m", "1", f"{day:064}", 0.5) for day in (9, 3, 7, 1, 8, 2)]
    with opened(url) as store:
        prediction_log.write(store, [])
        prediction_log.write(store, rows)
        before = now - timedelta(days=2, hours=12)
        assert prediction_log.prune(store, before, most=3) == 3
        assert [int(row.input_hash) for row in prediction_log.newest(store)] == [1, 2, 3]
        assert prediction_log.prune(store, before, most=3) == 1
        assert prediction_log.prune(store, before, most=3) == 0
        assert [int(row.input_hash) for row in prediction_log.newest(store)] == [1, 2]


def several_write_and_prune_at_once(url: str, _: Path) -> None:
    """Writers in processes of their own, and one who removes what is old: nobody fails, nothing is lost."""
    with opened(url) as store:
        store.migrate()
        old = datetime.now(UTC) - timedelta(days=40)
        prediction_log.write(store, [Row(old, "m", "1", "0" * 64, 0.5)] * 4_000)
        code = (
            "import sys; from datetime import UTC, datetime; from churn import prediction_log as log\n"
            "from tests.store_contract_worker import store; own = store(sys.argv[1])\n"
            "for _ in range(10): log.write(own, [log.Row(datetime.now(UTC), 'm', '2', '0' * 64, .5)] * 100)\n"
        )
        with ThreadPoolExecutor(4) as pool:
            writers = [pool.submit(_python, code, url) for _ in range(3)]
            pruned = [pool.submit(_prune, url, old + timedelta(days=1)) for _ in range(1)]
        assert [one.result().stderr for one in writers] == [""] * 3
        assert sum(one.result() for one in pruned) == 4_000
        with store.read() as connection:
            found = connection.execute(sa.text("SELECT version, count(*) FROM predictions GROUP BY version")).all()
        assert [tuple(row) for row in found] == [("2", 3_000)]


def _prune(url: str, before: datetime) -> int:
    removed = 0
    with opened(url) as store:
        while count := prediction_log.prune(store, before, most=300):
            removed += count
    return removed


def cut_connections_are_made_anew(url: str, _: Path) -> None:
    """As by a server that was started anew."""
    with opened(url) as store, opened(url) as other:
        Keys(store).make("crm", "read", by="ann")
        with other.write() as connection:
            cut = connection.execute(
                sa.text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
            assert cut.scalars().all() == [True]
        assert len(Keys(store).active()) == 1


def the_driver_need_not_be_named(url: str, _: Path) -> None:
    for kind in ("postgres", "postgresql", "postgresql+psycopg2"):
        with opened(kind + url[url.index(":") :]) as store:
            assert store.migrate() == REVISION


def no_password_is_told(url: str, _: Path) -> None:
    """Neither that of an address that works, nor a wrong one that the server refuses."""
    given = sa.make_url(url)
    wrong = given.set(password="Gxq7-wrong")
    nobody = wrong.set(host="127.0.0.1", port=9)
    for address in (wrong, nobody):
        with opened(address.render_as_string(hide_password=False)) as store:
            with pytest.raises(ChurnError) as refusal:
                store.migrate()
            assert str(address.host) in str(refusal.value)
            chain, error = "", refusal.value
            while error is not None:
                chain += f"{error!r}{error}"
                error = error.__cause__ or error.__context__
            assert "Gxq7" not in chain


def nobody_waits_for_ever_for_a_lock(url: str, _: Path) -> None:
    """The server has been told how long to wait, and for how long to compute."""
    with opened(url) as store, store.read() as connection:
        told = {name: connection.execute(sa.text(f"SHOW {name}")).scalar() for name in
                ("lock_timeout", "statement_timeout", "TimeZone", "application_name")}  # fmt: skip
    assert told == {
        "lock_timeout": "10s", "statement_timeout": "30s", "TimeZone": "UTC", "application_name": "churn",
    }  # fmt: skip


def a_scoring_is_whole_or_not_there(url: str, _: Path) -> None:
    """Written, read in every order, killed in the middle, cleaned up, replaced."""
    with opened(url) as store:
        scores, people = CustomerScores(store), [_line(n) for n in range(12_000)]
        with scoring_runs.alone(store):
            first = scoring_runs.Writing(store, _run("first"))
            assert all(first.add(people[at : at + 5_000]) for at in (0, 5_000, 10_000))
            assert not first.add(people[:1])  # a customer stands once
            assert scores.latest() is None
            first.finish(left=3, keep=1)
        run = scores.shown()
        assert (run.key, run.customers, run.left, run.facts["columns"]) == ("first", 12_000, 3, ["a", "b"])
        assert [row.customer_id for part in scores.rows(run.id) for row in part] == sorted(
            line.customer_id for line in people
        )
        assert scores.find('x"y,z\\.\n') == Score(
            'x"y,z\\.\n', 0.0, 0, "low", None, None, None, -1.0, False, [{"text": "ü"}], [0, None],
            [{"item": 'a "gift"', "score": 0.5}], True,
        )  # fmt: skip
        for sort in get_args(Sort):
            down, up = (
                [row.customer_id for row in page(store, run, Wish(sort=sort, order=order, limit=500))[0]]
                for order in get_args(Order)
            )
            assert down != up
            last = page(store, run, Wish(sort=sort, order="asc", page=24, limit=500))[0]
            assert [row.customer_id for row in page(store, run, Wish(sort=sort, order="desc", limit=500))[0]] == [
                row.customer_id for row in last[::-1]
            ]
        assert page(store, run, Wish(search="ü", persona="none", sort="probability")) == ([], 0)
        assert page(store, run, Wish(search="ü"))[1] == 1
        assert page(store, run, Wish(risk="low", sort="customer_id"))[1] == sum(one.risk == "low" for one in people)
        killed = _killed_while_writing(url)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert scores.shown() == run
        with scoring_runs.alone(store), opened(url) as other:  # the lease ended with the process that had it
            assert scores.run("killed") is None
            with pytest.raises(Refused, match="another process"), scoring_runs.alone(other):
                pass
            second = scoring_runs.Writing(store, _run("second"))
            second.add(people[:10])
            second.finish(left=0, keep=1)
        assert [(one.run.key, one.sums()["customers"]) for one in scores.portfolio()] == [
            ("second", 10),
            ("first", 12_000),
        ]
        with store.read() as connection:
            assert connection.execute(sa.text("SELECT count(*) FROM customer_scores")).scalar() == 10
        taken = scoring_runs.Writing(store, _run("taken"))
        scoring_runs.clear(store)  # as by a process that came after
        with pytest.raises(Refused, match="has been removed"):
            taken.add(people[:1])


def what_is_read_while_a_scoring_ends_is_read_once_more(url: str, _: Path) -> None:
    """The scores of the run that it began with are being removed then."""
    with opened(url) as store:
        scores, people, seen = CustomerScores(store), [_line(n) for n in range(20)], []
        with pytest.raises(NotReady, match="not been scored"):
            scores.steady(lambda _: None)
        _scored(store, "first", people)

        def read(runs: list[Run]) -> tuple[str, int]:
            if not seen:
                _scored(store, "second", people[:9])
            seen.append(runs[0].key)
            return runs[0].key, page(store, runs[0], Wish(sort="customer_id"))[1]

        assert scores.steady(read) == ("second", 9)
        assert seen == ["first", "second"]
        assert scores.steady(read) == ("second", 9)
        assert len(seen) == 3


def a_campaign_reads_whom_an_offer_may_pay_with(url: str, _: Path) -> None:
    contract = contracts.load(ROOT / "data/telco/contract.yaml")
    offers = Offers(contract, ["loyalty_gift"])  # which asks for no column
    people = [_line(n) for n in range(12_000)]
    with opened(url) as store:
        _scored(store, "first", people)
        base = CampaignBase(store)
        found = {one for piece in base.candidates(base.newest(), offers) for one in piece.ids}
        assert found == {one.customer_id for one in people if one.risk != "low" and one.probability >= offers.least}
        assert 0 < len(found) < len(people)


def a_name_of_a_run_may_be_long(url: str, _: Path) -> None:
    """Airflow's have up to 250 characters, and more stands before them."""
    long, other = "x" * 300, "x" * 299 + "y"
    with opened(url) as store:
        _scored(store, long, [_line(1)])
        kept = CustomerScores(store).run(long)
        assert kept
        assert len(kept.key) == 250
        assert CustomerScores(store).run(kept.key) == kept
        assert CustomerScores(store).run(other) is None
        look = Look(long, datetime.now(UTC), "1", "", True, "", "", {})
        for one in (look, look, replace(look, key=other)):
            keep(store, one)
        assert len(latest(store)) == 2
        assert [one.key for one in calls(store, but=other)] == [kept.key]


def a_run_without_statistics_is_removed_in_time(url: str, _: Path) -> None:
    with opened(url + "?options=-c%20statement_timeout%3D3s") as store:
        for key in ("first", "second"):
            _scored(store, key, [_line(n) for n in range(10_000)], keep=2)
            with store.read() as connection:
                known = "SELECT most_common_vals::text FROM pg_stats WHERE (tablename, attname) = (:table, 'run_id')"
                told = connection.execute(sa.text(known), {"table": "customer_scores"}).scalar()
        assert told == "{1,2}"  # of the newest too
        broken = scoring_runs.Writing(store, _run("broken"))
        for at in range(0, 40_000, 5_000):
            broken.add([_line(n)._replace(customer_id=f"{n:05}") for n in range(at, at + 5_000)])
        scoring_runs._remove_scores(store, broken.id)
        with store.read() as connection:
            assert connection.execute(sa.text("SELECT count(*) FROM customer_scores")).scalar() == 20_000


def who_records_outcomes_keeps_nobody_else_waiting(url: str, _: Path) -> None:
    with opened(url) as store, opened(url + "?options=-c%20lock_timeout%3D300ms") as other:
        with store.write(alone="outcomes"):
            assert Keys(other).make("crm", "read", by="ann")
            with pytest.raises(Unavailable, match="lock timeout"), other.write(alone="outcomes"):
                pass
        with other.write(alone="outcomes"):
            pass


def a_database_of_the_revision_before_keeps_its_rows(url: str, _: Path) -> None:
    """They get what the columns that are new to them are by default."""
    with opened(url) as store:
        with store._database.migrating() as connection:
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
            config.attributes["connection"] = connection
            command.upgrade(config, "0002")
        assert store.revision() == "0002"
        with store._database.transaction(writes=True) as connection:
            for table, values in _ROWS_OF_0002.items():
                names, marks = (", ".join(sign.format(name) for name in values) for sign in ('"{}"', ":{}"))
                connection.execute(sa.text(f"INSERT INTO {table} ({names}) VALUES ({marks})"), values)  # noqa: S608
        assert store.migrate() == REVISION == store.revision()
        found = CustomerScores(store).find("C1")
        assert found
        assert (found.probability, found.reasons, found.features) == (0.25, [], [1, None])
        with store.read() as connection:
            told = connection.execute(sa.select(customer_scores.c.recommendations, customer_scores.c.control)).all()
            assert [tuple(one) for one in told] == [("[]", False)]
            assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


_NOW = "2026-03-01 00:00:00.000000"
_ROWS_OF_0002: dict[str, dict[str, object]] = {
    "scoring_runs": {
        "id": 1, "key": "old", "state": "whole", "started": _NOW, "ended": _NOW, "model": "m", "version": "1",
        "source": "s", "data_hash": "0", "customers": 1, "left": 0, "model_run": "r", "facts": '{"columns": []}',
    },
    "customer_scores": {
        "run_id": 1, "customer_id": "C1", "probability": 0.25, "prediction": 0, "risk": "low", "revenue_at_risk": 0,
        "expected_profit": 0, "held_out": False, "reasons": "[]", "features": "[1, null]",
    },
}  # fmt: skip


def an_interaction_is_kept_once(url: str, _: Path) -> None:
    """By its key; of two callers each has his own; without one by its moment."""
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    told = [Interaction(0, "C1", "gift", "shown", key="a"), Interaction(1, "C1", "gift", "accepted", at, "7")]
    with opened(url) as store:
        first = tell(store, told, by="crm")
        assert [one[1:4] for one in first.kept] == [("C1", "gift", "shown"), ("C1", "gift", "accepted")]
        assert (first.kept[1].at, first.kept[1].version, first.new) == (at, "7", 2)
        assert abs(first.kept[0].at - datetime.now(UTC)) < timedelta(minutes=1)
        again = tell(store, told, by="crm")
        assert again == (first.kept, 0)
        assert tell(store, told[1:], by="web").new == 0
        assert tell(store, told[:1], by="web").new == 1
        with pytest.raises(Refused, match="'a' was used before"):
            tell(store, [told[1], replace(told[0], event="refused")], by="crm")
        twice = tell(store, [replace(told[0], key="b"), replace(told[0], key="b")], by="crm")
        assert (twice.new, len({one.id for one in twice.kept})) == (1, 1)
        assert tell(store, [replace(told[0], key=None)] * 2, by="crm").new == 2
        assert tell(store, [replace(told[0], key="c")], by="crm", dry_run=True).new == 1
        found, total = interactions.page(store, "C1", 1, 3)
        assert (total, [one.event for one in found]) == (6, ["shown"] * 3)
        assert interactions.page(store, "C1", 2, 3)[0][-1] == first.kept[1]
        assert interactions.page(store, "C1\0", 1, 3) == ([], 0)


def a_body_is_kept_once_by_its_request_key(url: str, _: Path) -> None:
    told = [Interaction(row, f"C{row % 700}", "gift", "shown") for row in range(1_200)]
    with opened(url) as store:
        first = tell(store, told, by="crm", request_key="r")
        assert first.new == 1_200
        assert [one.customer_id for one in first.kept] == [one.customer_id for one in told]
        assert tell(store, told, by="crm", request_key="r") == (first.kept, 0)
        for other in (told[:1], [*told, told[0]], told[::-1]):
            with pytest.raises(Refused, match="'r' was used before"):
                tell(store, other, by="crm", request_key="r")
        assert tell(store, told[:1], by="web", request_key="r").new == 1


def several_who_tell_the_same_at_once_tell_it_once(url: str, _: Path) -> None:
    told = [Interaction(row, "C1", "gift", "clicked", key=f"k{row}") for row in range(20)]

    def told_by_one(_: int) -> interaction_records.Recorded:
        with opened(url) as own:
            return tell(own, told, by="crm")

    with opened(url) as store, ThreadPoolExecutor(4) as pool:
        store.migrate()
        found = list(pool.map(told_by_one, range(4)))
        assert sorted(one.new for one in found) == [0, 0, 0, 20]
        assert len({tuple(one.kept) for one in found}) == 1


def the_last_answer_of_a_customer_counts(url: str, _: Path) -> None:
    now = datetime.now(UTC)

    def told(customer: str, item: str, *events: str) -> list[Interaction]:
        days = range(len(events), 0, -1)
        return [
            Interaction(0, customer, item, event, now - timedelta(days=day))
            for day, event in zip(days, events, strict=True)
        ]

    with opened(url) as store:
        tell(
            store,
            told("C1", "gift", "shown", "refused")
            + told("C1", "discount", "refused", "clicked", "accepted")
            + told("C2", "gift", "accepted", "refused", "clicked")
            + told("C3", "gift", "clicked")
            + told("C3", "visit", "shown")
            + [Interaction(0, "C1", "visit", "refused", now - timedelta(days=91))],
            by="crm",
        )
        since = now - timedelta(days=90)
        both = interactions.known(store, "C1", since)
        assert both == (frozenset({"gift"}), frozenset({"discount"}))
        assert interactions.known(store, "C1", now - timedelta(days=99)).refused == {"gift", "visit"}
        for nobody in ("C3", "C4", "C1\0", "c1"):
            assert interactions.known(store, nobody, since) == (frozenset(), frozenset())
        newest, answered = interactions.answered(store, since, 0, 9)
        assert answered == {"C1", "C2"}
        assert interactions.answered(store, since, newest, 9) == (newest, set())
        assert len(interactions.answered(store, since, 0, 1)[1]) == 1
        assert interactions.all_known(store, since) == {"C1": both, "C2": (frozenset({"gift"}), frozenset())}
        told_of = {"gift": (3, 1, 2), "discount": (1, 1, 1), "visit": (2, 0, 1)}
        assert interactions.offer_counts(store, [*told_of, "boat"]) == told_of
        assert interactions.offer_counts(store, ["gift"]) == {"gift": (3, 1, 2)}
        assert list(interactions.weights(store)) == [
            ("C1", "discount", 1.0), ("C2", "gift", 0.3), ("C3", "gift", 0.3),
        ]  # fmt: skip


def _scored(store: Store, key: str, lines: Sequence[scoring_runs.Line], keep: int = 1) -> None:
    with scoring_runs.alone(store):
        run = scoring_runs.Writing(store, _run(key))
        for at in range(0, len(lines), scoring_runs.CHUNK):
            run.add(lines[at : at + scoring_runs.CHUNK])
        run.finish(left=0, keep=keep)


def _line(number: int) -> scoring_runs.Line:
    name = {0: 'x"y,z\\.\n', 1: "ünï", 2: "a b"}.get(number, f"C{number * 7919 % 12_007:05}")
    chance = number / 12_000
    band = "high" if chance >= 0.6 else "medium" if chance >= 0.3 else "low"
    value = float(number % 90) if number else None
    revenue = chance * (value or 0)
    return scoring_runs.Line(
        name, chance, int(chance > 0.2), band, f"p{number % 3}" if number else None, value, revenue, chance - 1,
        number % 2 == 1, '[{"text":"ü"}]', f"[{number},null]", '[{"item":"a \\"gift\\"","score":0.5}]', number == 0,
    )  # fmt: skip


def _run(key: str) -> dict[str, object]:
    facts = {"columns": ["a", "b"], "bands": {"high": 0.6, "medium": 0.3, "low": 0.0}}
    told = {"model": "m", "version": "1", "model_run": "r", "source": "s", "data_hash": "0" * 64}
    return {"key": key, "facts": facts, **told}


def _killed_while_writing(url: str) -> "subprocess.CompletedProcess[str]":
    code = (
        "import os, signal, sys; from tests.store_contract import _line, _run, opened; from churn import scoring_runs\n"
        "with opened(sys.argv[1]) as store, scoring_runs.alone(store):\n"
        "    scoring_runs.Writing(store, _run('killed')).add([_line(n) for n in range(5_000)])\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    return _python(code, url)


def _python(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )


CHECKS: Sequence[Check] = (
    migrations_from_nothing_make_the_tables,
    what_is_ready_is_not_migrated_again,
    ten_processes_migrate_once,
    a_newer_revision_is_refused,
    an_emptied_database_gets_its_tables_anew,
    what_a_transaction_began_is_undone_with_it,
    times_are_utc_and_aware,
    a_key_lives_and_dies,
    a_key_needs_a_name_and_a_scope,
    the_last_use_of_a_key_only_moves_on,
    the_key_in_a_file_is_made_once,
    the_key_in_a_file_is_taken_up,
    a_revoked_key_stays_revoked_and_the_file_gets_a_new_one,
    a_file_of_another_key_is_left_alone,
    of_many_at_once_one_makes_the_key,
    of_many_at_once_one_gets_the_name,
    an_entry_is_one_printable_line_that_fits,
    entries_come_newest_first,
    predictions_are_pruned_in_chunks_from_the_oldest,
    several_write_and_prune_at_once,
    a_scoring_is_whole_or_not_there,
    what_is_read_while_a_scoring_ends_is_read_once_more,
    a_campaign_reads_whom_an_offer_may_pay_with,
    a_name_of_a_run_may_be_long,
    a_database_of_the_revision_before_keeps_its_rows,
    an_interaction_is_kept_once,
    a_body_is_kept_once_by_its_request_key,
    several_who_tell_the_same_at_once_tell_it_once,
    the_last_answer_of_a_customer_counts,
)
"""Each takes the address of an empty database, and a folder of its own."""
POSTGRESQL_CHECKS: Sequence[Check] = (
    cut_connections_are_made_anew,
    the_driver_need_not_be_named,
    no_password_is_told,
    nobody_waits_for_ever_for_a_lock,
    a_run_without_statistics_is_removed_in_time,
    who_records_outcomes_keeps_nobody_else_waiting,
)
