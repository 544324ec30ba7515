"""Campaign plans from the scores in the store: over HTTP and by ``churn plan``."""

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from api.app import create_app
from api.campaigns import _one_at_a_time
from api.keeper import Keeper
from api.score_desk import ScoreDesk
from churn import scoring_runs
from churn.campaign_base import CampaignBase
from churn.campaigns import Offers
from churn.cli import main
from churn.errors import NotReady
from churn.scoring_runs import Line, Writing
from churn.settings import Settings
from churn.store import Store

WICKED = ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3", "-7", "\tx"]


def score(
    settings: Settings, scorer, customers: list[dict[str, Any]], key: str, columns: list[str] | None = None
) -> None:
    """What the pipeline leaves in the store, without its files."""
    store = Store(settings)
    contract = scorer.contract
    facts = {"columns": columns or list(contract.features), "bands": {}, "currency": contract.currency, "months": 12}
    told = {"key": key, "model": "churn-classifier", "version": "7", "model_run": "r", "source": "f", "data_hash": "0"}
    with scoring_runs.alone(store):
        run = Writing(store, told | {"facts": {**facts, "notes": []}})
        predictions = scorer.predict(customers)
        run.add(
            [
                Line(
                    str(one[contract.id]),
                    said.churn_probability,
                    said.prediction,
                    said.risk,
                    None,
                    one[contract.monthly_value],
                    1.0,
                    1.0,
                    False,
                    "[]",
                    json.dumps([one[name] for name in contract.features]),
                )
                for one, said in zip(customers, predictions, strict=True)
            ]
        )
        run.finish(left=0, keep=1)
    store.close()


