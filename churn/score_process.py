"""The process that scores callers' files, one after another: ``python -m churn.score_process``.

A process of its own, so that the API's workers never load pandas, and outlive whatever a file does to
it. It is nicer than they are, so that serving keeps its speed. The API starts it (:class:`Launcher`)
where files wait and none runs, and hands it the settings by its standard input; it ends when no file
has come for a while.
"""

import faulthandler
import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from churn.errors import ChurnError, InvalidData, RefusedModel, UnreadableFile
from churn.score_jobs import SILENT_SECONDS, Problem, ScoreJob, ScoreJobs
from churn.settings import ROOT, Settings, load

if TYPE_CHECKING:
    from churn.scoring import ModelVersion, Scorer

BEAT_SECONDS = 1.0
LOOK_SECONDS = 0.3
NICENESS = 10
"""Beside workers that are busy it has a tenth of a processor; a larger one would stand still beside a training."""
LINGER_SECONDS = 15.0
"""How long it waits for one more file: to start anew takes longer than most files."""
INSIST_SECONDS = 600.0
"""How long the outcome of a job waits for a database that is down."""
HANG_SECONDS = SILENT_SECONDS
"""How long nothing of a file may move: a piece of it takes a second or two."""
ENDING_SECONDS = 30.0
"""How long the work on what nobody wants any more may take to end."""
CLOSE_SECONDS = 5.0
_PATHS = {"home", "contract", "database_url_file"}
_HANDED = _PATHS | {"database_url", "mlflow_tracking_uri", "score_hours"}
log = logging.getLogger(__name__)


class Launcher:
    """Sees to it that a process runs while files wait."""

    def __init__(self, settings: Settings) -> None:
        self._handed = settings.model_dump_json(include=_HANDED)
        self._lock_file = ScoreJobs(settings).folder / "running"
        self._starting = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def wake(self) -> bool:
        """Start the process, if none runs on this home; whether one runs already."""
        with self._starting:
            if self._process is not None and self._process.poll() is None:
                return True
            if _held(self._lock_file):  # by one that another worker has started
                return True
            command = [sys.executable, "-m", "churn.score_process"]
            self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE)
            if self._process.stdin:
                with suppress(BrokenPipeError), self._process.stdin as handle:
                    handle.write(self._handed.encode())
            return False

    def close(self) -> None:
        """End the process that was started here. What it scores is begun anew by the next, and no
        container's end kills it first."""
        with self._starting:
            if self._process is not None and self._process.poll() is None:
                self._process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(CLOSE_SECONDS)


def _held(path: Path) -> bool:
    try:
        with path.open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


class _Cancelled(Exception):
    """Nobody wants the job any more."""


