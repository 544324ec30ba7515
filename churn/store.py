"""The platform's own database, and bringing it to this version's shape.

SQLite in ``CHURN_HOME``, or PostgreSQL by ``CHURN_DATABASE_URL``. Times go in and come out as aware
UTC on both. What the tables (:mod:`churn.schema`) hold is read and written by a module for each noun.
"""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, inspect, text

from churn.database import Database, lacks_table
from churn.errors import NotReady
from churn.schema import METADATA, api_keys, audit, predictions
from churn.settings import Settings

if TYPE_CHECKING:
    from alembic.config import Config

REVISION = "0003"
"""The newest migration. A database that says so is ready, without a look at the migrations."""
LONGEST_KEY = 250
"""Characters of the name of a run."""
MIGRATIONS = Path(__file__).with_name("migrations")
_VERSION = text("SELECT version_num FROM alembic_version")


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

    @property
    def stamp(self) -> object:
        """What is another after a change, by whichever process, while a connection is open; None where only
        asking would tell."""
        return self._database.stamp

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that reads."""
        with self._transaction() as connection:
            yield connection

    @contextmanager
    def write(self, *, alone: bool | str = False) -> Iterator[Connection]:
        """A transaction that writes.

        Args:
            alone: whether it waits for others that were begun so, as who first looks and then writes must;
                with a name, for those of that name.
        """
        with self._transaction(writes=True, alone=alone) as connection:
            yield connection

    @contextmanager
    def lease(self, name: str) -> Iterator[bool]:
        """Whether this process alone does what the name says, from now until it leaves or ends."""
        self.migrate()
        with self._database.lease(name) as mine:
            yield mine

    @contextmanager
    def _transaction(self, *, writes: bool = False, alone: bool | str = False) -> Iterator[Connection]:
        self.migrate()
        try:
            with self._database.transaction(writes=writes, alone=alone) as connection:
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


@contextmanager
def existing(settings: Settings) -> Iterator[Store | None]:
    """The store until the block ends; None where there is none yet, which this does not make."""
    store = Store(settings)
    try:
        yield store if store.revision() is not None else None
    finally:
        store.close()


def fit_key(name: str) -> str:
    """The name of a run as the tables hold it: of one that is too long, the beginning and a hash of all of it."""
    if len(name) <= LONGEST_KEY:
        return name
    end = f"~{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return name[: LONGEST_KEY - len(end)] + end


def _alembic() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def _told(connection: Connection) -> str | None:
    found: Any = connection.execute(_VERSION).scalar()
    return None if found is None else str(found)


__all__ = ["METADATA", "MIGRATIONS", "REVISION", "Store", "api_keys", "audit", "existing", "fit_key", "predictions"]
