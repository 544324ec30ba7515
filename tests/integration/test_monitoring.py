"""The monitoring over a real champion: drift, its page in MLflow, what calls for a training; and its shells."""

import re
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from churn import contract as contracts
from churn import drift, monitoring, reference, sampling
from churn.cli import main
from churn.errors import InvalidData, NoChampion, NotReady, UnreadableFile
from churn.held_out import HeldOut
from churn.monitoring_log import latest
from churn.registry import Registry
from churn.schema import outcomes
from churn.settings import Settings, load
from churn.store import Store
from tests.conftest import ROOT

TELCO = ROOT / "data/telco"
CONTRACT = contracts.load(TELCO / "contract.yaml")
NUMBER = next(name for name, column in CONTRACT.features.items() if column.type == "integer")
LABEL = CONTRACT.features[NUMBER].title


@pytest.fixture
def here(settings: Settings, champion, tmp_path: Path) -> Settings:
    """The champion's registry, with a store and a data set of the test's own; its customers are a file
    beside the training rows."""
    data = tmp_path / "data"
    shutil.copytree(TELCO, data)
    text = (data / "contract.yaml").read_text(encoding="utf-8")
    rows = "  training: customers.csv"
    (data / "contract.yaml").write_text(text.replace(rows, f"{rows}\n  customers: now.csv"), encoding="utf-8")
    store = f"sqlite:///{tmp_path}/churn.db"
    return settings.model_copy(update={"contract": data / "contract.yaml", "database_url": store})


@pytest.fixture
def customers_are(here: Settings) -> Callable[[pd.DataFrame], None]:
    return lambda rows: rows.to_csv(here.contract.parent / "now.csv", index=False)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return pd.read_csv(TELCO / "customers.csv", dtype=str, keep_default_na=False)


