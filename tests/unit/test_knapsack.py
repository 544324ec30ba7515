"""The knapsack of offers: never above the budget, equal to brute force, and quick with many customers."""

import time
from itertools import product

import numpy as np
import pytest

from churn.knapsack import choose, in_order
from churn.knapsack_core import NOBODY

INF = float("inf")


def brute_force(profit: np.ndarray, cost: np.ndarray, budget: int) -> float:
    """The best of all plans, each of which is looked at."""
    best = 0.0
    for plan in product(range(-1, len(cost)), repeat=len(profit)):
        chosen = [(i, offer) for i, offer in enumerate(plan) if offer >= 0]
        if sum(cost[offer] for _, offer in chosen) <= budget:
            best = max(best, sum(profit[i, offer] for i, offer in chosen))
    return best


def by_cost(profit: np.ndarray, cost: np.ndarray, budget: int) -> float:
    """The best of all plans: of those that spend the same only the best is kept, customer by customer."""
    best = np.full(budget + 1, -INF)
    best[0] = 0.0
    for row in profit:
        before = best.copy()
        for offer in np.flatnonzero((row > 0) & (cost <= budget)):
            at = int(cost[offer])
            best[at:] = np.maximum(best[at:], before[: budget + 1 - at] + row[offer])
    return float(best.max())


def worth_and_cost(profit: np.ndarray, cost: np.ndarray, chosen: np.ndarray) -> tuple[float, int]:
    there = np.flatnonzero(chosen != NOBODY)
    return float(profit[there, chosen[there]].sum()), int(cost[chosen[there]].sum())


def case(dice: np.random.Generator, customers: int, offers: int, dearest: int, kind: int):
    cost = dice.integers(0 if kind == 0 else 1, dearest, offers)
    profit = dice.normal(5, 10, (customers, offers))
    if kind == 1:  # ties
        profit = np.round(profit / 5) * 5
    if kind == 2:  # all customers are alike
        profit = np.repeat(profit[:1], customers, axis=0)
    if kind == 3:  # what is dearer brings more
        profit = profit + cost
    if kind == 4 and offers > 1:  # two offers of one cost
        cost[1] = cost[0]
    profit[dice.random(profit.shape) < 0.2] = -INF
    return profit, cost, int(dice.integers(0, max(1, int(cost.mean() * customers * 0.8)) + 2))


def test_it_equals_brute_force_on_every_small_case() -> None:
    dice = np.random.default_rng(11)
    for trial in range(400):
        profit, cost, budget = case(dice, int(dice.integers(1, 7)), int(dice.integers(1, 4)), 40, trial % 6)
        found = choose(profit, cost, budget)
        worth, spent = worth_and_cost(profit, cost, found.offer)
        assert spent <= budget
        assert worth == pytest.approx(found.profit)
        assert worth == pytest.approx(brute_force(profit, cost, budget), abs=1e-9)
        assert found.exact
        assert found.bound == found.profit


@pytest.mark.parametrize("dearest", [30, 1_000, 20_000])
def test_it_equals_the_optimum_of_cases_of_every_kind(dearest: int) -> None:
    dice = np.random.default_rng(dearest)
    for trial in range(40):
        customers = int(dice.integers(10, 40 if dearest > 1_000 else 120))
        profit, cost, budget = case(dice, customers, int(dice.integers(1, 6)), dearest, trial % 6)
        budget = min(budget, 60_000)
        found = choose(profit, cost, budget)
        assert worth_and_cost(profit, cost, found.offer)[1] <= budget
        assert found.exact
        assert found.profit == pytest.approx(by_cost(profit, cost, budget), abs=1e-7)


def test_with_many_customers_it_is_exact_and_quick() -> None:
    dice = np.random.default_rng(3)
    probability = dice.beta(1, 3, 200_000)
    cost = np.array([9_137, 6_621, 2_611])
    profit = probability[:, None] * np.array([130.0, 90.0, 60.0]) - (1 - probability[:, None]) * cost / 100
    for budget in (50_000, 5_000_000, 500_000_000):
        began = time.monotonic()
        found = choose(profit, cost, budget)
        assert time.monotonic() - began < 5
        assert found.exact
        assert worth_and_cost(profit, cost, found.offer)[1] <= budget
        assert (choose(profit, cost, budget).offer == found.offer).all()


def test_a_search_that_gives_up_says_so_and_how_far_it_may_be_off() -> None:
    dice = np.random.default_rng(8)
    cost = np.array([9_137, 6_621, 2_611])
    gaps = []
    for _ in range(20):
        profit = dice.uniform(0, 100, (60, 3))
        best, given_up = choose(profit, cost, 100_000), choose(profit, cost, 100_000, most_states=0)
        assert best.exact
        assert worth_and_cost(profit, cost, given_up.offer)[1] <= 100_000
        assert given_up.profit <= best.profit + 1e-9
        assert best.profit <= given_up.bound + 1e-9
        gaps.append(not given_up.exact)
    assert any(gaps)


@pytest.mark.parametrize(
    ("profit", "cost", "budget", "expected"),
    [
        ([[5.0]], [3], 3, [0]),
        ([[5.0]], [3], 2, [NOBODY]),
        ([[5.0]], [0], 0, [0]),
        ([[-5.0]], [0], 9, [NOBODY]),
        ([[0.0]], [1], 9, [NOBODY]),
        ([[-INF, 4.0]], [1, 2], 9, [1]),
        ([[4.0, 4.0]], [2, 1], 9, [1]),  # the cheaper of two that bring the same
        ([[4.0], [4.0]], [1], 1, [0, NOBODY]),  # the first of two who are alike
        (np.empty((0, 2)), [1, 2], 9, []),
        (np.empty((3, 0)), [], 9, [NOBODY] * 3),
    ],
)
def test_the_edges(profit: list, cost: list, budget: int, expected: list) -> None:
    found = choose(np.asarray(profit, dtype=float), np.asarray(cost, dtype=np.int64), budget)
    assert found.offer.tolist() == expected


def test_in_order_goes_on_with_cheaper_offers_when_the_dearer_ones_do_not_fit_any_more() -> None:
    profit = np.array([[9.0, 3.0], [9.0, 3.0], [9.0, 3.0], [9.0, -1.0], [9.0, 3.0]])
    cost = np.array([5, 2])
    assert in_order(profit, cost, 12, np.arange(5), profit).tolist() == [0, 0, 1, NOBODY, NOBODY]
    assert in_order(profit, cost, 14, np.array([4, 3, 2, 1, 0]), profit).tolist() == [NOBODY, 1, 1, 0, 0]
    assert in_order(profit, cost, 4, np.arange(5), -cost.astype(float)).tolist() == [1, 1, NOBODY, NOBODY, NOBODY]
