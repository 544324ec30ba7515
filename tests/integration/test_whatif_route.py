"""``POST /whatif`` over the shipped customers: no proposal breaks a rule, and each keeps what it promises."""

import time
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from churn.errors import InvalidData
from tests import generated

CUSTOMERS = 1_000


@pytest.fixture(scope="module")
def answers(client, customers) -> list[dict[str, Any]]:
    found = []
    for customer in customers[:CUSTOMERS]:
        reply = client.post("/whatif", json={"customer": customer})
        assert reply.status_code == 200, reply.get_json()
        found.append(reply.get_json())
    return found


def changed(customer: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    return customer | {one["feature"]: one["to"] for one in answer["proposal"]["changes"]}


def test_every_proposal_gives_the_probability_that_was_promised(client, customers, answers) -> None:
    asked = [(one, answer) for one, answer in zip(customers, answers, strict=False) if answer["proposal"]]
    assert len(asked) > 100
    bodies = [changed(one, answer) for one, answer in asked]
    together = client.post("/predict", json={"customers": bodies}).get_json()["predictions"]
    for (_, answer), body, prediction in zip(asked, bodies, together, strict=True):
        alone = client.post("/predict", json=body).get_json()
        assert answer["proposal"]["churn_probability"] == answer["after"] == alone["churn_probability"]
        assert answer["after"] == pytest.approx(prediction["churn_probability"], abs=1e-12)
        assert answer["proposal"]["risk"] == answer["risk"]["after"] == prediction["risk"] != "high"
    before = client.post("/predict", json={"customers": customers[:CUSTOMERS]}).get_json()["predictions"]
    assert [one["before"] for one in answers] == pytest.approx([one["churn_probability"] for one in before], abs=1e-12)
    assert [one["risk"]["before"] for one in answers] == [one["risk"] for one in before]


def test_no_proposal_breaks_the_contract_or_changes_what_is_not_actionable(scorer, customers, answers) -> None:
    contract = scorer.contract
    for customer, answer in zip(customers, answers, strict=False):
        if not answer["proposal"]:
            continue
        after = changed(customer, answer)
        values, faults = contract.read(after)
        assert faults == []
        moved = [name for name in contract.features if values[name] != customer[name]]
        assert sorted(moved) == sorted(one["feature"] for one in answer["proposal"]["changes"])
        assert moved
        assert all(contract.features[name].actionable for name in moved)
        assert after[contract.monthly_value] <= customer[contract.monthly_value]
        for product, entry in contract.products.items():
            if after[product] in entry.owned:
                assert all(after[needed] in allowed for needed, allowed in entry.requires.items())


def test_no_proposal_makes_a_pair_of_values_that_no_shipped_customer_has(scorer, customers, answers) -> None:
    contract = scorer.contract
    categories = [name for name, column in contract.features.items() if not column.is_numeric]
    pairs = list(combinations(categories, 2))
    seen = {(one, two, row[one], row[two]) for row in customers for one, two in pairs}
    for customer, answer in zip(customers, answers, strict=False):
        if answer["proposal"]:
            after = changed(customer, answer)
            assert all((one, two, after[one], after[two]) in seen for one, two in pairs)


def test_nearly_every_customer_of_the_high_band_gets_a_proposal_and_nobody_else(answers) -> None:
    high = [one for one in answers if one["risk"]["before"] == "high"]
    found = [one for one in high if one["proposal"]]
    assert len(found) >= 0.95 * len(high)
    for one in answers:
        if one["risk"]["before"] != "high":
            assert (one["proposal"], one["reason"]) == (None, "the customer is not in the high band")


def test_a_search_takes_milliseconds(client, customers, answers) -> None:
    high = [one for one, answer in zip(customers, answers, strict=False) if answer["risk"]["before"] == "high"]
    taken = []
    for customer in high[:100]:
        began = time.perf_counter()
        client.post("/whatif", json={"customer": customer})
        taken.append(time.perf_counter() - began)
    print(f"p50 {np.median(taken) * 1e3:.1f} ms, p95 {np.quantile(taken, 0.95) * 1e3:.1f} ms")
    assert np.median(taken) < 0.2


def test_a_version_without_what_was_seen_together_still_answers(scorer, customers, answers) -> None:
    from dataclasses import replace

    from churn import whatif

    old = replace(scorer, seen=None, explainer=None)
    customer = next(one for one, answer in zip(customers, answers, strict=False) if answer["proposal"])
    answer = whatif.proposed(old, customer)
    assert answer.proposal
    assert not any(scorer.contract.features[one["feature"]].is_numeric for one in answer.proposal["changes"])
    name = answer.proposal["changes"][0]["feature"]
    assert whatif.changed(old, customer, {name: answer.proposal["changes"][0]["to"]}).warnings == []
    with pytest.raises(InvalidData):
        whatif.changed(old, customer, {name: "no such value"})


def test_given_changes_over_http(client, scorer, customers) -> None:
    contract = scorer.contract
    column = next(one for one in contract.features.values() if one.actionable and one.type == "category")
    customer = customers[0]
    to = next(value for value in column.values if value != customer[column.name])
    reply = client.post("/whatif", json={"customer": customer, "changes": {column.name: to}})
    told = reply.get_json()
    if reply.status_code == 200:
        assert [one["feature"] for one in told["each"]] == [column.name]
        assert told["each"][0]["churn_probability"] == told["after"]
    fixed = next(one.name for one in contract.features.values() if not one.actionable)
    reply = client.post("/whatif", json={"customer": customer, "changes": {fixed: customer[fixed]}})
    assert (reply.status_code, reply.mimetype) == (422, "application/problem+json")
    (fault,) = reply.get_json()["errors"]
    assert fault["field"] == f"changes.{fixed}"
    assert all(one.name in fault["message"] for one in contract.features.values() if one.actionable)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ([], 422),
        ({}, 422),
        ({"customer": []}, 422),
        ({"customer": {}}, 422),
        ({"customer": None, "changes": {}}, 422),
        ({"customer": "C1"}, 422),
        ({"changes": {}}, 422),
        ({"customer": {}, "more": 1}, 422),
    ],
)
def test_a_body_that_is_none_is_told(client, body: Any, status: int) -> None:
    reply = client.post("/whatif", json=body)
    assert (reply.status_code, reply.mimetype) == (status, "application/problem+json")
    assert reply.get_json()["errors"]


@pytest.mark.parametrize("changes", [[], "all", 1, {"": 1}, {"a": {}}, {"a": [[]]}])
def test_changes_that_are_none_are_told(client, customers, changes: Any) -> None:
    reply = client.post("/whatif", json={"customer": customers[0], "changes": changes})
    assert reply.status_code == 422
    assert "changes" in reply.get_json()["errors"][0]["field"]


def test_no_changes_are_the_same_as_none(client, customers) -> None:
    replies = [client.post("/whatif", json={"customer": customers[0], "changes": given}) for given in (None, {})]
    plain = client.post("/whatif", json={"customer": customers[0]}).get_json()
    assert [one.get_json() for one in replies] == [plain, plain]


@pytest.mark.parametrize("path", ["/whatif", "/recommend", "/campaigns/plan"])
def test_generated_bodies_give_no_500(app, recommender_champion, path: str) -> None:
    seen = generated.statuses(app, path, positive=100)
    assert not [status for status in seen if status >= 500 and status != 503]
    assert seen.total() >= 100
