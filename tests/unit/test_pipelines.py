"""The client of Airflow, against a small Airflow written by hand."""

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.serving import Serving
from churn.client import Client
from churn.client import Refused as NoSuch
from churn.errors import InvalidData, NotReady, Refused, Unavailable, UnknownName
from churn.keys import Key, hash_of
from churn.pipelines import Pipelines
from churn.settings import Settings

RUN = {"dag_run_id": "manual__2026-11-23T20:59:47+00:00", "state": "running", "start_date": "s", "end_date": None,
       "conf": {"folds": 3}}  # fmt: skip
TASKS = [
    {"task_id": "fit", "map_index": 1, "rendered_map_index": "forest", "state": "running", "try_number": 2},
    {"task_id": "fit", "map_index": 0, "rendered_map_index": None, "state": "success", "try_number": 1},
    {"task_id": "prepare", "map_index": -1, "state": "success", "start_date": "s", "end_date": "e", "try_number": 1},
    {"task_id": "of an older version", "map_index": -1, "state": "skipped", "try_number": 0},
]
GRAPH = [
    {"task_id": "judge", "downstream_task_ids": []},
    {"task_id": "fit", "downstream_task_ids": ["judge"]},
    {"task_id": "prepare", "downstream_task_ids": ["fit", "judge"]},
]
PARAMS = {
    "folds": {"value": 5, "schema": {"type": "integer", "minimum": 2, "maximum": 50}},
    "rows": {"value": None, "schema": {"type": ["null", "string"], "minLength": 1}},
    "share": {"value": 1, "schema": {"type": "number"}},
    "models": {"value": ["a"], "schema": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 1,
                                          "uniqueItems": True}},
    "again": {"value": False, "schema": {"type": "boolean"}},
    "free": {"value": None, "schema": {}},
}  # fmt: skip


class Airflow:
    """Answers as Airflow does, to whoever is logged in; its tokens can be made to run out."""

    def __init__(self, runs: list[dict[str, Any]]) -> None:
        self.runs = runs
        self.tokens = 0
        self.asked: list[str] = []
        self.paused = False
        self.refusal: httpx.Response | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode()
        self.asked.append(path)
        if path == "/auth/token":
            assert json.loads(request.content) == {"username": "api", "password": "secret"}
            self.tokens += 1
            return httpx.Response(201, json={"access_token": f"token-{self.tokens}"})
        if request.headers.get("Authorization") != f"Bearer token-{self.tokens}":
            return httpx.Response(401, json={"detail": "token has run out"})
        if request.method == "POST":
            return self.refusal or self.start(json.loads(request.content))
        return self.told(path)

    def start(self, body: dict[str, Any]) -> httpx.Response:
        assert body["logical_date"] is None
        name = body["dag_run_id"] or f"manual__{len(self.runs)}"
        if name in [run["dag_run_id"] for run in self.runs]:
            return httpx.Response(409, json={"detail": "there is one"})
        self.runs.insert(0, {"dag_run_id": name, "state": "queued", "conf": body["conf"]})
        return httpx.Response(200, json=self.runs[0])

    def told(self, path: str) -> httpx.Response:
        dag = {"dag_id": "churn_training", "description": "Train", "is_paused": self.paused}
        if "taskInstances" in path:
            return httpx.Response(200, json={"task_instances": TASKS})
        if path.endswith("/tasks"):
            return httpx.Response(200, json={"tasks": GRAPH})
        if "/dagRuns/" in path:
            (name,) = httpx.URL(f"http://x{path}").path.rsplit("/", 1)[1:]
            found = [run for run in self.runs if run["dag_run_id"] == name]
            return httpx.Response(200, json=found[0]) if found else httpx.Response(404, json={"detail": "none"})
        if "dagRuns" in path:
            return httpx.Response(200, json={"dag_runs": self.runs})
        if path.endswith("/details"):
            if "/dags/churn_training/" not in path and "/dags/mine/" not in path:
                return httpx.Response(404, json={"detail": "no such DAG"})
            tag = "churn" if "churn_training" in path else "mine"
            return httpx.Response(200, json={**dag, "tags": [{"name": tag}], "params": PARAMS})
        return httpx.Response(200, json={"dags": [dag]})


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
    assert (pipeline.dag, run.state, run.done, run.total) == ("churn_training", "running", 3, 4)
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


# --- one run, task by task


