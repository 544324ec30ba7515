"""The part of :mod:`churn.client` about the pipelines: what runs, starting a run, and following it to its end."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from churn.client_connection import NOT_LET_IN, Connection, Refused
from churn.errors import Unavailable

FOLLOW_SECONDS = 2.0
MOST_OUTAGES = 15
"""How many looks in a row may go unanswered while a run is followed: Airflow may be started anew."""
_ENDED = {"success", "failed"}


@dataclass(frozen=True)
class TrainingProgress:
    """The newest training: its state in Airflow's words, and how many of its tasks are done."""

    state: str
    done: int
    total: int
    url: str


@dataclass(frozen=True)
class Task:
    """One task of a run; ``url`` leads to its log, ``attempt`` is 0 before the first."""

    task_id: str
    label: str
    state: str | None
    started: str | None
    ended: str | None
    attempt: int
    url: str


@dataclass(frozen=True)
class Run:
    """One run of a pipeline. A list of runs tells neither parameters nor tasks."""

    id: str
    state: str
    started: str | None
    ended: str | None
    done: int
    total: int
    url: str
    params: dict[str, Any] = field(default_factory=dict)
    tasks: list[Task] = field(default_factory=list)

    @property
    def has_ended(self) -> bool:
        return self.state in _ENDED


@dataclass(frozen=True)
class Pipeline:
    """A pipeline and its newest run, if it has run."""

    dag: str
    description: str
    paused: bool
    url: str
    run: Run | None


class PipelinesPart(Connection):
    """``/pipelines``."""

    def pipelines(self) -> list[Pipeline]:
        """The pipelines and their newest runs."""
        found = self._part("/pipelines", "pipelines")
        return [self._one(Pipeline, {**one, "run": one["run"] and self._run(one["run"])}) for one in found]

    def runs(self, dag: str, limit: int = 10) -> list[Run]:
        """A pipeline's newest runs, newest first."""
        return [self._run(one) for one in self._part(_runs(dag), "runs", params={"limit": limit})]

    def run(self, dag: str, run_id: str) -> Run:
        """One run, task by task."""
        return self._run(self._ask("GET", f"{_runs(dag)}/{quote(run_id, safe='')}"))

    def start(self, dag: str, params: Mapping[str, Any] | None = None, *, key: str | None = None) -> Run:
        """Start a run; needs a key of scope admin, where the API asks for one.

        Args:
            key: names this click: asked twice with one key, one run is started.
        """
        headers = {"Idempotency-Key": key} if key else {}
        return self._run(self._ask("POST", _runs(dag), json={"params": dict(params or {})}, headers=headers))

    def follow(self, dag: str, run_id: str, every: float = FOLLOW_SECONDS) -> Iterator[Run]:
        """The run whenever it has changed, until it has ended; outages of some looks are waited out."""
        last: Run | None = None
        outages = 0
        while last is None or not last.has_ended:
            try:
                now = self.run(dag, run_id)
                outages = 0
            except (Unavailable, Refused) as error:
                outages += 1
                if outages > MOST_OUTAGES or (isinstance(error, Refused) and error.status < 500):
                    raise
            else:
                if now != last:
                    last = now
                    yield now
                    continue  # whoever took it may have taken long
            time.sleep(every)

    def training(self) -> TrainingProgress | None:
        """The newest training run; None before there is one, or while Airflow does not answer."""
        try:
            pipelines = self._part("/pipelines", "pipelines")
        except Refused as refusal:
            if refusal.status in NOT_LET_IN:
                raise
            return None
        run = next((one["run"] for one in pipelines if one["dag"] == "churn_training"), None)
        return run and TrainingProgress(run["state"], run["done"], run["total"], run["url"])

    def _run(self, told: dict[str, Any]) -> Run:
        return self._one(Run, {**told, "tasks": [self._one(Task, task) for task in told.get("tasks") or []]})


def _runs(dag: str) -> str:
    return f"/pipelines/{quote(dag, safe='')}/runs"
