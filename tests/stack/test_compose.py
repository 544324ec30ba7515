"""The compose stack, built and started for real, and driven only from outside.

It needs a Docker engine with compose v2 and fails where there is none: what did not run did not pass.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser

from tests.conftest import free_port
from tests.stack.pages import PICTURES, predict_on_the_page

pytestmark = pytest.mark.stack

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "churn-test"
"""Its own, so that a stack in use stays as it is."""
FIRST_START_SECONDS = 15 * 60
SECOND_START_SECONDS = 60
SECRETS = "/run/churn"


@dataclass(frozen=True)
class Stack:
    """A stack on ports of its own that serves a copy of the shipped data."""

    data: Path
    ports: dict[str, int]

    def compose(self, *arguments: str, timeout: float = FIRST_START_SECONDS) -> str:
        settings = {f"CHURN_{service}_PORT": str(port) for service, port in self.ports.items()}
        environment = os.environ | settings | {"CHURN_DATA": str(self.data)}
        command = ["docker", "compose", "--project-name", PROJECT, *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}: exit {done.returncode}\n{done.stderr[-3000:]}"
        return done.stdout

    def url(self, service: str, path: str = "") -> str:
        return f"http://127.0.0.1:{self.ports[service]}{path}"

    def get(self, service: str, path: str, **options: Any) -> Any:
        return httpx.get(self.url(service, path), timeout=30, **options).raise_for_status().json()

    def post(self, service: str, path: str, body: dict[str, Any]) -> Any:
        return httpx.post(self.url(service, path), json=body, timeout=30).raise_for_status().json()

    def secret(self, service: str, name: str) -> str:
        return self.compose("exec", "-T", service, "cat", f"{SECRETS}/{name}")

    def airflow_passwords(self) -> dict[str, str]:
        return dict(json.loads(self.secret("airflow-api-server", "airflow_passwords.json")))

    def predict(self) -> dict[str, Any]:
        """The answer for the customer that the schema gives as an example."""
        customer = self.get("API", "/schema")["examples"][0]
        return dict(self.post("API", "/predict", customer))

    def runs(self) -> list[dict[str, Any]]:
        """The training's runs, as Airflow tells them to the administrator."""
        password = self.airflow_passwords()["admin"]
        token = self.post("AIRFLOW", "/auth/token", {"username": "admin", "password": password})
        told = {"Authorization": f"Bearer {token['access_token']}"}
        return list(self.get("AIRFLOW", "/api/v2/dags/churn_training/dagRuns", headers=told)["dag_runs"])

    def champion(self) -> str:
        alias = "/api/2.0/mlflow/registered-models/alias?name=churn-classifier&alias=champion"
        return str(self.get("MLFLOW", alias)["model_version"]["version"])


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that started from nothing; afterwards nothing of it is left."""
    data = tmp_path_factory.mktemp("stack") / "data"
    shutil.copytree(ROOT / "data", data)
    made = Stack(data, {service: free_port() for service in ("AIRFLOW", "MLFLOW", "API", "UI")})
    made.compose("down", "--volumes")
    try:
        made.compose("up", "--build", "--wait")
        yield made
    finally:
        PICTURES.mkdir(exist_ok=True)
        (PICTURES / "compose.log").write_text(made.compose("logs", "--no-color"), encoding="utf-8")
        made.compose("down", "--volumes")
    assert leftovers() == []


def leftovers() -> list[str]:
    """What Docker still holds of the project."""
    mine = ("--quiet", "--filter", f"label=com.docker.compose.project={PROJECT}")
    kinds = (("container", "ls", "--all"), ("volume", "ls"), ("network", "ls"))
    return [line for kind in kinds for line in docker(*kind, *mine).splitlines()]


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout


def eventually(true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(1)


def test_a_prediction_needs_no_other_command(stack: Stack) -> None:
    told = stack.predict()
    assert 0 <= told["churn_probability"] <= 1
    assert told["model"] == {"name": "churn-classifier", "version": "1"}


def test_airflow_shows_the_green_run(stack: Stack) -> None:
    eventually(lambda: [run["state"] for run in stack.runs()] == ["success"], seconds=60)


def test_mlflow_holds_the_champion_that_serves(stack: Stack) -> None:
    assert stack.champion() == stack.predict()["model"]["version"]


def test_a_version_names_the_revision_of_the_code(stack: Stack) -> None:
    (model,) = stack.get("API", "/models")["models"]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert model["provenance"]["git_revision"] == head.stdout.strip()


def test_the_page_gives_a_prediction(stack: Stack, browser: Browser) -> None:
    predict_on_the_page(browser, stack.url("UI"), stack.predict(), "compose")


def test_no_secret_stands_in_a_container_s_description(stack: Stack) -> None:
    password = stack.secret("postgres", "mlflow_password")
    assert password in stack.secret("mlflow", "mlflow_database")
    described = docker("inspect", *stack.compose("ps", "--all", "--quiet").split())
    hidden = [stack.secret("postgres", f"{user}_password") for user in ("postgres", "airflow", "mlflow")]
    hidden += [stack.secret("airflow-api-server", f"airflow_{key}") for key in ("jwt", "fernet", "api")]
    hidden += stack.airflow_passwords().values()
    assert not [secret for secret in hidden if secret in described]


def test_changed_rows_lead_to_a_new_champion(stack: Stack) -> None:
    rows = stack.data / "telco" / "customers.csv"
    lines = rows.read_text(encoding="utf-8").splitlines(keepends=True)
    rows.write_text("".join(lines[:-100]), encoding="utf-8")
    eventually(lambda: {stack.predict()["model"]["version"] for _ in range(20)} == {"2"}, seconds=240)  # all workers
    eventually(lambda: {run["state"] for run in stack.runs()} == {"success"}, seconds=60)


def test_a_second_start_is_quick_and_trains_nothing(stack: Stack) -> None:
    before = (stack.predict(), len(stack.runs()))
    stack.compose("down")
    started = time.monotonic()
    stack.compose("up", "--wait")
    assert time.monotonic() - started < SECOND_START_SECONDS
    assert (stack.predict(), len(stack.runs())) == before
