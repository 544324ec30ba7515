"""What became of customers: who left, who stayed, and when.

Each outcome is kept beside the customer as he was when he was scored last before it, features and
probability, so that it can judge a version and join a training however long scoring runs are kept.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from churn.errors import SHOWN_FAULTS, Fault, InvalidData, NotReady, Refused

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from churn.contract import Contract
    from churn.store import Store

ID, CHURNED, AT = "customer_id", "churned", "at"
"""The fields of an outcome, in a request and as columns of a file."""
CHUNK = 500
"""Outcomes that are looked up at once: an old SQLite takes 999 values in a statement."""
_SLACK = timedelta(minutes=1)
"""How far a caller's clock may be ahead of ours."""
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one customer."""

    row: int
    """Where it stands in its request or file, for messages."""
    customer_id: str
    churned: bool
    at: datetime | None
    """None: now."""
    day: bool = False
    """Whether ``at`` is a day, of which it is the beginning."""


Piece = tuple[Sequence[Outcome], Sequence[Fault]]
"""Some rows of a request or file: those that can be read, and what is wrong with the others."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What has been done with outcomes."""

    new: int = 0
    known: int = 0
    """Those that had been recorded before, in the same words."""
    unscored: int = 0
    """Of the new ones, those of customers who had not been scored before it: kept, but they judge no
    version and join no training."""


@dataclass
class _Found:
    """What is wrong with the rows so far."""

    faults: list[Fault] = field(default_factory=list)
    total: int = 0

    def add(self, faults: Sequence[Fault]) -> None:
        self.total += len(faults)
        self.faults += faults[: SHOWN_FAULTS - len(self.faults)]


class _Undone(Exception):
    """Ends a transaction of which nothing is to stay."""


def record(
    store: "Store", pieces: Iterable[Piece], contract: "Contract", *, by: str, source: str = "", dry_run: bool = False
) -> Recorded:
    """Keep outcomes, all or none.

    What is recorded already, the same of the same customer at the same moment, is not recorded again.
    An outcome without a moment is of now; where the customer's last one is of today and says the
    same, it is that one.

    Args:
        by: who tells of them.
        source: names the file in messages.
        dry_run: whether to do all but keep them.

    Raises:
        InvalidData: with every fault: a customer who is in no scoring run that is kept, an outcome
            that contradicts what is recorded of the same moment, and those that the pieces bring.
        NotReady: no customer has been scored yet.
        Refused: the contract names no id.
    """
    require_id(contract)
    done, found = Recorded(), _Found()
    told = list(pieces)  # all of the file is read before others have to wait
    try:
        with store.write(alone="outcomes") as connection:
            for outcomes, faults in told:
                wrong = list(faults)
                for start in range(0, len(outcomes), CHUNK):
                    chunk = _Chunk(connection, outcomes[start : start + CHUNK], datetime.now(UTC))
                    rows, more = chunk.rows(by)
                    wrong += more
                    done = _sum(done, Recorded(len(rows), chunk.known, sum(row["scored"] is None for row in rows)))
                    if rows and not (wrong or found.total):
                        _insert(connection, rows)
                found.add(sorted(wrong, key=lambda fault: fault.row or 0))
            if found.total:
                raise InvalidData(found.faults, found.total, source)
            if dry_run:
                raise _Undone
    except _Undone:
        pass
    return done


def require_id(contract: "Contract", what: str = "an outcome") -> str:
    """The column of the ids.

    Args:
        what: cannot be told whose it is without, for the message.

    Raises:
        Refused: the contract names none.
    """
    if not contract.id:
        raise Refused(f"the contract names no id column (`id:`), so that {what} could not be told whose it is")
    return contract.id


def _sum(one: Recorded, other: Recorded) -> Recorded:
    return Recorded(one.new + other.new, one.known + other.known, one.unscored + other.unscored)


def _insert(connection: "Connection", rows: list[dict[str, Any]]) -> None:
    from churn.schema import outcomes

    connection.execute(outcomes.insert(), rows)


