"""Writing a scoring of the customer base: piece by piece beside the run before, whole at one stroke or not at all."""

import csv
import io
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select, true
from sqlalchemy.exc import DBAPIError, IntegrityError

from churn.customer_scores import PAST, RUNNING, SUMS, WHOLE
from churn.errors import ChurnError, Refused
from churn.schema import customer_scores, portfolio, scoring_runs
from churn.store import fit_key

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from churn.store import Store

CHUNK = 5_000
"""Rows that one transaction writes or removes at most: on SQLite all other writers wait for it."""
_BREATH = 0.02
"""Seconds between two transactions that remove rows, for others to come in."""
_CACHE = "PRAGMA cache_size = -65536"
"""64 MB of SQLite's pages in memory: rows arrive in no order of the indexes, and touch most of their pages."""
_LEASE = "scoring"
_COLUMNS = tuple(column.name for column in customer_scores.columns)


class Line(NamedTuple):
    """A row of the table behind the run's id; a missing monthly value goes with no revenue at risk."""

    customer_id: str
    probability: float
    prediction: int
    risk: str
    persona: str | None
    monthly_value: float | None
    revenue_at_risk: float
    expected_profit: float
    held_out: bool
    reasons: str
    features: str
    recommendations: str = "[]"
    control: bool = False


@contextmanager
def alone(store: "Store") -> Iterator[None]:
    """Be the only process that scores the base; what others have left unfinished is removed.

    Raises:
        Refused: another process is at it.
    """
    with store.lease(_LEASE) as mine:
        if not mine:
            raise Refused("another process is scoring the customer base right now; wait for its end, or end it")
        clear(store)
        yield


def clear(store: "Store") -> None:
    """Remove the scores of every run that is not whole, and the runs that never were."""
    with store.read() as connection:
        stale = connection.execute(
            select(scoring_runs.c.id, scoring_runs.c.state).where(scoring_runs.c.state != WHOLE)
        ).all()
    if any(state == RUNNING for _, state in stale):
        _analyze(store)
    for run_id, state in stale:
        _remove_scores(store, run_id)
        if state == RUNNING:
            with store.write() as connection:
                connection.execute(scoring_runs.delete().where(scoring_runs.c.id == run_id))


def _remove_scores(store: "Store", run_id: int) -> None:
    table = customer_scores
    ours = table.c.run_id == run_id
    # asked by itself: inside the DELETE, PostgreSQL without statistics of the run would ask it anew for each row
    asked = select(table.c.customer_id).where(ours).order_by(table.c.customer_id).offset(CHUNK - 1).limit(1)
    more = True
    while more:
        with store.write() as connection:
            _widen(connection)
            last = connection.execute(asked).scalar()
            more = last is not None
            connection.execute(table.delete().where(ours, table.c.customer_id <= last if more else true()))
        time.sleep(_BREATH if more else 0)


def _analyze(store: "Store") -> None:
    """Have PostgreSQL know a run that is new to it: it would walk the wrong index until it looks by itself."""
    with suppress(ChurnError), store.write() as connection:  # without, all is right but slow
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("ANALYZE customer_scores")


class Writing:
    """A run that is being written. Make one under :func:`alone`."""

    def __init__(self, store: "Store", run: Mapping[str, Any]) -> None:
        """Begin it.

        Args:
            run: ``key``, ``model``, ``version``, ``model_run``, ``source``, ``data_hash``, ``facts``.
        """
        self._store = store
        self._customers = 0
        self._sums: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0, 0.0, 0.0, 0.0, 0.0])
        told = {**run, "key": fit_key(run["key"]), "facts": json.dumps(run["facts"], ensure_ascii=False)}
        begun = {"state": RUNNING, "started": datetime.now(UTC), "customers": 0, "left": 0}
        with store.write() as connection:
            made = scoring_runs.insert().values(**told, **begun).returning(scoring_runs.c.id)
            self.id = int(connection.execute(made).scalar_one())

    def add(self, lines: Sequence[Line]) -> bool:
        """Write scores in one transaction, at most :data:`CHUNK` of them, so that nobody waits for long.

        Returns:
            False where a customer has been written before; then none of these is.

        Raises:
            Refused: the run is not there any more; a process that came after has removed it.
        """
        try:
            with self._store.write() as connection:
                self._mark(connection, customers=self._customers + len(lines))
                _insert(connection, self.id, lines)
        except IntegrityError:
            return False
        self._customers += len(lines)
        for line in lines:
            self._add_up(line)
        return True

    def _add_up(self, line: Line) -> None:
        sums = self._sums[line.risk, line.persona or ""]
        sums[0] += 1
        sums[1] += line.monthly_value or 0.0
        sums[2] += line.revenue_at_risk
        # nobody has to contact a customer with whom it does not pay
        sums[3] += max(line.expected_profit, 0.0)
        sums[4] += line.probability

    def finish(self, left: int, keep: int) -> None:
        """Make the run the newest whole one, at one stroke; then remove the scores of old ones.

        Args:
            left: rows of customers who have left.
            keep: how many whole runs keep their scores.
        """
        cells = [
            {"run_id": self.id, "risk": risk, "persona": persona} | dict(zip(SUMS, sums, strict=True))
            for (risk, persona), sums in self._sums.items()
        ]
        newest = select(scoring_runs.c.id).where(scoring_runs.c.state == WHOLE).order_by(scoring_runs.c.id.desc())
        _analyze(self._store)  # before others read it
        with self._store.write() as connection:
            self._mark(connection, state=WHOLE, left=left, ended=datetime.now(UTC))
            if cells:
                connection.execute(portfolio.insert(), cells)
            old = connection.execute(newest.offset(keep)).scalars().all()
            connection.execute(scoring_runs.update().where(scoring_runs.c.id.in_(old)).values(state=PAST))
        clear(self._store)

    def _mark(self, connection: "Connection", **values: Any) -> None:
        ours = scoring_runs.update().where(scoring_runs.c.id == self.id, scoring_runs.c.state == RUNNING)
        if not connection.execute(ours.values(**values)).rowcount:
            raise Refused("this run has been removed: another process began to score the customer base")


def _widen(connection: "Connection") -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(_CACHE)


def _insert(connection: "Connection", run_id: int, lines: Sequence[Line]) -> None:
    if connection.dialect.name == "postgresql":
        _copy(connection, run_id, lines)
        return
    _widen(connection)
    marks = ", ".join("?" * len(_COLUMNS))
    connection.exec_driver_sql(
        f"INSERT INTO customer_scores ({', '.join(_COLUMNS)}) VALUES ({marks})",  # noqa: S608  # constants
        [(run_id, *line) for line in lines],
    )


def _copy(connection: "Connection", run_id: int, lines: Sequence[Line]) -> None:
    """COPY takes a third of the time of INSERT."""
    text = io.StringIO()
    csv.writer(text).writerows((run_id, *line) for line in lines)  # None is written as nothing, which is NULL there
    text.seek(0)
    statement = f"COPY customer_scores ({', '.join(_COLUMNS)}) FROM STDIN (FORMAT csv)"
    cursor: Any = connection.connection.cursor()
    try:
        cursor.copy_expert(statement, text)
    except (
        connection.dialect.loaded_dbapi.Error
    ) as error:  # SQLAlchemy knows no COPY: its errors are told as others are
        raise DBAPIError.instance(
            statement, None, error, connection.dialect.loaded_dbapi.Error, hide_parameters=True
        ) from error
    finally:
        cursor.close()


__all__ = ["CHUNK", "Line", "Writing", "alone", "clear"]
