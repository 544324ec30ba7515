"""The command line as a person meets it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from churn.cli import main
from churn.settings import load

ROOT = Path(__file__).resolve().parents[2]
CUSTOMERS = ROOT / "data/telco/customers.csv"


@pytest.fixture
def run(settings, champion, monkeypatch: pytest.MonkeyPatch):
    """Runs `churn …` in the trained home; returns exit code, standard output and standard error."""
    monkeypatch.setenv("CHURN_HOME", str(settings.home))

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.stdout, result.stderr

    return call


def test_help_answers_in_half_a_second() -> None:
    """Counted by what is imported, and by the clock: the best of three, since machines are shared."""
    churn = Path(sys.executable).parent / "churn"
    code = (
        "import sys, time; start = time.perf_counter(); sys.argv = ['churn', '--help']\n"
        "from churn.cli import main\n"
        "try: main()\n"
        "except SystemExit: print(time.perf_counter() - start, *sys.modules, file=sys.stderr)"
    )
    seconds = []
    for _ in range(3):
        told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr.split()
        seconds.append(float(told[0]))
        assert not {"pandas", "numpy", "sklearn", "mlflow", "pydantic", "httpx", "pandera"} & set(told[1:])
    assert min(seconds) < 0.5
    assert churn.exists()


@pytest.mark.parametrize("command", sorted(main.commands))
def test_each_command_explains_itself(run, command: str) -> None:
    code, told, _ = run(command, "--help")
    assert code == 0
    assert len(told.splitlines()) > 5


def test_the_shipped_rows_are_valid(run) -> None:
    code, told, _ = run("validate", CUSTOMERS)
    assert (code, "all 7,043 rows fit the contract" in told) == (0, True)


def test_faults_are_told_with_row_column_value_and_expectation(run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    lines = CUSTOMERS.read_text(encoding="utf-8").splitlines()
    lines[1] = lines[1].replace("Female", "female")
    lines[3] = lines[3].replace("C00003,Male,0,No,No,2,", "C00003,Male,0,No,No,-2,")
    bad.write_text("\n".join(lines), encoding="utf-8")
    code, told, error = run("validate", bad)
    assert (code, told) == (1, "")
    assert "2 faults found" in error
    assert "row 2, gender: 'female': expected one of 'Female', 'Male'" in error
    assert "row 4, tenure: '-2': expected a whole number from 0 to 240" in error


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_scores_stand_behind_every_column_of_the_input(run, scorer, tmp_path: Path, ending: str) -> None:
    output = tmp_path / f"scored.{ending}"
    code, told, _ = run("score", CUSTOMERS, "-o", output)
    assert code == 0
    assert re.fullmatch(rf"{re.escape(str(output))}: 7,043 rows scored in \d+\.\d s", told.strip())
    scored = pd.read_csv(output, dtype=str, keep_default_na=False) if ending == "csv" else pd.read_parquet(output)
    rows = pd.read_csv(CUSTOMERS, dtype=str, keep_default_na=False)
    pd.testing.assert_frame_equal(scored[rows.columns].astype(object), rows.astype(object))
    assert list(scored.columns[-3:]) == ["churn_probability", "prediction", "risk"]
    assert set(scored["risk"]) == {"high", "medium", "low"}


def test_batch_and_api_give_the_same_score(run, client, customers, tmp_path: Path) -> None:
    run("score", CUSTOMERS, "-o", tmp_path / "scored.parquet")
    scored = pd.read_parquet(tmp_path / "scored.parquet")
    reply = client.post("/predict", json={"customers": customers[:1000]}).get_json()
    served = [(one["churn_probability"], one["prediction"], one["risk"]) for one in reply["predictions"]]
    batch = list(zip(scored["churn_probability"], scored["prediction"], scored["risk"], strict=True))[:1000]
    assert all(abs(a[0] - b[0]) < 1e-6 and a[1:] == b[1:] for a, b in zip(served, batch, strict=True))


def test_a_scored_file_is_not_scored_over(run, tmp_path: Path) -> None:
    run("score", CUSTOMERS, "-o", tmp_path / "scored.csv")
    code, _, error = run("score", tmp_path / "scored.csv", "-o", tmp_path / "again.csv")
    assert (code, "churn_probability" in error) == (1, True)
    assert not (tmp_path / "again.csv").exists()


def test_a_file_with_a_fault_leaves_nothing_behind(run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text(CUSTOMERS.read_text(encoding="utf-8").replace("C00007,Male", "C00007,Mole"), encoding="utf-8")
    code, _, error = run("score", bad, "-o", tmp_path / "scored.csv")
    assert code == 1
    assert "row 8, gender: 'Mole'" in error
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]


def test_a_file_is_not_scored_onto_itself(run, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    shutil.copy(CUSTOMERS, rows)
    code, _, error = run("score", rows, "-o", rows)
    assert (code, "write to another" in error) == (1, True)
    assert rows.read_bytes() == CUSTOMERS.read_bytes()


@pytest.mark.parametrize("home", ["/dev/null", "/dev/null/x"])
def test_a_home_that_cannot_be_is_named(run, monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    monkeypatch.setenv("CHURN_HOME", home)
    code, _, error = run("train")
    assert (code, home in error) == (1, True)


@pytest.mark.parametrize("arguments", [("validate", "nope.csv"), ("score", "nope.csv", "-o", "out.csv")])
def test_a_file_that_is_not_there(run, arguments: tuple[str, ...]) -> None:
    code, _, error = run(*arguments)
    assert (code, "nope.csv: no such file" in error) == (1, True)


def test_doctor_looks_at_everything(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code, told, _ = run("doctor")
    assert code == 0
    for subject in ("python", "home", "contract", "champion", "Airflow", "MLflow", "API", "web app"):
        assert subject in told
    broken = tmp_path / "contract.yaml"
    shutil.copy(ROOT / "data/telco/contract.yaml", broken)
    broken.write_text(broken.read_text().replace("threshold: 0.6", "threshold: 6"))
    monkeypatch.setenv("CHURN_CONTRACT", str(broken))
    code, told, _ = run("doctor")
    assert (code, "✗ contract" in told) == (1, True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHURN_FOLDS", "one"),
        ("CHURN_SEED", "-1"),
        ("CHURN_TRAINING_SCHEDULE", "nonsense"),
        ("CHURN_CANDIDATES", "random_forest,random_forest"),
    ],
)
def test_a_wrong_setting_is_named(run, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    code, _, error = run("train")
    assert (code, name in error) == (1, True)


def test_a_candidate_that_is_none_is_named(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_CANDIDATES", "crystal_ball")
    code, _, error = run("train")
    assert (code, "crystal_ball" in error) == (1, True)


def test_an_empty_setting_is_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_AIRFLOW_PASSWORDS", "")
    assert load().passwords_file.name == "airflow_passwords.json"