class _Beat:
    """Tells the store of a job once a second how far it is, in a thread, and ends a process that hangs:
    nobody else can take the lock from it."""

    def __init__(self, jobs: ScoreJobs, job: ScoreJob) -> None:
        self._jobs = jobs
        self._job = job
        self._told: dict[str, int | str] = {}
        self._ended = threading.Event()
        self._wanted = True
        self._until = time.monotonic() + HANG_SECONDS
        self._thread = threading.Thread(target=self._run, name="beat", daemon=True)

    def __enter__(self) -> "_Beat":
        self._moved()
        self._thread.start()
        return self

    def __exit__(self, _kind: type | None, _error: BaseException | None, _where: TracebackType | None) -> None:
        self._ended.set()
        faulthandler.cancel_dump_traceback_later()
        self._thread.join()

    def tell(self, **values: int | str) -> None:
        """Say that the work moves. Raises _Cancelled once the job is no longer wanted."""
        self._told = {**self._told, **values}
        if not self._wanted:
            raise _Cancelled
        self._moved()

    def _moved(self) -> None:
        self._until = time.monotonic() + HANG_SECONDS
        # for what hangs so that not even this object's thread can run
        faulthandler.dump_traceback_later(HANG_SECONDS + ENDING_SECONDS, exit=True, file=2)

    def _run(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            if time.monotonic() >= self._until:
                self._give_up()
            if self._wanted:
                with suppress(ChurnError):  # the database may be away for a while
                    self._wanted = self._jobs.beat(self._job.id, **self._told)
                if not self._wanted:
                    self._until = time.monotonic() + ENDING_SECONDS

    def _give_up(self) -> None:
        log.error("nothing of %s moves; this process ends", self._job.id)
        if self._wanted:
            with suppress(ChurnError):
                told = f"nothing of the file has moved for {HANG_SECONDS:.0f} s"
                self._jobs.fail(self._job.id, Problem("Service Unavailable", 503, told))
        os._exit(1)


def run(settings: Settings, linger: float = 0) -> None:
    """Score what waits, until nothing has for so many seconds."""
    jobs = ScoreJobs(settings)
    while jobs.waiting():  # asked again after the lock is free: who queued a file meanwhile has found it held
        with jobs.alone() as mine:
            if not mine:
                break
            _work(jobs, settings, linger)
    jobs.close()


def _work(jobs: ScoreJobs, settings: Settings, linger: float) -> None:
    idle = time.monotonic()
    while True:
        if jobs.waiting():
            if job := jobs.claim():
                _attend(jobs, settings, job)
            idle = time.monotonic()
        elif time.monotonic() >= idle + linger:
            return
        else:
            time.sleep(LOOK_SECONDS)


def _attend(jobs: ScoreJobs, settings: Settings, job: ScoreJob) -> None:
    """Score one file, and tell what came of it."""
    try:
        with _Beat(jobs, job) as beat:
            rows, model = _score(jobs, settings, job, beat)
    except _Cancelled:
        return
    except SystemExit:  # a deploy says nothing about the file
        with suppress(ChurnError):
            jobs.give_back(job)
        raise
    except Exception as error:  # whatever a file does, the next one gets its turn
        problem = _problem(jobs, job, error)
        _insist(lambda: jobs.fail(job.id, problem))
        return
    _insist(lambda: jobs.finish(job.id, rows, model.name, model.version))
    jobs.source(job).unlink(missing_ok=True)


def _score(jobs: ScoreJobs, settings: Settings, job: ScoreJob, beat: _Beat) -> "tuple[int, ModelVersion]":
    from churn import batch
    from churn.file_jobs import count_rows

    source, target = jobs.source(job), jobs.result(job)
    for left in target.parent.glob(".*.part"):  # of an earlier try, that was killed
        left.unlink()
    beat.tell(rows=count_rows(source))
    scorer = _scorer(settings)
    beat.tell(model=scorer.model.name, version=scorer.model.version)
    done = 0
    for done in batch.score_file(scorer, source, target, beat.tell):
        beat.tell(done=done)
    return done, scorer.model


def _scorer(settings: Settings) -> "Scorer":
    """The version that the API of this home serves, whether or not MLflow answers."""
    from churn.file_jobs import champion_scorer
    from churn.shelf import Shelf

    shelf = Shelf(settings.home)
    if live := shelf.read().live:
        with suppress(FileNotFoundError, RefusedModel):
            return shelf.load(live)
    return champion_scorer(settings)


def _problem(jobs: ScoreJobs, job: ScoreJob, error: Exception) -> Problem:
    told = str(error).replace(str(jobs.source(job)), job.filename)
    if isinstance(error, InvalidData):
        more = f"; the first {len(error.faults)} are listed" if error.total > len(error.faults) else ""
        return Problem("Unprocessable Entity", 422, told + more, [fault.as_dict() for fault in error.faults])
    if isinstance(error, UnreadableFile) and str(jobs.result(job)) not in told:
        return Problem("Unprocessable Entity", 422, told)
    if isinstance(error, ChurnError):
        told = told.replace(str(jobs.result(job)), "the result")
        return Problem("Service Unavailable", 503, told)
    if isinstance(error, MemoryError):
        return Problem("Service Unavailable", 503, "the memory is too small for this file")
    log.error("an unforeseen error while %s was scored", job.id, exc_info=error)
    return Problem("Internal Server Error", 500, "the service failed; its log says why")


def _insist(tell: Callable[[], None]) -> None:
    """Tell the store, also when it does not answer just now."""
    patience = time.monotonic() + INSIST_SECONDS
    while True:
        try:
            return tell()
        except ChurnError:
            if time.monotonic() > patience:
                raise
            time.sleep(BEAT_SECONDS)


def _end(_signal: int, _frame: FrameType | None) -> None:
    for told in (signal.SIGTERM, signal.SIGINT):  # one may come from each who sees to the end
        signal.signal(told, signal.SIG_IGN)
    sys.exit()


def main() -> None:
    """Take the settings and the files that wait."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    for told in (signal.SIGTERM, signal.SIGINT):
        signal.signal(told, _end)
    os.nice(NICENESS)
    handed = json.loads(sys.stdin.read() or "{}")
    paths = {name: Path(handed[name]) for name in _PATHS & handed.keys() if handed[name]}
    try:
        run(load().model_copy(update={**handed, **paths}), LINGER_SECONDS)
    except ChurnError as error:
        sys.exit(f"churn: {error}")


if __name__ == "__main__":
    main()
