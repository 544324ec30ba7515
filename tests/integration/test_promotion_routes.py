"""The routes that change what is in service, over a real SQLite registry."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.keeper import Keeper
from api.serving import Serving
from churn import settings as settings_of
from churn.client import Client, Refused
from churn.keys import SCOPES, Key, hash_of
from churn.kinds import CLASSIFIER, KINDS, RECOMMENDER, Kind
from churn.registry import Registry
from churn.settings import Settings
from tests import versions
from tests.versions import NOBODY, WAYS

ONE, TWO, SHORT, CUT = "1234"
MODEL = "churn-classifier"
PROBLEM = "application/problem+json"
PROMOTE = f"/models/{MODEL}/promote"
ROLLBACK = f"/models/{MODEL}/rollback"
OF_RECOMMENDER = "/models/offer-recommender/promote"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose registry holds of each kind two good versions, one of other rows and a broken one; the
    first is in service."""
    folder = tmp_path_factory.mktemp("versions")
    settings = settings_of.load().model_copy(update={"home": folder / "home"})
    for way in WAYS:
        place = folder / way.kind.name
        good = [way.write(place / "a"), way.write(place / "b", start=900)]
        short = way.write(place / "short", without_last=True)
        cut = versions.tampered(good[0], place / "cut", way.part, b"cut")
        registry = Registry(settings, kind=way.kind)
        for one in (*good, short, cut):
            versions.register(settings, one, way.kind)
        registry.move(registry.version(ONE), by="the training", how="promote")
    return folder


@pytest.fixture
def settings(made: Path, tmp_path: Path) -> Settings:
    return versions.beside(made / "home", tmp_path / "home")


@pytest.fixture
def app(settings: Settings):
    serving = Serving(settings)
    recommender = serving.beside(RECOMMENDER)
    for one in (serving, recommender):
        one.refresh()
    return create_app(settings, serving=serving, recommender=recommender)


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def api(app) -> Client:
    return Client("http://api", transport=httpx.WSGITransport(app=app))


def judged(settings: Settings, number: str, verdict: str, kind: Kind[Any] = CLASSIFIER) -> None:
    registry = Registry(settings, kind=kind)
    registry.judged(registry.version(number), {"gate": verdict, "gate_against": ONE, "gate_reason": "worse by far"})


both_kinds = pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])


@both_kinds
def test_there_and_back_and_the_history_tells(api: Client, app, settings, kind: Kind[Any]) -> None:
    def numbers(told: list[dict[str, Any]]) -> list[str]:
        assert [model["name"] for model in told] == [one.name for one in KINDS]
        assert {model["version"] for model in told if model["name"] != kind.name} == {ONE}
        return [model["version"] for model in told if model["name"] == kind.name]

    judged(settings, TWO, "passed", kind)
    assert numbers(api.promote(kind.name, TWO)) == [TWO]
    assert numbers(api.rollback(kind.name, reason="it was worse")) == [ONE]
    assert api.predict(api.contract().example).model_version == ONE
    terms = api.history(kind.name)
    others = api.history("" if kind is RECOMMENDER else RECOMMENDER.name)
    assert [(term.version, term.by) for term in others] == [(ONE, "the training")]
    assert [(term.version, term.how) for term in terms] == [(ONE, "rollback"), (TWO, "promote"), (ONE, "promote")]
    assert terms[0].reason == "it was worse"
    assert terms[0].by.startswith("api")
    assert terms[0].until is None
    assert terms[1].until == terms[0].since


def test_what_is_promoted_answers(api: Client, settings) -> None:
    judged(settings, TWO, "passed")
    api.promote(MODEL, TWO)
    assert api.predict(api.contract().example).model_version == TWO


def test_what_is_in_service_already_stays(client) -> None:
    reply = client.post(PROMOTE, json={"version": ONE})
    assert (reply.status_code, reply.get_json()["models"][0]["version"]) == (200, ONE)
    assert len(client.get("/models/history").get_json()["history"]) == 1


@pytest.mark.parametrize(
    ("path", "body", "status", "detail"),
    [
        (PROMOTE, {"version": "17"}, 404, "no version '17'"),
        ("/models/other/promote", {"version": TWO}, 404, "no model of that name"),
        ("/models/other/rollback", {}, 404, "no model of that name"),
        (PROMOTE, {"version": TWO}, 409, "the gate has refused it: worse by far"),
        (PROMOTE, {"version": SHORT, "despite_gate": "a test"}, 409, "asks for other rows"),
        (PROMOTE, {"version": CUT, "despite_gate": "a test"}, 409, "does not load"),
        (ROLLBACK, {}, 409, "nothing was in service before"),
        (OF_RECOMMENDER, {"version": "17"}, 404, "offer-recommender has no version '17'"),
        (OF_RECOMMENDER, {"version": TWO}, 409, "the gate has refused it: worse by far"),
        (OF_RECOMMENDER, {"version": SHORT, "despite_gate": "a test"}, 409, "asks for other rows"),
        (OF_RECOMMENDER, {"version": CUT, "despite_gate": "a test"}, 409, "does not load"),
        ("/models/offer-recommender/rollback", {}, 409, "nothing was in service before"),
    ],
)
def test_what_is_refused_says_why_and_changes_nothing(client, settings, path, body, status: int, detail: str) -> None:
    for kind in KINDS:
        judged(settings, TWO, "refused", kind)
    reply = client.post(path, json=body)
    assert (reply.status_code, reply.content_type) == (status, PROBLEM)
    assert detail in reply.get_json()["detail"]
    assert [model["version"] for model in client.get("/models").get_json()["models"]] == [ONE, ONE]


