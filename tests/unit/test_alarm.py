"""When the monitoring calls for a training, and when it does not call again."""

from datetime import UTC, datetime, timedelta

import pytest

from churn import alarm
from churn.alarm import Circumstances, Limits
from churn.drift import ALL, Drift, Moved
from churn.monitoring_log import Look
from churn.performance import Performance

NOW = datetime(2026, 3, 1, 5, tzinfo=UTC)
HERE = Circumstances(version="1", current_hash="rows", material="all", joinable=500, enough=100, newest="1")


def drift(score: float = 0.01, **columns: float) -> Drift:
    moved = {name: Moved(name.title(), distance, 0.1) for name, distance in columns.items()}
    return Drift(moved, Moved("Churn probability", score, 0.1), ALL)


def performance(auc: float, high: float, version: str = "1") -> Performance:
    intervals = {"roc_auc": (auc - 0.05, high)}
    return Performance(240, 60, version, {"roc_auc": auc}, intervals, 0.02, 0.03, {"roc_auc": 0.85})


def call(causes: list[str], *, hours: float = 24, starts: bool = True, come: int = 0, **there: str) -> Look:
    """A look of some hours ago that called for a training, since which some outcomes have come."""
    told = {"version": "1", "current_hash": "rows", "material": "all", "newest": "0"} | there
    figures = {name: told[name] for name in ("material", "newest")} | {"joinable": HERE.joinable - come}
    figures |= {"causes": causes, "starts": starts}
    at = NOW - timedelta(hours=hours)
    return Look("key", at, told["version"], told["current_hash"], True, "", "", figures)


def test_nothing_has_moved() -> None:
    causes, reason = alarm.causes(drift(tenure=0.02, charges=0.04), None, Limits(1, 0.05))
    assert causes == []
    assert reason == "no column has drifted; the furthest is Charges: 0.04 against 0.10"


def test_a_column_that_has_drifted_is_named_with_its_figures() -> None:
    causes, reason = alarm.causes(drift(tenure=0.31, charges=0.04), None, Limits(1, 0.05))
    assert causes == ["tenure"]
    assert reason == "drifted: 1 of 2 columns: Tenure: 0.31 against 0.10"


def test_fewer_columns_than_the_setting_asks_for_call_for_nothing() -> None:
    causes, reason = alarm.causes(drift(tenure=0.31, charges=0.04), None, Limits(2, 0.05))
    assert causes == []
    assert "fewer than the 2 that call for a training" in reason


def test_scores_and_performance_call_each_by_itself() -> None:
    causes, reason = alarm.causes(drift(score=0.2, tenure=0.02), performance(0.7, 0.76), Limits(1, 0.05))
    assert causes == [alarm.SCORE, alarm.PERFORMANCE]
    assert "the scores have moved: Churn probability: 0.20 against 0.10" in reason
    assert "ROC AUC 0.700 (0.650 to 0.760) on 240 outcomes against 0.850 before" in reason


@pytest.mark.parametrize(
    "judged",
    [
        performance(0.82, 0.84),  # not far enough below
        performance(0.75, 0.86),  # chance may explain it
        performance(0.6, 0.65, version="any"),  # of versions that are no longer in service
    ],
)
def test_performance_that_calls_for_nothing(judged: Performance) -> None:
    assert alarm.causes(drift(tenure=0.02), judged, Limits(1, 0.05))[0] == []


@pytest.mark.parametrize(
    ("past", "words"),
    [
        (call(["tenure"]), "no training is started: one was on 2026-02-28 05:00 UTC"),
        (call(["tenure"], current_hash="yesterday's"), "nothing new to learn from"),  # the same causes, other rows
        (call(["tenure"], version="0"), "nothing new to learn from"),  # the training has put another into service
        (call(["charges"]), "nothing new"),  # the same rows and champion
        (call(["tenure"], newest="1", hours=1), "nothing new"),  # it is still running
        (call(["tenure"], newest="1"), ""),  # it left no version: it failed
        (call(["tenure"], starts=False), ""),  # somebody looked by hand
        (call(["charges"], current_hash="yesterday's"), ""),  # another column
        (call(["tenure"], material="other"), ""),  # other training rows
        (call(["tenure"], current_hash="yesterday's", come=99), "only 99 outcomes have come since, fewer than 100"),
        (call(["tenure"], come=99), "fewer than 100"),
        (call(["tenure"], come=100), ""),
        (call(["charges"], come=1), ""),  # another column, and something to learn from
        (call(["tenure"], come=-3), "nothing new"),  # some join no more
    ],
)
def test_the_same_is_not_called_for_twice(past: Look, words: str) -> None:
    said = alarm.again(["tenure"], HERE, [past], NOW)
    assert words in said
    assert bool(said) == bool(words)


def test_causes_that_come_and_go_call_once_each_until_there_is_enough_to_learn() -> None:
    past = [call(["charges"], current_hash="b", come=10), call(["tenure"], current_hash="a", hours=48, come=20)]
    assert "only 10 outcomes" in alarm.again(["tenure", "charges"], HERE, past, NOW)
    assert alarm.again([alarm.PERFORMANCE, "tenure"], HERE, past, NOW) == ""


def test_a_fall_of_the_performance_calls_though_the_customers_are_the_same_file() -> None:
    """Of a contract that names no customers the file stays as it is for years."""
    assert alarm.again([alarm.PERFORMANCE], HERE, [call(["tenure"], come=4_000)], NOW) == ""
    assert alarm.again([alarm.PERFORMANCE], HERE, [call([alarm.PERFORMANCE], come=4_000)], NOW) == ""
