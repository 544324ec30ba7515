"""What Prometheus is told: over one process, and summed over the workers of a real gunicorn."""

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.app import create_app
from api.serving import Serving
from churn import settings as settings_of
from churn.shelf import HASHES_FILE, Served, Shelf, State, _hashes
from tests import versions
from tests.versions import NOBODY, Gunicorn


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose last good version is version 1. No registry is behind it."""
    folder = tmp_path_factory.mktemp("metrics")
    shelf = Shelf(folder)
    served = Served("churn-classifier", "1", "run", "2026-01-01T00:00:00+00:00", {}, {})
    place = versions.write(shelf.place(served))
    (place / HASHES_FILE).write_text(json.dumps(_hashes(place)))
    shelf.write(State(live=served, warning=""))
    return folder


@pytest.fixture
def client(home: Path):
    settings = settings_of.load().model_copy(update={"home": home, "mlflow_tracking_uri": NOBODY})
    worker = Serving(settings)
    worker.catch_up()
    return create_app(settings, serving=worker).test_client()


def samples(text: str) -> dict[str, float]:
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in lines}


def test_each_request_is_counted_once_under_its_route_and_status(client) -> None:
    before = samples(client.get("/metrics").text)
    example = client.get("/schema").get_json()["examples"][0]
    client.post("/predict", json=example)
    client.post("/predict", json={"customers": [example] * 5})
    client.post("/predict", json={})
    after = samples(client.get("/metrics").text)

    def grown(name: str) -> float:
        return after.get(name, 0) - before.get(name, 0)

    assert grown('churn_requests_total{method="POST",route="/predict",status="200"}') == 2
    assert grown('churn_requests_total{method="POST",route="/predict",status="422"}') == 1
    assert grown('churn_request_seconds_count{route="/predict"}') == 3
    assert grown('churn_request_seconds_bucket{le="+Inf",route="/predict"}') == 3
    assert sum(grown(f'churn_predictions_total{{risk="{risk}"}}') for risk in ("high", "medium", "low")) == 6


def test_what_somebody_makes_up_makes_no_series(client) -> None:
    for number in range(5):
        client.get(f"/nothing/{number}")
        client.open("/predict", method=f"MADE{number}")
        client.post(f"/models/{number}/promote", json={})
    text = client.get("/metrics").text
    assert "/nothing" not in text
    assert "MADE" not in text
    routes = set(re.findall(r'route="([^"]*)"', text))
    assert {route for route in routes if "promote" in route} == {"/models/<name>/promote"}
    assert "unknown" in routes


def test_a_request_costs_little_to_count(client) -> None:
    """25 µs at rest; a machine that tests run on is never at rest."""
    from flask import Response

    from api import metrics

    best = float("inf")
    with client.application.test_request_context("/predict", method="POST"):
        reply = Response("")
        for _ in range(10):
            began = time.perf_counter()
            for _ in range(200):
                metrics._begin()
                metrics._end(reply)
            best = min(best, (time.perf_counter() - began) / 200)
    assert best < 50e-6


@pytest.fixture(scope="module")
def api(home: Path) -> Iterator[Gunicorn]:
    with Gunicorn(home, tracking_uri=NOBODY, CHURN_RELOAD_SECONDS="1") as running:
        running.wait_ready()
        yield running


def test_the_counts_are_those_of_all_workers_together(api: Gunicorn) -> None:
    example = api.get("/schema")["examples"][0]
    for _ in range(40):  # a connection each, so that both workers get some
        assert api.post("/predict", example).status_code == 200
    with httpx.Client(base_url=api.url) as kept:
        for _ in range(20):
            kept.post("/predict", json={"customers": [example] * 3})
    told = api.metrics()
    assert told['churn_requests_total{method="POST",route="/predict",status="200"}'] == 60
    assert told['churn_request_seconds_count{route="/predict"}'] == 60
    assert sum(value for name, value in told.items() if name.startswith("churn_predictions_total")) == 100
    assert told['churn_model_workers{name="churn-classifier",version="1"}'] == 2
    assert told['churn_last_reload_timestamp_seconds{name="churn-classifier"}'] > time.time() - 600


def test_that_mlflow_is_down_is_told(api: Gunicorn) -> None:
    wait_for(lambda: api.metrics().get("churn_registry_reachable") == 0)


def test_a_dead_worker_serves_no_version_and_its_counts_stay(api: Gunicorn) -> None:
    name = 'churn_requests_total{method="GET",route="/schema",status="200"}'
    api.get("/schema")
    before = api.metrics()[name]
    for worker in (dead := api.workers()):
        os.kill(worker, signal.SIGKILL)
    wait_for(lambda: len(set(api.workers()) - set(dead)) == 2)
    api.wait_ready()
    wait_for(lambda: api.metrics()['churn_model_workers{name="churn-classifier",version="1"}'] == 2)
    assert api.metrics()[name] == before


def wait_for(happens, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.1)
