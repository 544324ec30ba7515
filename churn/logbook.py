"""The history of the version in service as a person, or a program, reads it."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from churn.history import Term
from churn.versions import Version

_TITLES = ("version", "candidate", "from (UTC)", "to (UTC)", "for", "by", "how", "reason")


def as_text(terms: Sequence[Term], versions: Sequence[Version]) -> str:
    """A table of the terms, newest first, and below it the versions that the gate has refused."""
    rows = [_row(term, _candidates(versions)) for term in terms]
    told = _table([_TITLES, *rows]) if rows else "No version has been in service yet."
    refused = [f"  {version.version:<4} {_candidate(version)}: {version.refused}" for version in _refused(versions)]
    return "\n".join([told, *(["", "Refused by the gate:", *refused] if refused else [])])


def as_json(terms: Sequence[Term], versions: Sequence[Version]) -> str:
    """The same, with times in ISO 8601 and durations in seconds."""
    candidates = _candidates(versions)
    return json.dumps(
        {
            "terms": [_term(term, candidates) for term in terms],
            "refused": [
                {"version": version.version, "candidate": _candidate(version), "reason": version.refused}
                for version in _refused(versions)
            ],
        },
        indent=2,
        ensure_ascii=False,
    )


def _term(term: Term, candidates: dict[str, str]) -> dict[str, Any]:
    return {
        "version": term.version,
        "candidate": candidates.get(term.version, ""),
        "since": term.since.isoformat(),
        "until": term.until.isoformat() if term.until else None,
        "seconds": _length(term).total_seconds(),
        "by": term.by,
        "how": term.how,
        "reason": term.reason,
    }


def _row(term: Term, candidates: dict[str, str]) -> tuple[str, ...]:
    until = f"{term.until:%Y-%m-%d %H:%M}" if term.until else "now"
    started = f"{term.since:%Y-%m-%d %H:%M}"
    candidate = candidates.get(term.version, "(deleted)")
    return (term.version, candidate, started, until, _spoken(_length(term)), term.by, term.how, term.reason)


def _length(term: Term) -> timedelta:
    return (term.until or datetime.now(UTC)) - term.since


def _spoken(length: timedelta) -> str:
    """Its two largest units: "3 d 4 h", "5 min 7 s"."""
    left = max(0, int(length.total_seconds()))
    parts: list[str] = []
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, seconds)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def _candidates(versions: Sequence[Version]) -> dict[str, str]:
    return {version.version: _candidate(version) for version in versions}


def _candidate(version: Version) -> str:
    return version.provenance.get("candidate", "")


def _refused(versions: Sequence[Version]) -> list[Version]:
    return [version for version in versions if version.refused]


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
