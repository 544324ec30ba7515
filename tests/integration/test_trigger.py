"""The trigger that tells Airflow when a training is due, over the real registry."""

import asyncio
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from churn import jobs
from churn import settings as settings_of

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


def first_event(trigger, within: float) -> str | None:
    """The fingerprint that the trigger tells first, or None if it tells nothing."""

    async def listen() -> str:
        async for event in trigger.run():
            return str(event.payload["fingerprint"])
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


def test_it_can_be_stored_and_built_again(triggers) -> None:
    path, arguments = triggers.TrainingIsDue(10).serialize()
    assert path == "churn_triggers.TrainingIsDue"
    assert triggers.TrainingIsDue(**arguments).poll_seconds == 10