def test_a_run_is_told_task_by_task_in_the_order_of_the_graph(settings: Settings) -> None:
    run = Pipelines(settings, httpx.MockTransport(Airflow([RUN]))).run("churn_training", RUN["dag_run_id"])
    told = [(task.label, task.state, task.attempt) for task in run.tasks]
    assert told == [
        ("prepare", "success", 1),
        ("fit [0]", "success", 1),
        ("fit [forest]", "running", 2),
        ("judge", None, 0),
        ("of an older version", "skipped", 0),
    ]
    assert (run.dag, run.params, run.done, run.total) == ("churn_training", {"folds": 3}, 3, 5)
    assert run.tasks[2].url == f"{run.url}/tasks/fit/mapped/1"
    assert run.tasks[0].url == f"{run.url}/tasks/prepare"


def test_runs_are_listed_newest_first(settings: Settings) -> None:
    airflow = Airflow([RUN])
    found = Pipelines(settings, httpx.MockTransport(airflow)).runs("churn_training", 3)
    assert [(run.id, run.done, run.total) for run in found] == [(RUN["dag_run_id"], 3, 4)]
    assert any("order_by=-run_after&limit=3" in path for path in airflow.asked)


@pytest.mark.parametrize("dag", ["mine", "nothing", "..", "a/b"])
def test_what_is_none_of_ours_is_unknown(settings: Settings, dag: str) -> None:
    pipelines = Pipelines(settings, httpx.MockTransport(Airflow([RUN])))
    for ask in (
        lambda: pipelines.runs(dag),
        lambda: pipelines.run(dag, RUN["dag_run_id"]),
        lambda: pipelines.start(dag, {}),
    ):
        with pytest.raises(UnknownName):
            ask()
    with pytest.raises(UnknownName, match="no run"):
        pipelines.run("churn_training", "other")


# --- starting one


def test_a_run_starts_with_its_parameters(settings: Settings) -> None:
    airflow = Airflow([])
    run, new = Pipelines(settings, httpx.MockTransport(airflow)).start("churn_training", {"folds": 2, "free": [1]})
    assert new
    assert airflow.runs == [{"dag_run_id": run.id, "state": "queued", "conf": {"folds": 2, "free": [1]}}]


def test_a_second_click_starts_nothing(settings: Settings) -> None:
    airflow = Airflow([])
    pipelines = Pipelines(settings, httpx.MockTransport(airflow))
    first, _ = pipelines.start("churn_training", {"folds": 2}, "mine")
    again, new = pipelines.start("churn_training", {"folds": 2}, "mine")
    assert (again.id, new, len(airflow.runs)) == (first.id, False, 1)
    with pytest.raises(Refused, match="other parameters"):
        pipelines.start("churn_training", {"folds": 3}, "mine")