@pytest.fixture(scope="module")
def own(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home of its own for the store, over the shared registry."""
    registry = f"sqlite:///{settings.mlflow_home / 'mlflow.db'}"
    home = tmp_path_factory.mktemp("campaigns")
    return settings.model_copy(update={"home": home, "mlflow_tracking_uri": registry})


@pytest.fixture(scope="module")
def scored(own: Settings, scorer, customers) -> list[dict[str, Any]]:
    """The customers in the store: shipped ones, some of whom a spreadsheet would run."""
    some = [dict(one) for one in customers[:1_500]]
    chances = scorer.probabilities(scorer.encoder.customers(some))
    for place, name in zip(chances.argsort()[::-1], WICKED, strict=False):
        some[place][scorer.contract.id] = name
    score(own, scorer, some, "first")
    return some


@pytest.fixture(scope="module")
def planner(own: Settings, app, scored):
    serving = app.extensions["churn.serving"]
    return create_app(own, serving=serving, keeper=Keeper(own), desk=ScoreDesk(own)).test_client()


def ask(planner, **body: Any) -> dict[str, Any]:
    reply = planner.post("/campaigns/plan", json=body)
    assert reply.status_code == 200, reply.get_json()
    return dict(reply.get_json())


def test_a_plan_keeps_to_the_budget_the_bands_and_the_eligibility(planner, scorer, scored) -> None:
    told = ask(planner, budget=2_000, limit=10_000)
    contract = scorer.contract
    known = {str(one[contract.id]): one for one in scored}
    assert 0 < told["spent"] <= 2_000
    assert len(told["plan"]) == told["customers"] > 10
    for row in told["plan"]:
        customer, offer = known[row["customer_id"]], contract.offers[row["offer"]]
        said = scorer.predict([customer])[0]
        assert row["churn_probability"] == pytest.approx(said.churn_probability)
        assert row["risk"] == said.risk
        assert row["risk"] in offer.bands
        assert all(customer[name] in allowed for name, allowed in offer.eligibility.items())
        assert row["cost"] == offer.cost + contract.economics.contact_cost
        at_risk = row["churn_probability"] * customer[contract.monthly_value] * 12
        assert row["revenue_at_risk"] == pytest.approx(at_risk)
    assert told["expected_profit"] >= told["baseline"]["best"]["expected_profit"] >= told["baseline"]["expected_profit"]
    assert told["exact"]
    assert (told["model"], told["currency"]) == ({"name": "churn-classifier", "version": "7"}, contract.currency)
    assert told["scored_at"].endswith("+00:00")


def test_offers_bands_and_rows_may_be_limited(planner, scorer) -> None:
    name = next(iter(scorer.contract.offers))
    told = ask(planner, budget=1e6, offers=[name], risk=["high"], limit=3)
    assert [one["offer"] for one in told["by_offer"]] == [name]
    assert {row["risk"] for row in told["plan"]} == {"high"}
    assert len(told["plan"]) == 3 < told["customers"]
    assert ask(planner, budget=0)["plan"] == []
    assert ask(planner, budget=1e6, risk=["low"])["note"].startswith("there is no customer")
    assert ask(planner, budget=5)["note"].startswith("the cheapest contact costs 26")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "budget"),
        ({"budget": -1}, "budget"),
        ({"budget": "5000"}, "budget"),
        ({"budget": True}, "budget"),
        ({"budget": None}, "budget"),
        ({"budget": 1e300}, "budget"),
        ({"budget": 1, "offers": []}, "offers"),
        ({"budget": 1, "offers": [1]}, "offers.0"),
        ({"budget": 1, "offers": ["cake"]}, "offers"),
        ({"budget": 1, "risk": ["middle"]}, "risk.0"),
        ({"budget": 1, "limit": -1}, "limit"),
        ({"budget": 1, "limit": 10_001}, "limit"),
        ({"budget": 1, "colour": "red"}, "colour"),
    ],
)
def test_what_is_wrong_is_named(planner, body: dict[str, Any], field: str) -> None:
    reply = planner.post("/campaigns/plan", json=body)
    assert (reply.status_code, reply.mimetype) == (422, "application/problem+json")
    assert field in [fault["field"] for fault in reply.get_json()["errors"]]


def test_an_unknown_offer_is_told_with_those_there_are(planner, scorer) -> None:
    (fault,) = planner.post("/campaigns/plan", json={"budget": 1, "offers": ["cake"]}).get_json()["errors"]
    assert fault["value"] == "cake"
    assert all(name in fault["message"] for name in scorer.contract.offers)


def test_a_worker_makes_one_plan_at_a_time(planner) -> None:
    with _one_at_a_time():
        reply = planner.post("/campaigns/plan", json={"budget": 100})
    assert (reply.status_code, reply.mimetype) == (503, "application/problem+json")
    assert reply.headers["Retry-After"]
    assert "another campaign" in reply.get_json()["detail"]
    for _ in range(2):  # and each gives its place back
        ask(planner, budget=100)


def test_before_anything_is_scored_the_reply_is_503(app, own: Settings, tmp_path: Path) -> None:
    empty = own.model_copy(update={"home": tmp_path})
    fresh = create_app(empty, serving=app.extensions["churn.serving"], keeper=Keeper(empty), desk=ScoreDesk(empty))
    reply = fresh.test_client().post("/campaigns/plan", json={"budget": 100})
    assert (reply.status_code, reply.mimetype) == (503, "application/problem+json")
    assert "not been scored" in reply.get_json()["detail"]


# --- the base that is read


def test_a_run_of_other_columns_or_one_that_is_gone_is_told(own: Settings, scorer, customers, tmp_path: Path) -> None:
    home = own.model_copy(update={"home": tmp_path})
    score(home, scorer, customers[:50], "old", columns=["no", "such", "columns"])
    store = Store(home)
    base, offers = CampaignBase(store), Offers(scorer.contract)
    with pytest.raises(NotReady, match="no column"):
        list(base.candidates(base.newest(), offers))
    plain = Offers(scorer.contract, [name for name, one in scorer.contract.offers.items() if not one.eligibility])
    old = base.newest()
    assert sum(len(piece.ids) for piece in base.candidates(old, plain)) > 0
    reading = base.candidates(old, plain)
    next(reading)
    score(home, scorer, customers[:50], "new")
    with pytest.raises(NotReady, match="replaced by newer ones"):
        list(reading)
    store.close()


def test_a_large_base_is_read_in_pieces_and_only_those_who_matter(own, scorer, scored, monkeypatch) -> None:
    monkeypatch.setattr("churn.campaign_base.CHUNK", 100)
    store = Store(own)
    base, offers = CampaignBase(store), Offers(scorer.contract)
    pieces = list(base.candidates(base.newest(), offers))
    assert len(pieces) > 3
    ids = [name for piece in pieces for name in piece.ids]
    assert ids == sorted(set(ids))
    chances = scorer.probabilities(scorer.encoder.customers(scored))
    assert len(ids) == sum(chance >= max(offers.least, 0.3) for chance in chances)
    store.close()


# --- the command


@pytest.fixture
def run(own: Settings, scored, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CHURN_HOME", str(own.home))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(own.mlflow_tracking_uri))

    def invoke(*arguments: str | Path, expect: int = 0) -> str:
        result = CliRunner().invoke(main, ["plan", *map(str, arguments)])
        assert result.exit_code == expect, result.output
        return str(result.output)

    return invoke


def test_the_command_tells_what_the_api_tells(run, planner) -> None:
    told, api = run("--budget", "2000"), ask(planner, budget=2_000)
    assert f"{api['customers']:,} customers for {api['spent']:,.2f}".removesuffix(".00") in told
    assert f"{api['expected_profit']:,.2f}" in told
    assert (
        f"in order of probability, each with the offer that brings most: {api['baseline']['expected_profit']:,.2f}"
        in told
    )
    assert api["plan"][0]["customer_id"] in told
    assert "by churn-classifier version 7" in told


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_whole_list_is_written(run, planner, tmp_path: Path, kind: str) -> None:
    out = tmp_path / f"plan.{kind}"
    assert f"{out}: " in run("--budget", "1000000", "--out", out)
    api = ask(planner, budget=1e6, limit=10_000)
    written = pd.read_csv(out, dtype={"customer_id": str}) if kind == "csv" else pd.read_parquet(out)
    assert list(written.columns) == list(api["plan"][0])
    assert len(written) == api["customers"]
    assert written["expected_profit"].sum() == pytest.approx(api["expected_profit"])
    if kind == "parquet":
        assert written["customer_id"].tolist() == [row["customer_id"] for row in api["plan"]]


def test_a_spreadsheet_runs_no_id(run, planner, tmp_path: Path) -> None:
    out = tmp_path / "plan.csv"
    run("--budget", "1000000", "--out", out)
    with out.open(newline="", encoding="utf-8") as file:
        ids = {row["customer_id"] for row in csv.DictReader(file)}
    contacted = {row["customer_id"] for row in ask(planner, budget=1e6, limit=10_000)["plan"]} & set(WICKED)
    assert len(contacted) >= 3
    for name in contacted:
        assert (name if name == "-7" else f"'{name}") in ids
    assert not [name for name in ids if name.startswith(("=", "@", "+", "\t"))]


def test_nothing_is_written_where_nothing_can_be(run, tmp_path: Path) -> None:
    assert "end its name in .csv or .parquet" in run("--budget", "100", "--out", tmp_path / "plan.xlsx", expect=1)
    assert "cannot be written" in run("--budget", "100", "--out", tmp_path / "no" / "plan.csv", expect=1)
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_is_wrong(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "budget: -5.0: expected a number from 0" in run("--budget", "-5", expect=1)
    assert "expected a number" in run("--budget", "nan", expect=1)
    assert "there is no such offer" in run("--budget", "5", "--offer", "cake", expect=1)
    assert "nobody: the cheapest contact costs" in run("--budget", "5")
    monkeypatch.setenv("CHURN_HOME", str(tmp_path))
    assert "not been scored yet" in run("--budget", "5", expect=1)


def test_an_empty_plan_is_written_with_its_header(run, tmp_path: Path) -> None:
    out = tmp_path / "plan.csv"
    run("--budget", "0", "--out", out)
    assert out.read_text(encoding="utf-8").startswith("customer_id,offer,label,cost,")
