"""Which version is in service, asked without MLflow's client, whose import takes longer than most commands.

Only a short cut: where it cannot tell, :mod:`churn.registry` is asked, and says what is the matter.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from churn import kinds
from churn.kinds import Kind, Loaded
from churn.settings import Settings

CLASSIFIER = kinds.CLASSIFIER.name
CHAMPION = "champion"
_SECONDS = 5.0
_ALIAS = """
SELECT version.version, version.run_id
FROM registered_model_aliases AS alias
JOIN model_versions AS version ON version.name = alias.name AND version.version = alias.version
WHERE alias.name = ? AND alias.alias = ?
"""


@dataclass(frozen=True, slots=True)
class Named:
    """What the alias names."""

    name: str
    version: str
    run_id: str


def champion(settings: Settings, kind: Kind[Loaded] = kinds.CLASSIFIER) -> Named | None:
    """The version of a kind that is in service, or None where this way does not tell."""
    if settings.mlflow_tracking_uri is None:
        return _of_database(settings.mlflow_home / "mlflow.db", kind.name)
    if settings.mlflow_tracking_uri.startswith(("http://", "https://")):
        return _of_server(settings.mlflow_tracking_uri, kind.name)
    return None


def _of_database(path: Path, name: str) -> Named | None:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_SECONDS)) as database:
            rows = database.execute(_ALIAS, (name, CHAMPION)).fetchall()
    except sqlite3.Error:  # no database yet, or one of another shape than today's MLflow gives it
        return None
    return _named(name, *rows[0]) if len(rows) == 1 else None


def _of_server(uri: str, name: str) -> Named | None:
    import httpx

    asked = {"name": name, "alias": CHAMPION}
    try:
        reply = httpx.get(
            f"{uri.rstrip('/')}/api/2.0/mlflow/registered-models/alias", params=asked, timeout=_SECONDS, trust_env=False
        )
        told = reply.raise_for_status().json()["model_version"]
        return _named(name, told["version"], told.get("run_id"))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError):
        return None


def _named(name: str, version: object, run_id: object) -> Named | None:
    return Named(name, str(version), str(run_id)) if version and run_id else None
