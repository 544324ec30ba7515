"""Pipelines and files by the API alone, through the proxy, as the least of Airflow's users."""

import json
from pathlib import Path

import httpx
import pytest

from churn.client import Client, Refused
from tests.stack.compose.stack import Stack, eventually

pytestmark = pytest.mark.stack
DAG = "churn_training"


def test_a_training_is_started_and_followed_task_by_task(stack: Stack) -> None:
    eventually(lambda: {run["state"] for run in stack.runs()} <= {"success", "failed"}, seconds=120)
    api = Client(stack.url("API"), timeout=30)
    quick = {"candidates": ["logistic_regression"], "folds": 2, "repeats": 1, "seconds": 0, "seed": 5}
    with pytest.raises(Refused) as refusal:
        api.start(DAG, {**quick, "fold": 1})
    assert [fault.field for fault in refusal.value.faults] == ["fold"]
    started = api.start(DAG, quick, key="a click")
    assert api.start(DAG, quick, key="a click").id == started.id
    seen = list(api.follow(DAG, started.id, every=0.5))
    run = seen[-1]
    assert (run.state, run.done, run.params) == ("success", run.total, quick)
    labels = [task.label for task in run.tasks]
    assert labels.index("prepare") < labels.index("train [logistic_regression]") < labels.index("promote")
    assert f"{DAG} {run.id}" in stack.cli("audit", "--json")


def test_the_api_s_user_of_airflow_may_start_runs_and_no_more(stack: Stack) -> None:
    password = json.loads(stack.secret("api", "airflow_passwords.json"))["api"]
    url = stack.url("AIRFLOW")
    token = stack.post("AIRFLOW", "/auth/token", {"username": "api", "password": password})["access_token"]
    newest = stack.runs()[-1]["dag_run_id"]

    def ask(method: str, path: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        body = None if method in ("GET", "DELETE") else {}
        return httpx.request(method, f"{url}/api/v2{path}", json=body, headers=headers, timeout=30).status_code

    assert ask("GET", f"/dags/{DAG}/dagRuns") == 200
    for method, path in (
        ("DELETE", f"/dags/{DAG}/dagRuns/{newest}"),
        ("PATCH", f"/dags/{DAG}/dagRuns/{newest}"),
        ("POST", f"/dags/{DAG}/clearTaskInstances"),
        ("DELETE", f"/dags/{DAG}"),
        ("GET", "/connections"),
        ("GET", "/variables"),
        ("GET", "/config"),
    ):
        assert ask(method, path) == 403, (method, path)


def test_a_file_larger_than_any_other_request_is_scored(stack: Stack, tmp_path: Path) -> None:
    header, *rows = (stack.data / "telco/customers.csv").read_text(encoding="utf-8").splitlines()
    source = tmp_path / "large.csv"
    source.write_text("\n".join([header, *(f"{n}-{row}" for n in range(10) for row in rows), ""]), encoding="utf-8")
    assert source.stat().st_size > 8 * 2**20
    api = Client(stack.url("API"), timeout=30)
    job = api.wait(api.send_file(source).id)
    assert (job.state, job.done, job.model_version) == ("done", 10 * len(rows), stack.served()), job
    api.download(job.id, tmp_path / "scored.csv")
    assert len((tmp_path / "scored.csv").read_text(encoding="utf-8").splitlines()) == 10 * len(rows) + 1
    api.remove_job(job.id)
    too_large = httpx.post(stack.url("API", "/score"), content=b"x" * (202 * 2**20), timeout=60,
                           headers={"Content-Type": "text/csv"})  # fmt: skip
    assert too_large.status_code == 413
    assert "200 MiB" in too_large.json()["detail"]
