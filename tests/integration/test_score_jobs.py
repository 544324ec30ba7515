"""``/score``: files scored in a process of its own, by real workers over a real version."""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

from churn import contract as contracts
from churn import score_process
from churn import settings as settings_of
from churn.client import Client, Refused
from churn.data import read_rows
from churn.errors import UnreadableFile
from churn.file_jobs import score_file
from churn.registry import Registry
from churn.score_jobs import ScoreJobs
from churn.score_process import Launcher, run
from churn.settings import Settings
from tests import versions
from tests.conftest import ROOT
from tests.versions import NOBODY, Gunicorn

CUSTOMERS = ROOT / "data/telco/customers.csv"
CSV = {"Content-Type": "text/csv"}
PARQUET = {"Content-Type": "application/vnd.apache.parquet"}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home whose registry has one version in service."""
    home = tmp_path_factory.mktemp("score")
    settings = settings_of.load().model_copy(update={"home": home})
    registry = Registry(settings)
    versions.register(settings, versions.write(home / "version"))
    registry.client.set_registered_model_alias("churn-classifier", "champion", "1")
    return settings


@pytest.fixture(scope="module")
def api(settings: Settings) -> Iterator[Gunicorn]:
    with Gunicorn(settings.home, tracking_uri="", CHURN_SCORE_MAX_MB="60") as api:
        api.wait_ready()
        yield api


def send(api: Gunicorn, content: bytes, headers: dict[str, str] = CSV, path: str = "/score") -> httpx.Response:
    return httpx.post(api.url + path, content=content, headers=headers, timeout=60)


def until(api: Gunicorn, job: str, *states: str, seconds: float = 60) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while True:
        told: dict[str, Any] = api.get(f"/score/{job}")
        if told["state"] in states:
            return told
        assert time.monotonic() < deadline, told
        time.sleep(0.1)


def expected(settings: Settings, source: Path, folder: Path) -> bytes:
    """What `churn score` makes of the file."""
    target = folder / f"expected{source.suffix}"
    assert list(score_file(settings, source, target))
    return target.read_bytes()


def large(times: int) -> bytes:
    """The shipped rows again and again, each time with other ids."""
    header, *rows = CUSTOMERS.read_text(encoding="utf-8").splitlines()
    return "\n".join([header, *(f"{n}-{row}" for n in range(times) for row in rows), ""]).encode()


def test_a_csv_file_is_scored_as_the_command_line_does(api: Gunicorn, settings: Settings, tmp_path: Path) -> None:
    began = time.monotonic()
    with CUSTOMERS.open("rb") as file:
        reply = httpx.post(f"{api.url}/score", files={"file": ("my customers ü.csv", file)}, timeout=60)
    assert reply.status_code == 202, reply.text
    told = reply.json()
    assert reply.headers["Location"] == f"/score/{told['job']}"
    assert (told["state"], told["filename"], told["problem"]) == ("queued", "my customers ü.csv", None)
    assert httpx.get(f"{api.url}/score/{told['job']}/result").status_code == 409
    done = until(api, told["job"], "done", "failed")
    print(f"\n7,043 rows through POST /score: {time.monotonic() - began:.1f} s")
    assert (done["state"], done["rows"], done["done"]) == ("done", 7_043, 7_043), done
    assert done["model"] == {"name": "churn-classifier", "version": "1"}
    result = httpx.get(api.url + done["result"])
    assert result.content == expected(settings, CUSTOMERS, tmp_path)
    assert "my%20customers%20%C3%BC-scored.csv" in result.headers["Content-Disposition"]
    assert int(result.headers["Content-Length"]) == len(result.content)


def test_a_parquet_file_comes_back_as_one(api: Gunicorn, settings: Settings, tmp_path: Path) -> None:
    source = tmp_path / "source.parquet"
    contract = contracts.load(ROOT / "data/telco/contract.yaml")
    read_rows(CUSTOMERS, contract.rows.format).to_parquet(source)
    job = send(api, source.read_bytes(), PARQUET, "/score?filename=base.parquet").json()["job"]
    told = until(api, job, "done", "failed")
    assert told["state"] == "done", told
    result = httpx.get(f"{api.url}/score/{job}/result")
    assert result.content == expected(settings, source, tmp_path)
    assert 'filename="base-scored.parquet"' in result.headers["Content-Disposition"]


def test_every_fault_of_a_file_is_told(api: Gunicorn) -> None:
    frame = pd.read_csv(CUSTOMERS, dtype=str, nrows=50)
    frame.loc[3, "tenure"] = "-4"
    frame.loc[7, "Contract"] = "Weekly"
    job = send(api, frame.to_csv(index=False).encode(), CSV, "/score?filename=wrong.csv").json()["job"]
    told = until(api, job, "done", "failed")
    assert told["state"] == "failed"
    assert told["problem"]["status"] == 422
    assert told["problem"]["detail"] == "wrong.csv: 2 faults found"
    faults = {(fault["row"], fault["field"], fault["value"]) for fault in told["problem"]["errors"]}
    assert faults == {(5, "tenure", "-4"), (9, "Contract", "Weekly")}
    assert httpx.get(f"{api.url}/score/{job}/result").status_code == 409


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b"PK\x03\x04 a workbook", CSV),
        ("ä;ö\n1;2\n".encode("utf-16"), CSV),
        (b"one,two\n1,2\n", CSV),
        (b"not a parquet file at all", PARQUET),
        (CUSTOMERS.read_bytes().splitlines()[0] + b"\n", CSV),
    ],
    ids=["workbook", "encoding", "columns", "parquet", "no rows"],
)
def test_a_file_of_another_kind_fails_in_words(api: Gunicorn, content: bytes, headers: dict[str, str]) -> None:
    job = send(api, content, headers).json()["job"]
    told = until(api, job, "done", "failed")
    if told["state"] == "failed":
        assert told["problem"]["status"] == 422, told
        assert "score_jobs" not in told["problem"]["detail"]
    else:
        assert told["rows"] == 0


def test_what_is_no_file_is_refused_at_once(api: Gunicorn) -> None:
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    assert send(api, b"").status_code == 400
    assert send(api, b"{}", {"Content-Type": "application/json"}).status_code == 415
    assert send(api, b"x", {**CSV, "Content-Encoding": "gzip"}).status_code == 415
    assert send(api, b"no form", form).status_code == 400
    assert send(api, b"--x--\r\n", form).status_code == 422
    assert httpx.post(f"{api.url}/score", files={"other": ("a.csv", b"x")}).status_code == 422
    assert httpx.post(f"{api.url}/score", files={"file": ("a.xlsx", b"x", "application/x")}).status_code == 415
    assert (
        httpx.post(f"{api.url}/score", files=[("file", ("a.csv", b"x")), ("file", ("b.csv", b"x"))]).status_code == 422
    )
    for path in ("/score/unknown", "/score/unknown/result"):
        assert httpx.get(api.url + path).status_code == 404


def test_a_file_that_is_too_large_leaves_nothing(api: Gunicorn, settings: Settings) -> None:
    before = set((settings.home / "score_jobs").glob("*/"))
    limit = 60 * 2**20
    reply = httpx.post(f"{api.url}/score", content=iter([b"x" * 2**20] * 61), headers=CSV, timeout=60)  # no length
    assert reply.status_code == 413, reply.text
    assert "60 MiB" in reply.json()["detail"]
    assert reply.headers["Content-Type"] == "application/problem+json"
    said = httpx.post(f"{api.url}/score", content=b"x" * (limit + 1), headers=CSV, timeout=60)
    assert said.status_code == 413
    assert set((settings.home / "score_jobs").glob("*/")) == before


def test_who_sends_a_large_file_hears_why_it_is_refused(api: Gunicorn) -> None:
    size = 40 * 2**20
    head = f"POST /score HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\nContent-Length: {size}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", api.port), timeout=30) as one:
        one.sendall(head.encode() + b"x" * size)
        assert one.recv(1_000).startswith(b"HTTP/1.1 415")


def test_a_second_click_makes_one_job(api: Gunicorn) -> None:
    content = b"".join(CUSTOMERS.read_bytes().splitlines(keepends=True)[:200])
    headers = {**CSV, "Idempotency-Key": "click"}
    with ThreadPoolExecutor(2) as pool:
        replies = list(pool.map(lambda _: send(api, content, headers), range(2)))
    assert len({reply.json()["job"] for reply in replies}) == 1, [reply.text for reply in replies]
    again = send(api, content, headers)
    assert (again.status_code, again.json()["job"]) == (200, replies[0].json()["job"])


def process_of(api: Gunicorn) -> int:
    """The process that scores: a child of one of the workers."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for worker in api.workers():
            for task in Path(f"/proc/{worker}/task").iterdir():
                for child in (task / "children").read_text().split():
                    if b"churn.score_process" in Path(f"/proc/{child}/cmdline").read_bytes():
                        return int(child)
        time.sleep(0.05)
    raise AssertionError("no process scores")


