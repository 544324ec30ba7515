"""The gate inside a whole training: what it passes serves, what it refuses stays registered."""

import shutil

import pytest

from churn import jobs
from churn.errors import Refused
from churn.registry import Registry
from churn.settings import Settings


@pytest.fixture(scope="module")
def home(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A champion, by logistic regression, on a copy of the shipped data."""
    folder = tmp_path_factory.mktemp("data") / "telco"
    shutil.copytree(settings.contract.parent, folder)
    own = {"contract": folder / "contract.yaml", "home": tmp_path_factory.mktemp("home")}
    moved = settings.model_copy(update=own | {"candidates": ["logistic_regression"], "folds": 2})
    jobs.train(moved)
    return moved


def test_an_equal_challenger_takes_over_and_a_poor_one_is_refused(home: Settings, tmp_path) -> None:
    registry = Registry(home)
    again = home.model_copy(update={"seed": home.seed + 1})
    assert jobs.train(again, by="a schedule").version == "2"
    assert float(registry.champion().tags["gate_log_loss_difference_upper"]) < home.gate_log_loss
    assert registry.champion().tags["gate_against"] == "1"

    # the same rows, but what the training part says of them is turned round for every third
    rows = jobs.training_rows(home)
    whole = rows.read_text(encoding="utf-8")
    lines = whole.splitlines()
    turned = [_turned(line) if number % 3 == 0 else line for number, line in enumerate(lines)]
    rows.write_text("\n".join(turned), encoding="utf-8")
    try:
        assert jobs.training_is_due(home)
        prepared = jobs.prepare(home, "poor")
        uri = jobs.train_candidate(home, prepared, "logistic_regression")
        number = jobs.register(home, uri, prepared)
        assert registry.challenger().version == number
        rows.write_text(whole, encoding="utf-8")  # judged by customers as they are
        version = jobs.judge(home, number, jobs.prepare(home, "sound"), [uri])
        with pytest.raises(Refused, match="the gate has refused it: log loss"):
            jobs.promote(home, number, by="a schedule")
    finally:
        rows.write_text(whole, encoding="utf-8")
    assert version.refused
    assert registry.version(number).tags["gate"] == "refused"
    assert registry.champion().version == "2"
    assert registry.history()[0].by == "a schedule"


def _turned(line: str) -> str:
    if line.endswith(",Yes"):
        return line.removesuffix("Yes") + "No"
    return line.removesuffix("No") + "Yes" if line.endswith(",No") else line


def test_other_rows_are_taken_only_when_that_is_asked_for(home: Settings) -> None:
    registry = Registry(home)
    live = registry.champion().version
    text = home.contract.read_text(encoding="utf-8")
    home.contract.write_text(text.replace("max: 240", "max: 300"), encoding="utf-8")
    assert home.contract.read_text(encoding="utf-8") != text
    assert jobs.training_is_due(home)
    with pytest.raises(Refused, match="--accept-contract"):
        jobs.train(home)
    assert registry.champion().version == live
    assert not jobs.training_is_due(home)  # the same again would be refused again
    newest = registry.versions()[0].version
    assert jobs.promote(home, newest, by="a person", accept_contract=True).version == newest
    assert registry.champion().tags["contract_change"] == "accepted"


def test_a_label_may_change_without_being_asked_for(home: Settings) -> None:
    registry = Registry(home)
    before = registry.champion().version
    text = home.contract.read_text(encoding="utf-8")
    home.contract.write_text(text.replace("action: Survey", "action: Call"), encoding="utf-8")
    assert jobs.train(home).version != before
    assert registry.champion().tags["gate_against"] == before


def test_the_run_of_a_version_tells_of_the_report_set_and_has_a_card(home: Settings, tmp_path) -> None:
    from mlflow import artifacts

    champion = Registry(home).champion()
    assert champion.metrics["report_roc_auc_low"] < champion.metrics["report_roc_auc"]
    uri = f"runs:/{champion.run_id}/reports"
    folder = artifacts.download_artifacts(artifact_uri=uri, dst_path=str(tmp_path), tracking_uri=home.tracking_uri)
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert {"model_card.md", "groups.json", "roc.png", "reliability.png", "gain.png", "profit.png"} <= names
    card = next(tmp_path.rglob("model_card.md")).read_text(encoding="utf-8")
    assert folder
    for said in ("# Model card: churn-classifier version", "logistic regression", "95 %", "Groups of customers", "USD"):
        assert said in card
