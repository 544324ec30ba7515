"""API keys: who may do what over HTTP. What is kept of a key is the hash of its secret.

:class:`Key`, :func:`hash_of` and :data:`SCOPES` need no database: the API checks each request by them.
"""

import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn.errors import NotReady, Refused

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from churn.store import Store

SCOPES = ("read", "write", "admin")
"""What a key may do; each includes those before it."""
PREFIX = "churn_"
"""By it a scanner of commits and a person know what a secret is."""
_SECRET_BYTES = 32
_SECRET = re.compile(PREFIX + r"[A-Za-z0-9_-]{43,}")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,60}")
_MODE = 0o440
"""Of a file that holds a secret: a service of the same group reads it."""


@dataclass(frozen=True)
class Key:
    """What is known of a key; its secret is not."""

    id: int
    name: str
    scope: str
    created: datetime
    created_by: str
    revoked: datetime | None = None
    last_used: datetime | None = None

    def may(self, scope: str) -> bool:
        """Whether the key is good for what asks for a scope.

        Raises:
            ValueError: there is no such scope.
        """
        return self.revoked is None and SCOPES.index(scope) <= SCOPES.index(self.scope)


def hash_of(secret: str) -> str:
    """SHA-256, in hex, of a secret.

    A slow hash protects what people choose, from being guessed. These secrets are 256 random bits:
    nobody guesses one, however fast the hash, and each request is spared the tenth of a second.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def new_secret() -> str:
    return PREFIX + secrets.token_urlsafe(_SECRET_BYTES)


class Keys:
    """The keys of a store.

    Args:
        source: from where keys are made and revoked, for the audit trail.
    """

    def __init__(self, store: "Store", source: str = "command line") -> None:
        self._store = store
        self._source = source

    def make(self, name: str, scope: str, *, by: str) -> tuple[Key, str]:
        """Make a key. Its secret, the second of the two, is told now and never again.

        Raises:
            Refused: the name or the scope is none, or an active key has that name.
        """
        _check(name, scope)
        secret = new_secret()
        with self._store.write(alone=True) as connection:
            if self._named(connection, name):
                raise Refused(f"an active key is named {name!r} already: revoke it first, or choose another name")
            return self._insert(connection, name, scope, secret, by), secret

    def active(self) -> dict[str, Key]:
        """The keys that are good for something, by the hash of their secrets."""
        from churn.store import api_keys

        with self._store.read() as connection:
            found = connection.execute(api_keys.select().where(api_keys.c.revoked.is_(None)))
            return {row.hash: _key(row) for row in found}

    def all(self) -> list[Key]:
        """Every key, revoked ones too, in the order in which they were made."""
        from churn.store import api_keys

        with self._store.read() as connection:
            return [_key(row) for row in connection.execute(api_keys.select().order_by(api_keys.c.id))]

    def revoke(self, name: str, *, by: str) -> Key:
        """Make a key good for nothing. API workers know within seconds.

        Raises:
            Refused: no key has that name, or it is revoked already.
        """
        from churn.store import api_keys

        with self._store.write(alone=True) as connection:
            found = self._named(connection, name)
            if found is None:
                known = api_keys.select().where(api_keys.c.name == name).order_by(api_keys.c.id.desc())
                last = connection.execute(known).first()
                if last is None:
                    raise Refused(f"there is no key {name!r}; `churn keys list` lists those there are")
                raise Refused(f"the key {name!r} is revoked already, since {last.revoked:%Y-%m-%d %H:%M} UTC")
            return self._revoke(connection, found, by)

    def ensure(self, file: Path, name: str, scope: str, *, by: str) -> Key:
        """Have the secret in a file be an active key, whatever is there already. Safe to repeat.

        A file that is missing or empty, and one whose key was revoked or has another scope, gets a
        new secret. Other active keys of the name are revoked.

        Raises:
            NotReady: the file cannot be read, made or written.
            Refused: it holds what is no secret of ours, or that of a key of another name.
        """
        from churn.store import api_keys

        _check(name, scope)
        with self._store.write(alone=True) as connection:
            secret = _read(file)
            row = connection.execute(api_keys.select().where(api_keys.c.hash == hash_of(secret))).first()
            if row and row.name != name:
                raise Refused(f"{file} holds the secret of the key {row.name!r}, which cannot be {name!r} as well")
            if row and row.revoked is None and row.scope == scope:
                return _key(row)  # no other active key can have its name
            if row or not secret:
                secret = new_secret()
                _write(file, secret)
            if other := self._named(connection, name):
                self._revoke(connection, other, by)
            return self._insert(connection, name, scope, secret, by)

    def used(self, at: Mapping[int, datetime]) -> None:
        """Note when keys, by their ids, were used last."""
        from sqlalchemy import bindparam, or_

        from churn.store import api_keys

        if not at:
            return
        older = or_(api_keys.c.last_used.is_(None), api_keys.c.last_used < bindparam("moment"))
        marked = api_keys.update().where(api_keys.c.id == bindparam("key"), older)
        # in the order of the ids: two workers that mark the same keys then never wait for each other in a ring
        rows = [{"key": key, "moment": moment} for key, moment in sorted(at.items())]
        with self._store.write() as connection:
            connection.execute(marked.values(last_used=bindparam("moment")), rows)

    def _named(self, connection: "Connection", name: str) -> "Row[Any] | None":
        """The active key of a name."""
        from churn.store import api_keys

        return connection.execute(
            api_keys.select().where(api_keys.c.name == name, api_keys.c.revoked.is_(None))
        ).first()

    def _insert(self, connection: "Connection", name: str, scope: str, secret: str, by: str) -> Key:
        from churn import audit
        from churn.store import api_keys

        row = {"name": name, "scope": scope, "created": datetime.now(UTC), "created_by": by[:250]}
        made = connection.execute(api_keys.insert().values(hash=hash_of(secret), **row).returning(api_keys.c.id))
        key = Key(id=made.scalar_one(), **row)  # type: ignore[arg-type]
        entry = audit.entry(action="key.make", by=by, source=self._source, subject=name, detail=f"scope {scope}")
        audit.write(connection, [entry])
        return key

    def _revoke(self, connection: "Connection", row: "Row[Any]", by: str) -> Key:
        from churn import audit
        from churn.store import api_keys

        revoked = datetime.now(UTC)
        connection.execute(api_keys.update().where(api_keys.c.id == row.id).values(revoked=revoked))
        entry = audit.entry(
            action="key.revoke", by=by, source=self._source, subject=row.name, detail=f"scope {row.scope}"
        )
        audit.write(connection, [entry])
        return _key(row, revoked=revoked)


def _key(row: "Row[Any]", revoked: datetime | None = None) -> Key:
    return Key(row.id, row.name, row.scope, row.created, row.created_by, revoked or row.revoked, row.last_used)


def _check(name: str, scope: str) -> None:
    if not _NAME.fullmatch(name):
        raise Refused("a key's name is 1 to 60 letters, digits, dots, underscores and hyphens")
    if scope not in SCOPES:
        raise Refused(f"there is no scope {scope[:20]!r}; the scopes are {', '.join(SCOPES)}")


def _read(file: Path) -> str:
    """The secret in a file; empty where there is none."""
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise NotReady(f"{file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise _no_secret(file) from error
    if secret and not _SECRET.fullmatch(secret):
        raise _no_secret(file)
    return secret


def _no_secret(file: Path) -> Refused:
    return Refused(f"{file} holds no secret as `churn keys make` makes them; empty it, and it gets one")


def _write(file: Path, secret: str) -> None:
    """Put a secret into a file, which holds the old content or the whole new one."""
    scratch = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            scratch.unlink(missing_ok=True)
            with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
                handle.write(secret)
                handle.flush()
                os.fsync(handle.fileno())
            scratch.chmod(_MODE)  # whatever the umask
            scratch.replace(file)
        finally:
            with suppress(OSError):
                scratch.unlink(missing_ok=True)
    except OSError as error:
        raise NotReady(f"{file}: {error.strerror or error}; the secret of a key is kept there") from error


__all__ = ["PREFIX", "SCOPES", "Key", "Keys", "hash_of", "new_secret"]
