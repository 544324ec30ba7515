"""The part of :mod:`churn.client` about versions: which serves, which has served, and changing that."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from churn.client_connection import Connection, moment

PROMOTION_SECONDS = 60.0


@dataclass(frozen=True)
class Term:
    """A version's time in service; ``until`` is None while it lasts. Both are in UTC."""

    version: str
    since: datetime
    until: datetime | None
    by: str
    how: str
    reason: str


@dataclass(frozen=True)
class RefusedVersion:
    """A version that the registry names and the API does not serve."""

    name: str
    version: str
    reason: str


class ModelsPart(Connection):
    """``/models``."""

    def models(self) -> list[dict[str, Any]]:
        """The versions in service."""
        found: list[dict[str, Any]] = self._part("/models", "models")
        return found

    def refused(self) -> list[RefusedVersion]:
        """The versions that the registry names and the API does not serve."""
        return [RefusedVersion(**one) for one in self._part("/models", "refused")]

    def history(self, name: str = "") -> list[Term]:
        """Which version of a model was in service when, newest first; left out, of the classifier."""
        told = self._part("/models/history", "history", params={"name": name} if name else None)
        return [Term(**{**one, "since": moment(one["since"]), "until": moment(one["until"])}) for one in told]

    def promote(
        self, name: str, version: str, *, reason: str = "", despite_gate: str = "", accept_contract: bool = False
    ) -> list[dict[str, Any]]:
        """Put a version into service; returns the versions in service.

        Args:
            reason: goes into the history, as do the other words.
            despite_gate: the reason to overrule the gate.
            accept_contract: whether the rows that callers send may change with it.
        """
        body = {
            "version": version,
            "reason": reason,
            "despite_gate": despite_gate,
            "accept_contract": accept_contract,
        }
        return self._changed(name, "promote", body)

    def rollback(self, name: str, *, reason: str = "") -> list[dict[str, Any]]:
        """Go back to the version before; returns the versions in service."""
        return self._changed(name, "rollback", {"reason": reason})

    def _changed(self, name: str, how: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        # the version is loaded for a trial before anything changes
        options = {"json": body, "timeout": max(self._http.timeout.read or 0, PROMOTION_SECONDS)}
        found: list[dict[str, Any]] = self._part(f"/models/{quote(name, safe='')}/{how}", "models", "POST", **options)
        return found
