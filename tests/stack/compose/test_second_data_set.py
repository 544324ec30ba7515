"""Another company's data in a stack of its own, beside the first: a folder and one setting."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import free_port
from tests.gym import write_members
from tests.stack.compose.stack import PORTS, PROJECT, Stack, leftovers, timed

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
    with timed("another data set, from its contract to a served champion"):
        gym.with_(CHURN_CONTRACT="data/gym/contract.yaml").compose("up", "--wait")
    assert set(gym.customer()) >= {"home_club", "Visits per Week", "has_trainer"}
    assert gym.predict()["model"]["version"] == "1"
    assert "home_club" not in stack.customer()
