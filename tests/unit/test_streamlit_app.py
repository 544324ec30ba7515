"""The web app as a user meets it, over a small API of our own that answers on a real socket."""

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from churn.contract import Contract, load, parse

ROOT = Path(__file__).parents[2]
APP = ROOT / "streamlit_app"

TELCO = load(ROOT / "data/telco/contract.yaml")
GYM = parse(
    {
        "name": "gym",
        "title": "Members of a gym",
        "rows": {"training": "members.csv"},
        "target": {"column": "quit", "values": [0, 1], "positive": 1},
        "features": {
            "visits": {
                "type": "integer",
                "min": 0,
                "max": 31,
                "label": "Visits",
                "unit": "per month",
                "example": 4,
            },
            "weight": {"type": "number", "min": 30, "label": "Weight", "unit": "kg", "blank": "missing"},
            "fee": {"type": "number", "min": 0, "max": 1, "label": "Share of the fee", "actionable": True},
            "hall": {
                "type": "category",
                "values": [1, 2, 3],
                "value_labels": {1: "North_hall", 2: "South hall", 3: "Pool"},
                "label": "Hall",
                "actionable": True,
                "description": "Where the member trains most",
            },
            "course": {"type": "category", "values": ["Yoga", "Boxing", "Rowing"], "blank": "missing"},
            "sauna": {"type": "boolean", "label": "Uses the sauna", "example": True},
            "trainer": {"type": "boolean", "label": "Has a trainer", "blank": "missing", "actionable": True},
        },
        "risk": {
            "high": {"threshold": 0.725, "action": "Call today"},
            "medium": {"threshold": 0.4, "action": "Free sauna week"},
            "low": {"threshold": 0, "action": "Leave in peace"},
        },
    }
)

RUNNING = {"state": "running", "done": 2, "total": 5, "url": "http://airflow.test/runs/1"}
FAILED = RUNNING | {"state": "failed"}
HIGH = {"customer_id": None, "churn_probability": 0.8123, "prediction": 1, "threshold": 0.5, "risk": "high"}


@dataclass
class Api:
    """What the API answers, and what it was asked."""

    contract: Contract
    version: str | None = "7"
    run: dict[str, Any] | None = None
    told: dict[str, Any] = field(default_factory=dict)
    looks: list[dict[str, Any]] = field(default_factory=list)
    refusal: list[dict[str, Any]] | None = None
    shut: int | None = None
    """The status with which whoever asks is turned away, but from the routes of health."""
    asked: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, path: str, body: dict[str, Any] | None) -> tuple[int, dict[str, Any]]:
        match path:
            case "/health/ready":
                return (200, {"status": "ok"}) if self.version else _problem(503, "no champion yet")
            case _ if self.shut:
                return _problem(self.shut, "the key is no good")
            case "/schema":
                return 200, {"x-contract": self.contract.model_dump(mode="json", by_alias=True)}
            case "/models":
                return 200, {"models": [self._model | {"since": "2026-05-04T03:02:01+00:00"}] * bool(self.version)}
            case "/monitoring":
                return 200, {"looks": self.looks}
            case "/pipelines":
                return 200, {"pipelines": [{"dag": "churn_training", "run": self.run}]}
            case "/predict" if body is not None and self.refusal is None:
                self.asked.append(body)
                reply = {
                    **HIGH,
                    "action": self.contract.risk["high"].action,
                    "persona": None,
                    "imputed": [],
                    **self.told,
                }
                return 200, {**reply, "model": self._model}
            case "/predict":
                return _problem(422, "faults found", self.refusal)
        return _problem(404, path)

    @property
    def _model(self) -> dict[str, Any]:
        return {"name": "churn-classifier", "version": self.version}


