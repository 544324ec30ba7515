"""The commands over the store: ``churn keys``, ``churn audit``, ``churn migrate``."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from churn.keys import SCOPES

if TYPE_CHECKING:
    from churn.audit import Entry
    from churn.keys import Key
    from churn.settings import Settings
    from churn.store import Store


@click.group(short_help="API keys: make, list, revoke.")
def keys() -> None:
    """Keys by which people and programs use the API from beyond this machine.

    A key is told once, when it is made; what is kept is its hash. Its scope says what it is good for:
    read (predictions, what is in service), write (what changes data), admin (which version serves);
    each includes those before it. The API takes notice of a new or revoked key within seconds.

    \b
    churn keys make crm --scope read
    churn keys list
    churn keys revoke crm
    """


@keys.command(short_help="Make a key and print it, once.")
@click.argument("name")
@click.option("--scope", type=click.Choice(SCOPES), required=True, help="What it is good for.")
def make(name: str, scope: str) -> None:
    """Make the key NAME. Standard output is the key alone; it is not told again.

    \b
    churn keys make crm --scope read > crm.key
    """
    from churn.keys import Keys

    key, secret = Keys(_store()).make(name, scope, by=_person())
    click.echo(f"the key {key.name!r}, scope {key.scope}; keep it, it is not told again:", err=True)
    click.echo(secret)
    click.echo("send it as a header: Authorization: Bearer <key>", err=True)


@keys.command("list", short_help="The keys there are.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_keys(as_json: bool) -> None:
    """Every key, revoked ones too: who made it, when it was used last (UTC). No secrets."""
    from churn.keys import Keys

    found = Keys(_store()).all()
    if as_json:
        click.echo(_as_json(found))
        return
    if not found:
        click.echo("there are no keys; `churn keys make NAME --scope read` makes one")
    for line in _table(["name", "scope", "made", "by", "used last", "revoked"], [_key_line(key) for key in found]):
        click.echo(line)


@keys.command(short_help="Make a key good for nothing.")
@click.argument("name")
def revoke(name: str) -> None:
    """Revoke the key NAME. Every worker of the API refuses it within seconds.

    \b
    churn keys revoke crm
    """
    from churn.keys import Keys

    key = Keys(_store()).revoke(name, by=_person())
    click.echo(f"the key {key.name!r} is revoked")


@click.command(short_help="Who promoted, rolled back, made or revoked a key.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many entries.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def audit(limit: int, as_json: bool) -> None:
    """The newest entries of the audit trail (UTC): who did what, from where, and what came of it.

    \b
    churn audit --limit 10
    churn audit --json
    """
    from churn import audit as trail

    found = trail.entries(_store(), limit)
    if as_json:
        click.echo(_as_json(found))
        return
    if not found:
        click.echo("nothing has been promoted, rolled back, made or revoked yet")
    for line in _table(["when", "what", "of", "by", "from", "outcome", "detail"], [_entry_line(one) for one in found]):
        click.echo(line)


@click.command(short_help="Bring the store to this version's shape.")
@click.option(
    "--web-app-key",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Have the key in FILE be the web app's: made where there is none.",
)
def migrate(web_app_key: Path | None) -> None:
    """Bring the store to this version's shape. The API does so by itself; to do it before costs nothing.

    Exit code 1 where the services listen beyond this machine, and nobody has a key of scope admin.

    \b
    churn migrate
    """
    from churn.keys import Keys

    settings = _settings()
    store = _store(settings)
    revision = store.migrate()
    click.echo(f"{store.name}: revision {revision}")
    kept = Keys(store)
    if web_app_key:
        key = kept.ensure(web_app_key, "web-app", "write", by="churn migrate")
        click.echo(f"{web_app_key}: the key {key.name!r}, scope {key.scope}")
    _check_admin(settings, kept.active().values())


def _check_admin(settings: "Settings", active: "Iterable[Key]") -> None:
    from churn.errors import NotReady
    from churn.services import is_private, keys_required

    if not keys_required(settings) or any(key.may("admin") for key in active):
        return
    why = f"CHURN_BIND={settings.bind} lies beyond this machine"
    if is_private(settings.bind):
        why = "CHURN_REQUIRE_KEYS asks everyone for a key"
    raise NotReady(f"{why}, and no admin key exists: make one with `churn keys make NAME --scope admin`")


def _settings() -> "Settings":
    from churn.settings import load

    return load()


def _store(settings: "Settings | None" = None) -> "Store":
    from churn.store import Store

    return Store(settings or _settings())


def _person() -> str:
    from churn.audit import person

    return person()


def _key_line(key: "Key") -> list[str]:
    return [key.name, key.scope, _minute(key.created), key.created_by, _minute(key.last_used), _minute(key.revoked)]


def _entry_line(entry: "Entry") -> list[str]:
    when = f"{entry.at:%Y-%m-%d %H:%M:%S}"
    return [when, entry.action, entry.subject, entry.by, entry.source, entry.outcome, entry.detail]


def _minute(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "–"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Columns as wide as their widest cell; the last as it comes."""
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = (zip(line, widths, strict=True) for line in [head, *rows])
    return ["  ".join(f"{cell:<{width}}" for cell, width in line).rstrip() for line in lines]


def _as_json(found: "Sequence[Key] | Sequence[Entry]") -> str:
    return json.dumps([asdict(one) for one in found], default=datetime.isoformat, ensure_ascii=False, indent=2)


COMMANDS = (keys, audit, migrate)
