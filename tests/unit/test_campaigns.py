"""Campaign plans: never worth less than sorting by probability, never above the budget, and why nobody is contacted."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from churn import contract as contracts
from churn.campaigns import BUDGET_LIMIT, Offers, Piece, Plan, plan
from churn.contract import BANDS, Contract
from churn.errors import ContractError, InvalidData

PLAIN: dict[str, Any] = {
    "name": "club",
    "rows": {"training": "rows.csv"},
    "id": "no",
    "target": {"column": "left", "values": [0, 1], "positive": 1},
    "features": {
        "fee": {"type": "number", "min": 0},
        "kind": {"type": "category", "values": ["a", "b", "c"]},
        "away": {"type": "boolean"},
    },
    "risk": {
        "high": {"threshold": 0.6, "action": "x"},
        "medium": {"threshold": 0.3, "action": "y"},
        "low": {"threshold": 0, "action": "z"},
    },
    "monthly_value": "fee",
    "currency": "EUR",
    "economics": {"customer_value": 200, "contact_cost": 1},
    "offers": {
        "call": {"label": "A call", "cost": 9.5, "acceptance": 0.2, "bands": ["high", "medium", "low"]},
        "gift": {"label": "A gift", "cost": 24.25, "acceptance": 0.4, "bands": ["high", "medium"]},
        "month": {
            "label": "A month", "cost": 70, "acceptance": 0.9, "bands": ["high"],
            "eligibility": {"kind": ["a", "b"], "away": [False]},
        },
    },
}  # fmt: skip


def contract(**changes: Any) -> Contract:
    return contracts.parse(PLAIN | changes)


def pieces(customers: int, seed: int = 0, terms: Contract | None = None, size: int = 1_000) -> Iterator[Piece]:
    dice = np.random.default_rng(seed)
    terms = terms or contract()
    for at in range(0, customers, size):
        count = min(size, customers - at)
        chance = np.round(dice.beta(1, 2, count), 3)
        yield Piece(
            [f"{at + i:07}" for i in range(count)],
            chance,
            np.array([BANDS.index(terms.band_of(p)) for p in chance]),
            np.where(dice.random(count) < 0.1, np.nan, np.round(dice.uniform(5, 90, count), 2)),
            {"kind": dice.choice(["a", "b", "c"], count).tolist(), "away": (dice.random(count) < 0.3).tolist()},
        )


def planned(customers: int, budget: float, seed: int = 0, terms: Contract | None = None, named=None) -> Plan:
    terms = terms or contract()
    return plan(pieces(customers, seed, terms), Offers(terms, named), budget)


def naive(terms: Contract, customers: list[Piece], budget: float, rule: str, *, only_paying: bool) -> float:
    """Sorting by probability as somebody would write it down, without this module."""
    left, worth = budget, 0.0
    people = [
        (-float(one.probability[i]), one.ids[i], BANDS[int(one.band[i])], {k: v[i] for k, v in one.features.items()},
         float(one.monthly_value[i]))
        for one in customers for i in range(len(one.ids))
    ]  # fmt: skip
    economics = terms.economics
    for minus, _, band, features, fee in sorted(people, key=lambda one: one[:2]):
        options = []
        for offer in terms.offers.values():
            if band not in offer.bands or any(features[name] not in ok for name, ok in offer.eligibility.items()):
                continue
            value = economics.customer_value
            if economics.value_months and not np.isnan(fee):
                value = fee * economics.value_months
            p, d, f, g = -minus, offer.cost, economics.contact_cost, offer.acceptance or economics.acceptance_rate
            brings = p * (g * (value - d) - f) - (1 - p) * (d + f)
            if d + f <= left and (brings > 0 or not only_paying):
                options.append((brings, d + f))
        if options:
            choose = {"best": max, "cheapest": lambda o: min(o, key=lambda one: one[1]), "first": lambda o: o[0]}[rule]
            brings, cost = choose(options)
            worth, left = worth + brings, left - cost
    return worth


@pytest.mark.parametrize("value_months", [None, 6])
def test_no_plan_is_worth_less_than_sorting_by_probability_nor_dearer_than_the_budget(value_months: int | None) -> None:
    better = 0
    for seed in range(60):
        terms = contract(economics=PLAIN["economics"] | ({"value_months": value_months} if value_months else {}))
        dice = np.random.default_rng(seed)
        customers, budget = (
            list(pieces(int(dice.integers(1, 400)), seed, terms)),
            float(np.round(dice.uniform(0, 9_000), 2)),
        )
        found = plan(customers, Offers(terms), budget)
        told = found.summary
        assert told["exact"]
        assert told["spent"] <= budget
        for rule in ("best", "cheapest", "first"):
            for only_paying in (True, False):
                naively = naive(terms, customers, budget, rule, only_paying=only_paying)
                assert told["expected_profit"] >= naively - 1e-9
                better += told["expected_profit"] > naively + 1e-6
        assert told["expected_profit"] >= told["baseline"]["best"]["expected_profit"]
        assert told["baseline"]["best"]["expected_profit"] >= told["baseline"]["expected_profit"]
        assert told["baseline"]["expected_profit"] == pytest.approx(
            naive(terms, customers, budget, "best", only_paying=True)
        )
    assert better > 100


def test_what_a_plan_says_of_a_customer_and_in_sum() -> None:
    found = planned(300, 2_000)
    rows, told = list(found.rows()), found.summary
    assert len({row["customer_id"] for row in rows}) == len(rows) == told["customers"] > 20
    assert sum(row["cost"] for row in rows) == pytest.approx(told["spent"])
    assert sum(row["expected_profit"] for row in rows) == pytest.approx(told["expected_profit"])
    assert sum(one["customers"] for one in told["by_offer"]) == len(rows)
    assert [row["expected_profit"] for row in rows] == sorted((row["expected_profit"] for row in rows), reverse=True)
    assert min(row["expected_profit"] for row in rows) > 0
    everybody = {one: i for piece in pieces(300) for i, one in enumerate(piece.ids)}
    (base,) = pieces(300)
    for row in rows:
        offer, at = PLAIN["offers"][row["offer"]], everybody[row["customer_id"]]
        assert row["risk"] in offer["bands"]
        assert row["cost"] == offer["cost"] + 1
        for name, allowed in offer.get("eligibility", {}).items():
            assert base.features[name][at] in allowed
        fee = base.monthly_value[at]
        assert row["revenue_at_risk"] == (None if np.isnan(fee) else pytest.approx(12 * fee * row["churn_probability"]))
    assert list(found.rows(5)) == rows[:5]


def test_the_same_customers_give_the_same_plan_however_they_are_cut_into_pieces() -> None:
    whole = plan(pieces(2_000, size=2_000), Offers(contract()), 3_000)
    (one,) = pieces(2_000, size=2_000)
    cut = [
        Piece(one.ids[at : at + 7], one.probability[at : at + 7], one.band[at : at + 7], one.monthly_value[at : at + 7],
              {name: given[at : at + 7] for name, given in one.features.items()})
        for at in range(0, 2_000, 7)
    ]  # fmt: skip
    assert list(plan(cut, Offers(contract()), 3_000).rows()) == list(whole.rows())


@pytest.mark.parametrize("budget", [0, 1e-9, 10.49])
def test_too_little_money_for_anybody(budget: float) -> None:
    told = planned(200, budget).summary
    assert (told["customers"], told["spent"], told["expected_profit"], told["exact"]) == (0, 0, 0, True)
    assert told["note"] == f"the cheapest contact costs 10.5, and the budget is {budget:g}"


def test_the_last_cent_is_spent_and_no_more() -> None:
    assert planned(200, 10.5).summary["spent"] == 10.5
    tenths = contract(offers={"call": PLAIN["offers"]["call"] | {"cost": 0.1}}, economics={"contact_cost": 0.2})
    assert planned(200, 0.3, terms=tenths).summary["customers"] == 1  # 0.1 + 0.2 is 0.3 here
    thirds = contract(offers={"call": PLAIN["offers"]["call"] | {"cost": 1 / 3}}, economics={"contact_cost": 0})
    assert planned(200, 1, terms=thirds).summary["spent"] <= 1
    fine = contract(offers={"call": PLAIN["offers"]["call"] | {"cost": 0.33333334}}, economics={"contact_cost": 0})
    assert planned(200, 1, terms=fine).summary["customers"] == 2  # three would cost 1.00000002


def test_all_the_money_there_is_contacts_everybody_with_whom_it_pays() -> None:
    rich = planned(500, BUDGET_LIMIT)
    assert rich.summary["exact"]
    assert rich.summary["expected_profit"] == pytest.approx(sum(max(0, row.max()) for row in rich.profit))
    assert rich.summary["expected_profit"] == pytest.approx(rich.summary["baseline"]["expected_profit"])


@pytest.mark.parametrize("budget", [-1, -0.01, float("nan"), float("inf"), BUDGET_LIMIT * 2])
def test_a_budget_that_is_none_is_refused_by_name(budget: float) -> None:
    with pytest.raises(InvalidData) as refusal:
        planned(10, budget)
    assert refusal.value.faults[0].field == "budget"


def test_why_nobody_is_contacted() -> None:
    assert planned(50, 100, terms=contract(offers={})).summary["note"] == "the contract has no offers"
    dear = contract(offers={"castle": {"label": "A castle", "cost": 1e300}})
    assert "no customer" in planned(50, 1e9, terms=dear).summary["note"]
    assert "no customer" in planned(0, 100).summary["note"]
    assert planned(50, 100, terms=contract(offers={})).summary["by_offer"] == []


def test_offers_may_be_chosen_by_name() -> None:
    told = planned(300, 2_000, named=["gift"]).summary
    assert [one["offer"] for one in told["by_offer"]] == ["gift"]
    with pytest.raises(InvalidData, match="1 fault") as refusal:
        Offers(contract(), ["gift", "cake"])
    (fault,) = refusal.value.faults
    assert (fault.field, fault.value) == ("offers", "cake")
    assert "call, gift, month" in fault.message


def test_what_is_asked_of_the_base_leaves_nobody_out_who_could_be_contacted() -> None:
    offers = Offers(contract())
    assert offers.columns == ["kind", "away"]
    assert offers.bands == ["high", "medium", "low"]
    assert Offers(contract(), ["month"]).bands == ["high"]
    chances = np.linspace(0, 1, 20_001)
    pays = (offers.profit(chances, np.full(len(chances), np.nan)) > 0).any(axis=1)
    assert offers.least == pytest.approx(chances[pays].min(), abs=1e-4)
    assert offers.least <= chances[pays].min()
    own = contract(economics={"value_months": 6})
    assert Offers(own).least == 0  # of a customer who is worth much, any chance may pay
    assert Offers(contract(offers={})).least > 1


def test_a_customers_own_value_moves_the_plan_to_those_who_are_worth_more() -> None:
    own = contract(economics=PLAIN["economics"] | {"value_months": 6})
    same, by_value = planned(500, 1_000), planned(500, 1_000, terms=own)

    def mean_value(found: Plan) -> float:
        return float(np.nanmean(found.customers.monthly_value[found.order]))

    assert mean_value(by_value) > mean_value(same) + 10


def test_the_contract_says_what_is_wrong_with_its_new_keys() -> None:
    gift = PLAIN["offers"]["gift"]
    with pytest.raises(ContractError, match=r"offers\.gift\.acceptance.*less than or equal to 1"):
        contract(offers={"gift": gift | {"acceptance": 1.5}})
    fee = {"fee": {"type": "number", "change_cost": 3}}
    with pytest.raises(ContractError, match=r"features\.fee: change_cost belongs to a column that is actionable"):
        contract(features=PLAIN["features"] | fee)
    with pytest.raises(ContractError, match=r"value_months: there is no monthly_value"):
        contract(economics={"value_months": 6}, monthly_value=None)
    costed = contract(features=PLAIN["features"] | {"fee": {"type": "number", "actionable": True, "change_cost": 3}})
    assert costed.row_hash == contract(features=PLAIN["features"] | {"fee": {"type": "number"}}).row_hash
    assert "change_cost: 3" in contracts.dump(costed)
