"""Keys and scopes: who is let in, by which answer the others learn it, and what every route asks for."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import g, jsonify, request
from flask_openapi import OpenAPI

from api import access
from api.access import needs, scope_of
from api.app import create_app
from api.serving import Serving
from churn.errors import NotReady
from churn.keys import SCOPES, Key, hash_of
from churn.settings import Settings, load

PROBLEM = "application/problem+json"
EVERYWHERE = "0.0.0.0"  # noqa: S104  # the wildcard is the case
SECRETS = {scope: f"churn_the-secret-of-{scope}" for scope in SCOPES}
PROMOTE = "/models/churn-classifier/promote"


@dataclass
class Keeper:
    """Stands in for the keeper: keys by hand, and which were used."""

    keys: dict[str, Key] = field(default_factory=dict)
    knows_keys: bool = True
    marked: list[int] = field(default_factory=list)

    def used(self, key_id: int) -> None:
        self.marked.append(key_id)


def keeper() -> Keeper:
    now = datetime.now(UTC)
    made = {
        hash_of(secret): Key(n, f"the {scope} key", scope, now, "a test")
        for n, (scope, secret) in enumerate(SECRETS.items(), 1)
    }
    return Keeper(made)


def app_of(home: Path, **changes: Any) -> OpenAPI:
    settings: Settings = load().model_copy(update={"home": home, **changes})
    app = create_app(settings, serving=Serving(settings), keeper=keeper())
    # a route that says who asked
    app.add_url_rule("/who", "who", lambda: jsonify(key=g.key and g.key.name, address=request.remote_addr))
    return app


@pytest.fixture
def guarded(tmp_path: Path) -> OpenAPI:
    return app_of(tmp_path, bind=EVERYWHERE)


@pytest.fixture
def local(tmp_path: Path) -> OpenAPI:
    return app_of(tmp_path)


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def told(reply: Any) -> tuple[int, str | None, str]:
    assert reply.content_type == PROBLEM
    return reply.status_code, reply.headers.get("WWW-Authenticate"), reply.get_json()["detail"]


# --- which scope a route needs

READ, WRITE, OPEN, ADMIN = "read", "write", None, "admin"
ROUTES = {
    ("GET", "/"): READ,
    ("GET", "/docs"): READ,
    ("GET", "/openapi.json"): READ,
    ("GET", "/schema"): READ,
    ("GET", "/customers"): READ,
    ("GET", "/customers/<path:customer_id>"): READ,
    ("GET", "/portfolio"): READ,
    ("GET", "/segments"): READ,
    ("GET", "/models"): READ,
    ("GET", "/models/history"): READ,
    ("GET", "/pipelines"): READ,
    ("GET", "/pipelines/<dag>/runs"): READ,
    ("GET", "/pipelines/<dag>/runs/<run_id>"): READ,
    ("POST", "/pipelines/<dag>/runs"): ADMIN,
    ("POST", "/score"): WRITE,
    ("GET", "/score/<job>"): READ,
    ("GET", "/score/<job>/result"): READ,
    ("DELETE", "/score/<job>"): WRITE,
    ("GET", "/outcomes"): READ,
    ("POST", "/outcomes"): WRITE,
    ("GET", "/interactions"): READ,
    ("POST", "/interactions"): WRITE,
    ("GET", "/monitoring"): READ,
    ("GET", "/metrics"): READ,
    ("POST", "/predict"): READ,
    ("POST", "/explain"): READ,
    ("GET", "/explain/global"): READ,
    ("POST", "/campaigns/plan"): READ,
    ("POST", "/whatif"): READ,
    ("POST", "/recommend"): READ,
    ("POST", "/models/<name>/promote"): ADMIN,
    ("POST", "/models/<name>/rollback"): ADMIN,
    ("GET", "/health/live"): OPEN,
    ("GET", "/health/ready"): OPEN,
}


def routes(app: OpenAPI) -> Iterator[tuple[str, str, str | None]]:
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            yield method, rule.rule, scope_of(app.view_functions[rule.endpoint], method)


def test_every_route_asks_for_the_scope_that_is_written_here(tmp_path: Path) -> None:
    settings = load().model_copy(update={"home": tmp_path})
    app = create_app(settings, serving=Serving(settings), keeper=keeper())
    found = {(method, rule): scope for method, rule, scope in routes(app)}
    pages = {route for route in found if route[1].startswith(("/docs/", "/static/"))}
    assert {found.pop(route) for route in pages} == {READ}
    assert found == ROUTES


def test_a_forgotten_route_is_closed(guarded: OpenAPI) -> None:
    guarded.add_url_rule("/new", "new", lambda: "", methods=["GET", "POST", "DELETE"])
    client = guarded.test_client()
    for method in ("POST", "DELETE"):
        for scope, status in (("read", 403), ("write", 403), ("admin", 200)):
            assert client.open("/new", method=method, headers=bearer(SECRETS[scope])).status_code == status
    assert client.get("/new").status_code == 401
    assert client.get("/new", headers=bearer(SECRETS["read"])).status_code == 200


def test_a_view_says_what_it_needs() -> None:
    @needs("write")
    def view() -> None: ...

    assert {scope_of(view, method) for method in ("GET", "POST")} == {"write"}


# --- where a key is asked for


def test_without_a_key_nothing_but_health_answers_and_nobody_learns_which_routes_there_are(guarded: OpenAPI) -> None:
    client = guarded.test_client()
    replies = [
        client.open(rule.replace("<name>", "x"), method=method) for method, rule in ROUTES if "health" not in rule
    ]
    replies += [
        client.get("/no/such/route"),
        client.delete("/models"),
        client.get("/docs/swagger"),
        client.options("/schema"),
    ]
    first = told(replies[0])
    assert first == (401, "Bearer", first[2])
    assert "Authorization: Bearer" in first[2]
    assert {told(reply) for reply in replies} == {first}
    for headers in ({}, bearer("wrong")):
        assert client.get("/health/live", headers=headers).status_code == 200


def test_a_request_waits_a_moment_for_the_keys(guarded: OpenAPI) -> None:
    late = Keeper(knows_keys=False)
    guarded.extensions["churn.keeper"] = late
    timer = threading.Timer(0.3, lambda: (late.keys.update(keeper().keys), setattr(late, "knows_keys", True)))
    timer.start()
    assert guarded.test_client().get("/models", headers=bearer(SECRETS["read"])).status_code == 200


@pytest.mark.parametrize("secret", ["wrong", "", " ", "churn_the-secret-of-admi", "ü", "a b", "x" * 10_000])
def test_a_wrong_key_is_told_from_none(guarded: OpenAPI, local: OpenAPI, secret: str) -> None:
    for app in (guarded, local):  # on this machine, too: who sends a key means it
        reply = app.test_client().get("/models", headers=bearer(secret))
        assert told(reply)[:2] == (401, 'Bearer error="invalid_token"')
        assert not secret.strip() or secret not in reply.text


def test_a_revoked_key_is_a_wrong_one(guarded: OpenAPI) -> None:
    client, kept = guarded.test_client(), guarded.extensions["churn.keeper"]
    assert client.get("/models", headers=bearer(SECRETS["read"])).status_code == 200
    del kept.keys[hash_of(SECRETS["read"])]
    assert client.get("/models", headers=bearer(SECRETS["read"])).status_code == 401


@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_opens_what_its_scope_says(guarded: OpenAPI, scope: str) -> None:
    client, headers = guarded.test_client(), bearer(SECRETS[scope])
    assert client.get("/who", headers=headers).get_json()["key"] == f"the {scope} key"
    assert client.get("/who", headers={"Authorization": f"bearer  {SECRETS[scope]} "}).status_code == 200
    assert client.post("/predict", json={}, headers=headers).status_code == 503  # let in; there is no champion
    assert client.get("/no/such/route", headers=headers).status_code == 404
    assert client.delete("/models", headers=headers).status_code == 405
    reply = client.post(PROMOTE, data="[]", headers=headers)
    if scope == "admin":
        assert reply.status_code == 415
    else:
        assert told(reply)[0] == 403
        assert "scope admin" in told(reply)[2]
        assert f"'the {scope} key' is of scope {scope}" in told(reply)[2]
    assert set(guarded.extensions["churn.keeper"].marked) == {SCOPES.index(scope) + 1}


def test_an_admin_key_promotes_from_anywhere(guarded: OpenAPI) -> None:
    headers = {**bearer(SECRETS["admin"]), "Origin": "https://intranet.example", "Host": "churn.example"}
    assert guarded.test_client().post(PROMOTE, data="[]", headers=headers).status_code == 415


def test_before_the_keys_are_known_nobody_is_called_a_stranger(
    guarded: OpenAPI, local: OpenAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "START_SECONDS", 0.1)
    for app in (guarded, local):
        app.extensions["churn.keeper"] = Keeper(knows_keys=False)
        reply = app.test_client().get("/models", headers=bearer(SECRETS["read"]))
        assert told(reply)[0] == 503
        assert int(reply.headers["Retry-After"]) > 0
    assert guarded.test_client().get("/models").status_code == 401
    assert local.test_client().get("/models").status_code == 200


@pytest.mark.parametrize(
    ("bind", "require", "asks"),
    [
        ("127.0.0.1", None, False),
        ("::1", None, False),
        ("localhost", False, False),
        ("127.0.0.1", True, True),
        (EVERYWHERE, None, True),
        ("::", None, True),
        ("192.0.2.7", True, True),
        ("churn.example", None, True),
    ],
)
def test_where_keys_are_asked_for(tmp_path: Path, bind: str, require: bool | None, asks: bool) -> None:
    client = app_of(tmp_path, bind=bind, require_keys=require).test_client()
    assert client.get("/models").status_code == (401 if asks else 200)


def test_beyond_this_machine_keys_cannot_be_waived(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="CHURN_REQUIRE_KEYS=false"):
        app_of(tmp_path, bind=EVERYWHERE, require_keys=False)


# --- on this machine


def test_on_this_machine_a_key_is_not_needed(local: OpenAPI) -> None:
    client = local.test_client()
    assert client.get("/who").get_json()["key"] is None
    assert client.post(PROMOTE, data="[]").status_code == 415
    assert client.get("/who", headers={"Authorization": "Basic dTpw"}).get_json()["key"] is None  # of a proxy's log-in
    assert client.get("/who", headers=bearer(SECRETS["read"])).get_json()["key"] == "the read key"
    assert client.post(PROMOTE, data="[]", headers=bearer(SECRETS["read"])).status_code == 403


@pytest.mark.parametrize(
    "host",
    ["localhost:5055", "127.0.0.1:5055", "[::1]:5055", "api:5055", "proxy:8080", "172.18.0.4", "host.docker.internal",
     "churn.localhost"],
)  # fmt: skip
def test_names_that_only_machines_nearby_have_are_asked_by(local: OpenAPI, host: str) -> None:
    assert local.test_client().get("/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:5055", "127.0.0.1.evil.example", "[", "localhost.evil.example"]
)
def test_a_page_whose_name_has_come_to_mean_this_machine_learns_nothing(local: OpenAPI, host: str) -> None:
    client = local.test_client()
    status, _, detail = told(client.get("/models", headers={"Host": host}))
    assert status == 403
    assert "CHURN_REQUIRE_KEYS" in detail
    assert client.get("/health/live", headers={"Host": host}).status_code == 200
    assert client.get("/models", headers={"Host": host, **bearer(SECRETS["read"])}).status_code == 200


# --- behind a proxy, and in the document


@pytest.mark.parametrize(
    ("proxies", "address"), [(0, "127.0.0.1"), (1, "198.51.100.9"), (2, "203.0.113.5"), (3, "127.0.0.1")]
)
def test_who_asks_is_told_by_as_many_proxies_as_there_are(tmp_path: Path, proxies: int, address: str) -> None:
    client = app_of(tmp_path, proxies=proxies).test_client()
    reply = client.get(
        "/who", headers={"X-Forwarded-For": "203.0.113.5, 198.51.100.9", "X-Forwarded-Host": "evil.example"}
    )
    assert reply.get_json()["address"] == address


def test_the_document_says_that_a_key_is_asked_for(guarded: OpenAPI, local: OpenAPI) -> None:
    document = guarded.test_client().get("/openapi.json", headers=bearer(SECRETS["read"])).get_json()
    ((name, scheme),) = document["components"]["securitySchemes"].items()
    assert scheme == {"type": "http", "scheme": "bearer"}
    assert document["security"] == [{name: []}]
    assert {"401", "403", "429"} <= set(document["paths"]["/predict"]["post"]["responses"])
    live = document["paths"]["/health/live"]["get"]
    assert live["security"] == []
    assert "401" not in live["responses"]
    document = local.test_client().get("/openapi.json").get_json()
    assert "security" not in document
    assert "securitySchemes" not in document["components"]
