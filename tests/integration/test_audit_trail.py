"""Who changed what is in service, and from where: by each way to do so, over a real registry and a real store."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from api.app import create_app
from api.serving import Serving
from churn import audit, jobs
from churn import settings as settings_of
from churn.cli import main
from churn.errors import NoChampion, Refused, Unavailable, UnknownVersion
from churn.keys import Keys
from churn.promoter import Promoter
from churn.registry import Registry
from churn.settings import Settings
from churn.store import Store
from tests import versions
from tests.versions import NOBODY

ONE, TWO = "12"
MODEL = "churn-classifier"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose registry holds two versions; the first is in service."""
    folder = tmp_path_factory.mktemp("versions")
    settings = settings_of.load().model_copy(update={"home": folder / "home"})
    registry = Registry(settings)
    for place, start in (("a", 0), ("b", 900)):
        versions.register(settings, versions.write(folder / place, start=start))
    registry.move(registry.version(ONE), by="the training", how="promote")
    return folder


@pytest.fixture
def settings(made: Path, tmp_path: Path) -> Settings:
    return versions.beside(made / "home", tmp_path / "home")


@pytest.fixture
def trail(settings: Settings) -> Callable[[], list[audit.Entry]]:
    def read() -> list[audit.Entry]:
        store = Store(settings)
        try:
            return audit.entries(store)
        finally:
            store.close()

    return read


def judge(settings: Settings, verdict: str) -> None:
    registry = Registry(settings)
    registry.judged(registry.version(TWO), {"gate": verdict, "gate_against": ONE, "gate_reason": "worse by far"})


def told(entry: audit.Entry) -> tuple[str, ...]:
    return entry.action, entry.by, entry.source, entry.subject, entry.outcome, entry.detail


def test_the_command_line(settings, trail, monkeypatch) -> None:
    monkeypatch.setenv("CHURN_HOME", str(settings.home))
    monkeypatch.setattr("churn.audit.person", lambda: "ann@host")
    judge(settings, "refused")

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(main, list(arguments))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.stdout

    run("promote", TWO)
    run("promote", TWO, "--despite-gate", "the campaign needs it", "--reason", "see ticket 7")
    assert "already" in run("promote", TWO)
    run("promote", "17")
    run("rollback", "--reason", "false alarms")
    run("rollback")
    who = ("ann@host", "command line")
    version_one, version_two = (f"{MODEL} version {number}" for number in (ONE, TWO))
    assert [told(one)[:5] for one in trail()[::-1]] == [
        ("promote", *who, version_two, "refused"),
        ("promote", *who, version_two, "done"),
        ("promote", *who, version_two, "unchanged"),
        ("promote", *who, f"{MODEL} version 17", "refused"),
        ("rollback", *who, version_one, "done"),
        ("rollback", *who, MODEL, "refused"),
    ]
    details = [one.detail for one in trail()[::-1]]
    assert "the gate has refused it: worse by far" in details[0]
    assert details[1] == "see ticket 7; despite the gate: the campaign needs it"
    assert "no version '17'" in details[3]
    assert details[4] == "false alarms"
    assert "nothing was in service before" in details[5]
    shown = run("audit", "--limit", "2").splitlines()
    assert len(shown) == 3
    assert "nothing was in service before" in shown[1]


def test_a_task_of_airflow_and_a_training_by_hand(settings, trail) -> None:
    with pytest.raises(Refused):
        jobs.promote(settings, TWO, by="Airflow: churn_training run 1")
    judge(settings, "passed")
    jobs.promote(settings, TWO, by="Airflow: churn_training run 2")
    jobs.promote(settings, TWO, by="ann@host: churn train", source="command line")
    assert [(one.by, one.source, one.outcome) for one in trail()[::-1]] == [
        ("Airflow: churn_training run 1", "airflow", "refused"),
        ("Airflow: churn_training run 2", "airflow", "done"),
        ("ann@host: churn train", "command line", "unchanged"),
    ]


def test_over_http_the_key_and_the_address_are_told(settings, trail) -> None:
    judge(settings, "passed")
    store = Store(settings)
    _, secret = Keys(store).make("ops", "admin", by="ann")
    store.close()
    serving = Serving(settings)
    serving.refresh()
    app = create_app(settings, serving=serving)
    keeper = app.extensions["churn.keeper"]
    client = app.test_client()
    assert client.post(f"/models/{MODEL}/promote", json={"version": TWO}).status_code == 200
    while not keeper.knows_keys:
        time.sleep(0.02)
    header, place = {"Authorization": f"Bearer {secret}"}, {"REMOTE_ADDR": "192.0.2.7"}
    for path, body, status in (
        ("rollback", {"reason": "false alarms"}, 200),
        ("rollback", {}, 409),
        ("promote", {"version": "17"}, 404),
        ("promote", {"version": ""}, 422),
    ):
        reply = client.post(f"/models/{MODEL}/{path}", json=body, headers=header, environ_overrides=place)
        assert reply.status_code == status
    assert [told(one)[1:5] for one in trail()[::-1]][1:] == [  # the first is that of the key
        ("anonymous (loopback)", "127.0.0.1", f"{MODEL} version {TWO}", "done"),
        ("key ops", "192.0.2.7", f"{MODEL} version {ONE}", "done"),
        ("key ops", "192.0.2.7", MODEL, "refused"),
        ("key ops", "192.0.2.7", f"{MODEL} version 17", "refused"),
    ]
    assert "'ops'" in Registry(settings).history()[0].by
    keeper.close()


def test_a_store_that_is_down_holds_no_rollback_back_and_the_log_has_the_entry(settings, caplog) -> None:
    down = settings.model_copy(update={"database_url": "postgresql://churn:Gxq7@127.0.0.1:9/churn"})
    registry = Registry(settings)
    promoter = Promoter(registry, audit.writer(down), by="ann@host", source="command line")
    promoter.promote(TWO, despite_gate="an emergency")
    promoter.rollback(reason="the emergency is over")
    assert registry.champion().version == ONE
    errors = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert len(errors) == 2
    for part in ("could not be written", '"action": "rollback"', '"by": "ann@host"', "the emergency is over"):
        assert part in errors[1]
    assert "Gxq7" not in caplog.text


def test_an_attempt_that_fails_is_told_as_such(settings) -> None:
    written: list[audit.Entry] = []

    class Ill:
        """A registry whose server goes away in between."""

        name = MODEL

        def __init__(self, error: Exception) -> None:
            self.error = error

        def history(self) -> list[object]:
            return []

        def version(self, _number: str) -> object:
            raise self.error

        def champion(self) -> object:
            raise self.error

    for error, outcome, detail in (
        (Unavailable(f"{NOBODY} does not answer"), "failed", NOBODY),
        (UnknownVersion("no such version"), "refused", "no such version"),
        (ZeroDivisionError(), "failed", "an unforeseen error"),
    ):
        promoter = Promoter(Ill(error), written.append, by="ann", source="here")  # type: ignore[arg-type]
        with pytest.raises(type(error)):
            promoter.promote(TWO)
        assert (written[-1].outcome, detail in written[-1].detail) == (outcome, True)
    promoter = Promoter(Ill(NoChampion("nothing serves")), written.append, by="ann", source="here")  # type: ignore[arg-type]
    with pytest.raises(NoChampion):
        promoter.rollback()
    assert written[-1].outcome == "refused"
