"""The store on a real PostgreSQL 17, in a container of its own."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from secrets import token_urlsafe

import pytest

from churn.errors import Unavailable
from churn.store import Store
from tests import store_contract
from tests.stack.compose.stack import docker, eventually

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server, by its superuser."""
    password = token_urlsafe(12)
    own = ("--env", f"POSTGRES_PASSWORD={password}", "--publish", "127.0.0.1::5432")
    container = docker("run", "--detach", "--rm", *own, "postgres:17").strip()
    try:
        url = f"postgresql://postgres:{password}@{docker('port', container, '5432').splitlines()[0]}/postgres"
        eventually(lambda: answers(url), seconds=60, what="PostgreSQL answers")
        yield url
    finally:
        subprocess.run(["docker", "rm", "--force", container], capture_output=True, check=False)


def answers(url: str) -> bool:
    store = Store(store_contract.settings_of(url))
    try:
        return store.revision() is None
    except Unavailable:
        return False
    finally:
        store.close()


@pytest.mark.parametrize(
    "check", [*store_contract.CHECKS, *store_contract.POSTGRESQL_CHECKS], ids=lambda check: check.__name__
)
def test_the_store_on_postgresql(server: str, check: store_contract.Check, tmp_path: Path) -> None:
    with store_contract.scratch(server) as url:
        check(url, tmp_path)
