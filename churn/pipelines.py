"""The only module that knows what Airflow's REST API says: what the pipelines are doing, and starting one."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from churn import dag_params
from churn.airflow_rest import AirflowRest, AirflowSaid
from churn.errors import ChurnError, Fault, InvalidData, Refused, Unavailable, UnknownName
from churn.settings import Settings

TAG = "churn"
MOST_RUNS = 50
_DONE = {"success", "failed", "skipped", "upstream_failed", "removed"}
_PAGE = 100
"""What Airflow lists at most at once."""


@dataclass(frozen=True)
class Task:
    """One task of a run; one that is mapped over several values stands once for each."""

    task_id: str
    label: str
    """The name, with the value that it is mapped over."""
    state: str | None
    """In Airflow's words; None before it is scheduled."""
    started: str | None
    ended: str | None
    attempt: int
    """0 before the first."""
    url: str
    """Its log, for a person's browser."""


@dataclass(frozen=True)
class Run:
    """One run of a pipeline. ``done`` and ``total`` count its tasks."""

    id: str
    state: str
    started: str | None
    ended: str | None
    done: int
    total: int
    url: str


@dataclass(frozen=True)
class RunInDetail(Run):
    """A run with its parameters and its tasks, in the order of the graph."""

    dag: str
    params: dict[str, Any]
    tasks: Sequence[Task]


@dataclass(frozen=True)
class Pipeline:
    """A DAG of this platform and its newest run, if it has run."""

    dag: str
    description: str
    paused: bool
    url: str
    run: Run | None


class Pipelines:
    """What Airflow does for this platform: the DAGs with the tag ``churn``, and no others.

    Every method raises, beside what it says itself:
        Unavailable: Airflow does not answer, or does not know us.
    """

    def __init__(self, settings: Settings, transport: httpx.BaseTransport | None = None) -> None:
        self._public = settings.airflow_public_url.rstrip("/")
        self._airflow = AirflowRest(settings, transport)

    def list(self) -> list[Pipeline]:
        """The platform's pipelines."""
        with _understood(self._airflow):
            found = self._airflow.get("/dags", tags=TAG, limit=_PAGE)["dags"]
            return [self._pipeline(dag) for dag in sorted(found, key=lambda dag: str(dag["dag_id"]))]

    def runs(self, dag: str, limit: int = 10) -> Sequence[Run]:
        """The newest runs of a pipeline, newest first; up to :data:`MOST_RUNS`.

        Raises:
            UnknownName: there is no such pipeline.
        """
        with _understood(self._airflow):
            self._details(dag)
            return [self._run(dag, run) for run in self._newest(dag, min(limit, MOST_RUNS))]

    def run(self, dag: str, run_id: str) -> RunInDetail:
        """One run, task by task.

        Raises:
            UnknownName: there is no such pipeline, or no such run.
        """
        with _understood(self._airflow):
            self._details(dag)
            try:
                return self._in_detail(dag, self._airflow.get(_run_path(dag, run_id)))
            except AirflowSaid as said:
                raise UnknownName(f"{dag} has no run {run_id[:250]!r}") from said

    def start(self, dag: str, params: Mapping[str, Any], run_id: str | None = None) -> tuple[RunInDetail, bool]:
        """Start a run; returns it, and whether it is new.

        Args:
            run_id: a name of one's own, so that who asks twice starts one run.

        Raises:
            UnknownName: there is no such pipeline.
            InvalidData: the pipeline knows no such parameters, or takes no such values.
            Refused: the pipeline is paused, or has a run of that name with other parameters.
        """
        with _understood(self._airflow):
            told = self._details(dag)
            dag_params.check(params, told.get("params") or {})
            if run_id and (known := self._known(dag, run_id, params)):
                return known, False
            if told["is_paused"]:
                raise Refused(
                    f"{dag} is paused, and a run would wait for ever: unpause it in Airflow, {self._url(dag)}"
                )
            body = {"logical_date": None, "conf": dict(params), "dag_run_id": run_id}
            try:
                return self._in_detail(dag, self._airflow.post(f"{_dag_path(dag)}/dagRuns", body)), True
            except AirflowSaid as said:
                if said.status == HTTPStatus.CONFLICT and run_id and (known := self._known(dag, run_id, params)):
                    return known, False  # the second of two clicks at once
                raise _refusal(dag, said) from said

    def _known(self, dag: str, run_id: str, params: Mapping[str, Any]) -> RunInDetail | None:
        """The run that an earlier click has started."""
        try:
            run = self._in_detail(dag, self._airflow.get(_run_path(dag, run_id)))
        except AirflowSaid:
            return None
        if {name: run.params.get(name) for name in params} != dict(params):
            raise Refused(f"{dag} has a run {run_id!r} already, with other parameters")
        return run

    def _details(self, dag: str) -> dict[str, Any]:
        try:
            told = self._airflow.get(f"{_dag_path(dag)}/details")
        except AirflowSaid as said:
            raise UnknownName(f"there is no pipeline {dag[:250]!r}") from said
        if TAG not in {tag["name"] for tag in told["tags"]}:  # somebody's own DAG is none of ours
            raise UnknownName(f"there is no pipeline {dag[:250]!r}")
        return told

    def _newest(self, dag: str, limit: int) -> Sequence[dict[str, Any]]:
        found: Sequence[dict[str, Any]] = self._airflow.get(
            f"{_dag_path(dag)}/dagRuns", order_by="-run_after", limit=limit
        )["dag_runs"]
        return found

    def _pipeline(self, dag: dict[str, Any]) -> Pipeline:
        name = str(dag["dag_id"])
        runs = self._newest(name, 1)
        return Pipeline(
            dag=name,
            description=dag.get("description") or "",
            paused=bool(dag["is_paused"]),
            url=self._url(name),
            run=self._run(name, runs[0]) if runs else None,
        )

    def _run(self, dag: str, run: Mapping[str, Any]) -> Run:
        name = str(run["dag_run_id"])
        tasks = self._instances(dag, name)
        return Run(**self._told(dag, run, [task["state"] for task in tasks]))

    def _in_detail(self, dag: str, run: Mapping[str, Any]) -> RunInDetail:
        name = str(run["dag_run_id"])
        graph = self._airflow.get(f"{_dag_path(dag)}/tasks")["tasks"]
        tasks = self._tasks(f"{self._url(dag)}/runs/{_quoted(name)}", graph, self._instances(dag, name))
        told = self._told(dag, run, [task.state for task in tasks])
        return RunInDetail(**told, dag=dag, params=dict(run.get("conf") or {}), tasks=tasks)

    def _told(self, dag: str, run: Mapping[str, Any], states: Sequence[str | None]) -> dict[str, Any]:
        name = str(run["dag_run_id"])
        return {
            "id": name,
            "state": str(run["state"]),
            "started": run.get("start_date"),
            "ended": run.get("end_date"),
            "done": sum(state in _DONE for state in states),
            "total": len(states),
            "url": f"{self._url(dag)}/runs/{_quoted(name)}",
        }

    def _instances(self, dag: str, run_id: str) -> Sequence[dict[str, Any]]:
        found: Sequence[dict[str, Any]] = self._airflow.get(f"{_run_path(dag, run_id)}/taskInstances", limit=_PAGE)[
            "task_instances"
        ]
        return found

    def _tasks(
        self, url: str, graph: Sequence[Mapping[str, Any]], instances: Sequence[Mapping[str, Any]]
    ) -> Sequence[Task]:
        """All tasks in the graph's order; those that the run has not made yet, too."""
        made: dict[str, list[Mapping[str, Any]]] = {}
        for one in instances:
            made.setdefault(str(one["task_id"]), []).append(one)
        order = [*_in_order(graph)]
        order += [name for name in made if name not in order]  # of an earlier version of the DAG
        return [
            _task(name, one, url)
            for name in order
            for one in sorted(made.get(name, [{}]), key=lambda one: int(one.get("map_index", -1)))
        ]

    def _url(self, dag: str) -> str:
        return f"{self._public}/dags/{_quoted(dag)}"


