"""Explanations of the shipped champion over HTTP, and of another data set."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from churn import contract as contracts
from churn.data import features_and_target, read_rows, validate
from churn.encoding import Encoded, customers
from churn.errors import NotReady
from churn.explanation import reasons
from churn.lime import SAMPLES
from tests import explained, generated
from tests.gym import write_members

PROBLEM = "application/problem+json"
CHECKED = 500


def explain(client: Any, customer: dict[str, Any], **more: Any) -> dict[str, Any]:
    reply = client.post("/explain", json={"customer": customer, **more})
    assert reply.status_code == 200, reply.text
    return reply.get_json()


def test_500_customers_add_up_and_lead_to_what_predict_says(client, customers, scorer) -> None:
    link = scorer.explainer.link
    predicted = client.post("/predict", json={"customers": customers[:CHECKED]}).get_json()["predictions"]
    for customer, prediction in zip(customers[:CHECKED:5], predicted[::5], strict=True):
        told = explain(client, customer)
        total = told["base_value"] + sum(one["contribution"] for one in told["contributions"])
        assert abs(total - told["output_value"]) < 1e-6
        # alone and among many, a sum of trees may differ in its last digit
        assert told["churn_probability"] == pytest.approx(prediction["churn_probability"], abs=1e-12)
        assert told["risk"] == prediction["risk"]
        assert abs(float(link.probability(np.array(told["output_value"]))) - told["churn_probability"]) < 1e-6
    found = scorer.explain(scorer.encoder.customers(customers[:CHECKED]))
    led_to = link.probability(found.base_value + found.contributions.sum(axis=1))
    assert np.abs(led_to - [one["churn_probability"] for one in predicted]).max() < 1e-6


@pytest.mark.parametrize("method", ["shap", "lime"])
def test_a_reply_says_all_that_the_design_promises(client, customers, scorer, method: str) -> None:
    customer = customers[3]
    told = explain(client, customer, method=method)
    assert list(told) == [
        "customer_id", "churn_probability", "risk", "method", "space", "base_value", "output_value", "fidelity",
        "contributions", "agreement", "model",
    ]  # fmt: skip
    assert told["customer_id"] == customer[scorer.contract.id]
    assert told["model"] == {"name": "churn-classifier", "version": scorer.model.version}
    assert told["method"] == method
    assert sorted(one["feature"] for one in told["contributions"]) == sorted(scorer.contract.features)
    for one in told["contributions"]:
        assert list(one) == ["feature", "value", "contribution", "points", "text"]
        assert one["value"] == customer[one["feature"]]
        assert one["text"].split(" the risk")[0].endswith(("raise", "raises", "lower", "lowers", "change"))
    size = [abs(one["contribution"]) for one in told["contributions"]]
    assert size == sorted(size, reverse=True)
    total = told["base_value"] + sum(one["contribution"] for one in told["contributions"])
    assert total == pytest.approx(told["output_value"], abs=1e-6)
    assert (told["fidelity"] is None) == (method == "shap")


def test_both_methods_tell_the_same_space_and_the_same_agreement(client, customers) -> None:
    ranks, overlaps = [], []
    for customer in customers[:60]:
        shap, lime = explain(client, customer), explain(client, customer, method="lime")
        for name in ("space", "agreement", "churn_probability", "risk", "model"):
            assert shap[name] == lime[name]
        assert lime == explain(client, customer, method="lime")
        ranks.append(shap["agreement"]["rank_correlation"])
        overlaps.append(shap["agreement"]["top_3_overlap"])
    assert np.mean(ranks) > 0.8
    assert np.mean(overlaps) > 1.8


def test_the_id_may_be_left_out_and_shap_is_the_method(client, scorer) -> None:
    told = explain(client, scorer.contract.example)
    assert (told["customer_id"], told["method"]) == (None, "shap")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "customer"),
        ({"customer": None}, "customer"),
        ({"customer": []}, "customer"),
        ({"customer": 3}, "customer"),
        ({"customer": {}, "method": "magic"}, "method"),
        ({"customer": {}, "method": None}, "method"),
        ({"customer": {}, "method": ["shap"]}, "method"),
        ({"customer": {}, "compare": True}, "compare"),
        ({"customer": {}, "": 1}, ""),
        ([], ""),
        ("shap", ""),
    ],
)
def test_another_body_is_told_what_is_wrong(client, body: Any, field: str) -> None:
    reply = client.post("/explain", json=body)
    assert reply.status_code == 422, reply.text
    assert reply.content_type == PROBLEM
    assert field in [fault["field"] for fault in reply.get_json()["errors"]]


def test_a_customer_s_faults_are_named_as_predict_names_them(client, scorer) -> None:
    example = scorer.contract.example
    for name in list(example)[:6]:
        for wrong in ({**example, name: "what"}, {key: value for key, value in example.items() if key != name}):
            reply = client.post("/explain", json={"customer": wrong})
            predicted = client.post("/predict", json=wrong)
            assert reply.status_code == 422
            assert reply.get_json()["errors"] == predicted.get_json()["errors"]


@pytest.mark.parametrize(
    ("data", "kind", "status"),
    [
        (b"{", None, 400),
        (b"null", None, 422),
        (b"{}", "text/plain", 415),
        (b'{"customer": {}, "customer": {}}', None, 400),
        (b'{"customer": {"x": NaN}}', None, 400),
    ],
)
def test_what_is_no_json_is_refused(client, data: bytes, kind: str | None, status: int) -> None:
    reply = client.post("/explain", data=data, content_type=kind or "application/json")
    assert (reply.status_code, reply.content_type) == (status, PROBLEM)


def test_generated_bodies_give_no_500(app) -> None:
    seen = generated.statuses(app, "/explain", positive=150, negative=150)
    assert not [status for status in seen if status >= 500]
    assert seen[200] > 50
    assert seen[422] > 50


def test_the_ranking_agrees_with_permutation_importance(scorer, settings) -> None:
    """By how much the log loss grows where one raw column is shuffled, against SHAP's importance."""
    contract = scorer.contract
    rows = validate(read_rows(explained.ROOT / "data/telco/customers.csv", contract.rows.format), contract,
                    target="required")  # fmt: skip
    features, target = features_and_target(rows, contract)
    encoded, y = scorer.encoder.frame(features), np.asarray(target)

    def loss(given: Encoded) -> float:
        p = scorer.probabilities(given)
        return float(-np.mean(np.where(y == 1, np.log(p), np.log(1 - p))))

    random, base, grown = np.random.default_rng(0), loss(encoded), {}
    for kind, columns in (("numbers", scorer.encoder.numeric), ("codes", scorer.encoder.categorical)):
        for place, column in enumerate(columns):
            found = []
            for _ in range(5):
                shuffled = {name: getattr(encoded, name).copy() for name in ("numbers", "codes")}
                shuffled[kind][:, place] = random.permutation(shuffled[kind][:, place])
                found.append(loss(Encoded(**shuffled)) - base)
            grown[column.name] = float(np.mean(found))
    importance = {feature["feature"]: feature["importance"] for feature in scorer.explanation["features"]}
    from scipy.stats import spearmanr

    names = list(contract.features)
    correlation = spearmanr([importance[name] for name in names], [grown[name] for name in names])[0]
    print(f"Spearman with permutation importance: {correlation:.3f}")
    assert correlation >= 0.8


