"""``POST /recommend`` over the shipped customers: who may have what, and that each figure is what it is called."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from api.app import create_app
from api.serving import Serving
from churn import contract as contracts
from churn import portfolio
from churn.advice import Advice, Wish
from churn.client import Client, Refused
from churn.control import in_control
from churn.customer_scores import CustomerScores
from churn.interaction_reading import Interaction
from churn.interaction_records import record
from churn.kinds import RECOMMENDER
from churn.settings import Settings
from churn.store import Store
from tests.conftest import ROOT
from tests.versions import NOBODY

TELCO = ROOT / "data/telco"
CONTRACT = contracts.load(TELCO / "contract.yaml")
ALL = Wish(k=50)
Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def recommender(settings: Settings, recommender_champion):
    from churn.registry import Registry

    return Registry(settings, kind=RECOMMENDER).load(recommender_champion)


@pytest.fixture(scope="module")
def advice(recommender, scorer) -> Advice:
    return Advice(recommender, scorer)


@pytest.fixture(scope="module")
def own(settings: Settings, recommender_champion, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings with a store of their own, in which the first 60 rows have been scored."""
    folder = tmp_path_factory.mktemp("recommended")
    shutil.copy(TELCO / "contract.yaml", folder)
    lines = (TELCO / "customers.csv").read_text(encoding="utf-8").splitlines()[:61]
    (folder / "customers.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = settings.model_copy(
        update={"database_url": f"sqlite:///{folder / 'own.db'}", "contract": folder / "contract.yaml"}
    )
    list(portfolio.score_base(found, "some"))
    return found


def app_of(settings: Settings):
    from churn.registry import Registry

    serving = Serving(settings, Registry(settings))
    serving.refresh()
    return create_app(settings, serving=serving)


@pytest.fixture(scope="module")
def ask(own: Settings) -> Ask:
    client = app_of(own).test_client()

    def asked(body: Any, status: int = 200) -> dict[str, Any]:
        reply = client.post("/recommend", json=body)
        assert reply.status_code == status, reply.get_data(as_text=True)
        if status != 200:
            assert reply.mimetype == "application/problem+json"
        told: dict[str, Any] = reply.get_json()
        return told

    return asked


def nameless(customer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in customer.items() if name != CONTRACT.id}


def may_have(member: dict[str, Any], band: str) -> set[str]:
    """The rules, in plain words."""
    found = set()
    for name, entry in CONTRACT.products.items():
        if member[name] not in entry.owned and all(member[c] in values for c, values in entry.requires.items()):
            found.add(name)
    for name, offer in CONTRACT.offers.items():
        if band in offer.bands and all(member[c] in values for c, values in offer.eligibility.items()):
            found.add(name)
    return found


def changed(member: dict[str, Any], item: str) -> dict[str, Any]:
    """The customer once he has taken an item, said of these columns by name."""
    charges = member["MonthlyCharges"]
    if item in CONTRACT.products:
        after = {**member, item: "Yes", "MonthlyCharges": charges + CONTRACT.products[item].monthly_price}
        if item == "PhoneService":
            after["MultipleLines"] = "No"
        return after
    return {
        "discount_20": {**member, "MonthlyCharges": charges * 0.8},
        "one_year_upgrade": {**member, "Contract": "One year"},
    }[item]


@pytest.fixture(scope="module")
def everybody(advice: Advice, customers) -> list[Any]:
    return [advice.recommend(customer, ALL) for customer in customers]


def test_nobody_of_all_customers_gets_what_he_owns_may_not_have_or_is_not_eligible_for(
    scorer, customers, everybody
) -> None:
    assert len(everybody) == 7_043
    predictions = scorer.predict(customers)
    for customer, said, found in zip(customers, predictions, everybody, strict=True):
        assert found.band == said.risk
        assert {one.item for one in found.items} == may_have(customer, said.risk)
        assert [one.score for one in found.items] == sorted((one.score for one in found.items), reverse=True)


def test_every_probability_after_is_that_of_the_changed_customer(scorer, customers, everybody) -> None:
    asked, told = [], []
    for customer, found in zip(customers[:2_000], everybody[:2_000], strict=True):
        for one in found.items:
            if one.item == "loyalty_gift":  # no column tells of it
                assert (one.after, one.risk_basis) == (None, "acceptance")
            else:
                assert one.risk_basis == "model"
                asked.append(changed(customer, one.item))
                told.append(one.after)
    assert len(told) > 5_000
    assert not [row for row in asked if CONTRACT.read(row)[1]]
    found = scorer.probabilities(scorer.encoder.customers(asked))
    assert np.abs(found - np.array(told)).max() < 1e-12


