"""`make up` for real: Airflow, MLflow, the API and the web app as processes of this machine."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser

from churn.client import Client, Refused
from tests.conftest import free_port
from tests.stack.compose.stack import NO_CLOCK
from tests.stack.pages import predict_on_the_page
from tests.stack.readme import asked

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.stack
FIRST_START_SECONDS = 480
SECOND_START_SECONDS = 60
WATCH = {"CHURN_WATCH_SECONDS": "2"}
"""So that a training that should not begin is not waited for as long as by default."""


@dataclass
class Stack:
    home: Path
    env: dict[str, str]
    process: "subprocess.Popen[str] | None" = None
    told: str = ""

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.env[f'CHURN_{service}_PORT']}"

    def start(self, within: float) -> float:
        """`make up`, until it says that all is up; returns the seconds that it took."""
        began = time.monotonic()
        self.process = subprocess.Popen(
            ["make", "up"], cwd=ROOT, env=self.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        self.told = ""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.told += line
            if "Ctrl-C ends it" in line:
                return time.monotonic() - began
            assert time.monotonic() - began < within, self.told
        raise AssertionError(f"make up ended by itself:\n{self.told}")

    def interrupt(self) -> None:
        """Ctrl-C, as a terminal sends it: to the whole foreground group."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(90)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("embedded")
    ports = {f"CHURN_{name}_PORT": str(free_port()) for name in ("API", "UI", "MLFLOW", "AIRFLOW")}
    stack = Stack(home, {**os.environ, **ports, **NO_CLOCK, **WATCH, "CHURN_HOME": str(home)})
    print(f"\nfirst start: {stack.start(FIRST_START_SECONDS):.0f} s")
    yield stack
    subprocess.run(["make", "down"], cwd=ROOT, env=stack.env, check=False)


def customer(stack: Stack) -> dict[str, object]:
    return httpx.get(f"{stack.url('API')}/schema").json()["examples"][0]


def airflow(stack: Stack, path: str) -> dict[str, object]:
    """Airflow's REST API, by the log-in that the start printed."""
    found = re.search(r"user admin, password (\S+)", stack.told)
    assert found, stack.told
    login = {"username": "admin", "password": found[1]}
    token = httpx.post(f"{stack.url('AIRFLOW')}/auth/token", json=login).json()["access_token"]
    reply = httpx.get(f"{stack.url('AIRFLOW')}{path}", headers={"Authorization": f"Bearer {token}"})
    return reply.raise_for_status().json()


def runs(stack: Stack, dag: str) -> list[dict[str, object]]:
    return airflow(stack, f"/api/v2/dags/{dag}/dagRuns")["dag_runs"]  # type: ignore[return-value]


def test_a_prediction_follows_without_another_command(stack: Stack) -> None:
    reply = httpx.post(f"{stack.url('API')}/predict", json=customer(stack))
    assert reply.status_code == 200, reply.text
    assert reply.json()["model"] == {"name": "churn-classifier", "version": "1"}


def test_airflow_shows_one_green_run_that_began_by_itself(stack: Stack) -> None:
    (run,) = runs(stack, "churn_training")
    assert (run["state"], run["run_type"]) == ("success", "asset_triggered")


def test_the_recommender_follows_by_itself(stack: Stack) -> None:
    def told() -> httpx.Response:
        return httpx.post(f"{stack.url('API')}/recommend", json={"customer": customer(stack), "k": 3}, timeout=30)

    until(lambda: told().status_code == 200, "a recommender serves", seconds=180)
    reply = told().json()
    assert reply["model"] == {"name": "offer-recommender", "version": "1"}
    assert reply["recommendations"]
    until(lambda: [run["state"] for run in runs(stack, "recommender_training")] == ["success"], "its run ends")


def test_what_the_readme_asks_is_answered(stack: Stack) -> None:
    until(lambda: set(asked(stack.url("API"))) == {200}, "all of the README's requests are answered", seconds=120)


def test_xcoms_are_paths_and_uris(stack: Stack) -> None:
    (run,) = runs(stack, "churn_training")
    tasks = f"/api/v2/dags/churn_training/dagRuns/{quote(run['dag_run_id'], safe='')}/taskInstances"
    value = {
        task: airflow(stack, f"{tasks}/{task}/xcomEntries/return_value")["value"]
        for task in ("prepare", "compare", "register", "promote")
    }
    assert str(value["prepare"]).startswith(str(stack.home / "prepared"))
    assert str(value["compare"]).startswith("runs:/")
    assert value["register"] == "1"
    assert value["promote"] == "models:/churn-classifier/1"


