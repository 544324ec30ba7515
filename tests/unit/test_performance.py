"""What outcomes say of a version."""

import numpy as np

from churn import performance
from churn.economics import Economics
from churn.truth import Proved

METRICS = {"report_roc_auc": 0.85, "report_log_loss": 0.4, "roc_auc": 0.9}


def outcomes(count: int, *, version: str = "2", noise: float = 0.0, seed: int = 1) -> list[Proved]:
    """Customers who leave as their probabilities say, or, with noise 1, without any regard to them."""
    dice = np.random.default_rng(seed)
    chance = dice.random(count)
    left = dice.random(count) < np.where(dice.random(count) < noise, 0.5, chance)
    return [
        Proved(bool(churned), float(told), "churn-classifier", version)
        for told, churned in zip(chance, left, strict=True)
    ]


def judge(found: list[Proved]) -> performance.Performance | None:
    return performance.judge(found, ("churn-classifier", "2"), METRICS, Economics(), seed=1)


def test_honest_probabilities_keep_their_word() -> None:
    found = judge(outcomes(2_000))
    assert found is not None
    assert (found.version, found.outcomes) == ("2", 2_000)
    low, high = found.intervals["roc_auc"]
    assert low < 5 / 6 < high  # of uniform probabilities that are true
    assert found.calibration_error < found.calibration_by_chance
    assert found.report == {"roc_auc": 0.85, "log_loss": 0.4}
    assert found.fallen(0.05) == ""


def test_probabilities_that_say_nothing_are_found_out() -> None:
    found = judge(outcomes(400, noise=1.0))
    assert found is not None
    assert "on 400 outcomes against 0.850 before" in found.fallen(0.05)


def test_too_few_outcomes_or_one_kind_judge_nothing() -> None:
    assert judge(outcomes(performance.FEWEST - 1)) is None
    assert judge([one._replace(churned=True) for one in outcomes(500)]) is None


def test_outcomes_of_earlier_versions_are_told_and_call_for_nothing() -> None:
    found = judge(outcomes(500, version="1", noise=1.0))
    assert found is not None
    assert found.version == "any"
    assert found.fallen(0.05) == ""
