"""``/customers`` and ``/portfolio``: the scored customer base as callers get it."""

import pkgutil
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from api.app import create_app
from api.serving import Serving
from churn import portfolio
from churn.catalogue import BANDS
from churn.settings import Settings
from churn.store import Store
from tests.conftest import ROOT, free_port

TELCO = ROOT / "data/telco"
ODD = ["a/b", "a//b", "with space", "ünï©ödé", "50%", "x?y#z", "a+b&c=d", "C'); DROP TABLE customer_scores; --"]
Get = Callable[..., dict]


def client_of(settings: Settings):
    from churn.registry import Registry

    serving = Serving(settings, Registry(settings))
    serving.refresh()
    return create_app(settings, serving=serving).test_client()


def own(settings: Settings, folder: Path, **changes: object) -> Settings:
    return settings.model_copy(update={"database_url": f"sqlite:///{folder / 'own.db'}", **changes})


@pytest.fixture(scope="module")
def scored(settings: Settings, champion, recommender_champion, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Two scorings: all customers, and then the first 400 rows, some of them with odd ids."""
    folder = tmp_path_factory.mktemp("scored")
    shutil.copy(TELCO / "contract.yaml", folder)
    lines = (TELCO / "customers.csv").read_text(encoding="utf-8").splitlines()[:401]
    for name in ODD:
        place = next(n for n, line in enumerate(lines) if line.startswith("C0") and line.endswith(",No"))
        lines[place] = f'"{name}"' + lines[place][lines[place].index(",") :]
    (folder / "customers.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    list(portfolio.score_base(own(settings, folder), "all"))
    found = own(settings, folder, contract=folder / "contract.yaml")
    list(portfolio.score_base(found, "some"))
    return found


@pytest.fixture(scope="module")
def get(scored: Settings) -> Get:
    client = client_of(scored)

    def ask(path: str, status: int = 200) -> dict:
        reply = client.get(path)
        assert reply.status_code == status, reply.get_data(as_text=True)
        if status != 200:
            assert reply.content_type == "application/problem+json"
        return reply.get_json()

    return ask


@pytest.fixture(scope="module")
def everyone(get: Get) -> list[dict]:
    """Every customer, in the order of the ids."""
    return get("/customers?sort=customer_id&order=asc&limit=500")["customers"]


def test_a_list_says_who_how_many_when_and_by_which_version(get: Get, everyone: list[dict], champion) -> None:
    reply = get("/customers")
    assert set(reply) == {"customers", "total", "page", "limit", "model", "scored"}
    assert (reply["page"], reply["limit"], len(reply["customers"])) == (1, 50, 50)
    assert reply["total"] == len(everyone)
    assert reply["model"] == {"name": champion.name, "version": champion.version}
    assert [one["customer_id"] for one in everyone] == sorted(one["customer_id"] for one in everyone)
    assert set(everyone[0]) == {
        "customer_id", "churn_probability", "prediction", "risk", "persona", "monthly_value", "revenue_at_risk",
        "expected_profit", "held_out", "reasons", "recommendations", "control",
    }  # fmt: skip
    assert everyone[0]["reasons"][0]["text"]


def test_recommendations_are_told_by_the_contracts_labels(get: Get, everyone: list[dict], scorer) -> None:
    contract = scorer.contract
    labels = {name: one.label for part in (contract.products, contract.offers) for name, one in part.items()}
    told = [one for customer in everyone for one in customer["recommendations"]]
    assert all(one["label"] == labels[one["item"]] for one in told)
    assert len(told) > len(everyone)
    some = next(one for one in everyone if one["recommendations"])
    assert get(f"/customers/{quote(some['customer_id'], safe='')}")["recommendations"] == some["recommendations"]
    control = [one for one in everyone if one["control"]]
    assert control
    assert not any(one["recommendations"] for one in control)


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize(
    ("sort", "field"),
    [
        ("probability", "churn_probability"),
        ("revenue_at_risk", "revenue_at_risk"),
        ("expected_profit", "expected_profit"),
        ("customer_id", "customer_id"),
    ],
)
def test_pages_together_are_the_whole_list_in_order(get: Get, everyone: list[dict], sort, field, order) -> None:
    wanted = sorted(everyone, key=lambda one: (one[field], one["customer_id"]), reverse=order == "desc")
    found: list[dict] = []
    for page in range(1, 8):
        found += get(f"/customers?sort={sort}&order={order}&limit=60&page={page}")["customers"]
    assert found == wanted
    assert get(f"/customers?sort={sort}&limit=60&page=9")["customers"] == []


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_by_value_is_band_after_band_and_in_each_by_revenue_at_risk(get: Get, everyone: list[dict], order) -> None:
    def rank(one: dict) -> tuple:
        return -BANDS.index(one["risk"]), one["revenue_at_risk"], one["customer_id"]

    found: list[dict] = []
    for page in range(1, 12):
        found += get(f"/customers?order={order}&limit=37&page={page}")["customers"]
    assert found == sorted(everyone, key=rank, reverse=order == "desc")
    assert {one["risk"] for one in found} == set(BANDS)


PERSONA = "{persona}"
FILTERS = {
    "risk=high": lambda one: one["risk"] == "high",
    "risk=medium&sort=probability": lambda one: one["risk"] == "medium",
    "risk=low&sort=customer_id": lambda one: one["risk"] == "low",
    f"persona={PERSONA}": lambda _: True,
    f"persona={PERSONA}&risk=low&sort=revenue_at_risk": lambda one: one["risk"] == "low",
    "min_probability=0.2&max_probability=0.5": lambda one: 0.2 <= one["churn_probability"] <= 0.5,
    "risk=medium&min_probability=0.4&sort=expected_profit": lambda one: 0.4 <= one["churn_probability"] < 0.6,
    "risk=high&max_probability=0.3": lambda _: False,
    "min_revenue=300": lambda one: one["revenue_at_risk"] >= 300,
    "min_revenue=300&sort=probability&risk=low": lambda one: one["risk"] == "low" and one["revenue_at_risk"] >= 300,
    "search=C000": lambda one: one["customer_id"].startswith("C000"),
    "search=a/&sort=probability": lambda one: one["customer_id"].startswith("a/"),
    "search=%00": lambda _: False,
    "search=%25": lambda one: one["customer_id"].startswith("%"),
    "persona=nobody": lambda _: False,
}


@pytest.mark.parametrize("query", FILTERS)
def test_filters_and_their_totals(get: Get, everyone: list[dict], query: str) -> None:
    persona = everyone[0]["persona"]
    fits = FILTERS[query]
    wanted = {
        one["customer_id"] for one in everyone if fits(one) and (PERSONA not in query or one["persona"] == persona)
    }
    reply = get(f"/customers?limit=500&{query.replace(PERSONA, quote(persona))}")
    assert {one["customer_id"] for one in reply["customers"]} == wanted
    assert reply["total"] == len(wanted)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("risk=extreme", "risk"),
        ("min_probability=2", "min_probability"),
        ("min_probability=nan", "min_probability"),
        ("min_revenue=inf", "min_revenue"),
        ("max_probability=much", "max_probability"),
        ("sort=name", "sort"),
        ("order=up", "order"),
        ("page=0", "page"),
        ("limit=501", "limit"),
        ("limit=", "limit"),
        ("colour=red", "colour"),
    ],
)
def test_a_wrong_parameter_is_named(get: Get, query: str, field: str) -> None:
    problem = get(f"/customers?{query}", status=422)
    assert [fault["field"] for fault in problem["errors"]] == [field]
    assert field in problem["detail"]
    assert get("/portfolio?runs=none", status=422)["errors"][0]["field"] == "runs"


def test_one_customer_is_told_whole(get: Get, everyone: list[dict], scorer) -> None:
    listed = next(one for one in everyone if one["customer_id"].startswith("C0") and not one["held_out"])
    reply = get(f"/customers/{listed['customer_id']}")
    assert reply.items() >= listed.items()
    assert list(reply["features"]) == list(scorer.contract.features)
    assert reply["action"] == scorer.contract.risk[listed["risk"]].action
    said = scorer.predict([scorer.contract.read(reply["features"])[0]])[0]
    assert said.churn_probability == pytest.approx(listed["churn_probability"], abs=1e-12)
    assert [set(one) for one in reply["history"]] == [{"scored", "model", "churn_probability", "risk", "held_out"}] * 2
    assert reply["history"][0]["scored"] == reply["scored"] > reply["history"][1]["scored"]


@pytest.mark.parametrize("name", ODD)
def test_any_id_finds_its_customer(get: Get, name: str) -> None:
    assert get(f"/customers/{quote(name, safe='')}")["customer_id"] == name


@pytest.mark.parametrize("name", ["nobody", "C0000", "C00003/x", "%00", "a/b/", "%F0%28"])
def test_who_is_not_there_is_a_404(get: Get, name: str) -> None:
    assert "is in the newest scoring" in get(f"/customers/{name}", status=404)["detail"]


def test_the_portfolio_adds_up(get: Get, everyone: list[dict], champion) -> None:
    reply = get("/portfolio")
    assert reply["customers"] == len(everyone) == sum(one["customers"] for one in reply["by_persona"])
    assert [one["risk"] for one in reply["by_risk"]] == list(BANDS)
    for band in reply["by_risk"]:
        of_band = [one for one in everyone if one["risk"] == band["risk"]]
        assert band["customers"] == len(of_band)
        assert band["monthly_revenue"] == pytest.approx(sum(one["monthly_value"] for one in of_band))
        assert band["revenue_at_risk"] == pytest.approx(sum(one["revenue_at_risk"] for one in of_band))
        assert band["expected_churners"] == pytest.approx(sum(one["churn_probability"] for one in of_band))
        assert band["action"]
    assert reply["expected_profit"] == pytest.approx(sum(max(0, one["expected_profit"]) for one in everyone))
    assert (reply["currency"], reply["months"], reply["notes"]) == ("USD", 12, [])
    newest, before = reply["history"]
    assert (newest["customers"], before["customers"], before["left"]) == (reply["customers"], 5_174, 1_869)
    assert sum(before["by_risk"].values()) == 5_174
    assert before["model"]["version"] == champion.version
    assert len(get("/portfolio?runs=1")["history"]) == 1


def test_before_the_first_scoring_it_says_what_to_do(settings: Settings, champion, tmp_path: Path) -> None:
    client = client_of(own(settings, tmp_path))
    for path in ("/customers", "/customers/C00001", "/portfolio"):
        reply = client.get(path)
        assert reply.status_code == 503
        assert "`churn score-base`" in reply.get_json()["detail"]


def test_a_database_that_is_down_is_a_503(settings: Settings, champion) -> None:
    gone = settings.model_copy(update={"database_url": f"postgresql://churn:Gxq7@127.0.0.1:{free_port()}/churn"})
    client = client_of(gone)
    for path in ("/customers", "/customers/C00001", "/portfolio"):
        reply = client.get(path)
        assert reply.status_code == 503
        assert "does not answer" in reply.get_json()["detail"]
        assert "Gxq7" not in reply.get_data(as_text=True)


def test_a_run_of_other_columns_is_told_in_its_own(scored: Settings, get: Get, everyone: list[dict]) -> None:
    """As after a promotion to a contract of other rows, before the next scoring."""
    name = everyone[0]["customer_id"]
    before = get(f"/customers/{quote(name, safe='')}")
    store = Store(scored)

    def rename(old: str, new: str) -> None:
        asked = "UPDATE scoring_runs SET facts = replace(facts, :old, :new) WHERE key = 'some'"
        with store.write() as connection:
            connection.execute(sa.text(asked), {"old": f'"{old}"', "new": f'"{new}"'})

    rename("tenure", "months with us")
    try:
        after = get(f"/customers/{quote(name, safe='')}")
    finally:
        rename("months with us", "tenure")
        store.close()
    assert after["features"]["months with us"] == before["features"]["tenure"]
    assert "tenure" not in after["features"]


@pytest.mark.parametrize("where", ["churn.customer_list.page", "churn.customer_scores.CustomerScores.past"])
def test_a_scoring_that_ends_meanwhile_makes_no_false_reply(
    scored: Settings, get: Get, everyone: list[dict], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run that the reply began with loses its scores before they are read."""
    store, asked = Store(scored), "UPDATE scoring_runs SET state = :state WHERE key = 'some'"
    read, times = pkgutil.resolve_name(where.replace(".CustomerScores", ":CustomerScores")), []

    def state(state: str) -> None:
        with store.write() as connection:
            connection.execute(sa.text(asked), {"state": state})

    def late(*arguments: Any) -> Any:
        state("past")
        times.append(arguments)
        nothing: Any = {} if where.endswith("past") else ([], 400)
        return nothing if len(times) == 1 else read(*arguments)

    monkeypatch.setattr(where, late)
    name = next(one["customer_id"] for one in everyone if one["customer_id"] not in ODD)
    try:
        reply = get(f"/customers/{name}" if where.endswith("past") else "/customers?limit=1")
    finally:
        state("whole")
        store.close()
    assert len(times) == 2
    assert len(reply["history"]) == 1 if "history" in reply else (reply["total"], len(reply["customers"])) == (5_174, 1)


def test_the_document_describes_the_parameters(get: Get) -> None:
    paths = get("/openapi.json")["paths"]
    listed = paths["/customers"]["get"]
    assert {one["name"] for one in listed["parameters"]} >= {"risk", "persona", "search", "sort", "page", "limit"}
    assert set(listed["responses"]) >= {"200", "422", "503"}
    assert "422" not in paths["/models"]["get"]["responses"]
    assert "/customers/{customer_id}" in paths
