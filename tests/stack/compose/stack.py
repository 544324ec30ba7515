"""A compose stack of a project, a data folder and ports of its own."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[3]
PROJECT = "churn-test"
"""Its own, so that a stack in use stays as it is."""
PORTS = ("AIRFLOW", "MLFLOW", "API", "UI")
ONCE = {"secrets", "postgres-init", "store-init", "airflow-init"}
FIRST_START_SECONDS = 15 * 60
Done = subprocess.CompletedProcess[str]
NO_CLOCK = {f"CHURN_{name}_SCHEDULE": "@yearly" for name in ("TRAINING", "RECOMMENDER", "SCORING", "MONITORING")}
"""No run comes by itself while a test counts them."""
_TOKENS: dict[str, str] = {}
"""Airflow's, by the address that gave them: making one takes a second."""


@dataclass(frozen=True)
class Stack:
    """A stack that serves a copy of the shipped data; ``more`` are further variables of its environment."""

    data: Path
    ports: dict[str, int]
    more: dict[str, str] = field(default_factory=dict)

    def with_(self, **more: str) -> "Stack":
        return replace(self, more={**self.more, **more})

    @property
    def environment(self) -> dict[str, str]:
        settings = {f"CHURN_{service}_PORT": str(port) for service, port in self.ports.items()}
        own = {"COMPOSE_PROJECT_NAME": PROJECT, "CHURN_DATA": str(self.data), **NO_CLOCK}
        return {**os.environ, **own, **settings, **self.more}

    def run(
        self, *command: str, timeout: float = FIRST_START_SECONDS, **options: Any
    ) -> "subprocess.CompletedProcess[str]":
        """A command beside the compose file; its text, or bytes where ``text=False``."""
        given = {"capture_output": True, "text": True, **options}
        return subprocess.run(command, cwd=ROOT, env=self.environment, timeout=timeout, check=False, **given)

    def compose(self, *arguments: str, timeout: float = FIRST_START_SECONDS) -> str:
        done = self.run("docker", "compose", *arguments, timeout=timeout)
        assert done.returncode == 0, f"{' '.join(arguments)}: exit {done.returncode}\n{done.stderr[-3000:]}"
        return done.stdout

    def cli(self, *arguments: str) -> str:
        return self.compose("run", "--rm", "-T", "cli", *arguments)

    def url(self, service: str, path: str = "") -> str:
        return f"http://127.0.0.1:{self.ports[service]}{path}"

    def get(self, service: str, path: str, **options: Any) -> Any:
        return httpx.get(self.url(service, path), timeout=30, **options).raise_for_status().json()

    def post(self, service: str, path: str, body: dict[str, Any], **options: Any) -> Any:
        return httpx.post(self.url(service, path), json=body, timeout=30, **options).raise_for_status().json()

    def secret(self, folder: str, name: str) -> str:
        """What lies in a service's volume of secrets."""
        return self.compose("run", "--rm", "-T", "--entrypoint", "cat", "secrets", f"/secrets/{folder}/{name}")

    def secrets(self) -> list[str]:
        """Every password and key of the stack."""
        script = "for file in /secrets/*/*; do cat $file; echo; done"
        listed = self.compose("run", "--rm", "-T", "--entrypoint", "sh", "secrets", "-c", script)
        told = [word for line in listed.split() for word in line.split(",")]
        passwords = json.loads(self.secret("airflow", "airflow_passwords.json")).values()
        keys = [word for word in told if len(word) > 20 and "{" not in word and "://" not in word]
        assert len(keys) >= 7, "the secrets are not where this looks"
        return [*keys, *passwords]

    def customer(self) -> dict[str, Any]:
        """The customer that the schema gives as an example."""
        return dict(self.get("API", "/schema")["examples"][0])

    def predict(self) -> dict[str, Any]:
        return dict(self.post("API", "/predict", self.customer()))

    def served(self) -> str:
        """The version that all answers name; "" while workers differ."""
        customer = self.customer()
        found = {self.post("API", "/predict", customer)["model"]["version"] for _ in range(20)}
        return str(found.pop()) if len(found) == 1 else ""

    def airflow(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Airflow's REST API, as the administrator whom `secrets show` names."""
        url = self.url("AIRFLOW")
        reply = self._ask_airflow(url, path, body)
        if reply.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):  # the token is of before a rotation
            _TOKENS.pop(url)
            reply = self._ask_airflow(url, path, body)
        return dict(reply.raise_for_status().json())

    def _ask_airflow(self, url: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
        if url not in _TOKENS:
            login = {"username": "admin", "password": self.airflow_password()}
            _TOKENS[url] = self.post("AIRFLOW", "/auth/token", login)["access_token"]
        told, method = {"Authorization": f"Bearer {_TOKENS[url]}"}, "GET" if body is None else "POST"
        return httpx.request(method, f"{url}/api/v2{path}", json=body, headers=told, timeout=30)

    def airflow_password(self) -> str:
        return self.compose("run", "--rm", "-T", "secrets", "show").split()[-1]

    def runs(self, dag: str = "churn_training") -> list[dict[str, Any]]:
        """A DAG's runs, newest last."""
        return list(self.airflow(f"/dags/{dag}/dagRuns?order_by=id")["dag_runs"])

    def train(self, **params: Any) -> str:
        """Trigger the DAG with parameters, a quick training where none are given; the run's id."""
        quick = {"candidates": ["logistic_regression"], "folds": 2, "repeats": 1, "seconds": 0}
        body = {"logical_date": None, "conf": {**quick, **params}}
        return str(self.airflow("/dags/churn_training/dagRuns", body)["dag_run_id"])

    def state(self, run: str) -> str:
        return next(str(one["state"]) for one in self.runs() if one["dag_run_id"] == run)

    def versions(self) -> list[dict[str, Any]]:
        """The registered versions, as MLflow tells them."""
        found = self.get("MLFLOW", "/api/2.0/mlflow/model-versions/search?filter=name%3D%27churn-classifier%27")
        versions = found.get("model_versions", [])
        # a list in MLflow's reply, in no order
        return [{**one, "tags": sorted(one.get("tags", []), key=lambda tag: str(tag["key"]))} for one in versions]

    def champion(self) -> str:
        alias = "/api/2.0/mlflow/registered-models/alias?name=churn-classifier&alias=champion"
        return str(self.get("MLFLOW", alias)["model_version"]["version"])

    def recommends(self) -> bool:
        """Whether every worker recommends something to the schema's customer."""
        wanted = {"customer": self.customer(), "k": 3}
        return all(self.post("API", "/recommend", wanted)["recommendations"] for _ in range(10))

    def sql(self, database: str, query: str) -> list[str]:
        """The lines that a query gives."""
        return self.compose("exec", "-T", "postgres", "psql", "-U", "postgres", "-Atc", query, database).splitlines()

    def predictions(self) -> int:
        """How many the store holds."""
        return int(self.sql("churn", "SELECT count(*) FROM predictions")[0])

    def users(self) -> list[str]:
        """Airflow's users, with the hashes of their passwords."""
        return self.sql("airflow", "SELECT username, password FROM ab_user ORDER BY 1")

    def containers(self, *services: str) -> list[dict[str, Any]]:
        """What `docker inspect` says of the containers, those that have ended too."""
        names = self.compose("ps", "--all", "--quiet", *services).split()
        return list(json.loads(docker("inspect", *names))) if names else []

    def kill(self, service: str) -> Callable[[], bool]:
        """Kill -9 a service's first container from the host; returns whether it has come back by itself."""
        (container, *_) = self.containers(service)
        os.kill(container["State"]["Pid"], signal.SIGKILL)
        return lambda: self._is_back(container)

    def _is_back(self, before: dict[str, Any]) -> bool:
        (now,) = json.loads(docker("inspect", before["Id"]))
        again = now["RestartCount"] > before["RestartCount"] or now["State"]["Pid"] not in (0, before["State"]["Pid"])
        return bool(again and now["State"]["Running"] and now["State"]["Health"]["Status"] == "healthy")


def service_of(container: dict[str, Any]) -> str:
    return str(container["Config"]["Labels"]["com.docker.compose.service"])


def address() -> str:
    """An address of this machine that is not loopback: that of the engine's bridge for the project."""
    return docker("network", "inspect", f"{PROJECT}_outside", "-f", "{{(index .IPAM.Config 0).Gateway}}").strip()


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout


def leftovers(project: str = PROJECT) -> list[str]:
    """What Docker still holds of a project."""
    mine = ("--quiet", "--filter", f"label=com.docker.compose.project={project}")
    kinds = (("container", "ls", "--all"), ("volume", "ls"), ("network", "ls"))
    return [line for kind in kinds for line in docker(*kind, *mine).splitlines()]


def eventually(true: Callable[[], bool], seconds: float, what: str = "") -> float:
    """Wait until it is true, and not an error; returns how long that took."""
    began, trouble = time.monotonic(), ""
    while True:
        try:
            if true():
                return time.monotonic() - began
        except (httpx.HTTPError, subprocess.CalledProcessError, AssertionError) as error:
            trouble = str(error)
        assert time.monotonic() - began < seconds, f"not within {seconds} s: {what} {trouble}"
        time.sleep(1)


@contextmanager
def timed(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    print(f"\n{what}: {time.monotonic() - began:.0f} s")
