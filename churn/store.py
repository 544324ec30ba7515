"""The platform's own database: its tables, and bringing it to this version's shape.

SQLite in ``CHURN_HOME``, or PostgreSQL by ``CHURN_DATABASE_URL``. Times go in and come out as aware
UTC on both. What the tables hold is read and written by ``keys``, ``audit`` and ``prediction_log``.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    inspect,
    text,
)

from churn.database import Database, lacks_table
from churn.errors import NotReady
from churn.settings import Settings

if TYPE_CHECKING:
    from alembic.config import Config

REVISION = "0001"
"""The newest migration. A database that says so is ready, without a look at the migrations."""
MIGRATIONS = Path(__file__).with_name("migrations")
METADATA = MetaData()
_VERSION = text("SELECT version_num FROM alembic_version")


class Moment(TypeDecorator[datetime]):
    """A point in time, aware and in UTC. SQLite knows no zones: there UTC is understood."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone is no point in time")
        told = value.astimezone(UTC)
        return told.replace(tzinfo=None) if dialect.name == "sqlite" else told

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


api_keys = Table(
    "api_keys",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(60), nullable=False),
    Column("scope", String(10), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
    Column("created", Moment, nullable=False),
    Column("created_by", String(250), nullable=False),
    Column("revoked", Moment),
    Column("last_used", Moment),
)
_active = api_keys.c.revoked.is_(None)
Index("ix_api_keys_active", api_keys.c.name, unique=True, sqlite_where=_active, postgresql_where=_active)
"""Of one name there is one active key, whatever two processes do at once."""

audit = Table(
    "audit",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("action", String(40), nullable=False),
    Column("by", String(250), nullable=False),
    Column("source", String(100), nullable=False),
    Column("subject", String(250), nullable=False),
    Column("outcome", String(20), nullable=False),
    Column("detail", Text, nullable=False),
)

predictions = Table(
    "predictions",
    METADATA,
    # SQLite counts by itself only in a plain INTEGER
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("at", Moment, nullable=False, index=True),
    Column("model", String(100), nullable=False),
    Column("version", String(20), nullable=False),
    Column("input_hash", String(64), nullable=False),
    Column("probability", Float(53), nullable=False),
)


class Store:
    """The database of the settings. Nothing is opened before it is used, and then it is migrated first.

    Every method raises, beside what it says itself:
        Unavailable: the database server does not answer; its name is in the message, its password is not.
        NotReady: the database cannot be used: no permission, a full disk, a newer version's tables.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._migrating = threading.Lock()
        self._migrated = False

    @cached_property
    def _database(self) -> Database:
        return Database(self._settings.store_url)

    @property
    def name(self) -> str:
        """Where it is, as a person may read it."""
        return self._database.name

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that reads."""
        with self._transaction() as connection:
            yield connection

    @contextmanager
    def write(self, *, alone: bool = False) -> Iterator[Connection]:
        """A transaction that writes.

        Args:
            alone: whether it waits for others that were begun so, as who first looks and then writes must.
        """
        with self._transaction(writes=True, alone=alone) as connection:
            yield connection

    @contextmanager
    def _transaction(self, **how: bool) -> Iterator[Connection]:
        self.migrate()
        try:
            with self._database.transaction(**how) as connection:
                yield connection
        except NotReady as error:
            cause = error.__cause__
            # somebody put an empty database in its place: the next use makes the tables anew
            self._migrated = self._migrated and not lacks_table(getattr(cause, "orig", cause))
            raise

    def migrate(self) -> str:
        """Bring the database to this version's shape, once, however many do so at the same time.

        Returns:
            The revision that it has now.

        Raises:
            NotReady: it has one that this version does not know.
        """
        with self._migrating:
            if not self._migrated:
                if self.revision() != REVISION:
                    self._upgrade()
                self._migrated = True
        return REVISION

    def revision(self) -> str | None:
        """The revision that the database has, None where there are no tables yet. Changes nothing."""
        if not self._database.exists:
            return None
        try:
            with self._database.transaction() as connection:
                return _told(connection)
        except NotReady as error:
            if lacks_table(getattr(error.__cause__, "orig", None)):
                return None
            raise

    def _upgrade(self) -> None:
        from alembic import command

        with self._database.migrating() as connection:
            present = _told(connection) if inspect(connection).has_table("alembic_version") else None
            if present == REVISION:  # another process was first
                return
            self.check(present)
            config = _alembic()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def check(self, revision: str | None) -> None:
        """Whether this version can bring the database from a revision, None being an empty one, to its own.

        Raises:
            NotReady: it knows none of that name.
        """
        if revision in (None, REVISION):
            return
        from alembic.script import ScriptDirectory

        if revision not in {script.revision for script in ScriptDirectory.from_config(_alembic()).walk_revisions()}:
            raise NotReady(
                f"the database {self.name} is of revision {revision!r}, and this version of churn knows none after "
                f"{REVISION}: a newer version has migrated it, or another program uses it"
            )

    def close(self) -> None:
        """Let go of the connections; the next use opens new ones."""
        if "_database" in self.__dict__:
            self._database.close()


def _alembic() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def _told(connection: Connection) -> str | None:
    found: Any = connection.execute(_VERSION).scalar()
    return None if found is None else str(found)


__all__ = ["METADATA", "MIGRATIONS", "REVISION", "Store", "api_keys", "audit", "predictions"]
