"""The engine behind the store: SQLite or PostgreSQL, their locks, and what their errors mean.

No message and no log line holds a password: an address is told without it, and statements without
their parameters.
"""

import fcntl
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from zlib import crc32

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, TimeoutError

from churn.errors import ChurnError, NotReady, Unavailable
from churn.settings import make_folder

CONNECT_SECONDS = 5
LOCK_SECONDS = 10
STATEMENT_SECONDS = 30
_MIGRATING = "600s"
"""What a migration may wait for another one, and what one of its statements may take."""
_ADVISORY = int.from_bytes(b"churn", "big")
"""The number of our advisory locks in PostgreSQL."""
_WANTED = "expected sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME"
_PASSING = ("08", "53300", "57", "55P03", "40")
"""Beginnings of PostgreSQL's error codes that pass: lost connections, too many of them, a shutdown, a
timeout, a lock, a deadlock."""
_ABSENT = "42P01"


class Database:
    """One database, connected to on first use.

    Args:
        address: as ``CHURN_DATABASE_URL``.

    Raises:
        NotReady: it is no address, or that of a database of another kind.
    """

    def __init__(self, address: str) -> None:
        url = _read(address)
        self.file = Path(url.database or "") if url.drivername == "sqlite" else None
        self._log = Path(f"{self.file}-wal")
        self.name = str(self.file) if self.file else _without_password(url)
        self._engine = _sqlite(url) if self.file else _postgresql(url)

    @property
    def exists(self) -> bool:
        """Whether there is one to ask; only a file can be known not to be there."""
        return self.file is None or self.file.exists()

    @property
    def stamp(self) -> tuple[int, int] | None:
        """Of a file, when the log that SQLite writes to first was written to, and its size."""
        return None if self.file is None else _touched(self._log)

    @contextmanager
    def transaction(self, *, writes: bool = False, alone: bool | str = False) -> Iterator[Connection]:
        """One transaction.

        Args:
            writes: whether it will; SQLite then waits for other writers now, where it can.
            alone: whether it excludes all others that ask for the same: with a name, those of that name.

        Raises:
            Unavailable: the server does not answer, or what was waited for did not come.
            NotReady: the database cannot be used, and the message says why.
        """
        engine = self._engine.execution_options(writes=writes or bool(alone))
        with self._told(), engine.begin() as connection:
            if isinstance(alone, str) and not self.file:
                connection.execute(text("SELECT pg_advisory_xact_lock(:ours, :name)"), _named(f"alone {alone}"))
            elif alone and not self.file:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY})
            yield connection

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """A transaction that only one process has at a time, on whichever machine. The lock ends with the process."""
        if self.file:
            with self._locked(self.file), self.transaction(writes=True) as connection:
                yield connection
            return
        with self.transaction() as connection:
            for limit in ("statement_timeout", "lock_timeout"):
                connection.execute(text(f"SET LOCAL {limit} = '{_MIGRATING}'"))
            # another number than that of `alone`: what runs may go on while a new version waits to migrate
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY + 1})
            yield connection

    @contextmanager
    def lease(self, name: str) -> Iterator[bool]:
        """Whether this process alone does what the name says, until it leaves; the lease ends with the process.

        On PostgreSQL on whichever machine; in a file, as its database, on this one. Nobody waits for it.
        """
        if self.file:
            with self._file_lease(self.file, name) as mine:
                yield mine
            return
        # a connection of its own, which is in no transaction: it may be held for many minutes
        engine = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        with self._told():
            connection = engine.connect()
            connection.detach()  # from the pool, whose place is for others; closed, it is gone, and the lock with it
        try:
            with self._told():
                ours = connection.execute(text("SELECT pg_try_advisory_lock(:ours, :name)"), _named(name)).scalar_one()
            yield bool(ours)
        finally:
            connection.close()

    @contextmanager
    def _file_lease(self, file: Path, name: str) -> Iterator[bool]:
        make_folder(file.parent)
        path = file.with_name(f"{file.name}.{name}.lock")
        try:
            handle = path.open("a")
        except OSError as error:
            raise NotReady(f"{path}: {error.strerror or error}") from error
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                mine = True
            except BlockingIOError:
                mine = False
            yield mine

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _locked(self, file: Path) -> Iterator[None]:
        make_folder(file.parent)
        lock = file.with_name(f"{file.name}.lock")
        try:
            with lock.open("a") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX)
                file.touch(mode=0o600)  # it tells who did what: SQLite alone would let everyone read it
                self._write_ahead()
                yield
        except OSError as error:
            raise NotReady(f"the database {file}: {error.strerror or error}") from error

    def _write_ahead(self) -> None:
        """Let readers read while one writes. SQLite does not wait for others here, so we do."""
        patience = time.monotonic() + LOCK_SECONDS
        with self._told():
            connection = self._engine.raw_connection()
            try:
                while True:
                    try:
                        connection.cursor().execute("PRAGMA journal_mode = WAL")
                        return
                    except sqlite3.OperationalError as error:
                        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > patience:
                            raise
                        time.sleep(0.01)
            finally:
                connection.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            raise
        except DBAPIError as error:
            raise self._meaning(error.orig) from error
        except sqlite3.Error as error:
            raise self._meaning(error) from error
        except TimeoutError as error:  # all connections are in use
            raise Unavailable(f"the database {self.name} does not answer: all connections are in use") from error

    def _meaning(self, error: BaseException | None) -> ChurnError:
        said = (str(error).strip().splitlines() or ["it does not say why"])[0]
        if isinstance(error, sqlite3.Error):
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            passing = code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        else:
            code = getattr(error, "pgcode", None) or "08"
            passing = code.startswith(_PASSING)
        if passing:
            return Unavailable(f"the database {self.name} does not answer: {said}")
        return NotReady(f"the database {self.name}: {said}")