def test_a_column_that_the_model_cannot_see_has_no_part_in_either(tmp_path: Path) -> None:
    contract, features, target = explained.shipped()
    for kind in (("lightgbm", False), ("random_forest", True), ("logistic_regression", False)):
        blind = features.copy()
        hidden = [next(name for name, column in contract.features.items() if column.is_numeric is numeric)
                  for numeric in (True, False)]  # fmt: skip
        for name in hidden:
            blind[name] = blind[name].iloc[0]
        made = explained.make(tmp_path / kind[0], *kind, contract, blind, target)
        places = [list(contract.features).index(name) for name in hidden]
        row = made.scorer.encoder.customers(made.customers(1))
        assert np.abs(made.scorer.explain(row).contributions[:, places]).max() < 1e-12
        assert not made.scorer.explain_locally(row).explained.contributions[:, places].any()
        if kind[0] == "lightgbm":  # whatever the customer's own value is: no leaf asks for it
            other = made.scorer.encoder.frame(features.iloc[:50])
            assert not made.scorer.explain(other).contributions[:, places].any()
            one = Encoded(other.numbers[:1] + 1, other.codes[:1])
            assert not made.scorer.explain_locally(one).explained.contributions[:, places].any()


def test_lime_asks_the_scorer_a_bounded_number_of_times(scorer, customers) -> None:
    asked: list[int] = []

    def count(rows: Encoded) -> np.ndarray:
        asked.append(len(rows))
        return scorer.probabilities(rows)

    scorer._lime.explain(scorer.encoder.customers(customers[:1]), count)
    assert asked == [SAMPLES]


