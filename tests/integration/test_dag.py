"""The DAG folder under real Airflow: it imports, and a run of it promotes a champion."""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from churn import contract as contracts
from churn import portfolio
from churn.kinds import RECOMMENDER
from churn.registry import Registry
from churn.schema import monitoring_runs
from churn.settings import Settings
from churn.store import Store
from tests.airflow_command import Airflow

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """Runs `airflow …` against a database and a home of this module's own."""
    home = tmp_path_factory.mktemp("airflow")
    env = {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "CHURN_HOME": str(home / "var"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "airflow/dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "airflow/plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    with Airflow(home, **env) as run:
        run("db", "migrate")
        yield run


def test_the_folder_imports_without_an_error(airflow) -> None:
    assert "No data found" in airflow("dags", "list-import-errors")


def test_a_run_trains_and_promotes(airflow) -> None:
    told = airflow("dags", "test", "churn_training", "--conf", '{"folds": 2, "candidates": ["logistic_regression"]}')
    assert "successful" in told
    settings = Settings(home=airflow.home / "var")
    champion = Registry(settings).champion()
    assert champion.provenance["candidate"] == "logistic_regression"
    assert 0.8 < champion.metrics["roc_auc"] < 0.88
    assert "models:/churn-classifier/1" in told
    assert Registry(settings).history()[0].by.startswith("Airflow: churn_training")
    assert (airflow.home / "var/prepared").is_dir()


def test_a_run_trains_a_recommender_and_promotes_it(airflow) -> None:
    told = airflow("dags", "test", "recommender_training", "--conf", '{"folds": 2, "epochs": 10}')
    assert "successful" in told
    registry = Registry(Settings(home=airflow.home / "var"), kind=RECOMMENDER)
    champion = registry.champion()
    assert champion.metrics["ndcg_at_5"] > champion.metrics["ndcg_at_5_ease"]
    assert registry.client.get_run(champion.run_id).data.params["epochs"] == "10"
    assert registry.history()[0].by.startswith("Airflow: recommender_training")


def test_customers_as_they_were_start_no_training(airflow) -> None:
    told = airflow("dags", "test", "churn_monitoring")
    assert "no column has drifted" in told
    assert "tasks_skipped=1" in told
    with Store(Settings(home=airflow.home / "var")).read() as connection:
        assert [look.retrain for look in connection.execute(monitoring_runs.select())] == [False]


@pytest.fixture
def other_contract(tmp_path: Path) -> Path:
    """The shipped contract beside its rows, and with customers of whom one number is another."""
    shutil.copytree(ROOT / "data/telco", tmp_path / "data")
    path = tmp_path / "data/contract.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("  training: customers.csv", "  training: customers.csv\n  customers: now.csv"))
    number = next(name for name, column in contracts.load(path).features.items() if column.type == "integer")
    rows = pd.read_csv(path.parent / "customers.csv", dtype=str, keep_default_na=False).head(1_000)
    rows.assign(**{number: (rows[number].astype(int) * 1.5).astype(int)}).to_csv(path.parent / "now.csv", index=False)
    return path


def test_customers_who_have_moved_start_a_training(airflow, other_contract: Path) -> None:
    told = airflow("dags", "test", "churn_monitoring", CHURN_CONTRACT=str(other_contract))
    assert "drifted: 1 of 19 columns" in told
    assert re.search(r"Dag Run triggered successfully\..*trigger_dag_id=churn_training", told)
    with Store(Settings(home=airflow.home / "var")).read() as connection:
        assert [look.retrain for look in connection.execute(monitoring_runs.select())][-1]


def test_a_contract_that_awaits_its_first_version_skips_the_monitoring(airflow, other_contract: Path) -> None:
    text = other_contract.read_text(encoding="utf-8")
    other_contract.write_text(text.replace("max: 240", "max: 250"), encoding="utf-8")
    told = airflow("dags", "test", "churn_monitoring", CHURN_CONTRACT=str(other_contract))
    assert "asks for other rows than version 1" in told
    assert "Skipping task." in told
    assert "new_state=failed" not in told


def test_the_base_is_scored_once_and_again_when_asked_for(airflow) -> None:
    settings = Settings(home=airflow.home / "var")
    assert "successful" in airflow("dags", "test", "churn_scoring")
    first = portfolio.latest(settings)
    assert first is not None
    assert (first.customers, first.left, first.version) == (5_174, 1_869, Registry(settings).champion().version)
    assert "has the scores of this version and of these customers" in airflow("dags", "test", "churn_scoring")
    assert portfolio.latest(settings) == first
    airflow("dags", "test", "churn_scoring", "--conf", '{"force": true}')
    again = portfolio.latest(settings)
    assert again is not None
    assert again.id > first.id
    assert again.key != first.key


def test_wrong_rows_fail_the_run_with_the_faults(airflow, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    good = (ROOT / "data/telco/customers.csv").read_text(encoding="utf-8")
    rows.write_text(good.replace("Month-to-month", "Monthly", 1), encoding="utf-8")
    told = airflow("dags", "test", "churn_training", "--conf", json.dumps({"rows": str(rows)}), fails=True)
    assert "row 2, Contract: 'Monthly': expected one of" in told
    assert Registry(Settings(home=airflow.home / "var")).champion().version == "1"