def test_of_two_clicks_at_once_the_second_finds_the_first(settings: Settings) -> None:
    airflow = Airflow([])
    pipelines = Pipelines(settings, httpx.MockTransport(airflow))

    def at_once(request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and "dagRuns" in request.url.path:
            airflow.start({**json.loads(request.content), "logical_date": None})
        return airflow(request)

    pipelines = Pipelines(settings, httpx.MockTransport(at_once))
    run, new = pipelines.start("churn_training", {}, "mine")
    assert (run.id, new, len(airflow.runs)) == ("mine", False, 1)


@pytest.mark.parametrize(
    ("params", "field", "message"),
    [
        ({"fold": 2}, "fold", "unknown parameter"),
        ({"folds": 1}, "folds", "at least 2"),
        ({"folds": 51}, "folds", "at most 50"),
        ({"folds": True}, "folds", "expected integer"),
        ({"folds": 2.5}, "folds", "expected integer"),
        ({"folds": "2"}, "folds", "expected integer"),
        ({"folds": None}, "folds", "expected integer"),
        ({"rows": 5}, "rows", "expected null or string"),
        ({"rows": ""}, "rows", "at least 1 characters"),
        ({"share": "all"}, "share", "expected number"),
        ({"models": "a"}, "models", "expected array"),
        ({"models": []}, "models", "at least 1 items"),
        ({"models": ["a", "a"]}, "models", "each once"),
        ({"models": ["c"]}, "models", "item 0: expected one of a, b"),
        ({"again": 1}, "again", "expected boolean"),
        ({"free": ["\ud800"]}, "free", "no text"),
        ({"folds": 10**400}, "folds", "at most 50"),
    ],
)
def test_parameters_are_held_against_the_dag_s_own(
    settings: Settings, params: dict[str, Any], field: str, message: str
) -> None:
    airflow = Airflow([])
    with pytest.raises(InvalidData) as refusal:
        Pipelines(settings, httpx.MockTransport(airflow)).start("churn_training", params)
    assert [fault.field for fault in refusal.value.faults] == [field]
    assert message in refusal.value.faults[0].message
    assert not airflow.runs


def test_parameters_that_fit(settings: Settings) -> None:
    params = {"folds": 2.0, "rows": None, "share": 1, "models": ["b", "a"], "again": True, "free": {"any": "thing"}}
    _, new = Pipelines(settings, httpx.MockTransport(Airflow([]))).start("churn_training", params)
    assert new


def test_a_paused_pipeline_is_not_started(settings: Settings) -> None:
    airflow = Airflow([])
    airflow.paused = True
    with pytest.raises(Refused, match=r"paused.*http://public/dags/churn_training"):
        Pipelines(settings, httpx.MockTransport(airflow)).start("churn_training", {})
    assert not airflow.runs


@pytest.mark.parametrize(
    ("status", "body", "error", "message"),
    [
        (400, {"detail": "no such thing"}, InvalidData, "1 fault"),
        (422, {"detail": [{"loc": ["body"]}]}, InvalidData, "1 fault"),
        (404, {"detail": "gone"}, UnknownName, "no pipeline"),
        (409, {"detail": "there is one of that date"}, Refused, "of that date"),
        (403, {"detail": "Forbidden"}, NotReady, "may not do this"),
        (500, {"detail": "oh"}, Unavailable, "Airflow"),
    ],
)
def test_airflow_s_refusals_are_told_as_ours(
    settings: Settings, status: int, body: Any, error: type[Exception], message: str
) -> None:
    airflow = Airflow([])
    airflow.refusal = httpx.Response(status, json=body)
    with pytest.raises(error, match=message):
        Pipelines(settings, httpx.MockTransport(airflow)).start("churn_training", {})


# --- over HTTP


@dataclass
class Keeper:
    """Stands in for the keeper: it lets in two keys, and notes what it is to write."""

    entries: list[Any] = field(default_factory=list)
    knows_keys: bool = True

    @property
    def keys(self) -> dict[str, Key]:
        now = datetime.now(UTC)
        return {hash_of(scope): Key(1, f"the {scope} key", scope, now, "a test") for scope in ("write", "admin")}

    def used(self, key_id: int) -> None: ...

    def audit(self, entry: Any) -> None:
        self.entries.append(entry)


@pytest.fixture
def airflow() -> Airflow:
    return Airflow([])


@pytest.fixture
def app(settings: Settings, airflow: Airflow) -> Any:
    pipelines = Pipelines(settings, httpx.MockTransport(airflow))
    return create_app(settings, serving=Serving(settings), pipelines_of=pipelines, keeper=Keeper())  # type: ignore[arg-type]


ROUTE = "/pipelines/churn_training/runs"


def test_a_run_is_started_and_followed_over_http(app: Any) -> None:
    client = app.test_client()
    reply = client.post(ROUTE, json={"params": {"folds": 2}})
    assert reply.status_code == 202, reply.text
    told = reply.get_json()
    assert client.get(reply.headers["Location"]).get_json() == told
    assert [run["id"] for run in client.get(ROUTE).get_json()["runs"]] == [told["id"]]
    (entry,) = app.extensions["churn.keeper"].entries
    assert (entry.action, entry.outcome, entry.by) == ("pipeline.start", "done", "anonymous (loopback)")
    assert entry.subject == f"churn_training {told['id']}"
    assert entry.detail == '{"folds": 2}'


def test_an_idempotency_key_starts_one_run_for_each_caller(app: Any, airflow: Airflow) -> None:
    client = app.test_client()
    headers = {"Idempotency-Key": "a click / ü"}
    replies = [client.post(ROUTE, json={}, headers=headers) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [202, 200]
    assert replies[0].get_json()["id"] == replies[1].get_json()["id"]
    other = client.post(ROUTE, json={}, headers={**headers, "Authorization": "Bearer admin"})
    assert other.status_code == 202
    assert len(airflow.runs) == 2
    assert [entry.outcome for entry in app.extensions["churn.keeper"].entries] == ["done", "unchanged", "done"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"params": {"fold": 1}}, 422),
        ({"params": []}, 422),
        ({"parameters": {}}, 422),
        ({"run_id": "with a space"}, 422),
        ({"run_id": ""}, 422),
        ({"run_id": "."}, 422),
        ({"run_id": ".."}, 422),
        ([], 422),
    ],
)
def test_a_body_that_is_none_starts_nothing(app: Any, airflow: Airflow, body: Any, status: int) -> None:
    reply = app.test_client().post(ROUTE, json=body)
    assert (reply.status_code, airflow.runs) == (status, [])
    assert reply.content_type == "application/problem+json"


