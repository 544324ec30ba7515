"""Many customers are ranked at once by the formula of one, and nobody gets what he is not to get."""

import json
from typing import Any

import numpy as np
import pytest

from churn import contract as contracts
from churn.advice import Advice
from churn.batch_advice import NONE, BatchAdvice
from churn.control import in_control
from churn.encoding import Encoded
from churn.ownership import Ownership
from churn.scoring import ModelVersion, Scorer

CONTRACT: dict[str, Any] = {
    "name": "small",
    "rows": {"training": "rows.csv"},
    "id": "who",
    "target": {"column": "left", "values": ["No", "Yes"], "positive": "Yes"},
    "features": {
        "plan": {"type": "category", "values": ["Basic", "Gold"]},
        "extra": {"type": "category", "values": ["No", "Yes"]},
        "tv": {"type": "boolean"},
        "chance": {"type": "number", "min": 0, "max": 1},
    },
    "risk": {
        "high": {"threshold": 0.6, "action": "a"},
        "medium": {"threshold": 0.3, "action": "b"},
        "low": {"threshold": 0, "action": "c"},
    },
    "economics": {"customer_value": 200, "months": 12},
    "products": {
        "extra": {"owned": ["Yes"], "monthly_price": 5, "monthly_cost": 2},
        "tv": {"owned": [True], "requires": {"plan": ["Gold"]}, "monthly_price": 10, "monthly_cost": 4},
    },
    "offers": {
        'a "gift"': {"label": "Gift", "cost": 10, "acceptance": 0.5, "bands": ["high"]},
        "ünit": {
            "label": "Unit", "cost": 0, "acceptance": 0.2, "bands": ["high", "medium"],
            "eligibility": {"plan": ["Basic"]},
        },
    },
    "recommendation": {"control": 0},
}  # fmt: skip
GIFT, UNIT = CONTRACT["offers"]


class Recommender:
    """Likes the second product three times as much as the first, whoever is asked for."""

    items = ("extra", "tv")
    model = ModelVersion("recommender", "1")
    popularity = np.array([0.4, 0.6])

    def __init__(self, contract: contracts.Contract) -> None:
        self.contract = contract
        self.ownership = Ownership(contract)

    def liking(self, encoded: Encoded) -> "np.ndarray[Any, Any]":
        return np.tile([0.2, 0.6], (len(encoded), 1))

    def propensity(self, liking: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        return liking

    def leaning(self, liking: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        return np.zeros_like(liking)


class Chance:
    """Says that a customer leaves with the probability that stands in his row."""

    def probabilities(self, encoded: Encoded) -> "np.ndarray[Any, Any]":
        return encoded.numbers[:, 0]


def advice(held_back: dict[str, set[str]] | None = None, **recommendation: Any) -> BatchAdvice:
    contract = contracts.parse({**CONTRACT, "recommendation": {**CONTRACT["recommendation"], **recommendation}})
    scorer = Scorer(Chance(), contract, 0.5, ModelVersion("classifier", "1"))
    return BatchAdvice(Advice(Recommender(contract), scorer), held_back)  # type: ignore[arg-type]


def people(*told: tuple[str, str, bool, float]) -> tuple[Encoded, "np.ndarray[Any, Any]"]:
    """Rows of (plan, extra, tv, chance), and the probabilities."""
    codes = [[("Basic", "Gold").index(plan), ("No", "Yes").index(extra), int(tv)] for plan, extra, tv, _ in told]
    chances = np.array([one[-1] for one in told])
    return Encoded(chances[:, None], np.array(codes, dtype=np.int64)), chances


ALL = people(("Gold", "No", False, 0.7), ("Basic", "No", False, 0.4), ("Basic", "Yes", True, 0.1))
IDS = ["a", "b", "c"]


def told(ranked: Any) -> list[list[dict[str, Any]]]:
    return [json.loads(one) for one in ranked.as_json()]


def test_the_scores_are_those_that_one_can_add_up_by_hand() -> None:
    gold, basic, rich = told(advice().rank(*ALL, IDS, 3))
    assert gold == [
        {"item": "tv", "score": pytest.approx(0.6 + 6 * 12 / 200)},
        {"item": GIFT, "score": pytest.approx(0.5 + 0.7 * 0.5 - 10 / 200)},
        {"item": "extra", "score": pytest.approx(0.2 + 3 * 12 / 200)},
    ]
    assert basic == [
        {"item": "extra", "score": pytest.approx(0.2 + 3 * 12 / 200)},
        {"item": UNIT, "score": pytest.approx(0.2 + 0.4 * 0.2)},
    ]
    assert rich == []


def test_the_contracts_weights_count() -> None:
    weighed = advice(weights={"liking": 0, "risk": 2, "margin": 0}).rank(*ALL, IDS, 1)
    assert told(weighed)[0] == [{"item": GIFT, "score": pytest.approx(2 * 0.7 * 0.5)}]


def test_fewer_are_asked_for_and_more_than_there_are() -> None:
    few, many = advice().rank(*ALL, IDS, 1), advice().rank(*ALL, IDS, 9)
    assert few.places.shape == (3, 1)
    assert many.places.shape == many.scores.shape == (3, 9)
    assert told(few) == [one[:1] for one in told(many)]
    assert ((many.places == NONE) == np.isnan(many.scores)).all()
    assert (many.places == NONE).sum(axis=1).tolist() == [6, 7, 9]


def test_to_the_control_group_nothing_is_recommended() -> None:
    half = advice(control=0.5)
    ids = [f"id{place}" for place in range(200)]
    rows, chances = people(*[("Gold", "No", False, 0.7)] * len(ids))
    ranked = half.rank(rows, chances, ids, 2)
    contract = contracts.parse({**CONTRACT, "recommendation": {"control": 0.5}})
    assert ranked.control.tolist() == [in_control(contract, one) for one in ids]
    assert 60 < ranked.control.sum() < 140
    assert ((ranked.places == NONE).all(axis=1) == ranked.control).all()
    assert not half.rank(rows, chances, None, 2).control.any()  # nobody knows who they are


def test_what_a_customer_has_answered_is_not_recommended_to_him() -> None:
    answered = advice({"a": {"tv", "gone long ago"}, "c": {"extra"}}).rank(*ALL, IDS, 3)
    assert [one["item"] for one in told(answered)[0]] == [GIFT, "extra"]
    assert told(answered)[1:] == told(advice().rank(*ALL, IDS, 3))[1:]
    assert len(told(advice({"a": {"tv"}}).rank(*ALL, None, 3))[0]) == 3


def test_a_part_is_that_of_the_same_customers() -> None:
    whole = advice().rank(*ALL, IDS, 3)
    assert told(whole.part(slice(1, 3))) == told(whole)[1:]
    assert whole.part(slice(1, 3)).control.shape == (2,)