def test_a_request_is_answered_by_what_the_versions_say(ask: Ask, client, customers, everybody, advice) -> None:
    for customer, whole in list(zip(customers, everybody, strict=True))[:60]:
        told = ask({"customer": nameless(customer)})
        assert (told["customer_id"], told["basis"], told["control"], told["warnings"]) == (None, "model", False, [])
        assert told["risk"] == whole.band
        for one, meant in zip(told["recommendations"], whole.items[:3], strict=False):
            assert (one["item"], one["score"], one["rank"]) == (meant.item, meant.score, meant.rank)
            assert one["score"] == pytest.approx(sum(one["rank"].values()))
            assert one["churn_probability"] == {"before": meant.before, "after": meant.after}
            assert [reason["text"] for reason in one["reasons"]] == [reason.text for reason in meant.reasons]
            assert one["reason"] == one["reasons"][0]["text"]
    first = told["recommendations"][0]
    if first["churn_probability"]["after"] is not None:
        said = client.post("/predict", json=changed(nameless(customer), first["item"])).get_json()
        assert first["churn_probability"]["after"] == pytest.approx(said["churn_probability"], abs=1e-12)
    assert (told["model"]["name"], told["risk_model"]["name"]) == ("offer-recommender", "churn-classifier")
    assert told["currency"] == CONTRACT.currency
    assert told["weights"] == CONTRACT.recommendation.weights.model_dump()
    assert told == ask({"customer": nameless(customer), "k": 3}) == ask({"customer": nameless(customer), "exclude": []})


def test_every_share_that_is_told_is_one_of_the_training_rows(customers, everybody, recommender) -> None:
    """ "Owned by about 6 in 10 customers with this and that": counted here among all rows, which the
    training rows are most of."""
    ownership, features = recommender.ownership, recommender.features
    encoded = recommender.encoder.customers(customers)
    traits, owned, allowed = features.traits(encoded), ownership.owned(encoded), ownership.allowed(encoded)
    has = np.zeros((len(customers), len(features)), dtype=bool)
    np.put_along_axis(has, traits, True, axis=1)
    has[:, len(features) - owned.shape[1] :] = owned
    places = {name: place for place, name in enumerate(CONTRACT.products)}
    seen = 0
    for row, found in enumerate(everybody[:300]):
        for one in found.items:
            reason = one.reasons[0]
            if reason.kind != "alike":
                continue
            (share,) = recommender.shares(recommender.encoder.customers([customers[row]]), [places[one.item]])
            named = [features.labels.index(label) for label in share.labels]
            assert has[row, named].all()  # he has what is said of him
            among = has[:, named].all(axis=1) & allowed[:, places[one.item]]
            assert reason.customers <= among.sum() <= 1.4 * reason.customers + 30
            assert owned[among, places[one.item]].mean() == pytest.approx(reason.share, abs=0.1)
            seen += 1
    assert seen > 100


def test_a_scored_customer_is_asked_for_by_id(ask: Ask, own: Settings, customers) -> None:
    store = Store(own)
    scores = CustomerScores(store)
    (names,) = [[row.customer_id for row in rows] for rows in scores.rows(scores.shown().id)]
    store.close()
    by_id = {one[CONTRACT.id]: one for one in customers[:60]}
    assert len(names) > 30
    for name in names[:20]:
        assert ask({"customer_id": name}) == ask({"customer": by_id[name]})
    gone = next(name for name in by_id if name not in names)  # he has left
    for name in ("nobody", gone, "a\0b"):
        assert "no customer" in ask({"customer_id": name}, 404)["detail"]


def test_of_whom_nothing_is_known_gets_popular_items_and_is_told_so(ask: Ask) -> None:
    free = {name for name, entry in CONTRACT.products.items() if not entry.requires}
    for body in ({}, {"customer": {}}, {"customer": None}, {"customer": {CONTRACT.id: "a stranger"}}):
        told = ask(body)
        assert (told["basis"], told["risk"], told["control"]) == ("popularity", None, False)
        assert {one["item"] for one in told["recommendations"]} == free
        assert {one["churn_probability"]["before"] for one in told["recommendations"]} == {None}
        assert all("customers" in reason["text"] for one in told["recommendations"] for reason in one["reasons"])
    assert ask({"customer": {CONTRACT.id: "a stranger"}})["customer_id"] == "a stranger"


def test_the_control_group_gets_nothing_and_is_told_why(ask: Ask, customers) -> None:
    chosen = [one for one in customers if in_control(CONTRACT, one[CONTRACT.id])]
    assert 0.04 < len(chosen) / len(customers) < 0.06
    for customer in chosen[:5]:
        told = ask({"customer": customer})
        assert (told["control"], told["recommendations"]) == (True, [])
        assert "control group" in told["reason"]


def test_a_refused_item_makes_room_and_is_named(ask: Ask, own: Settings, customers, everybody) -> None:
    place = next(
        i
        for i, one in enumerate(customers)
        if len(everybody[i].items) > 4 and not in_control(CONTRACT, one[CONTRACT.id])
    )
    customer = customers[place]
    order = [one.item for one in everybody[place].items]
    assert [one["item"] for one in ask({"customer": customer})["recommendations"]] == order[:3]
    store = Store(own)  # as another process would
    name = customer[CONTRACT.id]
    record(store, [Interaction(0, name, order[0], "refused"), Interaction(1, name, order[1], "accepted")], by="test")
    told = ask({"customer": customer})
    assert [one["item"] for one in told["recommendations"]] == order[2:5]
    assert (told["refused"], told["accepted"]) == ([order[0]], [order[1]])
    told = ask({"customer": customer, "items": order[:2]})
    assert (told["recommendations"], "lately" in told["reason"]) == ([], True)
    assert ask({"customer": nameless(customer)})["refused"] == []
    record(store, [Interaction(0, name, order[0], "clicked"), Interaction(1, name, order[0], "accepted")], by="test")
    assert ask({"customer": customer})["refused"] == []
    store.close()


