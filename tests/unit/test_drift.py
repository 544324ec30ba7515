"""Distances of numbers of any size, and the names under which they are logged."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.utils.validation import _validate_metric_name

from churn import drift, drift_reports
from churn.columns import Column
from churn.contract import Contract
from churn.reference import SCORE

DICE = np.random.default_rng(1)
ROWS = DICE.standard_normal(1_000)


@pytest.fixture
def one_number(telco: Contract) -> Contract:
    """A contract of one column."""
    return telco.model_copy(update={"features": {"size": Column(name="size", type="number", min=-1e300, max=1e300)}})


def measured(contract: Contract, reference: np.ndarray, current: np.ndarray, page: Path | None = None) -> drift.Moved:
    target = contract.target.column
    before = pd.DataFrame({"size": reference, target: np.arange(len(reference)) % 2, SCORE: 0.3})
    now = pd.DataFrame({"size": current, SCORE: 0.3})
    found = drift.measure(before, now, contract, column=0.1, score=0.1, seed=1, report=page)
    return found.columns["size"]


@pytest.mark.parametrize("unit", [1e-300, 1e-5, 1.0, 1e6, 1e200])
@pytest.mark.parametrize("at", [0.0, 100.0])
def test_a_move_is_seen_in_whatever_unit(one_number: Contract, unit: float, at: float) -> None:
    moved = measured(one_number, (ROWS + at) * unit, (ROWS + at + 5) * unit)
    assert moved.distance == pytest.approx(5, rel=0.1)  # against one half of the rows, whose deviation is near 1
    assert moved.drifted
    assert not measured(one_number, (ROWS + at) * unit, (ROWS[::-1] + at) * unit).drifted


@pytest.mark.parametrize("value", [0.0, 0.1, 1e200])
def test_a_column_of_one_value(one_number: Contract, value: float) -> None:
    always = np.full(1_000, value)
    assert measured(one_number, always, always).distance == 0
    assert measured(one_number, always, always * 1.001 + 1e-5).drifted
    assert not measured(one_number, always, np.append(always, value * 1.001 + 1e-5)).drifted


@pytest.mark.parametrize("unit", [1e-5, 1e200])
def test_the_page_shows_the_same_distance_and_the_numbers_as_they_are(
    one_number: Contract, tmp_path: Path, unit: float
) -> None:
    page = tmp_path / "page.html"
    moved = measured(one_number, ROWS * unit, (ROWS + 5) * unit, page)
    text = page.read_text(encoding="utf-8")
    assert f"{moved.distance:.6f}"[:7] in text
    assert f"e{int(np.log10(unit)):+03d}" in text or f"e{int(np.log10(unit)):d}" in text


# --- names of metrics


def test_a_column_may_have_any_name() -> None:
    names = ["Rate/", "a//b", "..", "größe", "grüße", "gr__e", "gr__e_4", "/", "x" * 400, "x" * 401, "Monthly Charges"]
    told = drift_reports._named({f"distance/{name}": float(n) for n, name in enumerate(names)} | {"outcomes": 7.0})
    for name in told:
        _validate_metric_name(name)
        assert len(name) <= 250
    assert list(told.values()) == [*map(float, range(len(names))), 7.0]
    assert {"distance/Monthly Charges", "distance/gr__e", "outcomes"} <= set(told)
