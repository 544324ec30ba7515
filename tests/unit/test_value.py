"""What is at stake with a customer, and what contacting him brings."""

import numpy as np
import pytest

from churn.economics import Acceptance, Economics
from churn.value import customer_value, expected_profit, revenue_at_risk

ECONOMICS = Economics(customer_value=200, offer_cost=10, contact_cost=1, acceptance=Acceptance(alpha=6, beta=14))


def test_revenue_at_risk_is_what_would_be_lost_over_the_months() -> None:
    found = revenue_at_risk([0.5, 0.1, 0.5], [20, 30, float("nan")], ECONOMICS)
    assert found[:2].tolist() == pytest.approx([120, 36])
    assert np.isnan(found[2])
    assert revenue_at_risk([0.5], [20], Economics(months=6)).tolist() == [60]


def test_a_contact_is_worth_by_hand_what_the_formula_says() -> None:
    # of 100 contacted at p = 0.4, 40 would leave: 12 accept (190 each less the contact), all 60 others take the offer
    by_hand = (12 * 190 - 40 * 1 - 60 * 11) / 100
    assert expected_profit([0.4], ECONOMICS).tolist() == pytest.approx([by_hand])


def test_at_the_threshold_a_contact_brings_nothing() -> None:
    around = expected_profit([ECONOMICS.threshold - 1e-6, ECONOMICS.threshold, ECONOMICS.threshold + 1e-6], ECONOMICS)
    assert around[0] < 0 < around[2]
    assert around[1] == pytest.approx(0, abs=1e-12)


def test_each_customer_and_offer_may_have_figures_of_their_own() -> None:
    chance = np.array([0.2, 0.9])
    one_by_one = [
        expected_profit([p], ECONOMICS, offer_cost=d, acceptance=g, customer_value=v)[0]
        for p, d, g, v in zip(chance, [5, 50], [0.1, 0.8], [90, 900], strict=True)
    ]
    together = expected_profit(
        chance, ECONOMICS, offer_cost=[5, 50], acceptance=[0.1, 0.8], customer_value=np.array([90, 900])
    )
    assert together.tolist() == one_by_one
    assert expected_profit(chance, ECONOMICS, offer_cost=10, acceptance=0.3).tolist() == pytest.approx(
        expected_profit(chance, ECONOMICS).tolist()
    )


def test_a_customers_own_value_counts_only_where_the_contract_says_so() -> None:
    assert customer_value([20, 30], ECONOMICS) is None
    own = customer_value([20, float("nan")], Economics(value_months=9))
    assert own is not None
    assert own.tolist() == [180, 200]  # unknown: everybody's
