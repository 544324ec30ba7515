"""Another company's data in a stack of its own, beside the first: a folder and one setting."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.conftest import free_port
from tests.gym import write_members
from tests.stack.compose.stack import PORTS, PROJECT, Stack, eventually, leftovers, timed

pytestmark = pytest.mark.stack
OTHER = f"{PROJECT}-gym"
QUICK = {"CHURN_CANDIDATES": "logistic_regression", "CHURN_REPEATS": "1", "CHURN_TUNING_SECONDS": "0"}


@pytest.fixture
def gym(tmp_path: Path) -> Iterator[Stack]:
    """A stack that is not started yet; afterwards nothing of it is left."""
    tmp_path.chmod(0o777)
    write_members(tmp_path / "members.csv")
    ports = {service: free_port() for service in PORTS}
    stack = Stack(tmp_path, ports, {"COMPOSE_PROJECT_NAME": OTHER, **QUICK})
    try:
        yield stack
    finally:
        stack.compose("down", "--volumes")
        assert leftovers(OTHER) == []


def test_a_folder_and_a_setting_are_all_that_it_takes(stack: Stack, gym: Stack) -> None:
    init = ("init", "data/members.csv", "--target", "quit", "--ignore", "joined_on", "--out", "data/gym")
    assert "7 features" in gym.cli(*init)
    name_customers(gym.data / "gym")
    with timed("another data set, from its contract to a served champion"):
        gym.with_(CHURN_CONTRACT="data/gym/contract.yaml").compose("up", "--wait")
    assert set(gym.customer()) >= {"home_club", "Visits per Week", "has_trainer"}
    assert gym.predict()["model"]["version"] == "1"
    assert "home_club" not in stack.customer()
    with timed("three looks for drift, and the training that one of them starts"):
        only_a_shifted_column_starts_a_training(gym)


def name_customers(folder: Path) -> None:
    """Have the contract name a file of current customers: members drawn anew from the training rows."""
    contract = folder / "contract.yaml"
    text = contract.read_text(encoding="utf-8")
    assert text.count("rows:\n") == 1
    contract.write_text(text.replace("rows:\n", "rows:\n  customers: now.csv\n"), encoding="utf-8")
    write_customers(folder)


def write_customers(folder: Path, **shifted: str) -> None:
    head, *lines = (folder / "members.csv").read_text(encoding="utf-8").splitlines()
    names, dice = head.split(";"), random.Random(1)
    rows = [dict(zip(names, line.split(";"), strict=True)) | shifted for line in dice.choices(lines, k=len(lines))]
    kept = names[:-1]  # nobody knows yet who leaves
    told = [";".join(kept), *(";".join(row[name] for name in kept) for row in rows)]
    scratch = folder / ".now.csv"
    scratch.write_text("\n".join(told) + "\n", encoding="utf-8")
    scratch.chmod(0o644)
    scratch.rename(folder / "now.csv")


def only_a_shifted_column_starts_a_training(gym: Stack) -> None:
    look(gym)
    assert trainings(gym) == []
    (seen,) = gym.get("API", "/monitoring")["looks"]
    assert not seen["retrain"]
    assert "no column has drifted" in seen["reason"]

    write_customers(gym.data / "gym", home_club="North")
    look(gym)
    eventually(lambda: [run["state"] for run in trainings(gym)] == ["success"], 300, "a training by drift")
    seen, _ = gym.get("API", "/monitoring")["looks"]
    assert seen["retrain"]
    assert "Home club: 0." in seen["reason"]

    look(gym)  # the customers are still the same, and so is what there is to learn from
    assert len(trainings(gym)) == 1
    assert not gym.get("API", "/monitoring")["looks"][0]["retrain"]


def look(gym: Stack) -> None:
    """One run of the monitoring, to its end."""
    runs = "/dags/churn_monitoring/dagRuns"
    run = gym.airflow(runs, {"logical_date": None})["dag_run_id"]
    eventually(lambda: gym.airflow(f"{runs}/{quote(run)}")["state"] == "success", 300, "a run of churn_monitoring")


def trainings(gym: Stack) -> list[dict[str, Any]]:
    """Those that the monitoring has started."""
    return [run for run in gym.runs() if run["dag_run_id"].startswith("drift__")]