def _touched(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def lacks_table(error: BaseException | None) -> bool:
    """Whether a driver complains that a table is not there."""
    return getattr(error, "pgcode", None) == _ABSENT or "no such table" in str(error)


def _named(name: str) -> dict[str, int]:
    """The two numbers of an advisory lock that has a name."""
    return {"ours": _ADVISORY & 0x7FFFFFFF, "name": crc32(name.encode()) & 0x7FFFFFFF}


def _read(address: str) -> URL:
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        raise NotReady(f"CHURN_DATABASE_URL is no address: {_WANTED}") from None  # the error may tell the password
    kind = url.drivername
    if kind in ("sqlite", "sqlite+pysqlite"):
        if not url.database or url.database == ":memory:" or url.query:
            raise NotReady(f"CHURN_DATABASE_URL: the store is a file, and has no options; {_WANTED}")
        # not every version of SQLAlchemy reads a path as a URL's: %20 is a space, %25 a percent sign
        return URL.create("sqlite", database=unquote(address.partition(":///")[2]))
    if kind not in ("postgresql", "postgres", "postgresql+psycopg2"):
        raise NotReady(f"CHURN_DATABASE_URL: {kind[:40]} is not spoken here; {_WANTED}")
    if "@" in (url.host or ""):  # the rest of a password, which would then be told as a host
        raise NotReady("CHURN_DATABASE_URL: an @ in a password is written %40")
    return url.set(drivername="postgresql+psycopg2")


def _without_password(url: URL) -> str:
    """The address as a person may read it. Its query is left out: a part of that may be a password too."""
    return str(URL.create("postgresql", url.username, host=url.host, port=url.port, database=url.database))


def _sqlite(url: URL) -> Engine:
    engine = create_engine(
        url, connect_args={"timeout": LOCK_SECONDS}, pool_size=1, pool_timeout=LOCK_SECONDS, hide_parameters=True
    )

    @event.listens_for(engine, "connect")
    def _ours(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # else Python begins transactions, and none before a CREATE TABLE

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # a transaction that reads first and then wants to write fails at once where another has written
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql(url: URL) -> Engine:
    asked = {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "churn",
        "options": f"-c statement_timeout={STATEMENT_SECONDS}s -c lock_timeout={LOCK_SECONDS}s -c timezone=UTC",
        # a server that is gone without a word is noticed within half a minute
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
    }
    try:
        return create_engine(
            url,
            connect_args={name: value for name, value in asked.items() if name not in url.query},
            pool_size=1,
            pool_timeout=LOCK_SECONDS,
            pool_pre_ping=True,  # a server that was started anew has forgotten our connections
            hide_parameters=True,
        )
    except ImportError as error:
        raise NotReady("PostgreSQL needs psycopg2: install churn with its extra `store`") from error


__all__ = ["Database", "lacks_table"]