# --- as a whole


def test_what_moves_the_probability_as_a_rule(client, scorer) -> None:
    told = client.get("/explain/global").get_json()
    assert told["model"] == {"name": "churn-classifier", "version": scorer.model.version}
    assert {name: value for name, value in told.items() if name != "model"} == scorer.explanation
    assert sorted(one["feature"] for one in told["features"]) == sorted(scorer.contract.features)
    assert told["space"] == explain(client, scorer.contract.example)["space"]


def test_the_pictures_and_the_parts_travel_with_the_run(settings, champion, tmp_path: Path) -> None:
    from churn.registry import Registry

    registry = Registry(settings)
    shown = {Path(one.path).name for one in registry.client.list_artifacts(champion.run_id, "reports")}
    assert {"explanation_importance.png", "explanation_beeswarm.png", "explanation_dependence.png"} <= shown
    copy = registry.download(champion, tmp_path / "copy")
    assert {"explainer.npz", "explanation.json"} <= {path.name for path in copy.rglob("*")}
    decision = json.loads(next(copy.rglob("decision.json")).read_text())
    assert decision["explained"] is True


def test_a_version_without_an_explainer_says_what_to_do(app, client, scorer, monkeypatch) -> None:
    import dataclasses

    serving = app.extensions["churn.serving"]
    old = dataclasses.replace(scorer, explainer=None, explanation=None)
    monkeypatch.setattr(serving, "_live", (serving._live[0], old))
    for reply in (client.post("/explain", json={"customer": scorer.contract.example}), client.get("/explain/global")):
        assert (reply.status_code, reply.content_type) == (503, PROBLEM)
        assert "train anew" in reply.get_json()["detail"]
    with pytest.raises(NotReady):
        old.explain(old.encoder.customers([scorer.contract.example]))


@pytest.mark.parametrize("kind", explained.KINDS, ids=lambda kind: f"{kind[0]}{' calibrated' if kind[1] else ''}")
def test_another_data_set_is_explained_with_its_gaps(tmp_path: Path, kind: tuple[str, bool]) -> None:
    from click.testing import CliRunner

    from churn.cli import main

    source = tmp_path / "members.csv"
    write_members(source)
    done = CliRunner().invoke(
        main, ["init", str(source), "--target", "quit", "--ignore", "joined_on", "--out", str(tmp_path / "data")]
    )
    assert done.exit_code == 0, done.output
    contract = contracts.load(tmp_path / "data/contract.yaml")
    rows = validate(read_rows(source, contract.rows.format), contract, target="required")
    made = explained.make(tmp_path / "version", *kind, contract, *features_and_target(rows, contract))
    encoded = made.encoded
    found = made.scorer.explain(encoded)
    assert (
        np.abs(made.scorer.explainer.link.probability(found.output) - made.scorer.probabilities(encoded)).max() < 1e-6
    )
    gapped = next(row for row in customers(encoded, made.scorer.encoder) if None in row.values())
    row = made.scorer.encoder.customers([gapped])
    for one in (made.scorer.explain(row), made.scorer.explain_locally(row).explained):
        told = reasons(one, 0, gapped, contract)
        missing = next(reason for reason in told if reason["value"] is None)
        assert missing["text"].startswith("Unknown ")
        json.dumps(told, allow_nan=False)
    assert any(None in (value for value, _ in feature["beeswarm"]) for feature in made.scorer.explanation["features"])
