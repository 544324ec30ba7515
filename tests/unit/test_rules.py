"""The high band in rules: what they say is what was measured, in the words of the contract."""

from typing import Any

import numpy as np
import pytest

from churn import rules
from churn.contract import Contract, parse
from churn.encoding import MISSING, Encoded, Encoder
from churn.segments import Condition, Rules

RISK = {"high": {"threshold": 0.6, "action": "a"}, "medium": {"threshold": 0.3, "action": "b"},
        "low": {"threshold": 0, "action": "c"}}  # fmt: skip
ROWS = 3_000


def shop(**features: Any) -> Contract:
    return parse(
        {
            "name": "shop",
            "rows": {"training": "rows.csv"},
            "target": {"column": "left", "values": [0, 1], "positive": 1},
            "features": features,
            "risk": RISK,
        }
    )


SHOP = shop(
    months={"type": "integer", "label": "Tenure", "unit": "months"},
    spend={"type": "number", "label": "Spend", "blank": "missing"},
    plan={"type": "category", "values": ["Monthly", "Yearly", "Free"], "label": "Plan"},
    club={"type": "boolean", "label": "In the club"},
    source={"type": "category", "values": [1, 2], "value_labels": {1: "Shop", 2: "Web"}, "blank": "missing"},
)


def rows(seed: int = 0, count: int = ROWS) -> Encoded:
    dice = np.random.default_rng(seed)
    spend = dice.uniform(0, 100, count)
    spend[dice.random(count) < 0.1] = np.nan
    numbers = np.column_stack([dice.integers(0, 60, count), spend]).astype(float)
    codes = np.column_stack([dice.integers(0, 3, count), dice.integers(0, 2, count), dice.integers(-1, 2, count)])
    return Encoded(numbers, codes)


def holds(conditions: list[Condition], encoded: Encoded, contract: Contract, fill: float = 50) -> np.ndarray:
    """Whether a rule holds, by what it shows alone."""
    encoder = Encoder(contract)
    found = np.ones(len(encoded), dtype=bool)
    for one in conditions:
        names = [column.name for column in encoder.numeric]
        if one.feature in names:
            numbers = encoded.numbers[:, names.index(one.feature)]
            numbers = np.where(np.isnan(numbers), fill, numbers)
            found &= (numbers >= (one.at_least if one.at_least is not None else -np.inf)) & (
                numbers < (one.below if one.below is not None else np.inf)
            )
        else:
            place = [column.name for column in encoder.categorical].index(one.feature)
            column = encoder.categorical[place]
            labels = np.array([*map(column.label_of, column.values or [False, True]), "missing"])
            allowed = [*one.values, *(["missing"] if " not " in one.words or "neither" in one.words else [])]
            found &= np.isin(labels[encoded.codes[:, place]], allowed)
    return found


def test_a_rule_that_is_there_is_found_and_told_in_words() -> None:
    encoded = rows()
    inside = (encoded.numbers[:, 0] < 12) & (encoded.codes[:, 0] == 0)
    told = rules.find(SHOP, encoded, inside.astype(np.int64), inside, 1)
    assert [rule.text for rule in told.rules] == ["Tenure under 12 months and Plan is Monthly: 100 % leave"]
    assert told.fidelity is not None
    assert (told.fidelity.accuracy, told.fidelity.f1) == (1, 1)
    assert told.fidelity.customers == ROWS // 3
    (rule,) = told.rules
    assert rule.conditions[0].below == 12
    assert (rule.precision, rule.churn_rate) == (1, 1)
    assert rule.share == pytest.approx(rule.customers / told.fidelity.customers)


def test_what_is_shown_is_what_was_measured() -> None:
    encoded = rows()
    dice = np.random.default_rng(5)
    score = (encoded.numbers[:, 0] < 20) * 0.5 + (encoded.codes[:, 0] != 2) * 0.3 + dice.random(ROWS) * 0.3
    inside, left = score > 0.75, (dice.random(ROWS) < score).astype(np.int64)
    told = rules.find(SHOP, encoded, left, inside, 1)
    order = np.random.default_rng(1).permutation(ROWS)
    others = np.sort(order[round(ROWS * 2 / 3) :])
    unseen = Encoded(encoded.numbers[others], encoded.codes[others])
    known = encoded.numbers[np.sort(order[: round(ROWS * 2 / 3)]), 1]
    union = np.zeros(len(others), dtype=bool)
    assert told.rules
    for rule in told.rules:
        held = holds(rule.conditions, unseen, SHOP, float(np.nanmedian(known)))
        assert rule.customers == held.sum()
        assert rule.churn_rate == pytest.approx(left[others][held].mean())
        assert rule.precision == pytest.approx(inside[others][held].mean())
        union |= held
    fidelity = told.fidelity
    assert fidelity is not None
    band = inside[others]
    assert fidelity.accuracy == pytest.approx((union == band).mean())
    assert fidelity.precision == pytest.approx(band[union].mean())
    assert fidelity.recall == pytest.approx(union[band].mean())
    assert fidelity.band_share == pytest.approx(band.mean())
    assert told == rules.find(SHOP, encoded, left, inside, 1)


