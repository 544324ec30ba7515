"""From nothing to a prediction, and what a person does first."""

import json
import subprocess

import pandas as pd
import pytest
from playwright.sync_api import Browser, expect

from churn import contract as contracts
from churn.data import read_rows, validate
from tests.stack.compose.stack import ROOT, Stack, docker, eventually
from tests.stack.pages import PICTURES, predict_on_the_page
from tests.stack.readme import asked

pytestmark = pytest.mark.stack
QUICK = {"CHURN_REPEATS": "1", "CHURN_TUNING_SECONDS": "0"}
"""The first training is as it is by default; those after it need not take as long."""
OWN_DAG = """
from airflow.sdk import dag, task


@dag(schedule=None, tags=["mine"])
def my_own():
    @task
    def hello() -> str:
        from churn.settings import load

        return load().contract.name

    hello()


my_own()
"""


def test_a_prediction_needs_no_other_command(stack: Stack) -> None:
    told = stack.predict()
    assert 0 <= told["churn_probability"] <= 1
    assert told["model"] == {"name": "churn-classifier", "version": "1"}


def test_airflow_shows_the_green_run(stack: Stack) -> None:
    eventually(lambda: [run["state"] for run in stack.runs()] == ["success"], seconds=60)
    found = {pipeline["dag"]: pipeline for pipeline in stack.get("API", "/pipelines")["pipelines"]}
    assert found["churn_training"]["run"]["state"] == "success"


def test_the_recommender_follows_by_itself(stack: Stack) -> None:
    eventually(stack.recommends, seconds=180, what="nothing is recommended")
    told = stack.post("API", "/recommend", {"customer": stack.customer(), "k": 3})
    assert told["model"] == {"name": "offer-recommender", "version": "1"}
    assert told["risk_model"] == {"name": "churn-classifier", "version": "1"}
    assert all(one["reason"] for one in told["recommendations"])
    eventually(lambda: stack.runs("recommender_training")[0]["state"] == "success", seconds=60)
    assert [run["run_type"] for run in stack.runs("recommender_training")] == ["asset_triggered"]


def test_what_the_readme_asks_is_answered(stack: Stack) -> None:
    eventually(lambda: [status for status in asked(stack.url("API")) if status != 200] == [], seconds=120)


def test_mlflow_holds_the_champion_that_serves(stack: Stack) -> None:
    assert stack.champion() == stack.served()


def test_a_version_names_the_revision_of_the_code(stack: Stack) -> None:
    model = stack.get("API", "/models")["models"][0]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert model["provenance"]["git_revision"] == head.stdout.strip()


def test_the_page_gives_a_prediction(stack: Stack, browser: Browser) -> None:
    predict_on_the_page(browser, stack.url("UI"), stack.predict(), "compose")


def test_airflow_s_pages_ask_for_a_log_in(stack: Stack, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    try:
        page.goto(stack.url("AIRFLOW", "/dags/churn_training"))
        page.locator("input[name=username]").fill("admin")
        page.locator("input[name=password]").fill(stack.airflow_password())
        page.locator("input[type=submit], button[type=submit]").first.click()
        expect(page.get_by_text("Overview").first).to_be_visible(timeout=60_000)
        expect(page.get_by_text("churn_training").first).to_be_visible()
    finally:
        page.screenshot(path=PICTURES / "compose-airflow.png")
        page.close()


def test_the_predictions_served_are_in_the_store(stack: Stack) -> None:
    answer = stack.predict()["churn_probability"]
    query = "SELECT probability FROM predictions WHERE version = '1'"
    eventually(lambda: answer in map(float, stack.sql("churn", query)), seconds=10)


def test_a_run_by_airflow_s_api_leads_to_a_new_champion(stack: Stack) -> None:
    before = len(stack.versions())
    run = stack.train(candidates=["lightgbm"], seed=21)
    eventually(lambda: stack.state(run) in ("success", "failed"), seconds=240)
    assert stack.state(run) == "success"
    assert len(stack.versions()) == before + 1
    newest = max(int(one["version"]) for one in stack.versions())
    eventually(lambda: stack.served() == str(newest) == stack.champion(), seconds=15)
    # who did it stands in the store
    assert f"Airflow: churn_training {run}" in stack.cli("audit", "--json")


def test_dags_of_one_s_own_run_beside_ours(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("own")
    (folder / "my_own.py").write_text(OWN_DAG, encoding="utf-8")
    folder.chmod(0o755)
    stack.with_(CHURN_DAGS=str(folder), **QUICK).compose("up", "--wait", timeout=180)
    eventually(lambda: "my_own" in {dag["dag_id"] for dag in stack.airflow("/dags")["dags"]}, seconds=90)
    run = stack.airflow("/dags/my_own/dagRuns", {"logical_date": None})["dag_run_id"]
    eventually(lambda: stack.airflow(f"/dags/my_own/dagRuns/{run}")["state"] == "success", seconds=90)
    assert "churn_training" in {dag["dag_id"] for dag in stack.airflow("/dags")["dags"]}


def test_changed_rows_lead_to_a_new_champion(stack: Stack) -> None:
    before = stack.served()
    rows = stack.data / "telco" / "customers.csv"
    lines = rows.read_text(encoding="utf-8").splitlines(keepends=True)
    rows.write_text("".join(lines[:-100]), encoding="utf-8")
    eventually(lambda: stack.served() not in ("", before), seconds=240)
    eventually(lambda: {run["state"] for run in stack.runs()} == {"success"}, seconds=60)


def test_the_command_line_works_beside_the_stack(stack: Stack) -> None:
    stack.data.chmod(0o777)
    assert "6,943 rows scored" in stack.cli("score", "data/telco/customers.csv", "-o", "data/scored.parquet")
    scored = pd.read_parquet(stack.data / "scored.parquet")
    contract = contracts.load(ROOT / "data/telco/contract.yaml")
    frame = validate(read_rows(stack.data / "telco/customers.csv", contract.rows.format), contract)
    first = json.loads(frame[[contract.id, *contract.features]].head(1).to_json(orient="records", double_precision=15))
    answer = stack.post("API", "/predict", first[0])
    assert scored["churn_probability"][0] == pytest.approx(answer["churn_probability"], abs=1e-9)
    assert stack.served() in stack.cli("history")
    doctor = stack.run("docker", "compose", "run", "--rm", "-T", "cli", "doctor")
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    assert doctor.stdout.count("✓") == len(doctor.stdout.splitlines()), doctor.stdout


def test_the_build_shares_its_first_stages() -> None:
    layers = [set(docker("image", "inspect", "-f", "{{join .RootFS.Layers \" \"}}", f"churn-{name}").split())
              for name in ("api", "airflow", "mlflow", "ui")]  # fmt: skip
    assert len(set.intersection(*layers)) >= 3
