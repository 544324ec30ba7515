"""Metrics against scikit-learn's and plain counting; intervals against their formula."""

import time

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from churn import evaluation
from churn.economics import Economics

USUAL = Economics()
NAMES = {
    "roc_auc", "pr_auc", "brier", "log_loss", "calibration_error",
    "lift_top_10", "capture_top_10", "expected_profit", "empc",
}  # fmt: skip


def customers(n: int = 700, seed: int = 0, digits: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Targets drawn from the probabilities, so that these are true; few digits make many equal."""
    random = np.random.default_rng(seed)
    probability = np.round(1 / (1 + np.exp(-random.normal(-1.3, 1.6, n))), digits)
    return (random.random(n) < probability).astype(int), probability


@pytest.mark.parametrize("digits", [12, 1])
def test_the_common_metrics_are_those_of_scikit_learn(digits: int) -> None:
    target, probability = customers(digits=digits)
    told = evaluation.metrics(target, probability, USUAL)
    assert set(told) == NAMES
    assert told["roc_auc"] == pytest.approx(sklearn_metrics.roc_auc_score(target, probability))
    assert told["pr_auc"] == pytest.approx(sklearn_metrics.average_precision_score(target, probability))
    assert told["brier"] == pytest.approx(sklearn_metrics.brier_score_loss(target, probability))
    clipped = np.clip(probability, 1e-15, 1 - 1e-15)
    assert told["log_loss"] == pytest.approx(sklearn_metrics.log_loss(target, clipped))


def test_a_certain_mistake_costs_much_and_not_infinitely() -> None:
    told = evaluation.metrics(np.array([1, 0]), np.array([0.0, 0.0]), USUAL)
    assert told["log_loss"] == pytest.approx(-np.log(1e-15) / 2)


def test_metrics_do_not_depend_on_the_order_of_rows() -> None:
    target, probability = customers(digits=1)
    order = np.random.default_rng(1).permutation(len(target))
    assert evaluation.metrics(target[order], probability[order], USUAL) == pytest.approx(
        evaluation.metrics(target, probability, USUAL)
    )


def test_the_calibration_error_is_the_mean_distance_over_bins_of_equal_mass() -> None:
    target, probability = customers(1_000)
    parts = np.array_split(np.argsort(probability), 10)
    plain = np.mean([abs(probability[part].mean() - target[part].mean()) for part in parts])
    assert evaluation.metrics(target, probability, USUAL)["calibration_error"] == pytest.approx(plain)


def test_equal_probabilities_share_a_bin_and_few_rows_have_few_bins() -> None:
    target = np.array([1, 0] * 50)
    assert evaluation.metrics(target, np.full(100, 0.5), USUAL)["calibration_error"] == pytest.approx(0)
    mean, churned, size = evaluation.reliability(target[:24], np.linspace(0.1, 0.9, 24))
    assert (size.tolist(), churned.tolist()) == ([12, 12], [6, 6])
    assert mean == pytest.approx([0.291304, 0.708696], abs=1e-6)


def test_the_top_tenth_captures_the_churners_in_it() -> None:
    target, probability = np.zeros(100, dtype=int), np.linspace(0.99, 0, 100)
    target[[0, 3, 9, 10, 50]] = 1
    told = evaluation.metrics(target, probability, USUAL)
    assert told["capture_top_10"] == pytest.approx(3 / 5)
    assert told["lift_top_10"] == pytest.approx(6)


def test_ties_on_the_border_of_the_top_tenth_count_as_expected() -> None:
    target = np.array([1] * 4 + [0] * 16)
    probability = np.array([0.9] + [0.5] * 9 + [0.1] * 10)
    # one of the two best is certain to be a churner, the other is one in three of the nine ties
    assert evaluation.metrics(target, probability, USUAL)["capture_top_10"] == pytest.approx((1 + 3 / 9) / 4)


def test_the_calibration_error_by_chance_is_rarely_exceeded_by_true_probabilities() -> None:
    _, probability = customers(400)
    bound = evaluation.calibration_error_by_chance(probability, seed=5, level=0.9)
    random = np.random.default_rng(6)
    drawn = [(random.random(400) < probability).astype(int) for _ in range(400)]
    above = np.mean([evaluation.metrics(y, probability, USUAL)["calibration_error"] > bound for y in drawn])
    assert 0.05 < above < 0.15


def test_a_summary_gives_the_corrected_interval_of_the_mean() -> None:
    told = evaluation.summary([{"roc_auc": x} for x in (0.80, 0.84, 0.83, 0.85, 0.88)], test_share=0.2)
    assert told["roc_auc"] == pytest.approx(0.84)
    assert told["roc_auc_std"] == pytest.approx(0.0291548, abs=1e-6)
    # t(0.975, 4) = 2.776445; variance times 1/5 + 0.2/0.8
    half = 2.776445 * 0.0291548 * np.sqrt(0.45)
    assert (told["roc_auc_low"], told["roc_auc_high"]) == pytest.approx((0.84 - half, 0.84 + half), abs=1e-6)


def test_a_summary_leaves_out_what_folds_do_not_define() -> None:
    nan = float("nan")
    told = evaluation.summary([{"a": nan, "b": 1.0}, {"a": nan, "b": nan}], test_share=0.5)
    assert told == {"b": 1.0}
    assert evaluation.summary([], test_share=0.5) == {}


def test_pooling_takes_the_upward_bias_out_of_the_calibration_error() -> None:
    target, probability = customers(3_000)
    told = evaluation.pooled(target, probability, USUAL)
    folds = [
        evaluation.metrics(target[part], probability[part], USUAL) for part in np.array_split(np.arange(3_000), 30)
    ]
    assert set(told) == {"pooled_calibration_error"}
    assert told["pooled_calibration_error"] < evaluation.summary(folds, 0.1)["calibration_error"] / 3


def test_bootstrap_intervals_cover_the_truth_as_often_as_they_say() -> None:
    truth = evaluation.metrics(*customers(200_000, seed=99), USUAL)
    names = ("roc_auc", "log_loss", "expected_profit", "lift_top_10")
    covered = dict.fromkeys(names, 0)
    for seed in range(60):
        told = evaluation.bootstrap(*customers(300, seed=seed), USUAL, draws=200, seed=seed)
        for name in names:
            covered[name] += told[name][0] <= truth[name] <= told[name][1]
    assert all(count >= 50 for count in covered.values()), covered


def test_bootstrap_is_repeatable_and_quick() -> None:
    target, probability = customers(700)
    started = time.process_time()
    told = evaluation.bootstrap(target, probability, USUAL, seed=3)
    assert time.process_time() - started < 4
    assert told == evaluation.bootstrap(target, probability, USUAL, seed=3)
    assert told != evaluation.bootstrap(target, probability, USUAL, seed=4)
    assert set(told) == NAMES - {"calibration_error"}
    point = evaluation.metrics(target, probability, USUAL)
    assert all(low < point[name] < high for name, (low, high) in told.items())


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_leaves_only_what_it_defines(label: int) -> None:
    target, probability = np.full(40, label), np.linspace(0.1, 0.9, 40)
    told = evaluation.metrics(target, probability, USUAL)
    undefined = {"roc_auc"} if label else {"roc_auc", "pr_auc", "lift_top_10", "capture_top_10"}
    assert {name for name, figure in told.items() if np.isnan(figure)} == undefined
    intervals = evaluation.bootstrap(target, probability, USUAL, draws=20, seed=1)
    assert set(intervals) == NAMES - undefined - {"calibration_error"}


def test_a_draw_without_a_class_does_not_spoil_the_interval() -> None:
    target, probability = np.array([1, 0, 0, 0]), np.array([0.7, 0.2, 0.3, 0.8])
    low, high = evaluation.bootstrap(target, probability, USUAL, draws=300, seed=1)["roc_auc"]
    assert 0 <= low < high <= 1


def test_a_single_customer_has_metrics() -> None:
    told = evaluation.metrics(np.array([1]), np.array([0.25]), USUAL)
    assert told["brier"] == pytest.approx(0.5625)
    assert told["calibration_error"] == pytest.approx(0.75)


def test_each_group_is_told_apart() -> None:
    target = np.array([1, 0, 1, 0, 0, 1])
    probability = np.array([0.9, 0.6, 0.2, 0.1, 0.1, 0.7])
    groups = np.array(["b", "b", "b", "a", "a", None], dtype=object)
    first, second, none = evaluation.by_group(target, probability, groups, 0.5)
    assert first == {
        "group": "a", "customers": 2, "churn_rate": 0.0, "mean_probability": pytest.approx(0.1), "roc_auc": None,
        "calibration": pytest.approx(0.1), "contacted": 0.0, "recall": None, "false_positive_rate": 0.0,
    }  # fmt: skip
    assert second["roc_auc"] == pytest.approx(0.5)
    assert (second["recall"], second["false_positive_rate"]) == (0.5, 1.0)
    assert second["contacted"] == pytest.approx(2 / 3)
    assert (none["group"], none["customers"], none["recall"]) == (None, 1, 1.0)


def test_numbers_and_gaps_are_labels_too() -> None:
    rows = evaluation.by_group(np.array([1, 0, 1]), np.array([0.9, 0.6, 0.2]), np.array([1.0, 0.0, np.nan]), 0.5)
    assert [row["group"] for row in rows] == [0.0, 1.0, None]


def test_gaps_are_those_of_the_large_groups() -> None:
    def row(customers: int, contacted: float, recall: float | None) -> dict:
        return {"customers": customers, "contacted": contacted, "recall": recall}

    told = evaluation.gaps([row(100, 0.3, 0.8), row(40, 0.5, 0.7), row(30, 0.45, None), row(5, 1.0, 0.0)])
    assert told == pytest.approx({"demographic_parity_difference": 0.2, "equal_opportunity_difference": 0.1})
    assert evaluation.gaps([row(100, 0.3, 0.8)]) == {}
