"""The trigger that tells Airflow when a training is due, over the real registry."""

import asyncio
import shutil
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from churn import jobs, portfolio
from churn import settings as settings_of
from tests.conftest import free_port

PLUGINS = Path(__file__).resolve().parents[2] / "airflow/plugins"


@pytest.fixture
def triggers(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """The plugin's module, as Airflow imports it, without the wait for files that are being copied."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path_factory.mktemp("airflow-home")))
    monkeypatch.syspath_prepend(str(PLUGINS))
    import churn_triggers

    monkeypatch.setattr(churn_triggers, "SETTLING_SECONDS", 0)
    yield churn_triggers
    sys.modules.pop("churn_triggers")


def first_event(trigger, within: float, field: str = "fingerprint") -> str | None:
    """What the trigger tells first, or None if it tells nothing."""

    async def listen() -> str:
        async for event in trigger.run():
            return str(event.payload[field])
        raise AssertionError("it must listen for ever")

    try:
        return asyncio.run(asyncio.wait_for(listen(), within))
    except TimeoutError:
        return None


def test_it_tells_that_there_is_no_champion(triggers, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("CHURN_HOME", str(tmp_path))
    assert first_event(triggers.TrainingIsDue(0.1), 60) == jobs.fingerprint(settings_of.load())


def test_it_is_silent_until_the_rows_change(triggers, settings, champion, monkeypatch, tmp_path) -> None:
    folder = tmp_path / "telco"
    shutil.copytree(settings.contract.parent, folder)
    monkeypatch.setenv("CHURN_HOME", str(settings.home))
    monkeypatch.setenv("CHURN_CONTRACT", str(folder / "contract.yaml"))
    assert first_event(triggers.TrainingIsDue(0.1), 3) is None
    with (folder / "customers.csv").open("a") as rows:
        rows.write("\n")
    assert first_event(triggers.TrainingIsDue(0.1), 60) == jobs.fingerprint(settings_of.load())


def test_a_file_that_is_away_is_no_event_and_no_end(triggers, settings, champion, monkeypatch, tmp_path) -> None:
    shutil.copy(settings.contract, tmp_path / "contract.yaml")
    monkeypatch.setenv("CHURN_HOME", str(settings.home))
    monkeypatch.setenv("CHURN_CONTRACT", str(tmp_path / "contract.yaml"))
    assert first_event(triggers.TrainingIsDue(0.1), 3) is None


def test_a_recommender_is_due_when_the_rows_change(triggers, settings, recommender_champion, monkeypatch, tmp_path):
    folder = tmp_path / "telco"
    shutil.copytree(settings.contract.parent, folder)
    monkeypatch.setenv("CHURN_HOME", str(settings.home))
    monkeypatch.setenv("CHURN_CONTRACT", str(folder / "contract.yaml"))
    assert first_event(triggers.RecommenderTrainingIsDue(0.1), 2) is None
    with (folder / "customers.csv").open("a") as rows:
        rows.write("\n")
    assert first_event(triggers.RecommenderTrainingIsDue(0.1), 60) == jobs.fingerprint(settings_of.load())


@pytest.mark.parametrize("name", ["TrainingIsDue", "RecommenderTrainingIsDue", "ScoringIsDue"])
def test_it_can_be_stored_and_built_again(triggers, name: str) -> None:
    path, arguments = getattr(triggers, name)(10).serialize()
    assert path == f"churn_triggers.{name}"
    assert getattr(triggers, name)(**arguments).poll_seconds == 10


def test_scoring_is_due_until_it_is_done_and_again_after_a_change(triggers, settings, champion, monkeypatch, tmp_path):
    folder = tmp_path / "telco"
    shutil.copytree(settings.contract.parent, folder)
    monkeypatch.setenv("CHURN_HOME", str(settings.home))
    monkeypatch.setenv("CHURN_CONTRACT", str(folder / "contract.yaml"))
    monkeypatch.setenv("CHURN_DATABASE_URL", f"sqlite:///{tmp_path / 'own.db'}")
    assert first_event(triggers.ScoringIsDue(0.1), 60, "version") == champion.version
    list(portfolio.score_base(settings_of.load(), "one"))
    assert first_event(triggers.ScoringIsDue(0.1), 2, "version") is None
    with (folder / "customers.csv").open("a") as rows:
        rows.write("\n")
    assert first_event(triggers.ScoringIsDue(0.1), 60, "version") == champion.version


def test_a_scoring_that_goes_on_failing_is_asked_for_in_growing_pauses(triggers, monkeypatch) -> None:
    class Failing(triggers._IsDue):
        def _due(self) -> dict[str, str]:
            return {"state": "the same"}

    monkeypatch.setattr(triggers, "FIRST_PAUSE", 0.2)
    told = []

    async def listen() -> None:
        began = time.monotonic()
        async for _ in Failing(0.01).run():
            told.append(time.monotonic() - began)
            if len(told) == 4:
                return

    asyncio.run(asyncio.wait_for(listen(), 30))
    first, second, third = (later - earlier for earlier, later in pairwise(told))
    assert first > 0.19
    assert second > 1.5 * 0.2
    assert third > 1.5 * 0.4


def test_without_a_champion_or_with_the_store_down_it_is_silent(triggers, monkeypatch, tmp_path, settings, champion):
    monkeypatch.setenv("CHURN_HOME", str(tmp_path))
    assert first_event(triggers.ScoringIsDue(0.1), 2, "version") is None
    monkeypatch.setenv("CHURN_HOME", str(settings.home))
    monkeypatch.setenv("CHURN_DATABASE_URL", f"postgresql://churn@127.0.0.1:{free_port()}/churn")
    assert first_event(triggers.ScoringIsDue(0.1), 2, "version") is None
