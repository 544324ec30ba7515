"""The only module that talks to Airflow's REST API: what the pipelines are doing."""

import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from churn.errors import Unavailable
from churn.settings import Settings

TAG = "churn"
USER = "api"
_DONE = {"success", "failed", "skipped", "upstream_failed", "removed"}


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
class Pipeline:
    """A DAG of this platform and its newest run, if it has run."""

    dag: str
    description: str
    paused: bool
    url: str
    run: Run | None


class Pipelines:
    """A client of Airflow, logged in as the user that may only look."""

    def __init__(self, settings: Settings, transport: httpx.BaseTransport | None = None) -> None:
        self._passwords = settings.passwords_file
        self._public = settings.airflow_public_url.rstrip("/")
        self._http = httpx.Client(base_url=settings.airflow_url, timeout=5, transport=transport)
        self._token: str | None = None
        self._lock = threading.Lock()

    def list(self) -> list[Pipeline]:
        """The platform's pipelines.

        Raises:
            Unavailable: Airflow does not answer, or does not know us.
        """
        try:
            found = self._get("/api/v2/dags", tags=TAG, limit=100)["dags"]
            return [self._pipeline(dag) for dag in sorted(found, key=lambda dag: str(dag["dag_id"]))]
        except (KeyError, TypeError, AttributeError) as error:
            raise Unavailable(f"what answers at {self._http.base_url} is not Airflow") from error

    def _pipeline(self, dag: dict[str, Any]) -> Pipeline:
        name = str(dag["dag_id"])
        runs = self._get(f"/api/v2/dags/{quote(name)}/dagRuns", order_by="-run_after", limit=1)["dag_runs"]
        return Pipeline(
            dag=name,
            description=dag.get("description") or "",
            paused=bool(dag["is_paused"]),
            url=f"{self._public}/dags/{quote(name)}",
            run=self._run(name, runs[0]) if runs else None,
        )

    def _run(self, dag: str, run: dict[str, Any]) -> Run:
        name = str(run["dag_run_id"])
        path = f"dags/{quote(dag)}/dagRuns/{quote(name, safe='')}/taskInstances"
        tasks = self._get(f"/api/v2/{path}", limit=100)["task_instances"]
        return Run(
            id=name,
            state=str(run["state"]),
            started=run.get("start_date"),
            ended=run.get("end_date"),
            done=sum(task["state"] in _DONE for task in tasks),
            total=len(tasks),
            url=f"{self._public}/dags/{quote(dag)}/runs/{quote(name, safe='')}",
        )

    def _get(self, path: str, **query: str | int) -> dict[str, Any]:
        try:
            reply = self._http.get(path, params=query, headers=self._authorisation())
            if reply.status_code == httpx.codes.UNAUTHORIZED:  # the token has run out
                self._token = None
                reply = self._http.get(path, params=query, headers=self._authorisation())
            reply.raise_for_status()
            found: dict[str, Any] = reply.json()
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable(f"Airflow does not answer: {error}") from error
        return found

    def _authorisation(self) -> dict[str, str]:
        with self._lock:
            if self._token is None:
                login = {"username": USER, "password": _password(self._passwords)}
                reply = self._http.post("/auth/token", json=login)
                reply.raise_for_status()
                self._token = str(reply.json()["access_token"])
            return {"Authorization": f"Bearer {self._token}"}


def _password(path: Path) -> str:
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))[USER])
    except (OSError, ValueError, KeyError) as error:
        raise Unavailable(f"no password for Airflow's user {USER!r} in {path}") from error