def cost_of(item: str) -> float:
    """What an item costs the company, a product over a year."""
    return CONTRACT.offers[item].cost if item in CONTRACT.offers else 12 * CONTRACT.products[item].monthly_cost


def test_filters_and_faults(ask: Ask, customers, everybody) -> None:
    customer, order = nameless(customers[0]), [one.item for one in everybody[0].items]
    assert [one["item"] for one in ask({"customer": customer, "k": 50})["recommendations"]] == order
    for body, kept in (
        ({"kinds": ["offer"]}, [one for one in order if one in CONTRACT.offers]),
        ({"items": order[1:3]}, order[1:3]),
        ({"exclude": order[:2]}, order[2:]),
        (
            {"max_cost": 0},
            [one for one in order if one in CONTRACT.products and not CONTRACT.products[one].monthly_cost],
        ),
    ):
        told = ask({"customer": customer, "k": 50, **body})
        assert [one["item"] for one in told["recommendations"]] == kept
        assert bool(told["reason"]) == (not kept)
    for body, field in (
        ({"customer": customer, "k": 0}, "k"),
        ({"customer": customer, "k": 51}, "k"),
        ({"customer": customer, "k": "3"}, "k"),
        ({"customer": customer, "kinds": ["gift"]}, "kinds.0"),
        ({"customer": customer, "items": ["no such thing"]}, "items"),
        ({"customer": customer, "exclude": ["no such thing"]}, "exclude"),
        ({"customer": customer, "max_cost": -1}, "max_cost"),
        ({"customer": customer, "more": 1}, "more"),
        ({"customer": {**customer, "more": 1}}, "more"),
        ({"customer": [customer]}, "customer"),
        ({"customer": {CONTRACT.id: True}}, CONTRACT.id),
        ({"customer": {CONTRACT.id: "\ud800"}}, CONTRACT.id),
        ({"customer": {CONTRACT.id: " "}}, CONTRACT.id),
        ({"customer": {**customer, CONTRACT.id: "\ud800"}}, CONTRACT.id),
        ({"customer_id": "\ud800"}, "customer_id"),
        ({"customer_id": " "}, "customer_id"),
        ({"customer": customer, "customer_id": "C1"}, "customer_id"),
    ):
        assert field in {fault["field"] for fault in ask(body, 422)["errors"]}


def test_the_client_asks_in_all_these_ways(own: Settings, customers) -> None:
    api = Client("http://api", transport=httpx.WSGITransport(app=app_of(own)))
    found = api.recommend(nameless(customers[0]), k=2, exclude=["loyalty_gift"])
    assert (found.basis, len(found.recommendations)) == ("model", 2)
    assert api.recommend().basis == "popularity"
    assert api.recommend(nameless(customers[0]), kinds=["offer"], items=["loyalty_gift"]).currency == CONTRACT.currency
    with pytest.raises(Refused) as refusal:
        api.recommend(customer_id="nobody")
    assert refusal.value.status == 404


def test_with_the_database_down_it_answers_without_what_was_refused_and_says_so(
    own: Settings, tmp_path: Path, customers
) -> None:
    file = tmp_path / "no database"
    file.write_bytes(b"no database, but some bytes that are none of one's header" * 100)
    client = app_of(own.model_copy(update={"database_url": f"sqlite:///{file}"})).test_client()
    customer = next(one for one in customers if not in_control(CONTRACT, one[CONTRACT.id]))
    for _ in range(2):
        told = client.post("/recommend", json={"customer": customer}).get_json()
        assert told["recommendations"]
        assert "the database does not answer" in told["warnings"][0]
    assert client.post("/recommend", json={"customer": nameless(customer)}).get_json()["warnings"] == []
    assert client.post("/recommend", json={"customer_id": "C1"}).status_code == 503


def test_without_a_recommender_it_says_so(settings: Settings, champion, tmp_path: Path, customers) -> None:
    from churn.registry import Registry

    serving = Serving(settings, Registry(settings))
    serving.refresh()
    elsewhere = settings.model_copy(update={"home": tmp_path, "mlflow_tracking_uri": NOBODY})
    app = create_app(settings, serving=serving, recommender=Serving(elsewhere, kind=RECOMMENDER))
    reply = app.test_client().post("/recommend", json={"customer": nameless(customers[0])})
    assert (reply.status_code, reply.mimetype) == (503, "application/problem+json")
    assert reply.get_json()["detail"]
