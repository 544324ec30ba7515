"""`churn doctor`: what each answer of a service means."""

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from churn.doctor import Finding, _home, _service
from churn.services import Service
from churn.settings import load
from tests.conftest import free_port

HEALTHY = {"status": "healthy"}
NAMES = {"Airflow": "/api/v2/monitor/health", "MLflow": "/health", "API": "/health/ready", "web app": "/_stcore/health"}


class Answer(BaseHTTPRequestHandler):
    """Gives one answer at one path, and 404 elsewhere."""

    path_of_health, status, body = "/", 200, ""

    def do_GET(self) -> None:
        found = self.path == self.path_of_health
        self.send_response(self.status if found else 404)
        self.end_headers()
        self.wfile.write(self.body.encode() if found else b"")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def ask(name: str, port: int) -> Finding:
    path = "/health/live" if name == "API" else NAMES[name]
    return _service(Service(name, "CHURN_X_PORT", "127.0.0.1", port, path))


@pytest.mark.parametrize(
    ("name", "status", "body", "state"),
    [
        ("MLflow", 200, "OK", "ok"),
        ("web app", 200, "ok", "ok"),
        ("API", 200, json.dumps({"status": "ok", "detail": "version 2 does not load"}), "ok"),
        ("API", 503, json.dumps({"status": 503, "detail": "train one first"}), "off"),
        ("API", 500, "oh", "broken"),
        ("API", 200, "[]", "broken"),
        ("Airflow", 200, json.dumps({"metadatabase": HEALTHY, "scheduler": HEALTHY}), "ok"),
        ("Airflow", 200, json.dumps({"metadatabase": HEALTHY, "scheduler": {"status": "unhealthy"}}), "broken"),
        *((name, 200, "<html>something else</html>", "broken") for name in NAMES),
    ],
)
def test_what_an_answer_means(
    monkeypatch: pytest.MonkeyPatch, server: HTTPServer, name: str, status: int, body: str, state: str
) -> None:
    for field, value in (("path_of_health", NAMES[name]), ("status", status), ("body", body)):
        monkeypatch.setattr(Answer, field, value)
    found = ask(name, server.server_port)
    assert (found.subject, found.state) == (name, state)
    if name == "API" and "detail" in body:
        assert json.loads(body)["detail"] in found.detail
    if "unhealthy" in body:
        assert "scheduler: unhealthy" in found.detail


@pytest.mark.parametrize("name", NAMES)
def test_where_nothing_listens_a_service_is_off(name: str) -> None:
    found = ask(name, free_port())
    assert found.state == "off"
    assert "CHURN_X_PORT" in found.detail


def test_a_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch, server: HTTPServer) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr(Answer, "path_of_health", NAMES["MLflow"])
    monkeypatch.setattr(Answer, "body", "OK")
    assert ask("MLflow", server.server_port).state == "ok"


def test_a_home_that_would_lie_in_a_file_is_broken(tmp_path: Path) -> None:
    for home in (Path("/dev/null/x"), Path("/dev/null"), Path("/proc/1/x")):
        found = _home(load().model_copy(update={"home": home}))
        assert found.state == "broken" or (os.access(home.parent, os.W_OK) and home.parent.is_dir()), home
    assert _home(load().model_copy(update={"home": tmp_path / "new" / "home"})).state == "ok"