def _task(name: str, one: Mapping[str, Any], url: str) -> Task:
    index = int(one.get("map_index", -1))
    mapped = one.get("rendered_map_index") or (index if index >= 0 else None)
    place = f"{url}/tasks/{_quoted(name)}"
    return Task(
        task_id=name,
        label=name if mapped is None else f"{name} [{mapped}]",
        state=one.get("state"),
        started=one.get("start_date"),
        ended=one.get("end_date"),
        attempt=int(one.get("try_number") or 0),
        url=place if index < 0 else f"{place}/mapped/{index}",
    )


def _in_order(graph: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The tasks' names, each behind those that it waits for (Kahn 1962)."""
    after = {str(task["task_id"]): list(task["downstream_task_ids"]) for task in graph}
    waits = dict.fromkeys(after, 0)
    for name in (name for names in after.values() for name in names if name in waits):
        waits[name] += 1
    free = [name for name, count in waits.items() if not count]
    while free:
        name = free.pop(0)
        yield name
        for follower in after[name]:
            if follower in waits:
                waits[follower] -= 1
                if not waits[follower]:
                    free.append(follower)


def _refusal(dag: str, said: AirflowSaid) -> ChurnError:
    if said.status == HTTPStatus.NOT_FOUND:
        return UnknownName(f"there is no pipeline {dag!r}")
    if said.status == HTTPStatus.CONFLICT:
        return Refused(f"Airflow: {said.detail}")
    return InvalidData([Fault(None, "params", None, f"Airflow: {said.detail.strip()}")])


@contextmanager
def _understood(airflow: AirflowRest) -> Iterator[None]:
    """What answers and is not Airflow is as good as nobody."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError, AirflowSaid) as error:
        raise Unavailable(f"what answers at {airflow.url} is not Airflow") from error


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _segment(name: str) -> str:
    if name in (".", ".."):  # an address loses these on its way, and means something else
        raise UnknownName(f"there is no pipeline or run {name!r}")
    return _quoted(name)


def _dag_path(dag: str) -> str:
    return f"/dags/{_segment(dag)}"


def _run_path(dag: str, run_id: str) -> str:
    return f"{_dag_path(dag)}/dagRuns/{_segment(run_id)}"


__all__ = ["MOST_RUNS", "Pipeline", "Pipelines", "Run", "RunInDetail", "Task"]