def shifted(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(**{NUMBER: (rows[NUMBER].astype(int) * 1.5).astype(int).astype(str)})


def test_customers_as_they_were_call_for_nothing(here: Settings, customers_are: Any, rows: pd.DataFrame) -> None:
    customers_are(rows[rows[CONTRACT.target.column] == "No"].drop(columns=CONTRACT.target.column))
    found = monitoring.look(here, "monday")
    assert not found.retrain
    assert found.reason.startswith("no column has drifted; the furthest is ")
    assert found.figures["against"] == drift.STAYED
    assert set(CONTRACT.features) == set(found.figures["columns"])
    assert found.figures["performance"] is None
    assert latest(Store(here)) == [found]


def test_a_shifted_column_calls_for_one_training(here: Settings, customers_are: Any, rows: pd.DataFrame) -> None:
    customers_are(shifted(rows.sample(2_000, random_state=1)))
    first = monitoring.look(here, "monday")
    assert first.retrain
    assert re.search(rf"drifted: 1 of 19 columns: {LABEL}: \d\.\d\d against 0\.1\d", first.reason)
    assert first.figures["causes"][0] == NUMBER
    tried_again = monitoring.look(here, "monday")
    assert tried_again.retrain
    tuesday = monitoring.look(here, "tuesday")
    assert not tuesday.retrain
    assert "no training is started: one was on" in tuesday.reason
    assert [look.key for look in latest(Store(here))] == ["tuesday", "monday"]


def test_its_page_is_in_mlflow_and_needs_nothing_from_elsewhere(
    here: Settings, customers_are: Any, rows: pd.DataFrame, tmp_path: Path
) -> None:
    customers_are(rows.head(500))
    found = monitoring.look(here, "monday")
    path = re.fullmatch(r"/#/experiments/\d+/runs/(\w+)/artifacts/report\.html", found.report)
    assert path
    client = Registry(here).client
    run = client.get_run(path[1])
    assert run.data.tags["retrain"] == "false"
    assert run.data.metrics[f"distance/{NUMBER}"] == found.figures["columns"][NUMBER]["distance"]
    page = Path(client.download_artifacts(path[1], "report.html", str(tmp_path))).read_text(encoding="utf-8")
    assert NUMBER in page
    assert not re.search(r"""<(?:script|link|img|iframe)[^>]*(?:src|href)=["']?(?:https?:)?//""", page)
    assert "evidently.telemetry" not in sys.modules  # the module that reports on who uses it
    assert "iterative_telemetry" not in sys.modules


def test_what_evidently_shows_is_what_counts(here: Settings, champion, rows: pd.DataFrame, tmp_path: Path) -> None:
    """The distances in the page are those that the verdict is made of."""
    registry = Registry(here)
    told = reference.read(registry.run_file(champion.run_id, reference.FILE, tmp_path), CONTRACT)
    assert 4_000 < len(told) <= reference.MOST_ROWS
    half = told.iloc[::2].reset_index(drop=True).assign(**{NUMBER: told[NUMBER].iloc[::2].to_numpy() * 2})
    page = tmp_path / "page.html"
    found = drift.measure(told, half, CONTRACT, column=0.1, score=0.1, seed=1, report=page)
    assert list(found.drifted) == [NUMBER]
    assert f"{found.columns[NUMBER].distance:.6f}"[:7] in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("size", [200, 2_000])
def test_no_resample_of_the_customers_is_taken_for_a_drift(
    here: Settings, champion, scorer, rows: pd.DataFrame, tmp_path: Path, size: int
) -> None:
    registry = Registry(here)
    told = reference.read(registry.run_file(champion.run_id, reference.FILE, tmp_path), CONTRACT)
    held_out = HeldOut.read(registry.run_file(champion.run_id, "held_out.npz", tmp_path))
    current = sampling.scored(scorer, held_out, TELCO / "customers.csv", 1)
    for seed in range(6):
        drawn = current.sample(size, random_state=seed).reset_index(drop=True)
        found = drift.measure(told, drawn, CONTRACT, column=0.1, score=0.1, seed=seed)
        assert not found.drifted
        assert not found.score.drifted


def test_rows_of_the_training_are_held_against_what_was_said_of_them_unseen(
    here: Settings, champion, scorer, tmp_path: Path
) -> None:
    registry = Registry(here)
    held_out = HeldOut.read(registry.run_file(champion.run_id, "held_out.npz", tmp_path))
    honest = sampling.scored(scorer, held_out, TELCO / "customers.csv", 1)[reference.SCORE]
    fitted = sampling.scored(scorer, HeldOut.none(), TELCO / "customers.csv", 1)[reference.SCORE]
    share = float(np.mean(honest.to_numpy() != fitted.to_numpy()))
    assert 0.78 < share < 0.82  # the training part of the rows


def test_a_sample_of_a_large_file_is_the_same_each_time(scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "MOST_ROWS", 100)
    one, other = (sampling.scored(scorer, HeldOut.none(), TELCO / "customers.csv", 1) for _ in range(2))
    assert len(one) == 100
    pd.testing.assert_frame_equal(one, other)


def test_outcomes_are_judged_against_the_report_set(
    here: Settings, champion, customers_are: Any, rows: pd.DataFrame
) -> None:
    customers_are(rows.head(500))
    dice = np.random.default_rng(1)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    told = {"at": at, "received": at, "by": "ann", "scored": at, "model": champion.name, "version": champion.version}
    made = [
        {**told, "customer_id": f"c{n}", "churned": bool(dice.random() < 0.3), "probability": float(dice.random())}
        for n in range(300)
    ]
    with Store(here).write() as connection:
        connection.execute(outcomes.insert(), made)
    found = monitoring.look(here, "monday")
    assert found.retrain
    assert "on 300 outcomes against" in found.reason
    assert found.figures["performance"]["report"]["roc_auc"] == champion.metrics["report_roc_auc"]


# --- what it cannot look at


def test_there_is_no_champion(tmp_path: Path) -> None:
    with pytest.raises(NoChampion):
        monitoring.look(load().model_copy(update={"home": tmp_path}), "monday")


def test_the_version_in_service_has_kept_no_rows(
    here: Settings, customers_are: Any, rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    customers_are(rows.head(100))
    monkeypatch.setattr(reference, "FILE", "of-an-older-version.parquet")
    with pytest.raises(NotReady, match="an older version of churn may have made it"):
        monitoring.look(here, "monday")


def test_the_contract_has_changed_since(here: Settings, customers_are: Any, rows: pd.DataFrame) -> None:
    customers_are(rows.head(100))
    text = here.contract.read_text(encoding="utf-8")
    here.contract.write_text(text.replace("max: 240", "max: 250"), encoding="utf-8")
    with pytest.raises(NotReady, match="asks for other rows than version 1"):
        monitoring.look(here, "monday")


def test_a_customer_whom_the_contract_does_not_know(here: Settings, customers_are: Any, rows: pd.DataFrame) -> None:
    customers_are(rows.head(100).assign(**{NUMBER: "-1"}))
    with pytest.raises(InvalidData) as refused:
        monitoring.look(here, "monday")
    assert refused.value.total == 100
    (here.contract.parent / "now.csv").unlink()
    with pytest.raises(UnreadableFile, match="no such file"):
        monitoring.look(here, "monday")


# --- shells


def test_it_is_told_over_http_and_at_the_command_line(
    here: Settings, customers_are: Any, rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    from api.app import create_app
    from api.keeper import Keeper
    from api.serving import Serving

    public = here.model_copy(update={"mlflow_public_url": "https://mlflow.example/"})
    client = create_app(public, serving=Serving(here), keeper=Keeper(here)).test_client()
    assert client.get("/monitoring").get_json() == {"looks": []}
    customers_are(shifted(rows.head(300)))
    for name in ("home", "contract", "database_url"):
        monkeypatch.setenv(f"CHURN_{name.upper()}", str(getattr(here, name)))
    shown = CliRunner().invoke(main, ["monitor"], catch_exceptions=False)
    assert shown.exit_code == 0
    assert "version 1: a training is called for" in shown.output
    (look,) = client.get("/monitoring").get_json()["looks"]
    assert look["report"].startswith("https://mlflow.example/#/experiments/")
    assert (look["version"], look["retrain"]) == ("1", True)
    assert look["columns"][NUMBER]["drifted"]
    assert LABEL in look["reason"]
    assert monitoring.look(here, "monday").retrain  # who looks by hand has started no training
