"""The client of Airflow, against a small Airflow written by hand."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from churn.errors import Unavailable
from churn.pipelines import Pipelines
from churn.settings import Settings

RUN = {"dag_run_id": "manual__2026-11-23T20:59:47+00:00", "state": "running", "start_date": "s", "end_date": None}
TASKS = [{"state": "success"}, {"state": "running"}, {"state": None}, {"state": "skipped"}]


class Airflow:
    """Answers as Airflow does, to whoever is logged in; its tokens can be made to run out."""

    def __init__(self, runs: list[dict[str, Any]]) -> None:
        self.runs = runs
        self.tokens = 0
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode()
        self.asked.append(path)
        if path == "/auth/token":
            assert json.loads(request.content) == {"username": "api", "password": "secret"}
            self.tokens += 1
            return httpx.Response(201, json={"access_token": f"token-{self.tokens}"})
        if request.headers.get("Authorization") != f"Bearer token-{self.tokens}":
            return httpx.Response(401, json={"detail": "token has run out"})
        if "taskInstances" in path:
            return httpx.Response(200, json={"task_instances": TASKS})
        if "dagRuns" in path:
            return httpx.Response(200, json={"dag_runs": self.runs})
        return httpx.Response(
            200, json={"dags": [{"dag_id": "churn_training", "description": "Train", "is_paused": False}]}
        )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/airflow_passwords.json").write_text('{"api": "secret"}')
    return Settings(home=tmp_path, airflow_public_url="http://public/")


def test_the_newest_run_is_told_with_its_progress(settings: Settings) -> None:
    airflow = Airflow([RUN])
    (pipeline,) = Pipelines(settings, httpx.MockTransport(airflow)).list()
    assert pipeline.run is not None
    run = pipeline.run
    assert (pipeline.dag, run.state, run.done, run.total) == ("churn_training", "running", 2, 4)
    assert pipeline.run.url.startswith("http://public/dags/churn_training/runs/manual__2026-11-23T20%3A59%3A47%2B00")


def test_a_pipeline_that_has_not_run(settings: Settings) -> None:
    (pipeline,) = Pipelines(settings, httpx.MockTransport(Airflow([]))).list()
    assert pipeline.run is None


def test_a_token_that_ran_out_is_renewed(settings: Settings) -> None:
    airflow = Airflow([RUN])
    pipelines = Pipelines(settings, httpx.MockTransport(airflow))
    pipelines.list()
    airflow.tokens += 1
    assert pipelines.list()
    assert airflow.asked.count("/auth/token") == 2


@pytest.mark.parametrize("text", [None, "", "{}"])
def test_without_a_password_the_file_is_named(settings: Settings, text: str | None) -> None:
    path = settings.passwords_file
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(Unavailable, match="airflow_passwords"):
        Pipelines(settings, httpx.MockTransport(Airflow([]))).list()


def _refuses(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused")


def _is_another_server(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, text="<html>")


def _speaks_other_json(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"access_token": "t"} if request.method == "POST" else {"dags": [{}]})


def _lists(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json=[])


@pytest.mark.parametrize("answer", [_refuses, _is_another_server, _speaks_other_json, _lists])
def test_an_outage_is_told(settings: Settings, answer: Any) -> None:
    with pytest.raises(Unavailable, match="Airflow"):
        Pipelines(settings, httpx.MockTransport(answer)).list()