def test_a_killed_process_is_replaced_and_predictions_are_answered_meanwhile(
    api: Gunicorn, settings: Settings, tmp_path: Path
) -> None:
    source = tmp_path / "large.csv"
    source.write_bytes(large(8))
    customer = api.get("/schema")["examples"][0]
    job = send(api, source.read_bytes()).json()["job"]
    until(api, job, "running")
    killed = process_of(api)
    os.kill(killed, signal.SIGKILL)
    took = []
    while (told := api.get(f"/score/{job}"))["state"] in ("queued", "running"):
        began = time.perf_counter()
        assert api.post("/predict", customer).status_code == 200
        took.append(time.perf_counter() - began)
        assert time.perf_counter() - began < 60
    assert told["state"] == "done", told
    assert told["rows"] == 8 * 7_043
    print(f"\n/predict during a job: median {sorted(took)[len(took) // 2] * 1000:.1f} ms over {len(took)}")
    with httpx.stream("GET", f"{api.url}/score/{job}/result") as reply:
        assert b"".join(reply.iter_bytes()) == expected(settings, source, tmp_path)
    left = {path.name for path in (settings.home / "score_jobs" / job).iterdir()}
    assert left == {"result.csv"}
    # the leader has it from MLflow's client, if at all
    assert any(b"pandas" not in Path(f"/proc/{worker}/maps").read_bytes() for worker in api.workers())