def test_mlflow_shows_the_runs_and_the_champion(stack: Stack) -> None:
    api = f"{stack.url('MLFLOW')}/api/2.0/mlflow"
    found = httpx.post(f"{api}/runs/search", json={"experiment_ids": ["1"]}).json()
    assert len(found["runs"]) == 3
    alias = httpx.get(f"{api}/registered-models/alias?name=churn-classifier&alias=champion")
    assert str(alias.json()["model_version"]["version"]) == "1"


def test_the_page_gives_a_prediction(stack: Stack, browser: Browser) -> None:
    expected = httpx.post(f"{stack.url('API')}/predict", json=customer(stack)).json()
    predict_on_the_page(browser, stack.url("UI"), expected, "embedded")


def test_the_command_line_reads_the_same_registry(stack: Stack, tmp_path: Path) -> None:
    churn = ROOT / ".venv/bin/churn"
    output = tmp_path / "scored.parquet"
    command = [churn, "score", ROOT / "data/telco/customers.csv", "-o", output]
    told = subprocess.run(command, env=stack.env, capture_output=True, text=True, check=True).stdout
    assert "7,043 rows scored" in told


def test_a_training_is_started_and_followed_by_our_own_api(stack: Stack) -> None:
    api = Client(stack.url("API"), timeout=30)
    quick = {"candidates": ["logistic_regression"], "folds": 2, "repeats": 1, "seconds": 0}
    with pytest.raises(Refused) as refusal:
        api.start("churn_training", {**quick, "folds": 1})
    assert [fault.field for fault in refusal.value.faults] == ["folds"]
    began = time.monotonic()
    started = api.start("churn_training", quick, key="a click")
    assert api.start("churn_training", quick, key="a click").id == started.id
    seen = list(api.follow("churn_training", started.id, every=0.5))
    print(f"\na quick training, followed over the API: {time.monotonic() - began:.0f} s, {len(seen)} changes")
    run = seen[-1]
    assert (run.state, run.done, run.params) == ("success", run.total, quick)
    assert len(seen) > 3
    labels = [task.label for task in run.tasks]
    assert labels.index("prepare") == 0
    assert labels.index("train [logistic_regression]") < labels.index("compare") < labels.index("promote")
    assert {task.state for task in run.tasks} <= {"success", "skipped"}
    assert api.runs("churn_training", 1)[0].id == started.id
    assert (
        "pipeline.start"
        in subprocess.run(
            [ROOT / ".venv/bin/churn", "audit"], env=stack.env, capture_output=True, text=True, check=True
        ).stdout
    )


def test_a_file_is_scored_by_the_api_as_by_the_command_line(stack: Stack, tmp_path: Path) -> None:
    api, source = Client(stack.url("API")), ROOT / "data/telco/customers.csv"
    job = api.wait(api.send_file(source).id)
    assert (job.state, job.done) == ("done", 7_043), job
    api.download(job.id, tmp_path / "by-api.csv")
    command = [ROOT / ".venv/bin/churn", "score", source, "-o", tmp_path / "by-command.csv"]
    subprocess.run(command, env=stack.env, capture_output=True, check=True)
    assert (tmp_path / "by-api.csv").read_bytes() == (tmp_path / "by-command.csv").read_bytes()


def test_a_second_make_up_says_that_it_runs_already(stack: Stack) -> None:
    again = subprocess.run(["make", "up"], cwd=ROOT, env=stack.env, capture_output=True, text=True)
    assert again.returncode
    assert "running already" in again.stderr


def children(home: Path, of: int | None = None) -> list[int]:
    """The gunicorn processes that supervisord, or another process, has started."""
    parent = str(of or (home / "supervisord.pid").read_text().strip())
    found = subprocess.run(["pgrep", "-P", parent, "-f", "gunicorn"], capture_output=True, text=True)
    return [int(pid) for pid in found.stdout.split()]


def running() -> set[int]:
    """All processes, but those that have ended and that nobody has asked after yet."""
    told = subprocess.run(["ps", "-A", "-o", "pid=,stat="], capture_output=True, text=True, check=True).stdout
    return {int(line.split()[0]) for line in told.splitlines() if not line.split()[1].startswith("Z")}


