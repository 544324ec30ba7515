"""Profit: the closed forms against plain sums and integrals."""

import numpy as np
import pytest
from scipy import stats

from churn import profit
from churn.economics import Acceptance, Economics

USUAL = Economics()
MANY = [
    USUAL,
    Economics(offer_cost=60, contact_cost=5),
    Economics(offer_cost=0, contact_cost=9),
    Economics(offer_cost=20, contact_cost=0),
    Economics(customer_value=3_000, acceptance=Acceptance(alpha=0.7, beta=0.9)),
]


def customers(n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Targets drawn from the probabilities, which are rounded so that many are equal."""
    random = np.random.default_rng(seed)
    probability = np.round(1 / (1 + np.exp(-random.normal(-1.3, 1.6, n))), 2)
    return (random.random(n) < probability).astype(int), probability


def rates(economics: Economics, points: int = 20_000) -> np.ndarray:
    """Acceptance rates of equal mass: a mean over them is an integral over the distribution."""
    middles = (np.arange(points) + 0.5) / points
    return stats.beta.ppf(middles, economics.acceptance.alpha, economics.acceptance.beta)


def contact(target: int, rate: np.ndarray, economics: Economics) -> np.ndarray:
    if target:
        return rate * (economics.customer_value - economics.offer_cost) - economics.contact_cost
    return np.full(len(rate), -(economics.offer_cost + economics.contact_cost))


def test_realised_profit_is_the_sum_of_who_was_contacted() -> None:
    target, probability = np.array([1, 1, 0, 0]), np.array([0.5, 0.49, 0.5, 0.1])
    told = profit.realised(target, probability, 0.5, USUAL)
    assert told == pytest.approx([0.3 * 190 - 1, 0, -11, 0])


@pytest.mark.parametrize("economics", MANY)
def test_expected_profit_is_the_integral_over_the_acceptance_rate(economics: Economics) -> None:
    target, probability = customers(60)
    rate = rates(economics)
    cost, gain = economics.offer_cost + economics.contact_cost, economics.customer_value - economics.offer_cost
    threshold = cost / (rate * gain + economics.offer_cost)
    integral = [
        np.where(p >= threshold, contact(y, rate, economics), 0).mean()
        for y, p in zip(target, probability, strict=True)
    ]
    assert profit.expected(target, probability, economics) == pytest.approx(integral, abs=0.002 * gain**0.5)


@pytest.mark.parametrize("economics", MANY)
def test_empc_is_the_integral_of_the_best_threshold_for_each_rate(economics: Economics) -> None:
    target, probability = customers()
    rate = rates(economics)
    best = np.zeros(len(rate))
    for threshold in np.unique(probability):
        picked = target[probability >= threshold]
        total = (picked == 1).sum() * contact(1, rate, economics) + (picked == 0).sum() * contact(0, rate, economics)
        best = np.maximum(best, total / len(target))
    assert profit.empc(target, probability, economics) == pytest.approx(best.mean(), rel=1e-4)


def test_empc_judges_the_order_alone_and_bounds_the_expected_profit() -> None:
    target, probability = customers()
    empc = profit.empc(target, probability, USUAL)
    assert profit.empc(target, probability**3 / 2, USUAL) == pytest.approx(empc)
    assert profit.expected(target, probability, USUAL).mean() < empc
    assert profit.expected(target, probability**3 / 2, USUAL).mean() < empc - 0.5


def test_a_probability_that_crosses_the_threshold_makes_realised_profit_jump_and_expected_not() -> None:
    target, at = np.array([1]), USUAL.threshold
    below, above = np.array([at - 1e-9]), np.array([at + 1e-9])
    assert profit.realised(target, above, at, USUAL) - profit.realised(target, below, at, USUAL) == pytest.approx(56)
    assert profit.expected(target, above, USUAL) == pytest.approx(profit.expected(target, below, USUAL), abs=1e-5)


def test_true_probabilities_earn_more_than_shifted_ones() -> None:
    target, probability = customers(20_000)
    honest = profit.expected(target, probability, USUAL).mean()
    for wrong in (probability**2, np.sqrt(probability)):
        assert profit.expected(target, wrong, USUAL).mean() < honest


def test_nothing_is_earned_where_nothing_pays() -> None:
    target, probability = customers()
    hopeless = Economics(contact_cost=500)
    assert not profit.expected(target, probability, hopeless).any()
    assert profit.empc(target, probability, hopeless) == 0


def test_everybody_is_contacted_where_a_contact_is_free() -> None:
    target, probability = np.array([1, 0, 1]), np.array([0.0, 0.4, 1.0])
    told = profit.expected(target, probability, Economics(offer_cost=0, contact_cost=0))
    assert told == pytest.approx([60, 0, 60])


def test_the_extreme_probabilities_are_no_division_by_zero() -> None:
    told = profit.expected(np.array([1, 0, 1, 0]), np.array([0.0, 0.0, 5e-324, 1.0]), USUAL)
    assert told == pytest.approx([0, 0, 0, -11], abs=1e-6)


def test_the_curve_is_the_mean_realised_profit_at_each_threshold() -> None:
    target, probability = customers()
    thresholds, told = profit.curve(target, probability, USUAL, points=21)
    assert thresholds == pytest.approx(np.linspace(0, 1, 21))
    assert told == pytest.approx([profit.realised(target, probability, t, USUAL).mean() for t in thresholds])
    assert told[0] == pytest.approx(56 * target.mean() - 11 * (1 - target.mean()))


@pytest.mark.parametrize(
    ("target", "probability", "fault"),
    [
        ([], [], "one shape"),
        ([0, 1], [0.5], "one shape"),
        ([[0], [1]], [[0.5], [0.5]], "one shape"),
        ([0, 2], [0.5, 0.5], "neither 0 nor 1"),
        ([0, 1], [0.5, np.nan], "not a number from 0 to 1"),
        ([0, 1], [0.5, 1.5], "not a number from 0 to 1"),
    ],
)
def test_what_is_no_target_or_probability_is_refused(target: list, probability: list, fault: str) -> None:
    for judge in (profit.expected, profit.empc, profit.curve):
        with pytest.raises(ValueError, match=fault):
            judge(np.array(target), np.array(probability), USUAL)