def test_the_client_sends_waits_and_fetches(api: Gunicorn, settings: Settings, tmp_path: Path) -> None:
    client = Client(api.url)
    sent, scored = [], []
    job = client.send_file(CUSTOMERS, lambda done, size: sent.append((done, size)))
    size = CUSTOMERS.stat().st_size
    assert sent[-1] == (size, size)
    ended = client.wait(job.id, lambda done, rows: scored.append((done, rows)), every=0.2)
    assert (ended.state, ended.rows, ended.model_version, ended.faults) == ("done", 7_043, "1", [])
    assert scored[-1] == (7_043, 7_043)
    assert ended.expires is not None
    client.download(job.id, tmp_path / "mine.csv")
    assert (tmp_path / "mine.csv").read_bytes() == expected(settings, CUSTOMERS, tmp_path)
    client.remove_job(job.id)
    for ask in (client.score_job, client.remove_job, lambda one: list(client.scored(one))):
        with pytest.raises(Refused) as refusal:
            ask(job.id)
        assert refusal.value.status == 404
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("one,two\n1,2\n")
    failed = client.wait(client.send_file(wrong).id, every=0.2)
    assert failed.state == "failed"
    assert failed.reason.startswith("wrong.csv: ")
    assert failed.faults
    for nothing in (tmp_path / "none.csv", tmp_path / "table.xlsx"):
        with pytest.raises(UnreadableFile):
            client.send_file(nothing)


def test_a_job_is_cancelled(api: Gunicorn, settings: Settings) -> None:
    job = send(api, large(8)).json()["job"]
    until(api, job, "running")
    assert httpx.delete(f"{api.url}/score/{job}").status_code == 204
    assert httpx.get(f"{api.url}/score/{job}").status_code == 404
    assert httpx.delete(f"{api.url}/score/{job}").status_code == 404
    after = send(api, CUSTOMERS.read_bytes()).json()["job"]  # who comes next does not wait for it
    assert until(api, after, "done", "failed", seconds=20)["state"] == "done"
    assert not (settings.home / "score_jobs" / job).exists()


# --- without workers


@pytest.fixture
def jobs(settings: Settings, api: Gunicorn, tmp_path: Path) -> Iterator[ScoreJobs]:
    """The jobs of another home, over a copy of what the first one serves."""
    shutil.copytree(settings.home / "serving", tmp_path / "serving")
    made = ScoreJobs(settings.model_copy(update={"home": tmp_path, "mlflow_tracking_uri": NOBODY}))
    yield made
    made.close()


def queue(jobs: ScoreJobs, content: bytes, name: str = "a.csv", by: str = "somebody") -> str:
    with jobs.arriving() as folder:
        (folder / f"source{Path(name).suffix}").write_bytes(content)
        return jobs.add(folder, name, by)[0].id


def test_what_kills_its_process_again_and_again_fails_in_the_end(jobs: ScoreJobs) -> None:
    job = queue(jobs, b"x")
    for tries in (1, 2, 3):
        claimed = jobs.claim()  # and never heard of again
        assert claimed is not None
        assert (claimed.id, claimed.tries) == (job, tries)
    assert jobs.claim() is None
    told = jobs.find(job)
    assert told.state == "failed"
    assert told.problem is not None
    assert "killed each of 3 times" in told.problem.detail


def standing_still(jobs: ScoreJobs, job: str, more: str = "") -> "subprocess.Popen[str]":
    """A process that has begun the job, and whose work on it never moves."""
    code = (
        f"import time; from churn import score_process as one; one._score = lambda *_: time.sleep(60); {more}one.main()"
    )
    child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, text=True)
    assert child.stdin is not None
    with child.stdin as handle:
        handle.write(Launcher(jobs._settings)._handed)
    deadline = time.monotonic() + 30
    while jobs.find(job).state == "queued":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return child


