"""What an error of a step means to Airflow, by what the DAGs share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from churn.errors import ChurnError, Fault, InvalidData, NoChampion, Refused, Unavailable

PLUGINS = Path(__file__).resolve().parents[2] / "airflow/plugins"
WRONG = InvalidData([Fault(2, "column", "x", "expected a number")])


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_HOME", str(tmp_path_factory.mktemp("airflow-home")))
        patch.syspath_prepend(str(PLUGINS))
        import churn_pipeline

        yield churn_pipeline.told


@pytest.mark.parametrize(
    ("error", "becomes", "says"),
    [
        (Unavailable("down"), "Unavailable", "down"),
        (Refused("another is at work"), "Refused", "another is at work"),
        (NoChampion("train one first"), "AirflowSkipException", "train one first"),
        (WRONG, "AirflowFailException", "row 2, column: 'x': expected a number"),
        (ChurnError("whatever"), "AirflowFailException", "whatever"),
        (ValueError("a fault of ours"), "ValueError", "a fault of ours"),
    ],
)
def test_only_what_passes_is_tried_again(told, error: Exception, becomes: str, says: str) -> None:
    with pytest.raises(Exception, match=says) as raised, told(passing=(Refused,), idle=(NoChampion,)):
        raise error
    assert type(raised.value).__name__ == becomes


def test_by_itself_nothing_is_skipped(told) -> None:
    with pytest.raises(Exception, match="train one first") as raised, told():
        raise NoChampion("train one first")
    assert type(raised.value).__name__ == "AirflowFailException"
