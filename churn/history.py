"""Which version was in service from when to when, and who or what changed it.

Each change is one tag of the registered model with a key of its own, so that two at once lose
nothing. It is written before the alias moves and completed after: what was begun and never
completed counts only if the alias, or what a later change found, shows that it took place. The
alias is the truth; where it shows what no change explains, somebody moved it by other means.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

PREFIX = "churn.change."
PROMOTE, ROLLBACK, OUTSIDE = "promote", "rollback", "outside"
UNKNOWN = "unknown"
NOTHING = ""
"""Stands where a version's number would, when no version is in service."""
REASON_LENGTH = 1_000
"""MLflow keeps 5,000 characters of such a tag, and JSON may double a reason's."""
_MOVING = timedelta(minutes=1)
"""For how long a change that is not completed may be one that is being made right now."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Change:
    """One change of the version in service, as it is kept."""

    version: str
    before: str
    by: str
    how: str
    reason: str
    begun: datetime
    done: datetime | None
    """When the alias had moved; None until then."""
    key: str

    def dump(self) -> str:
        """The value of its tag."""
        told = {name: value for name, value in asdict(self).items() if name != "key"}
        return json.dumps(told, default=datetime.isoformat, ensure_ascii=False)

    @property
    def at(self) -> datetime:
        return self.done or self.begun


@dataclass(frozen=True)
class Term:
    """A version's time in service."""

    version: str
    since: datetime
    until: datetime | None
    """None while it lasts."""
    by: str
    """Who or what put the version into service."""
    how: str
    """``promote``, ``rollback``, or ``outside``: the alias was moved by other means, and ``since``
    is when that was first seen."""
    reason: str


def begin(version: str, *, before: str, by: str, how: str, reason: str = "") -> Change:
    """A change that is about to be made."""
    now = datetime.now(UTC)
    key = f"{PREFIX}{now:%Y%m%dT%H%M%S.%fZ}.{uuid4().hex[:8]}"
    return Change(version, before, _line(by)[:250] or UNKNOWN, how, _line(reason)[:REASON_LENGTH], now, None, key)


def _line(text: str) -> str:
    """Printable, in one line: control characters would grow sixfold in JSON."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def read(tags: Mapping[str, str]) -> list[Change]:
    """The changes among the tags of a registered model; what somebody has broken is left out."""
    found = []
    for key, value in tags.items():
        if not key.startswith(PREFIX):
            continue
        try:
            told = json.loads(value)
            begun, done = _moment(told.pop("begun")), told.pop("done")
            found.append(Change(**told, key=key, begun=begun, done=done and _moment(done)))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("the tag %s of the registered model is no change of the version in service: %s", key, error)
    return sorted(found, key=_order)


def _moment(text: str) -> datetime:
    told = datetime.fromisoformat(text)
    return told.astimezone(UTC) if told.tzinfo else told.replace(tzinfo=UTC)


def reconciled(changes: Sequence[Change], live: str, promoted: str | None = None) -> list[Change]:
    """The changes that took place, in order; the last one leads to the version that is live.

    Args:
        changes: as :func:`read` returns them.
        live: the version that the alias names, or :data:`NOTHING`.
        promoted: when that version was promoted, if it was before changes were kept (ISO 8601).
    """
    past: list[Change] = []
    for change in sorted([*_completed(changes), *_broken_off(changes, live)], key=_order):
        last = past[-1] if past else None
        if last is None or last.version != change.version:
            past.append(change)
        elif last.how == OUTSIDE:  # it was seen before the one who made it had completed it
            past[-1] = change
    before = past[-1].version if past else NOTHING
    if before != live:
        past.append(_seen(live, before, None if changes else promoted))
    return past


def _order(change: Change) -> tuple[datetime, str]:
    return change.at, change.key


def _completed(changes: Sequence[Change]) -> list[Change]:
    return [change for change in changes if change.done]


def _broken_off(changes: Sequence[Change], live: str) -> list[Change]:
    """Changes that moved the alias and were not completed, or not yet: a later one found their
    version in service, or it is there now."""
    done, open_ones = _completed(changes), [change for change in changes if not change.done]
    found: dict[str, Change] = {}
    sights = [(change.begun, change.before) for change in done] + [(datetime.max.replace(tzinfo=UTC), live)]
    for moment, version in sights if open_ones else []:
        last = max((change for change in done if change.at < moment), key=_order, default=None)
        if last and last.version == version:
            continue
        # one from long before the last completed change cannot have come after it
        earliest = last.at - _MOVING if last else datetime.min.replace(tzinfo=UTC)
        made = [change for change in open_ones if change.version == version and earliest < change.begun < moment]
        if made:
            newest = max(made, key=_order)
            at = max(newest.begun, last.at + timedelta.resolution) if last else newest.begun
            found.setdefault(newest.key, replace(newest, done=at))
    return list(found.values())


def _seen(live: str, before: str, promoted: str | None) -> Change:
    if promoted:
        told = begin(live, before=NOTHING, by=UNKNOWN, how=PROMOTE, reason="before a history was kept")
        when = _moment(promoted)
        return replace(told, begun=when, done=when)
    told = begin(live, before=before, by=UNKNOWN, how=OUTSIDE, reason="changed outside of churn")
    return replace(told, done=told.begun)


def terms(past: Sequence[Change]) -> list[Term]:
    """The terms in service, newest first.

    Args:
        past: as :func:`reconciled` returns it.
    """
    found = [
        Term(change.version, change.at, until, change.by, change.how, change.reason)
        for change, until in zip(past, [*(later.at for later in past[1:]), None], strict=False)
        if change.version != NOTHING
    ]
    return found[::-1]


def undone(past: Sequence[Change]) -> str | None:
    """The version that the one in service has replaced, or None where nothing came before it.

    A rollback takes its version's own promotion up again: after A, B, C and two rollbacks nothing
    comes before A.
    """
    stack: list[str] = []
    for change in past:
        if change.how == ROLLBACK and change.version in stack:
            while stack[-1] != change.version:
                stack.pop()
        elif change.version != NOTHING and stack[-1:] != [change.version]:
            stack.append(change.version)
    return stack[-2] if len(stack) > 1 else None