def test_a_deploy_is_no_try(jobs: ScoreJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    job, launcher = queue(jobs, b"x"), Launcher(jobs._settings)
    monkeypatch.setattr(launcher, "_process", standing_still(jobs, job))
    monkeypatch.setattr(score_process, "CLOSE_SECONDS", 30)
    launcher.close()
    told = jobs.find(job)
    assert (told.state, told.tries, told.started) == ("queued", 0, None)


def test_who_asks_whether_one_scores_keeps_none_from_beginning(jobs: ScoreJobs) -> None:
    job = queue(jobs, CUSTOMERS.read_bytes())
    with (jobs.folder / "running").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_SH)
        asked = threading.Timer(0.3, fcntl.flock, (handle, fcntl.LOCK_UN))
        asked.start()
        run(jobs._settings)
        asked.join()
    assert jobs.find(job).state == "done"


@pytest.mark.parametrize("wanted", [True, False])
def test_a_process_whose_work_hangs_ends(jobs: ScoreJobs, wanted: bool) -> None:
    job = queue(jobs, b"x")
    limit = "HANG" if wanted else "ENDING"
    child = standing_still(jobs, job, f"one.BEAT_SECONDS = 0.1; one.{limit}_SECONDS = 0.5; ")
    if not wanted:
        jobs.remove(job)
    assert child.wait(30) == 1
    if wanted:
        problem = jobs.find(job).problem
        assert problem is not None
        assert "nothing of the file has moved" in problem.detail


def test_a_file_that_is_gone_fails_its_job(jobs: ScoreJobs) -> None:
    job = queue(jobs, b"x")
    shutil.rmtree(jobs.place(job))
    run(jobs._settings)
    problem = jobs.find(job).problem
    assert problem is not None
    assert "gone from this machine" in problem.detail


def test_without_mlflow_the_version_in_service_scores(jobs: ScoreJobs) -> None:
    job = queue(jobs, CUSTOMERS.read_bytes())
    run(jobs._settings)
    told = jobs.find(job)
    assert (told.state, told.version, told.done) == ("done", "1", 7_043)


def test_a_full_disk_fails_the_job_and_leaves_no_parts(jobs: ScoreJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    from churn import tables

    def full(*_: object) -> Any:
        def append(*_: object) -> None:
            raise OSError(28, "No space left on device")

        return append, lambda: None

    monkeypatch.setattr(tables, "_to_csv", full)
    job = queue(jobs, CUSTOMERS.read_bytes())
    run(jobs._settings)
    problem = jobs.find(job).problem
    assert problem is not None
    assert problem.detail == "the result: cannot be written: No space left on device"
    assert problem.status == 503
    assert [path.name for path in jobs.place(job).iterdir()] == ["source.csv"]


def test_what_is_old_is_removed_and_so_is_what_nobody_finished(jobs: ScoreJobs) -> None:
    old, young = queue(jobs, CUSTOMERS.read_bytes()), queue(jobs, CUSTOMERS.read_bytes())
    run(jobs._settings)
    left, arriving = jobs.folder / ".arriving-left", jobs.folder / ".arriving-now"
    for folder in (left, arriving):
        folder.mkdir()
        (folder / "source.csv").write_text("x")
    for path in (left, left / "source.csv"):
        os.utime(path, (0, 0))
    day = 25 * 3_600
    from datetime import UTC, datetime, timedelta

    from churn.schema import score_jobs

    ended = datetime.now(UTC) - timedelta(seconds=day)
    with jobs._store.write() as connection:
        connection.execute(score_jobs.update().where(score_jobs.c.id == old).values(ended=ended))
    for path in (jobs.place(old), jobs.place(old) / "result.csv"):
        os.utime(path, (0, 0))
    jobs.sweep()
    assert {path.name for path in jobs.folder.glob("*/")} == {young, ".arriving-now"}
    assert jobs.find(young).state == "done"


def test_a_process_that_hangs_is_given_up(jobs: ScoreJobs) -> None:
    from datetime import UTC, datetime, timedelta

    from churn.schema import score_jobs

    job = queue(jobs, b"x")
    jobs.claim()
    jobs.give_up_silent()
    assert jobs.find(job).state == "running"
    with jobs._store.write() as connection:
        long_ago = datetime.now(UTC) - timedelta(hours=1)
        connection.execute(score_jobs.update().values(beat=long_ago))
    jobs.give_up_silent()
    assert jobs.find(job).state == "failed"
    assert not jobs.beat(job, done=5)  # it learns so when it wakes
    assert json.dumps(jobs.find(job).done) == "0"
