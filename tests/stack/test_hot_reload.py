"""Promotions and rollbacks under load: real gunicorn, real MLflow over HTTP, no request lost and none mixed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from bench.load import Check, Result
from churn import settings as settings_of
from churn.promotion import promote, rollback
from churn.registry import Registry
from churn.settings import Settings
from tests import versions
from tests.conftest import free_port
from tests.stack.clients import asking
from tests.versions import Gunicorn

pytestmark = pytest.mark.stack

CHANGES = 20
RELOAD_SECONDS = 1
"""Between two looks into the registry: a fifth of the default, which most of the test would be spent waiting for."""
WITHIN_SECONDS = RELOAD_SECONDS + 5
"""Until all workers serve another version: the look and five seconds, so that by default it is within ten."""
CONNECTIONS = 16
GROWTH = 20
"""MiB that both workers together may gain in the second half of the changes. In the first half they
go through the routes, which make either worker load MLflow's client."""


class Mlflow:
    """A server over a home's database, as `make up` starts it."""

    def __init__(self, settings: Settings) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        own = {"MLFLOW_BACKEND_STORE_URI": settings.tracking_uri, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command, "--no-serve-artifacts"],
            env={**os.environ, **own},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait(self) -> None:
        end = time.monotonic() + 60
        while True:
            try:
                if httpx.get(f"{self.url}/health", timeout=2).status_code == 200:
                    return
            except httpx.TransportError:
                assert time.monotonic() < end
                time.sleep(0.2)

    def kill(self) -> None:
        """With the workers that it has started, and without a farewell."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, 9)
            self.process.wait()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose registry holds two versions of different answers; the first is in service."""
    folder = tmp_path_factory.mktemp("hot-reload")
    settings = settings_of.load().model_copy(update={"home": folder / "home"})
    registry = Registry(settings)
    for name, start in (("1", 0), ("2", 900)):
        versions.register(settings, versions.write(folder / name, start=start))
    promote(registry, "1", by="the first training", despite_gate="a test")
    return folder


@pytest.fixture(scope="module")
def settings(folder: Path) -> Settings:
    return settings_of.load().model_copy(update={"home": folder / "home"})


@pytest.fixture(scope="module")
def mlflow(settings: Settings) -> Iterator[Mlflow]:
    server = Mlflow(settings)
    try:
        server.wait()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def customer(folder: Path) -> bytes:
    return json.dumps(versions.read(folder / "1").contract.example).encode()


@pytest.fixture(scope="module")
def complaint(folder: Path, customer: bytes) -> Callable[[bytes, bytes], str | None]:
    """Whether a reply's probability is that of the version it names."""
    answers = {}
    for number in "12":
        scorer = versions.read(folder / number, number)
        answers[number] = scorer.predict([json.loads(customer)])[0].churn_probability
    assert abs(answers["1"] - answers["2"]) > 1e-3

    def check(_: bytes, reply: bytes) -> str | None:
        told = json.loads(reply)
        right = told["churn_probability"] == answers[told["model"]["version"]]
        return None if right else f"mixed: {told}"

    return check


def load(api: Gunicorn, customer: bytes, complaint: Check) -> AbstractContextManager[list[Result]]:
    return asking(f"{api.url}/predict", customer, connections=CONNECTIONS, check=complaint)


def megabytes(api: Gunicorn) -> float:
    """Resident memory of the workers."""
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in api.workers()]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20


def wait_for_version(api: Gunicorn, number: str) -> float:
    """Wait until both workers serve it; returns how long it took."""
    began = time.monotonic()
    while api.metrics().get(f'churn_model_workers{{name="churn-classifier",version="{number}"}}') != 2:
        assert time.monotonic() - began < WITHIN_SECONDS, api.log.read_text()[-3000:]
        time.sleep(0.1)
    return time.monotonic() - began


def test_promotions_under_load_lose_and_mix_nothing(mlflow, settings, folder, customer, complaint) -> None:
    registry = Registry(settings.model_copy(update={"mlflow_tracking_uri": mlflow.url}), patient=False)
    with Gunicorn(settings.home, tracking_uri=mlflow.url, CHURN_RELOAD_SECONDS=str(RELOAD_SECONDS)) as api:
        api.wait_ready()
        wait_for_version(api, "1")
        waits, memory = [], []
        with load(api, customer, complaint) as changing:
            for change in range(CHANGES):
                number = "2" if change % 2 == 0 else "1"
                _change(registry, api, number, by_route=change < CHANGES // 2)
                waits.append(wait_for_version(api, number))
                memory.append(megabytes(api))
        with load(api, customer, complaint) as without_mlflow:
            time.sleep(1)
            mlflow.kill()
            time.sleep(RELOAD_SECONDS + 3)
            ready = api.get("/health/ready")
        gained = memory[-1] - memory[CHANGES // 2]
        print(f"\n{changing[0]}\nwaits {max(waits):.1f} s at most; {memory[-1]:.0f} MiB, {gained:.0f} of them new")
        print(f"without MLflow: {without_mlflow[0]}")
        for result in (changing[0], without_mlflow[0]):
            assert result.requests > 1000
            assert (result.failures, result.errors, result.complaints) == (0, {}, [])
        assert gained < GROWTH
        assert mlflow.url in ready["detail"]
    with Gunicorn(settings.home, tracking_uri=mlflow.url) as api:
        print(f"anew without MLflow: ready after {api.wait_ready(20):.1f} s")
        assert complaint(customer, api.post("/predict", json.loads(customer)).content) is None
        assert api.get("/models")["models"][0]["version"] == "1"


def _change(registry: Registry, api: Gunicorn, number: str, *, by_route: bool) -> None:
    if by_route:
        how = "promote" if number == "2" else "rollback"
        body = {"version": "2", "despite_gate": "a test"} if number == "2" else {}
        reply = api.post(f"/models/churn-classifier/{how}", body)
        assert reply.status_code == 200, reply.text
        assert reply.json()["models"][0]["version"] == number
    elif number == "2":
        promote(registry, "2", by="a test", despite_gate="a test")
    else:
        rollback(registry, by="a test")
