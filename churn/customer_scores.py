"""The scored customer base as it is read: the runs there are, a customer, a page of them, what they add up to."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import select

from churn.errors import NotReady
from churn.schema import customer_scores, outcomes, portfolio, scoring_runs
from churn.store import fit_key

if TYPE_CHECKING:
    from sqlalchemy import Connection, Select

    from churn.store import Store

T = TypeVar("T")
RUNNING, WHOLE, PAST = "running", "whole", "past"
"""The states of a run: being written; all there; its scores removed, what they added up to kept."""
NOTHING_SCORED = (
    "the customer base has not been scored yet: `churn score-base` does so, and the pipeline churn_scoring "
    "once a model is in service"
)
SUMS = ("customers", "monthly_value", "revenue_at_risk", "expected_profit", "expected_churners")
"""What a run's scores are added up to, for each band and persona."""


@dataclass(frozen=True)
class Run:
    """One scoring of the whole base."""

    id: int
    key: str
    state: str
    model: str
    version: str
    model_run: str
    started: datetime
    ended: datetime | None
    source: str
    data_hash: str
    customers: int
    left: int
    """Rows of customers who have left: counted, and not listed."""
    facts: Mapping[str, Any]
    """What the version's contract says: ``columns`` (the features in order), ``bands`` (the lowest
    probability of each), ``monthly_value`` (its column, or null), ``currency``, ``months`` of the revenue
    at risk; ``recommender`` (its version and run, or null) and ``items`` (what each that it may recommend is
    called); and ``notes`` on the run. A run of before recommendations has neither of these two."""

    @property
    def columns(self) -> list[str]:
        return list(self.facts["columns"])


@dataclass(frozen=True, slots=True)
class Row:
    """One customer's score."""

    customer_id: str
    probability: float
    prediction: int
    risk: str
    persona: str | None
    monthly_value: float | None
    revenue_at_risk: float | None
    """None where the monthly value is unknown."""
    expected_profit: float
    held_out: bool
    """Whether the probability is what was said while the model had not seen this row."""
    reasons: list[dict[str, Any]]
    features: list[Any]
    """In the order of the run's :attr:`Run.columns`."""
    recommendations: list[dict[str, Any]] = field(default_factory=list)
    """``item`` and ``score`` of each, the best first."""
    control: bool = False
    """Whether the customer is of the control group, to whom nothing is recommended."""


