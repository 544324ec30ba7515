"""Keys and their limit over several real workers, as the API runs beyond this machine."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from churn.client import Client, Refused
from churn.keys import Keys
from churn.settings import load
from churn.store import Store
from tests.versions import NOBODY, Gunicorn

EVERYWHERE = "0.0.0.0"  # noqa: S104  # the wildcard is the case
LIMIT = 30
"""Requests a minute: one each two seconds, so that few come back while the test runs."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("guarded")


@pytest.fixture(scope="module")
def keys(home: Path) -> Keys:
    return Keys(Store(load().model_copy(update={"home": home})))


@pytest.fixture(scope="module")
def api(home: Path, keys: Keys) -> Iterator[Gunicorn]:
    """Two workers that know a first key."""
    _, secret = keys.make("first", "read", by="a test")
    with Gunicorn(home, tracking_uri=NOBODY, CHURN_BIND=EVERYWHERE, CHURN_RATE_LIMIT=str(LIMIT)) as api:
        until_known(api, secret)
        yield api


def ask(api: Gunicorn, secret: str | None, path: str = "/models") -> httpx.Response:
    """Over a connection of its own, so that another worker may take it."""
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    return httpx.get(f"{api.url}{path}", headers=headers, timeout=20)


def until_known(api: Gunicorn, secret: str) -> None:
    """Until every worker has read the keys: each does so every three seconds, and this takes four."""
    deadline, good = time.monotonic() + 60, 0
    while good < 8:
        assert time.monotonic() < deadline, api.log.read_text()[-3000:]
        try:
            good = good + 1 if ask(api, secret).is_success else 0
        except httpx.TransportError:  # not yet
            good = 0
        time.sleep(0.5)


def test_workers_ask_for_keys_and_count_together(api: Gunicorn, keys: Keys) -> None:
    _, secret = keys.make("crm", "read", by="a test")
    assert ask(api, None).status_code == 401
    assert ask(api, None, "/health/live").status_code == 200
    time.sleep(4)  # every worker has read the new key
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        seen = Counter(pool.map(lambda _: ask(api, secret).status_code, range(LIMIT * 2)))
    assert LIMIT <= seen[200] <= LIMIT + 1 + (time.monotonic() - began) * LIMIT / 60
    assert seen[200] + seen[429] == LIMIT * 2
    refused = ask(api, secret)
    assert refused.status_code == 429
    time.sleep(int(refused.headers["Retry-After"]))
    assert ask(api, secret).status_code == 200


def test_a_key_that_is_replaced_in_its_file_needs_no_restart(api: Gunicorn, keys: Keys, home: Path) -> None:
    file = home / "web_app_key"
    keys.ensure(file, "web-app", "write", by="a test")
    until_known(api, file.read_text())
    # gunicorn would wait for a connection that is kept
    client = Client(
        api.url,
        key_file=file,
        transport=httpx.HTTPTransport(limits=httpx.Limits(max_connections=1, max_keepalive_connections=0)),
    )
    assert client.models() == []
    with pytest.raises(Refused, match="scope admin") as refusal:
        client.rollback("churn-classifier")
    assert refusal.value.status == 403
    keys.revoke("web-app", by="a test")
    keys.ensure(file, "web-app", "write", by="a test")
    until_known(api, file.read_text())
    assert client.models() == []


def test_what_is_open_to_all_does_not_start(home: Path) -> None:
    with Gunicorn(home, tracking_uri=NOBODY, CHURN_BIND=EVERYWHERE, CHURN_REQUIRE_KEYS="false") as api:
        assert api.process.wait(30)
    (line,) = api.log.read_text().splitlines()
    assert "CHURN_REQUIRE_KEYS=false" in line
