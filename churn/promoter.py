"""Putting a version into service and going back, each attempt with its entry in the audit trail.

The command line, Airflow's task and the API all come here; what is allowed, :mod:`churn.promotion` says.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from churn import audit, persona_models, promotion
from churn.errors import ChurnError, NoChampion, Refused, RefusedModel, UnknownVersion
from churn.kinds import CLASSIFIER, Loaded
from churn.registry import Registry, Version


class Move(NamedTuple):
    """What came of an attempt that was not refused."""

    version: Version
    changed: bool
    """False: the version was in service already."""


class Promoter:
    """Changes what is in service for somebody.

    Args:
        write: takes the entries: :func:`churn.audit.writer`, or the API's keeper.
        by: who asks.
        source: from where.
        in_history: what the registry's own history says of it; left out, ``by``.
    """

    def __init__(
        self, registry: Registry[Loaded], write: audit.Write, *, by: str, source: str, in_history: str = ""
    ) -> None:
        self._registry = registry
        self._write = write
        self._by = by
        self._source = source
        self._in_history = in_history or by

    def promote(self, number: str, *, reason: str = "", despite_gate: str = "", accept_contract: bool = False) -> Move:
        """As :func:`churn.promotion.promote`, which says what the arguments are and what is raised."""
        with self._attempt("promote", f"{self._registry.name} version {number[:50]}") as told:
            before = {term.version for term in self._registry.history() if term.until is None}
            version = promotion.promote(
                self._registry,
                number,
                by=self._in_history,
                reason=reason,
                despite_gate=despite_gate,
                accept_contract=accept_contract,
            )
            self._followed_by_personas(version)
            changed = version.version not in before
            overruled = (
                f"despite the gate: {despite_gate}" if despite_gate else "",
                "other rows accepted" if accept_contract else "",
            )
            told["outcome"] = audit.DONE if changed or accept_contract else audit.UNCHANGED
            told["detail"] = "; ".join(filter(None, (reason, *overruled)))
            return Move(version, changed)

    def rollback(self, *, reason: str = "") -> Move:
        """As :func:`churn.promotion.rollback`, which says what is raised."""
        with self._attempt("rollback", self._registry.name) as told:
            version = promotion.rollback(self._registry, by=self._in_history, reason=reason)
            self._followed_by_personas(version)
            told.update(subject=f"{self._registry.name} version {version.version}", outcome=audit.DONE, detail=reason)
            return Move(version, True)

    def _followed_by_personas(self, version: Version) -> None:
        """Each version of the classifier carries its personas; no other kind has any."""
        if self._registry.kind is CLASSIFIER:
            persona_models.follow(self._registry, version)

    @contextmanager
    def _attempt(self, action: str, subject: str) -> Iterator[dict[str, Any]]:
        told = {"subject": subject, "outcome": audit.FAILED, "detail": "an unforeseen error"}
        try:
            yield told
        except (NoChampion, Refused, RefusedModel, UnknownVersion) as error:
            told.update(outcome=audit.REFUSED, detail=str(error))
            raise
        except ChurnError as error:
            told["detail"] = str(error)
            raise
        finally:
            self._write(audit.entry(action=action, by=self._by, source=self._source, **told))


__all__ = ["Move", "Promoter"]