class CustomerScores:
    """The scores in the store. Every method raises as :class:`churn.store.Store` does.

    Args:
        store: the platform's own database.
    """

    def __init__(self, store: "Store") -> None:
        self._store = store

    def latest(self) -> Run | None:
        """The newest whole run."""
        found = self.runs(1)
        return found[0] if found else None

    def shown(self) -> Run:
        """The newest whole run.

        Raises:
            NotReady: there is none yet; the message says what to do.
        """
        found = self.latest()
        if found is None:
            raise NotReady(NOTHING_SCORED)
        return found

    def runs(self, limit: int = 100, states: Sequence[str] = (WHOLE,)) -> list[Run]:
        """The runs in these states, newest first."""
        asked = scoring_runs.select().where(scoring_runs.c.state.in_(states))
        with self._store.read() as connection:
            return _runs(connection, asked.order_by(scoring_runs.c.id.desc()).limit(limit))

    def steady(self, read: "Callable[[list[Run]], T]", limit: int = 100) -> T:
        """What is read of the whole runs, newest first; once more where a scoring has come to its end
        meanwhile, which removes the scores of old runs.

        Raises:
            NotReady: as :meth:`shown`.
        """
        runs = self.runs(limit)
        if not runs:
            raise NotReady(NOTHING_SCORED)
        found = read(runs)
        now = self.runs(limit)
        return found if not now or now == runs else read(now)

    def run(self, key: str) -> Run | None:
        """The run of a key, whatever its state."""
        with self._store.read() as connection:
            found = _runs(connection, scoring_runs.select().where(scoring_runs.c.key == fit_key(key)))
        return found[0] if found else None

    def rows(self, run_id: int, chunk: int = 10_000) -> Iterator[list[Row]]:
        """All scores of a whole run, by the customers' ids, so many at a time.

        Raises:
            NotReady: the run is not whole, or was removed while it was read.
        """
        table, last, done = customer_scores, "", 0
        promised = self._promised(run_id)
        while True:
            asked = table.select().where(table.c.run_id == run_id, table.c.customer_id > last)
            with self._store.read() as connection:
                found = connection.execute(asked.order_by(table.c.customer_id).limit(chunk)).all()
            if not found:
                break
            done, last = done + len(found), found[-1].customer_id
            yield [row_of(one) for one in found]
        if done != promised:
            raise NotReady(f"the scores of run {run_id} were removed while they were read: read the newest run")

    def _promised(self, run_id: int) -> int:
        asked = scoring_runs.select().where(scoring_runs.c.id == run_id, scoring_runs.c.state == WHOLE)
        with self._store.read() as connection:
            found = _runs(connection, asked)
        if not found:
            raise NotReady(f"the store holds no scores of a run {run_id}")
        return found[0].customers

    def find(self, customer_id: str, run_id: int | None = None) -> Row | None:
        """One customer's score, in the newest whole run where none is named."""
        if run_id is None:
            newest = self.latest()
            if newest is None:
                return None
            run_id = newest.id
        found = self.past(customer_id, [run_id])
        return found[run_id] if found else None

    def past(self, customer_id: str, run_ids: Sequence[int]) -> dict[int, Row]:
        """One customer's scores in these runs, by run."""
        if "\0" in customer_id:  # PostgreSQL has no such text
            return {}
        table = customer_scores
        asked = table.select().where(table.c.run_id.in_(run_ids), table.c.customer_id == customer_id)
        with self._store.read() as connection:
            return {found.run_id: row_of(found) for found in connection.execute(asked)}

    def gone(self) -> frozenset[str]:
        """The customers of whom the newest outcome says that they have left."""
        asked = select(outcomes.c.customer_id, outcomes.c.churned).order_by(outcomes.c.at, outcomes.c.id)
        with self._store.read() as connection:
            newest = {found.customer_id: found.churned for found in connection.execute(asked)}
        return frozenset(name for name, churned in newest.items() if churned)

    def portfolio(self, limit: int = 100) -> "list[Portfolio]":
        """What the runs' scores add up to, newest first, of runs too whose scores have been removed."""
        runs = self.runs(limit, (WHOLE, PAST))
        if not runs:
            return []
        cells: dict[int, list[dict[str, Any]]] = {run.id: [] for run in runs}
        with self._store.read() as connection:
            for cell in connection.execute(portfolio.select().where(portfolio.c.run_id >= runs[-1].id)):
                if cell.run_id in cells:  # else of a run that has become whole meanwhile
                    cells[cell.run_id].append(dict(cell._mapping))
        return [Portfolio(run, cells[run.id]) for run in runs]


@dataclass(frozen=True)
class Portfolio:
    """What one run's scores add up to."""

    run: Run
    cells: Sequence[Mapping[str, Any]]
    """A mapping of ``risk``, ``persona`` ("" where there is none) and :data:`SUMS` for each pair that occurs."""

    def sums(self, **wanted: str) -> dict[str, float]:
        """The sums of all cells, or of those of a band or a persona."""
        chosen = [cell for cell in self.cells if wanted.items() <= cell.items()]
        return {name: sum(cell[name] for cell in chosen) for name in SUMS}

    def values(self, name: str) -> list[str]:
        """The bands, or the personas, that occur."""
        return sorted({cell[name] for cell in self.cells})


def row_of(found: Any) -> Row:
    """A row of the table as what it means."""
    return Row(
        found.customer_id,
        found.probability,
        found.prediction,
        found.risk,
        found.persona,
        found.monthly_value,
        None if found.monthly_value is None else found.revenue_at_risk,
        found.expected_profit,
        bool(found.held_out),
        json.loads(found.reasons),
        json.loads(found.features),
        json.loads(found.recommendations),
        bool(found.control),
    )


def _runs(connection: "Connection", asked: "Select[Any]") -> list[Run]:
    return [
        Run(**{name: value for name, value in one._mapping.items() if name != "facts"}, facts=json.loads(one.facts))
        for one in connection.execute(asked)
    ]


__all__ = ["NOTHING_SCORED", "CustomerScores", "Portfolio", "Row", "Run", "row_of"]