class _Chunk:
    """Some outcomes beside what the store says of their customers."""

    def __init__(self, connection: "Connection", outcomes: Sequence[Outcome], now: datetime) -> None:
        ids = list({outcome.customer_id for outcome in outcomes})
        self._outcomes = outcomes
        self._now = now
        self._past = _past(connection, ids)
        self._scores = _scores(connection, ids)
        if not self._scores and not _any_run(connection):
            raise NotReady(
                "the customer base has not been scored yet, so that an outcome could not be joined with a customer: "
                "`churn score-base` does so, and the pipeline churn_scoring"
            )
        self.known = 0

    def rows(self, by: str) -> tuple[list[dict[str, Any]], list[Fault]]:
        """What is to be written, and what is wrong."""
        made, faults = [], []
        for outcome in self._outcomes:
            past = self._past.setdefault(outcome.customer_id, {})
            at = self._at(outcome, past)
            if outcome.customer_id not in self._scores and not past:
                told = "in no scoring run that is kept: is the id right?"
                faults.append(Fault(outcome.row, ID, outcome.customer_id, told))
            elif past.get(at) is None:
                past[at] = outcome.churned
                made.append(self._row(outcome, at, by))
            elif past[at] == outcome.churned:
                self.known += 1
            else:
                said = "left" if past[at] else "stayed"
                told = f"it is recorded of {at.isoformat()} that this customer {said}; a later outcome corrects it"
                faults.append(Fault(outcome.row, CHURNED, outcome.churned, told))
        return made, faults

    def _at(self, outcome: Outcome, past: dict[datetime, bool]) -> datetime:
        if outcome.at is not None:
            return outcome.at
        last = max(past, default=None)
        again = last is not None and past[last] == outcome.churned and last.date() == self._now.date()
        return last if again and last else self._now

    def _row(self, outcome: Outcome, at: datetime, by: str) -> dict[str, Any]:
        until = at + _DAY if outcome.day else at
        scores = self._scores.get(outcome.customer_id, [])
        scored = next((row for row in scores if row.ended <= until), None)
        told = {ID: outcome.customer_id, CHURNED: outcome.churned, AT: at, "received": self._now, "by": by[:250]}
        if scored is None:
            return told | dict.fromkeys(("scored", "model", "version", "probability", "features"))
        columns = json.loads(scored.facts)["columns"]
        features = dict(zip(columns, json.loads(scored.features), strict=True))
        told |= {"scored": scored.ended, "model": scored.model, "version": scored.version}
        return told | {"probability": scored.probability, "features": json.dumps(features, ensure_ascii=False)}


def _past(connection: "Connection", ids: list[str]) -> dict[str, dict[datetime, bool]]:
    """What is recorded of customers, by moment."""
    from churn.schema import outcomes as table

    found: dict[str, dict[datetime, bool]] = {}
    asked = table.select().where(table.c.customer_id.in_(ids))
    for row in connection.execute(asked):
        found.setdefault(row.customer_id, {})[row.at] = row.churned
    return found


def _scores(connection: "Connection", ids: list[str]) -> dict[str, list[Any]]:
    """Every time that customers were scored, as far as it is kept, newest first."""
    from sqlalchemy import select

    from churn.schema import customer_scores as scores
    from churn.schema import scoring_runs as runs

    # two statements: joined, SQLite takes far longer, and other writers wait for it
    whole = select(runs.c.id).where(runs.c.state == "whole").order_by(runs.c.ended.desc())
    newest = connection.execute(whole).scalars().all()
    of_run = (runs.c.ended, runs.c.model, runs.c.version, runs.c.facts)
    asked = (
        select(scores.c.customer_id, scores.c.probability, scores.c.features, *of_run)
        .join(runs, runs.c.id == scores.c.run_id)
        .where(scores.c.customer_id.in_(ids), scores.c.run_id.in_(newest))
        .order_by(runs.c.ended.desc())
    )
    found: dict[str, list[Any]] = {}
    for row in connection.execute(asked):
        found.setdefault(row.customer_id, []).append(row)
    return found


def _any_run(connection: "Connection") -> bool:
    from sqlalchemy import select

    from churn.schema import scoring_runs as runs

    return connection.execute(select(runs.c.id).where(runs.c.state == "whole").limit(1)).first() is not None


def read_at(given: object, now: datetime | None = None) -> tuple[datetime | None, bool, str]:
    """A moment as a request or a file tells it: the moment, whether it is a day, and what is wrong.

    ISO 8601, a day or a time; UTC where it names no zone. Nothing at all is now.
    """
    if given is None or (isinstance(given, str) and not given.strip()):
        return None, False, ""
    wanted = "expected a day or a time in ISO 8601, such as 2026-03-31 or 2026-03-31T18:00:00Z"
    try:
        found = _moment(given)
    except ValueError:
        found = None
    if found is None:
        return None, False, wanted
    day = not isinstance(found, datetime)
    at = found if isinstance(found, datetime) else datetime.combine(found, time())
    try:
        at = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        return None, False, wanted
    if at > (now or datetime.now(UTC)) + _SLACK:
        return None, False, "lies in the future; expected what has happened"
    return at, day, ""


def _moment(given: object) -> date | None:
    if not isinstance(given, str):
        return given if isinstance(given, date) else None
    text = given.strip()
    return date.fromisoformat(text) if len(text) == len("2026-03-31") else datetime.fromisoformat(text)


__all__ = ["AT", "CHUNK", "CHURNED", "ID", "Outcome", "Piece", "Recorded", "read_at", "record", "require_id"]
