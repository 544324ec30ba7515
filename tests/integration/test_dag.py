"""The DAG folder under real Airflow: it imports, and a run of it promotes a champion."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from churn.registry import Registry
from churn.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory):
    """Runs `airflow …` against a database and a home of this module's own."""
    home = tmp_path_factory.mktemp("airflow")
    env = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "CHURN_HOME": str(home / "var"),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "airflow/dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "airflow/plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }

    def run(*arguments: str, fails: bool = False) -> str:
        done = subprocess.run([BIN / "airflow", *arguments], env=env, capture_output=True, text=True, cwd=home)
        assert bool(done.returncode) == fails, done.stdout + done.stderr
        return done.stdout

    run("db", "migrate")
    run.home = home  # type: ignore[attr-defined]
    return run


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


def test_wrong_rows_fail_the_run_with_the_faults(airflow, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    good = (ROOT / "data/telco/customers.csv").read_text(encoding="utf-8")
    rows.write_text(good.replace("Month-to-month", "Monthly", 1), encoding="utf-8")
    told = airflow("dags", "test", "churn_training", "--conf", json.dumps({"rows": str(rows)}), fails=True)
    assert "row 2, Contract: 'Monthly': expected one of" in told
    assert Registry(Settings(home=airflow.home / "var")).champion().version == "1"