def ready(stack: Stack) -> bool:
    try:
        return httpx.get(f"{stack.url('API')}/health/ready").status_code == 200
    except httpx.HTTPError:
        return False


def until(holds: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.2)


def test_a_service_that_dies_comes_back(stack: Stack) -> None:
    (master,) = children(stack.home)
    workers = children(stack.home, of=master)
    assert workers
    os.kill(master, signal.SIGKILL)
    # the orphaned workers answer for a while yet: only when they are gone does an answer mean anything
    until(lambda: not {master, *workers} & running(), "the old processes end")
    until(lambda: children(stack.home) not in ([], [master]), "supervisord starts another")
    until(lambda: ready(stack), "the API answers")
    assert master not in children(stack.home)


def test_ctrl_c_ends_all_and_a_second_start_trains_nothing(stack: Stack) -> None:
    trained = [len(runs(stack, dag)) for dag in ("churn_training", "recommender_training")]
    served = httpx.get(f"{stack.url('API')}/models").json()["models"][0]["version"]
    stack.interrupt()
    for service in ("API", "UI", "MLFLOW", "AIRFLOW"):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", int(stack.env[f"CHURN_{service}_PORT"]))), service
    seconds = stack.start(SECOND_START_SECONDS * 2)
    print(f"second start: {seconds:.0f} s")
    assert seconds < SECOND_START_SECONDS
    time.sleep(15)  # the watching trigger comes up, and looks three times
    assert [len(runs(stack, dag)) for dag in ("churn_training", "recommender_training")] == trained
    reply = httpx.post(f"{stack.url('API')}/predict", json=customer(stack))
    assert reply.json()["model"]["version"] == served


def test_make_down_ends_it_from_elsewhere(stack: Stack) -> None:
    down = subprocess.run(["make", "down"], cwd=ROOT, env=stack.env, capture_output=True, text=True, check=True)
    assert "ended" in down.stdout
    assert stack.process is not None
    assert stack.process.wait(30) == 0
    left = subprocess.run(["pgrep", "-f", str(stack.home)], capture_output=True, text=True).stdout
    assert left == ""


def test_make_down_ends_what_a_killed_supervisor_left(stack: Stack) -> None:
    stack.start(SECOND_START_SECONDS * 2)
    assert stack.process is not None
    supervisor = int((stack.home / "supervisord.pid").read_text())
    (python,) = subprocess.run(
        ["pgrep", "-P", str(stack.process.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    for pid in (int(python), supervisor):  # the first would tidy up after the second
        os.kill(pid, signal.SIGKILL)
    again = subprocess.run(["make", "up"], cwd=ROOT, env=stack.env, capture_output=True, text=True)
    assert "earlier start still run" in again.stderr
    down = subprocess.run(["make", "down"], cwd=ROOT, env=stack.env, capture_output=True, text=True, check=True)
    assert "without their supervisor" in down.stdout
    for service in ("API", "UI", "MLFLOW", "AIRFLOW"):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", int(stack.env[f"CHURN_{service}_PORT"]))), service


def test_a_taken_port_is_told_in_one_line(stack: Stack) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        env = {**stack.env, "CHURN_API_PORT": str(port)}
        up = subprocess.run(["make", "up"], cwd=ROOT, env=env, capture_output=True, text=True)
    assert up.returncode
    (line,) = [line for line in up.stderr.splitlines() if not line.startswith("make")]
    assert f"port {port} (API) is taken" in line
    assert "CHURN_API_PORT=" in line


def test_beyond_this_machine_nothing_starts_without_an_admin_key(stack: Stack, tmp_path: Path) -> None:
    env = {**stack.env, "CHURN_HOME": str(tmp_path), "CHURN_BIND": "0.0.0.0"}  # noqa: S104  # the wildcard is the case
    up = subprocess.run(["make", "up"], cwd=ROOT, env=env, capture_output=True, text=True)
    assert up.returncode
    (line,) = [line for line in up.stderr.splitlines() if not line.startswith("make")]
    assert "CHURN_BIND=0.0.0.0" in line
    assert "admin key" in line


def test_secrets_are_for_their_owner_alone(stack: Stack) -> None:
    files = list((stack.home / "secrets").iterdir())
    assert {json.dumps(oct(path.stat().st_mode & 0o777)) for path in files} == {'"0o600"'}
