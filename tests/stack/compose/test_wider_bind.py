"""Beyond this machine: nobody gets in without a key, and what asks for none is not published."""

import socket
import ssl
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests.stack.compose.stack import Stack, address, eventually

pytestmark = pytest.mark.stack
EVERYWHERE = "0.0.0.0"  # noqa: S104
BEGUN = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"


@pytest.fixture(scope="module")
def published(stack: Stack) -> Stack:
    return stack.with_(CHURN_BIND=EVERYWHERE, CHURN_RATE_LIMIT="300")


@pytest.fixture(scope="module")
def key(published: Stack) -> str:
    """An administrator's key, and the stack started with it."""
    refused = published.run("docker", "compose", "up", "--wait")
    assert refused.returncode
    assert "store-init" in refused.stderr
    assert "no admin key exists" in published.compose("logs", "store-init")
    secret = published.cli("keys", "make", "alice", "--scope", "admin").strip()
    published.compose("up", "--wait", timeout=180)
    return secret


def ask(url: str, key: str = "", **options: object) -> httpx.Response:
    told = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.get(url, headers=told, timeout=10, **options)  # type: ignore[arg-type]


def test_a_key_opens_the_api(published: Stack, key: str) -> None:
    api = f"http://{address()}:{published.ports['API']}"
    assert ask(f"{api}/health/ready").status_code == 200
    for path in ("/models", "/schema", "/docs", "/openapi.json", "/metrics", "/nowhere"):
        assert ask(f"{api}{path}").status_code == 401, path
    assert ask(f"{api}/models", "churn_wrong").status_code == 401
    assert ask(f"{api}/models", key).json()["models"]


def test_scopes_hold_and_a_revoked_key_ends(published: Stack, key: str) -> None:
    api = published.url("API")
    reader = published.cli("keys", "make", "reader", "--scope", "read").strip()
    eventually(lambda: ask(f"{api}/models", reader).status_code == 200, seconds=15)
    told = {"Authorization": f"Bearer {reader}"}
    assert httpx.post(f"{api}/models/churn-classifier/rollback", json={}, headers=told).status_code == 403
    published.cli("keys", "revoke", "reader")
    eventually(lambda: ask(f"{api}/models", reader).status_code == 401, seconds=15)
    trail = published.cli("audit", "--json")
    assert "key.make" in trail
    assert "key.revoke" in trail


def test_the_rate_limit_holds_over_several_containers(published: Stack, key: str) -> None:
    published.compose("up", "--wait", "--no-recreate", "--scale", "api=3", timeout=180)
    try:
        busy = published.cli("keys", "make", "busy", "--scope", "read").strip()
        url = published.url("API", "/schema")
        eventually(lambda: all(ask(url, busy).status_code == 200 for _ in range(12)), seconds=20)
        with httpx.Client(headers={"Authorization": f"Bearer {busy}"}) as client:
            replies = [client.get(url) for _ in range(600)]
        through = sum(reply.status_code == 200 for reply in replies)
        print(f"\nof 600 requests {through} were let through, at 300 a minute")
        refused = next(reply for reply in replies if reply.status_code == 429)
        assert 200 < through < 360
        assert int(refused.headers["Retry-After"]) >= 1
    finally:
        published.compose("up", "--wait", "--no-recreate", "--scale", "api=1", timeout=180)


def test_what_asks_for_no_log_in_is_not_published(published: Stack, key: str) -> None:
    for service in ("MLFLOW", "UI"):
        with socket.socket() as probe:
            probe.settimeout(2)
            assert probe.connect_ex((address(), published.ports[service])), service
    airflow = f"http://{address()}:{published.ports['AIRFLOW']}"
    assert ask(f"{airflow}/api/v2/dags").status_code == 401


def test_the_web_app_still_works_by_its_own_key(published: Stack, key: str) -> None:
    listed = published.cli("keys", "list", "--json")
    assert "web-app" in listed
    own = published.secret("ui", "web_app_key").strip()
    eventually(lambda: ask(published.url("API", "/models"), own).status_code == 200, seconds=15)


def test_slow_and_large_requests_reach_no_worker(published: Stack, key: str) -> None:
    slow = []
    for _ in range(60):
        one = socket.create_connection(("127.0.0.1", published.ports["API"]))
        one.sendall(BEGUN)
        slow.append(one)
    began = time.monotonic()
    assert ask(published.url("API", "/models"), key).status_code == 200
    assert time.monotonic() - began < 2
    assert slow[0].recv(100).startswith(b"HTTP/1.1 408")  # after the ten seconds that the proxy gives
    for one in slow:
        one.close()


def test_a_large_body_that_stops_half_way_gives_its_thread_back(published: Stack, key: str) -> None:
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
    slow = []
    for _ in range(12):  # more than there are threads, and more than the proxy's buffer
        one = socket.create_connection(("127.0.0.1", published.ports["API"]))
        one.sendall(head.encode() + b"Content-Length: 2000000\r\n\r\n" + b" " * 600_000)
        one.settimeout(40)
        slow.append(one)
    waited = eventually(lambda: ask(published.url("API", "/models"), key).status_code == 200, seconds=40)
    print(f"\nanswered after {waited:.0f} s")
    assert slow[0].recv(100).startswith(b"HTTP/1.1 408")
    for one in slow:
        one.close()


def test_a_body_that_is_too_large_is_refused(published: Stack, key: str) -> None:
    told = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    large = httpx.post(published.url("API", "/predict"), content=b" " * (4 * 2**20 + 1), headers=told, timeout=30)
    assert (large.status_code, large.headers["Content-Type"]) == (413, "application/problem+json")


def test_the_proxy_speaks_tls(published: Stack, key: str, tmp_path: Path) -> None:
    pem = tmp_path / "tls.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost", "-keyout", tmp_path / "key", "-out", tmp_path / "crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    pem.write_bytes((tmp_path / "crt").read_bytes() + (tmp_path / "key").read_bytes())
    pem.chmod(0o644)
    published.with_(CHURN_TLS_CERTIFICATE=str(pem)).compose("up", "--wait", timeout=180)
    trusted = ssl.create_default_context(cafile=str(tmp_path / "crt"))
    url = f"https://localhost:{published.ports['API']}/models"
    eventually(lambda: ask(url, key, verify=trusted).status_code == 200, seconds=15)