def test_a_history_of_no_model_is_not_found(client) -> None:
    reply = client.get("/models/history?name=other")
    assert (reply.status_code, reply.content_type) == (404, PROBLEM)
    assert "churn-classifier and offer-recommender" in reply.get_json()["detail"]
    assert client.get("/models/history?of=other").status_code == 422


def test_the_gate_and_the_contract_are_overruled_by_saying_so(client, settings) -> None:
    judged(settings, TWO, "refused")
    body = {"version": SHORT, "despite_gate": "the campaign needs it", "accept_contract": True}
    assert client.post(PROMOTE, json=body).get_json()["models"][0]["version"] == SHORT
    newest = client.get("/models/history").get_json()["history"][0]
    assert "the campaign needs it" in newest["reason"]


def test_with_nothing_in_service_there_is_no_way_back(settings, tmp_path) -> None:
    empty = settings.model_copy(update={"home": tmp_path / "empty"})
    client = create_app(empty, serving=Serving(empty)).test_client()
    assert client.post(ROLLBACK, json={}).status_code == 409
    assert client.get("/models/history").get_json() == {"history": []}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["version"]),
        ({"version": 2}, ["version"]),
        ({"version": ""}, ["version"]),
        ({"version": TWO, "accept_contract": "yes"}, ["accept_contract"]),
        ({"version": TWO, "despite_gate": "x" * 1001}, ["despite_gate"]),
        ({"version": TWO, "force": True}, ["force"]),
        ([], [""]),
        ("2", [""]),
    ],
)
def test_a_body_that_is_none_names_its_fields(client, body, fields: list[str]) -> None:
    reply = client.post(PROMOTE, json=body)
    assert (reply.status_code, reply.content_type) == (422, PROBLEM)
    assert [fault["field"] for fault in reply.get_json()["errors"]] == fields


def test_only_json_is_taken_so_that_no_other_page_can_ask(client) -> None:
    body = '{"version": "2", "despite_gate": "a foreign page"}'
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        assert client.post(PROMOTE, data=body, content_type=kind).status_code == 415
    for origin in ("https://elsewhere.example", "null", "http://["):
        reply = client.post(PROMOTE, data=body, content_type="application/json", headers={"Origin": origin})
        assert reply.status_code == 403, origin
    assert client.get("/models").status_code == 200
    reply = client.post(PROMOTE, json={"version": ONE}, headers={"Origin": "http://127.0.0.1:5055"})
    assert reply.status_code == 200


def test_beyond_this_machine_an_admin_key_promotes_and_the_history_names_it(settings) -> None:
    open_to_all = settings.model_copy(update={"bind": "0.0.0.0"})  # noqa: S104  # the wildcard is the case
    serving = Serving(open_to_all)
    serving.refresh()
    keeper = Keeper(open_to_all)
    now = datetime.now(UTC)
    keeper.keys = {hash_of(scope): Key(n, f"{scope}-key", scope, now, "a test") for n, scope in enumerate(SCOPES)}
    keeper.knows_keys = True
    client = create_app(open_to_all, serving=serving, keeper=keeper).test_client()
    for key, status in ((None, 401), ("other", 401), ("read", 403), ("write", 403)):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        for path, body in ((PROMOTE, {"version": ONE}), (ROLLBACK, {})):
            reply = client.post(path, json=body, headers=headers)
            assert (reply.status_code, reply.content_type) == (status, PROBLEM)
    headers = {"Authorization": "Bearer admin", "X-Forwarded-For": "203.0.113.5"}
    judged(settings, TWO, "passed")
    assert client.post(PROMOTE, json={"version": TWO}, headers=headers).status_code == 200
    newest = client.get("/models/history", headers=headers).get_json()["history"][0]
    assert newest["version"] == TWO
    assert "127.0.0.1" in newest["by"]  # there is no proxy in front, whatever is sent
    assert "'admin-key'" in newest["by"]


def test_with_mlflow_down_it_is_told(settings) -> None:
    down = settings.model_copy(update={"mlflow_tracking_uri": NOBODY})
    api = Client("http://api", transport=httpx.WSGITransport(app=create_app(down, serving=Serving(down))))
    for ask in (api.history, lambda: api.promote(MODEL, TWO), lambda: api.rollback(MODEL)):
        with pytest.raises(Refused, match=NOBODY) as refusal:
            ask()
        assert refusal.value.status == 503
