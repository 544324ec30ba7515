"""Thresholds of the bands from a profit curve; how many of each band left; the order inside a band."""

import numpy as np
import pytest

from churn import profit, segmentation
from churn.contract import BANDS, Contract
from churn.economics import Economics
from churn.segmentation import Thresholds, propose_thresholds, stand_apart, wilson

OWN = (0.6, 0.3)


def calibrated(count: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """True probabilities, and who left by them."""
    dice = np.random.default_rng(seed)
    probability = dice.beta(0.8, 2.2, count)
    return (dice.random(count) < probability).astype(np.int64), probability


def test_medium_begins_where_contacting_pays_and_high_where_half_of_it_is_earned() -> None:
    target, probability = calibrated(60_000)
    economics = Economics()
    found = propose_thresholds(target, probability, economics, OWN)
    assert found.source == "profit curve"
    assert found.medium == pytest.approx(economics.threshold, abs=0.03)  # Elkan's, for true probabilities
    best, half, beyond = profit.at(
        np.array([found.medium, found.high, found.high + 0.01]), target, probability, economics
    )
    assert best == profit.at(np.arange(1, 100) / 100, target, probability, economics).max()
    assert half >= best / 2 > beyond


@pytest.mark.parametrize(
    "economics",
    [
        Economics(customer_value=11, offer_cost=10, contact_cost=5),  # it never pays
        Economics(offer_cost=0, contact_cost=0),  # everybody is worth a contact
        Economics(customer_value=1e9, offer_cost=0, contact_cost=0.01),
    ],
)
@pytest.mark.parametrize(
    ("target", "probability"),
    [
        ([1], [1.0]),
        ([1], [0.0]),
        ([0], [0.5]),
        ([1, 0], [0.995, 0.999]),
        ([0, 1, 1], [0.2, 0.2, 0.2]),
        ([1] * 5, [1.0] * 5),
    ],
)
def test_thresholds_always_fall_from_high_to_medium_to_0(
    economics: Economics, target: list[int], probability: list[float]
) -> None:
    found = propose_thresholds(np.array(target), np.array(probability), economics, OWN)
    assert 1 >= found.high > found.medium > 0
    if economics.customer_value == 11:
        assert found == Thresholds(0.6, 0.3, "contract")


@pytest.mark.parametrize("seed", range(60))
def test_any_curve_gives_a_contracts_thresholds(seed: int) -> None:
    target, probability = calibrated(seed + 1, seed)
    found = propose_thresholds(target, probability.round(2), Economics(), OWN)
    assert 1 >= found.high > found.medium > 0


@pytest.mark.parametrize(
    ("left", "customers", "low", "high"),
    # Brown, Cai & DasGupta 2001 and R's prop.test(correct = FALSE)
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)],
)
def test_intervals_are_wilsons(left: int, customers: int, low: float, high: float) -> None:
    assert wilson(left, customers) == pytest.approx((low, high), abs=1e-4)


def test_who_left_of_each_band(telco: Contract) -> None:
    probability = np.array([0.9, 0.6, 0.5999, 0.3, 0.1, 0.0])
    seen = segmentation.observed(np.array([1, 1, 1, 0, 0, 0]), probability, telco)
    assert [(one.band, one.threshold) for one in seen] == [("high", 0.6), ("medium", 0.3), ("low", 0)]
    assert [(one.observed.customers, one.observed.left) for one in seen] == [(2, 2), (2, 1), (2, 0)]
    assert [one.observed.churn_rate for one in seen] == [1, 0.5, 0]
    assert not stand_apart(seen)  # two customers tell nothing
    again = segmentation.of_metrics(segmentation.as_metrics(seen, "x_"), "x_")
    assert [again[band] for band in BANDS] == [one.observed for one in seen]


def test_a_band_without_customers_has_no_rate(telco: Contract) -> None:
    seen = segmentation.observed(np.array([0]), np.array([0.1]), telco)
    assert [one.observed.churn_rate for one in seen] == [None, None, 0]
    assert not stand_apart(seen)
    again = segmentation.of_metrics(segmentation.as_metrics(seen, "x_"), "x_")
    assert [again[band] for band in BANDS] == [one.observed for one in seen]
    assert segmentation.of_metrics({"log_loss": 0.4}, "x_") == {}


def test_bands_of_many_customers_stand_apart(telco: Contract) -> None:
    assert stand_apart(segmentation.observed(*calibrated(5_000), telco))
    target, probability = calibrated(5_000)
    assert not stand_apart(segmentation.observed(target[::-1].copy(), probability, telco))


def test_customers_are_taken_band_by_band_and_by_revenue_within() -> None:
    bands, revenue = np.array([2, 0, 1, 0, 0]), np.array([99.0, 10.0, 50.0, 30.0, 10.0])
    assert segmentation.ranked(bands, revenue).tolist() == [3, 1, 4, 2, 0]