def test_starting_needs_an_admin_s_key(app: Any, airflow: Airflow) -> None:
    reply = app.test_client().post(ROUTE, json={}, headers={"Authorization": "Bearer write"})
    assert (reply.status_code, airflow.runs) == (403, [])


@pytest.mark.parametrize("limit", ["0", "51", "x", "-1", "1.5", "", "9" * 5_000, "²"])
def test_a_limit_that_is_none(app: Any, limit: str) -> None:
    reply = app.test_client().get(ROUTE, query_string={"limit": limit})
    assert reply.status_code == 422
    assert reply.get_json()["errors"][0]["field"] == "limit"


def test_what_is_unknown_is_not_found(app: Any) -> None:
    client = app.test_client()
    for path in ("/pipelines/other/runs", "/pipelines/mine/runs", f"{ROUTE}/other", "/pipelines/mine/runs/x"):
        assert client.get(path).status_code == 404, path
    for name in (".", ".."):  # an address without them is another one
        assert client.get(f"{ROUTE}/{name}").status_code == 404
        assert client.get(f"/pipelines/{name}/runs").status_code == 404
        assert client.post(f"/pipelines/{name}/runs", json={}).status_code == 404
    assert client.post("/pipelines/other/runs", json={}).status_code == 404
    assert app.extensions["churn.keeper"].entries[-1].outcome == "refused"


def test_without_airflow_nothing_is_started_and_the_attempt_is_kept(settings: Settings) -> None:
    app = create_app(
        settings,
        serving=Serving(settings),
        pipelines_of=Pipelines(settings, httpx.MockTransport(_refuses)),
        keeper=Keeper(),  # type: ignore[arg-type]
    )
    for ask in (app.test_client().get, lambda path: app.test_client().post(path, json={})):
        assert ask(ROUTE).status_code == 503
    assert [entry.outcome for entry in app.extensions["churn.keeper"].entries] == ["failed"]


# --- by the client


def test_the_client_starts_and_follows_a_run(app: Any, airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    api = Client("http://api", transport=httpx.WSGITransport(app=app))
    started = api.start("churn_training", {"folds": 2}, key="click")
    assert (started.params, started.state, started.has_ended) == ({"folds": 2}, "queued", False)
    assert api.start("churn_training", {"folds": 2}, key="click").id == started.id
    seen = []
    for run in api.follow("churn_training", started.id):
        seen.append(run.state)
        airflow.runs[0]["state"] = {"queued": "running", "running": "success"}.get(run.state, "failed")
    assert seen == ["queued", "running", "success"]
    assert [task.label for task in run.tasks][:2] == ["prepare", "fit [0]"]
    assert [run.id for run in api.runs("churn_training")] == [started.id]
    (pipeline,) = api.pipelines()
    assert pipeline.run is not None
    assert (pipeline.dag, pipeline.run.id) == ("churn_training", started.id)
    with pytest.raises(NoSuch) as refusal:
        next(api.follow("churn_training", "other"))
    assert refusal.value.status == 404


def test_an_outage_of_airflow_is_waited_out(app: Any, airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    api = Client("http://api", transport=httpx.WSGITransport(app=app))
    run = api.start("churn_training", key="click")
    answers = iter([503, 503, 200])
    real = airflow.told
    monkeypatch.setattr(
        airflow, "told", lambda path: real(path) if next(answers, 200) == 200 else httpx.Response(503, text="away")
    )
    airflow.runs[0]["state"] = "success"
    assert [one.state for one in api.follow("churn_training", run.id)] == ["success"]
    monkeypatch.setattr(airflow, "told", lambda _: httpx.Response(503))
    with pytest.raises(NoSuch) as refusal:
        list(api.follow("churn_training", run.id))
    assert refusal.value.status == 503


# --- outages


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