def test_noise_has_no_rule_that_holds_beyond_the_rows_it_was_found_on() -> None:
    encoded = rows()
    inside = np.random.default_rng(9).random(ROWS) < 0.2
    told = rules.find(SHOP, encoded, inside.astype(np.int64), inside, 1)
    assert told.note == "no group of customers is mostly in the high band" or told.fidelity.precision < 0.5


@pytest.mark.parametrize(
    ("inside", "note"),
    [
        (np.zeros(ROWS, dtype=bool), "no customer is in the high band"),
        (np.ones(ROWS, dtype=bool), "every customer is in the high band"),
        (np.arange(ROWS) % 10 > 0, "most customers are in the high band"),
        (np.ones(99, dtype=bool), "99 customers are too few"),
    ],
)
def test_without_rules_a_note_says_why(inside: np.ndarray, note: str) -> None:
    told = rules.find(SHOP, rows(count=len(inside)), inside.astype(np.int64), inside, 1)
    assert (told.rules, told.fidelity) == ([], None)
    assert note in told.note


def test_a_missing_value_is_in_no_positive_condition() -> None:
    encoded = rows()
    inside = encoded.codes[:, 2] == 1
    (rule,) = rules.find(SHOP, encoded, inside.astype(np.int64), inside, 1).rules
    assert rule.text == "source is Web: 100 % leave"
    gone = encoded.codes[:, 2] != 1
    (rule,) = rules.find(SHOP, encoded, gone.astype(np.int64), gone, 1).rules
    assert rule.text == "source is not Web: 100 % leave"
    missing = encoded.codes[:, 2] == MISSING
    (rule,) = rules.find(SHOP, encoded, missing.astype(np.int64), missing, 1).rules
    assert rule.text == "source is not known: 100 % leave"


def test_values_of_a_category_are_joined() -> None:
    encoded = rows()
    inside = (encoded.codes[:, 0] != 2) & (encoded.numbers[:, 1] >= 40) & (encoded.numbers[:, 1] < 70)
    told: Rules = rules.find(SHOP, encoded, inside.astype(np.int64), inside, 1)
    (rule,) = told.rules
    low, high = rule.conditions[0].at_least, rule.conditions[0].below
    assert low == pytest.approx(40, abs=0.5)
    assert high == pytest.approx(70, abs=0.5)
    assert f"Spend from {low:g} to under {high:g} and Plan is not Free" in rule.text


@pytest.mark.parametrize(
    ("column", "cut", "whole", "bound"),
    [
        ([1, 12, 13, 60], 12.5, True, 13),
        ([1, 12, 20, 60], 16, True, 20),
        ([1, 10, 11], 10.5, True, 11),
        ([64.7, 64.75, 70], 64.725, False, 64.72),
        ([0.0, 90.4, 91.6], 91, False, 91),
        ([0, 1e-9], 5e-10, False, 5e-10),
        ([-40, -10], -25, False, -20),
        ([1e15, 1e15 + 2], 1e15 + 1, True, 1e15 + 1),
    ],
)
def test_a_threshold_parts_the_rows_as_the_tree_does_with_the_fewest_digits(
    column: list[float], cut: float, whole: bool, bound: float
) -> None:
    numbers = np.array(column, dtype=float)
    found = rules.rounded(numbers, cut, whole=whole)
    assert found == bound
    assert ((numbers < found) == (numbers <= cut)).all()


@pytest.mark.parametrize("far", [1e39, 1e300])
def test_numbers_beyond_those_of_a_tree_are_told_honestly(far: float) -> None:
    encoded = rows()
    encoded.numbers[:, 1] = np.where(np.arange(ROWS) % 3 == 0, far, np.where(np.arange(ROWS) % 2, -far, 5.0))
    for inside in (encoded.numbers[:, 1] == far, encoded.numbers[:, 1] == -far):
        told = rules.find(SHOP, encoded, inside.astype(np.int64), inside, 1)
        (rule,) = told.rules
        assert rule.precision == told.fidelity.f1 == 1
        assert (holds(rule.conditions, encoded, SHOP) == inside).all()


def test_one_feature_is_enough() -> None:
    contract = shop(plan={"type": "category", "values": ["a", "b", "c", "d"]})
    codes = np.arange(400).reshape(-1, 1) % 4
    encoded = Encoded(np.empty((400, 0)), codes)
    inside = codes[:, 0] < 2
    (rule, *more) = rules.find(contract, encoded, inside.astype(np.int64), inside, 1).rules
    said = " ".join(one.text for one in (rule, *more))
    assert "plan is" in said
    assert {value for one in (rule, *more) for part in one.conditions for value in part.values} == {"a", "b"}
