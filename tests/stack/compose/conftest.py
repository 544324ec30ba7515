"""One stack for all of this folder, and what asks it for predictions meanwhile."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from bench.load import Result
from tests.conftest import free_port
from tests.stack.clients import asking
from tests.stack.compose.stack import PORTS, ROOT, Stack, docker, leftovers, timed
from tests.stack.pages import PICTURES

CLIENTS = 8
IMAGES = ("churn-api", "churn-airflow", "churn-mlflow", "churn-ui", "churn-proxy")
Load = Callable[[], AbstractContextManager[list[Result]]]


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that started from nothing; afterwards nothing of it is left."""
    data = tmp_path_factory.mktemp("stack") / "data"
    shutil.copytree(ROOT / "data", data)
    made = Stack(data, {service: free_port() for service in PORTS})
    made.compose("down", "--volumes")
    volumes = docker("volume", "ls", "--quiet")
    subprocess.run(["docker", "image", "rm", "--force", *IMAGES], capture_output=True, check=False)
    try:
        with timed("from no images and no volumes to a served champion"):
            made.compose("up", "--build", "--wait")
        yield made
    finally:
        PICTURES.mkdir(exist_ok=True)
        (PICTURES / "compose.log").write_text(made.compose("logs", "--no-color"), encoding="utf-8")
        made.compose("down", "--volumes")
    assert leftovers() == []
    assert docker("volume", "ls", "--quiet") == volumes  # nor any without a name


@pytest.fixture
def load(stack: Stack) -> Load:
    """Eight clients that ask for predictions until the block ends; what they saw is then in the list."""

    def clients() -> AbstractContextManager[list[Result]]:
        right = stack.predict()["churn_probability"]

        def check(_: bytes, reply: bytes) -> str | None:
            told = json.loads(reply)
            return None if told["churn_probability"] == right else f"another answer: {told}"

        body = json.dumps(stack.customer()).encode()
        return asking(stack.url("API", "/predict"), body, connections=CLIENTS, check=check)

    return clients