def _problem(status: int, detail: str, errors: object = None) -> tuple[int, dict[str, Any]]:
    return status, {"title": "A problem", "detail": detail, **({"errors": errors} if errors else {})}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """An API with a model in service; change it as the test needs."""
    api = Api(GYM)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _reply(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            status, told = api.answer(self.path, json.loads(self.rfile.read(length)) if length else None)
            data = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _reply

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("CHURN_API_URL", f"http://127.0.0.1:{server.server_port}")
    yield api
    server.shutdown()
    server.server_close()


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The app in a new session of a new process: not yet run, nothing cached."""
    monkeypatch.syspath_prepend(str(APP))
    _forget()
    return AppTest.from_file(str(APP / "app.py"), default_timeout=10)


def _forget() -> None:
    st.cache_data.clear()
    st.cache_resource.clear()


def _inputs(app: AppTest) -> dict[str, Any]:
    return {
        one.label: one for kind in (app.number_input, app.selectbox, app.segmented_control, app.toggle) for one in kind
    }


def _identities(app: AppTest) -> dict[str, str]:
    """By these a browser knows an input again, and keeps what stands in it, sent or not."""
    return {label: one.proto.id for label, one in _inputs(app).items()}


def _words(app: AppTest) -> str:
    """All that the page says, the HTML of the gauge and the bands among it."""
    kinds = (app.title, app.subheader, app.caption, app.markdown, app.error, app.info, app.html)
    links = [f"{link.proto.label} {link.proto.url}" for link in app.get("link_button")]
    return "\n".join([*(one.value if hasattr(one, "value") else one.body for kind in kinds for one in kind), *links])


def _predict(app: AppTest) -> AppTest:
    return next(button for button in app.button if button.label == "Predict").click().run()


def test_the_form_has_the_contracts_columns_labels_and_examples(app: AppTest, api: Api) -> None:
    api.contract = TELCO
    app.run()
    assert not app.exception
    inputs = _inputs(app)
    for column in api.contract.features.values():
        shown = inputs[f"{column.title} ({column.unit})" if column.unit else column.title]
        assert shown.value == column.shown_example
        if column.type == "category":
            assert shown.options == [column.label_of(value) for value in column.values]
        if column.is_numeric:
            assert (shown.min, shown.max) == (column.min, column.max)
    assert len(inputs) == len(api.contract.features)
    _predict(app)
    assert api.asked == [api.contract.example]


def test_another_contract_shows_its_own_words_and_types(app: AppTest, api: Api) -> None:
    app.run()
    inputs = _inputs(app)
    assert list(inputs)
    assert not app.exception
    assert inputs["Visits (per month)"].value == 4
    assert inputs["Share of the fee"].step == 0.01
    assert inputs["Hall"].options == ["North_hall", "South hall", "Pool"]
    assert "trains most" in inputs["Hall"].help
    assert inputs["Uses the sauna"].value is True
    assert inputs["Weight (kg)"].value is inputs["course"].value is inputs["Has a trainer"].value is None
    assert not app.text_input  # this contract has no id
    for word in TELCO.features:
        assert word not in _words(app)
    assert "Members of a gym" in _words(app)


def _look(*drifted: str, retrain: bool = False) -> dict[str, Any]:
    columns = {name: {"label": name, "drifted": name in drifted} for name in ("visits", "fee")}
    told = {"columns": columns, "score": {"drifted": "score" in drifted}, "reason": "Visits: 0.31 against 0.10"}
    at = {"at": "2026-05-05T05:00:00+00:00", "version": "7", "report": "http://mlflow.test/#/experiments/2/runs/ab"}
    return {**told, **at, "retrain": retrain}


@pytest.mark.parametrize(
    ("looks", "words"),
    [
        ([_look(), _look("visits")], "Monitoring: no drift · version 7"),
        ([_look("visits")], "Monitoring: customers have drifted · "),
        ([_look("score", retrain=True)], "Monitoring: customers have drifted, a training was called for"),
        ([_look(retrain=True)], "Monitoring: a training was called for · version 7 · 05 May 2026, 05:00 (UTC)"),
    ],
)
def test_what_the_monitoring_saw_last_stands_below_with_its_page(
    app: AppTest, api: Api, looks: list[dict[str, Any]], words: str
) -> None:
    api.looks = looks
    told = _words(app.run())
    assert not app.exception
    assert words in told
    assert "[report](http://mlflow.test/#/experiments/2/runs/ab)" in told


def test_before_the_monitoring_has_looked_nothing_is_said_of_it(app: AppTest, api: Api) -> None:
    assert "Monitoring" not in _words(app.run())
    assert not app.exception


def test_what_is_typed_is_sent_in_the_contracts_types(app: AppTest, api: Api) -> None:
    inputs = _inputs(app.run())
    inputs["Visits (per month)"].set_value(9)
    inputs["Hall"].select("Pool")
    inputs["Uses the sauna"].set_value(False)
    inputs["Weight (kg)"].set_value(81.5)
    _predict(app)
    sent = {
        "visits": 9,
        "weight": 81.5,
        "fee": 0.0,
        "hall": 3,
        "course": None,
        "sauna": False,
        "trainer": None,
    }
    assert api.asked == [sent]
    assert [type(value) for value in api.asked[0].values()] == [type(value) for value in sent.values()]


def test_a_prediction_says_probability_band_strategy_decision_imputed_and_model(app: AppTest, api: Api) -> None:
    api.told = {"imputed": ["weight", "course"], "customer_id": "M-1"}
    _predict(app.run())
    words = _words(app)
    assert not app.exception
    model, imputed, identity = "churn-classifier · version 7", "**Weight**, **course**", "**M-1**"
    decision = ("81.2%", "High risk", "Call today", "Contacting **pays**", "threshold of 50.0%")
    scale = ("from 72.5%", "40% to 72.5%", "below 40%", "Free sauna week", "Leave in peace")
    for said in (*decision, *scale, model, imputed, identity):
        assert said in words


def test_a_prediction_names_the_persona_where_there_is_one(app: AppTest, api: Api) -> None:
    _predict(app.run())
    assert "Among customers like these" not in _words(app)
    api.told = {"persona": "Low tenure_x, no sauna"}
    _predict(app)
    assert not app.exception
    assert r"Among customers like these: **Low tenure\_x, no sauna**" in _words(app)


def test_the_customers_id_is_sent_when_it_is_given(app: AppTest, api: Api) -> None:
    api.contract = TELCO
    app.run().text_input[0].input("C-42")
    _predict(app)
    assert api.asked[0][api.contract.id] == "C-42"


def test_a_refused_customer_has_the_faults_in_words_beside_their_fields(app: AppTest, api: Api) -> None:
    api.refusal = [{"row": 0, "field": "visits", "value": 99, "message": "expected a whole number from 0 to 31"}]
    _predict(app.run())
    assert app.error[0].value == "This customer was not scored."
    fault = "expected a whole number from 0 to 31"
    assert f":small[:red[:material/error: {fault.capitalize()}]]" in [one.value for one in app.markdown]
    assert f"- **Visits**: {fault}" in [one.value for one in app.markdown]
    api.refusal = None
    _predict(app)
    assert fault not in _words(app)
    assert "81.2%" in _words(app)


def test_the_first_training_is_shown_and_gives_way_to_the_model(app: AppTest, api: Api) -> None:
    api.version, api.run = None, RUNNING
    before = _identities(app.run())
    assert "The first model is being trained" in _words(app)
    assert "Follow it in Airflow http://airflow.test/runs/1" in _words(app)
    assert (app.get("progress")[0].proto.value, app.get("progress")[0].proto.text) == (
        40,
        "Under way · 2 of 5 steps done",
    )
    assert next(button for button in app.button if button.label == "Predict").disabled
    api.version = "1"
    st.cache_data.clear()
    assert "being trained" not in _words(app.run())
    assert _identities(app) == before
    assert "81.2%" in _words(_predict(app))


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (FAILED, ("The training has failed", "See why in Airflow http://airflow.test/runs/1")),
        (None, ("No model yet", "no champion yet")),
        (RUNNING | {"state": "queued", "done": 0, "total": 0}, ("is being trained",)),
        (RUNNING | {"state": "success", "done": 5}, ("no champion yet",)),
    ],
)
def test_while_no_model_serves_the_page_says_why(app: AppTest, api: Api, run: Any, said: tuple[str, ...]) -> None:
    api.version, api.run = None, run
    app.run()
    assert not app.exception
    for words in said:
        assert words in _words(app)


def test_with_the_api_down_the_page_says_how_to_start_it(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_API_URL", "http://127.0.0.1:9")
    app.run()
    assert not app.exception
    assert "does not answer" in _words(app)
    assert "`make up`" in _words(app)
    assert "http://127.0.0.1:9" in _words(app)
    assert not _inputs(app)


def test_an_api_that_goes_and_comes_back_takes_nothing_from_the_form(
    app: AppTest, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = os.environ["CHURN_API_URL"]
    before = _identities(app.run())
    monkeypatch.setenv("CHURN_API_URL", "http://127.0.0.1:9")
    _forget()
    assert "does not answer" in _words(app.run())
    assert _identities(app) == before
    monkeypatch.setenv("CHURN_API_URL", there)
    st.cache_resource.clear()
    next(button for button in app.button if button.label == "Try again").click().run()
    assert "does not answer" not in _words(app)
    assert _identities(app) == before


SHUT_OUT = [(401, "key is not accepted"), (403, "key is too small"), (429, "Too many requests")]


@pytest.mark.parametrize(("status", "said"), SHUT_OUT)
@pytest.mark.parametrize("version", ["7", None])
def test_an_api_that_does_not_take_the_key_is_told_from_one_that_is_down(
    app: AppTest, api: Api, status: int, said: str, version: str | None
) -> None:
    api.version, api.shut = version, status
    words = _words(app.run())
    assert not app.exception
    assert said in words
    assert "The service says: the key is no good" in words
    assert "does not answer" not in words
    assert not _inputs(app)
    api.shut = None
    st.cache_data.clear()
    assert said not in _words(app.run())
    assert _inputs(app)


@pytest.mark.parametrize(("status", "said"), SHUT_OUT)
def test_a_key_that_is_refused_meanwhile_takes_nothing_from_the_form(
    app: AppTest, api: Api, status: int, said: str
) -> None:
    before = _identities(app.run())
    api.shut = status
    words = _words(_predict(app))
    assert not app.exception
    assert said in words
    assert _identities(app) == before
    assert next(button for button in app.button if button.label == "Predict").disabled


def test_a_prediction_that_meets_a_dead_api_is_no_traceback(
    app: AppTest, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.run()
    monkeypatch.setenv("CHURN_API_URL", "http://127.0.0.1:9")
    st.cache_resource.clear()
    _predict(app)
    assert not app.exception
    assert "does not answer" in _words(app)


def test_a_new_version_shows_by_itself_and_old_answers_are_told_apart(app: AppTest, api: Api) -> None:
    _predict(app.run())
    api.version = "8"
    st.cache_data.clear()
    words = _words(app.run())
    assert "version 8" in words
    assert "This answer is from version 7" in words
    assert [toast.value for toast in app.toast] == ["Version 8 is in service now"]
    assert "81.2%" in words


def test_an_answer_under_another_contract_is_not_shown(app: AppTest, api: Api) -> None:
    assert "81.2%" in _words(_predict(app.run()))
    api.contract, api.version = TELCO, "8"
    st.cache_data.clear()
    words = _words(app.run())
    assert not app.exception
    assert TELCO.title in words
    assert "81.2%" not in words
