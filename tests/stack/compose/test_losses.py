"""Parts die, one after the other or some at once, while eight clients ask for predictions."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from churn import settings as settings_of
from churn.registry import Registry
from tests.stack.compose.conftest import CLIENTS, Load
from tests.stack.compose.stack import Stack, eventually

pytestmark = pytest.mark.stack
BACK_SECONDS = 90
OTHERS = [
    ["postgres"],
    ["mlflow"],
    ["airflow-api-server", "ui"],
    ["airflow-scheduler", "airflow-dag-processor", "airflow-triggerer"],
]


@pytest.mark.parametrize("services", OTHERS, ids=" ".join)
def test_the_api_answers_through_the_loss_of_others(stack: Stack, load: Load, services: list[str]) -> None:
    before, counted = (stack.versions(), len(stack.runs()), stack.users()), stack.predictions()
    with load() as seen:
        time.sleep(1)
        back = [stack.kill(service) for service in services]
        seconds = eventually(lambda: all(one() for one in back), BACK_SECONDS, f"{services} come back")
        time.sleep(1)
    (result,) = seen
    print(f"\n{', '.join(services)} back and healthy after {seconds:.0f} s; {result}")
    assert result.requests > 500
    assert (result.failures, result.errors, result.complaints) == (0, {}, [])
    eventually(lambda: (stack.versions(), len(stack.runs()), stack.users()) == before, seconds=60)
    # all that were served meanwhile: what PostgreSQL could not take was kept for it
    eventually(lambda: stack.predictions() >= counted + result.requests, seconds=30)


def test_a_registry_that_hangs_costs_no_prediction(stack: Stack, load: Load) -> None:
    """All threads of the API may wait for it: the proxy must not take that for a loss."""
    with load() as seen, ThreadPoolExecutor(max_workers=8) as asking:
        stack.compose("pause", "mlflow")
        asked = [asking.submit(httpx.get, stack.url("API", "/models/history"), timeout=60) for _ in range(8)]
        told = {one.result().status_code for one in asked}
        stack.compose("unpause", "mlflow")
        time.sleep(2)
    (result,) = seen
    print(f"\nmlflow hung: {result}")
    assert told == {503}
    assert (result.failures, result.errors, result.complaints) == (0, {}, [])


@pytest.mark.parametrize("service", ["api", "proxy"])
def test_the_api_and_its_proxy_come_back_by_themselves(stack: Stack, service: str) -> None:
    before = stack.predict()
    seconds = eventually(stack.kill(service), BACK_SECONDS, f"{service} comes back")
    print(f"\n{service} back and healthy after {seconds:.0f} s")
    eventually(lambda: stack.predict() == before, seconds=10)


@pytest.fixture(scope="module")
def three(stack: Stack) -> Iterator[Stack]:
    """Three containers of the API."""
    stack.compose("up", "--wait", "--no-recreate", "--scale", "api=3", timeout=180)
    time.sleep(3)  # the proxy looks every second
    yield stack
    stack.compose("up", "--wait", "--no-recreate", "--scale", "api=1", timeout=180)


def test_with_three_containers_the_loss_of_one_is_not_noticed(three: Stack, load: Load) -> None:
    with load() as seen:
        time.sleep(2)
        back = three.kill("api")
        eventually(back, BACK_SECONDS, "the container comes back")
        time.sleep(2)
    (result,) = seen
    print(f"\none of three lost: {result}, {result.statuses}, {result.errors}")
    assert result.requests > 500
    # those in flight on it, at most; the proxy asks another for them
    assert result.failures <= CLIENTS
    assert result.complaints == []


def test_containers_that_are_stopped_finish_what_they_have_begun(three: Stack, load: Load) -> None:
    with load() as seen:
        time.sleep(2)
        three.compose("up", "--wait", "--no-recreate", "--scale", "api=1", timeout=180)
        time.sleep(2)
    (result,) = seen
    print(f"\ntwo of three stopped: {result}")
    assert (result.failures, result.errors, result.complaints) == (0, {}, [])


def test_postgresql_killed_during_a_training(stack: Stack, tmp_path: Path) -> None:
    run = stack.train(candidates=["lightgbm", "random_forest"], folds=5, repeats=2, seed=22)
    tasks = f"/dags/churn_training/dagRuns/{run}/taskInstances"

    def training() -> bool:
        told = stack.airflow(tasks)["task_instances"]
        return "running" in {one["state"] for one in told if one["task_id"] == "train"}

    eventually(training, seconds=120, what="the training is under way")
    eventually(stack.kill("postgres"), BACK_SECONDS, "postgres comes back")
    seconds = eventually(lambda: stack.state(run) in ("success", "failed"), seconds=600, what="the run ends")
    print(f"\nthe run ended as {stack.state(run)!r}, {seconds:.0f} s after PostgreSQL was back")
    settings = settings_of.load().model_copy(update={"home": tmp_path, "mlflow_tracking_uri": stack.url("MLFLOW")})
    registry = Registry(settings)
    for version in registry.versions():  # whole, each of them: it loads as serving loads it
        registry.load(version)
    assert {one["status"] for one in stack.versions()} == {"READY"}
    eventually(lambda: stack.served() == stack.champion(), seconds=20)
