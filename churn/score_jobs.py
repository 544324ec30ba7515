"""Files that are scored for callers of the API: what is known of each, and where it lies.

    CHURN_HOME/score_jobs/
        running                     held by the one process that scores (:mod:`churn.score_process`)
        .arriving-<id>/             a file on its way in
        <id>/source.csv             a file that waits, or is being scored
        <id>/result.csv             what became of it

The store says how far a job is. An id is 192 random bits: who does not know it finds no job.
"""

import fcntl
import json
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from churn.errors import NotReady, UnknownName
from churn.settings import Settings, make_folder

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from churn.store import Store

QUEUED, RUNNING, DONE, FAILED = "queued", "running", "done", "failed"
OPEN = (QUEUED, RUNNING)
MOST_TRIES = 3
"""How often a job is begun whose process was killed: what it was killed for may be the job itself."""
SILENT_SECONDS = 300.0
"""After how long without a sign of life a process that still exists is given up."""
_LOOKS, _LOOK_SECONDS = 8, 0.1  # who only asks whether the lock is held holds it for a moment, too
_ARRIVING = ".arriving-"
_LEFT_SECONDS = 3600.0
"""How old files must be that belong to no job, to be removed: they may be on their way in."""


@dataclass(frozen=True)
class Problem:
    """Why a job failed, as an HTTP answer would say it; ``errors`` are the first faults of the file."""

    title: str
    status: int
    detail: str
    errors: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True)
class ScoreJob:
    """One file and how far it is. Of a CSV file ``rows`` is about right until it is done."""

    id: str
    state: str
    filename: str
    by: str
    created: datetime
    started: datetime | None
    ended: datetime | None
    tries: int
    rows: int
    done: int
    model: str | None
    version: str | None
    problem: Problem | None


class ScoreJobs:
    """The jobs of this home.

    Every method that asks the store raises Unavailable and NotReady as :class:`churn.store.Store` does.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.folder = settings.home / "score_jobs"

    @cached_property
    def _store(self) -> "Store":
        from churn.store import Store  # the API's start does without SQLAlchemy

        return Store(self._settings)

    @property
    def kept(self) -> timedelta:
        """For how long a job is kept after its end."""
        return timedelta(hours=self._settings.score_hours)

    def place(self, job: str) -> Path:
        return self.folder / job

    def source(self, job: ScoreJob) -> Path:
        return self.place(job.id) / f"source{Path(job.filename).suffix}"

    def result(self, job: ScoreJob) -> Path:
        return self.place(job.id) / f"result{Path(job.filename).suffix}"

    @contextmanager
    def arriving(self) -> Iterator[Path]:
        """A folder for a file on its way in; gone at the end, if :meth:`add` has not taken it.

        Raises:
            NotReady: it cannot be made.
        """
        place = self.folder / f"{_ARRIVING}{secrets.token_urlsafe(24)}"
        make_folder(place)
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def add(self, arrived: Path, filename: str, by: str, token: str | None = None) -> tuple[ScoreJob, bool]:
        """Queue the file ``source.…`` in a folder of :meth:`arriving`; returns the job, and whether it is new.

        Args:
            filename: ends in .csv or .parquet.
            token: a name of this request: of one name there is one job.
        """
        from sqlalchemy.exc import IntegrityError

        from churn.schema import score_jobs

        job = arrived.name.removeprefix(_ARRIVING)
        now = datetime.now(UTC)
        values = {"id": job, "state": QUEUED, "filename": filename, "by": by, "token": token, "created": now,
                  "beat": now, "tries": 0, "rows": 0, "done": 0}  # fmt: skip
        try:
            arrived.rename(self.place(job))
            with self._store.write() as connection:
                connection.execute(score_jobs.insert().values(values))
        except IntegrityError:  # the second of two clicks at once
            shutil.rmtree(self.place(job), ignore_errors=True)
            return self.find_token(str(token)), False
        except OSError as error:
            raise NotReady(f"{self.folder}: {error.strerror or error}") from error
        except Exception:
            shutil.rmtree(self.place(job), ignore_errors=True)
            raise
        return self.find(job), True

    def find(self, job: str) -> ScoreJob:
        """Raises UnknownName where there is none, or none any more."""
        return self._one("id", job)

    def find_token(self, token: str) -> ScoreJob:
        """The job that a request of this name has made; raises UnknownName where there is none."""
        return self._one("token", token)

    def _one(self, column: str, value: str) -> ScoreJob:
        from churn.schema import score_jobs

        query = score_jobs.select().where(score_jobs.c[column] == value)
        with self._store.read() as connection:  # PostgreSQL takes no text that holds a NUL
            row = None if "\0" in value else connection.execute(query).first()
        if row is None:
            raise UnknownName("there is no such job; it may have been removed, or be too old")
        return _job(row)

    def waiting(self, by: str | None = None) -> int:
        """How many have not ended, of one caller or of all."""
        from sqlalchemy import func, select

        from churn.schema import score_jobs

        query = select(func.count()).select_from(score_jobs).where(score_jobs.c.state.in_(OPEN))
        if by is not None:
            query = query.where(score_jobs.c.by == by)
        with self._store.read() as connection:
            return int(connection.execute(query).scalar_one())

    def remove(self, job: str) -> None:
        """Forget a job, and its files. What is being scored ends within a second or two."""
        from churn.schema import score_jobs

        with self._store.write() as connection:
            connection.execute(score_jobs.delete().where(score_jobs.c.id == job))
        shutil.rmtree(self.place(job), ignore_errors=True)

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether this process may score: one does, on this home. The system takes it from who dies."""
        make_folder(self.folder)
        with (self.folder / "running").open("a") as handle:
            yield any(_locks(handle) for _ in range(_LOOKS))

    def claim(self) -> ScoreJob | None:
        """The next job, now running; None where none waits. Call it under :meth:`alone`: what runs
        already then has lost its process, and is begun anew."""
        from churn.schema import score_jobs

        columns = score_jobs.c
        first = score_jobs.select().where(columns.state.in_(OPEN)).order_by(columns.state.desc(), columns.created)
        while True:
            with self._store.write() as connection:
                row = connection.execute(first.limit(1)).first()
                if row is None:
                    return None
                lost = self._hopeless(_job(row))
                if lost:
                    _end(connection, row.id, FAILED, problem=json.dumps(asdict(lost)))
                    continue
                now = datetime.now(UTC)
                values = {"state": RUNNING, "tries": row.tries + 1, "started": now, "beat": now, "done": 0}
                connection.execute(score_jobs.update().where(columns.id == row.id).values(values))
                return _job(connection.execute(score_jobs.select().where(columns.id == row.id)).one())

    def _hopeless(self, job: ScoreJob) -> Problem | None:
        if not self.source(job).exists():
            return Problem("Service Unavailable", 503, "the file is gone from this machine; send it again")
        if job.tries < MOST_TRIES:
            return None
        detail = f"the process was killed each of {job.tries} times; the memory may be too small for this file"
        return Problem("Service Unavailable", 503, detail)

    def beat(self, job: str, **values: Any) -> bool:
        """Say that a job's process lives, and how far it is; False where the job is no longer wanted."""
        from churn.schema import score_jobs

        mine = (score_jobs.c.id == job) & (score_jobs.c.state == RUNNING)
        with self._store.write() as connection:
            changed = connection.execute(score_jobs.update().where(mine).values(beat=datetime.now(UTC), **values))
            return bool(changed.rowcount)

    def give_back(self, job: ScoreJob) -> None:
        """Queue what was begun as if it had not been: its process was told to end."""
        self.beat(job.id, state=QUEUED, tries=job.tries - 1, started=None, done=0)

    def finish(self, job: str, rows: int, model: str, version: str) -> None:
        with self._store.write() as connection:
            _end(connection, job, DONE, rows=rows, done=rows, model=model, version=version)

    def fail(self, job: str, problem: Problem) -> None:
        with self._store.write() as connection:
            _end(connection, job, FAILED, problem=json.dumps(asdict(problem)))

    def give_up_silent(self) -> None:
        """Fail what runs and has long said nothing, while its process exists: it hangs."""
        from churn.schema import score_jobs

        before = datetime.now(UTC) - timedelta(seconds=SILENT_SECONDS)
        silent = (score_jobs.c.state == RUNNING) & (score_jobs.c.beat < before)
        detail = f"its process has given no sign of life for {SILENT_SECONDS:.0f} s"
        problem = asdict(Problem("Service Unavailable", 503, detail))
        values = {"state": FAILED, "ended": datetime.now(UTC), "problem": json.dumps(problem)}
        with self._store.write() as connection:
            connection.execute(score_jobs.update().where(silent).values(values))

    def sweep(self) -> None:
        """Remove what has been kept long enough, and files that belong to nothing."""
        from sqlalchemy import select

        from churn.schema import score_jobs

        expired = score_jobs.c.ended < datetime.now(UTC) - self.kept
        with self._store.write() as connection:
            connection.execute(score_jobs.delete().where(expired))
            known = set(connection.execute(select(score_jobs.c.id)).scalars())
        for place in self.folder.glob("*/"):
            if place.name not in known and _age(place) > _LEFT_SECONDS:
                shutil.rmtree(place, ignore_errors=True)

    def close(self) -> None:
        if "_store" in self.__dict__:
            self._store.close()


def _locks(handle: IO[str]) -> bool:
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    time.sleep(_LOOK_SECONDS)
    return False


def _end(connection: "Connection", job: str, state: str, **values: Any) -> None:
    """End what has not been ended: a job that was removed or given up stays so."""
    from churn.schema import score_jobs

    still = (score_jobs.c.id == job) & score_jobs.c.state.in_(OPEN)
    connection.execute(score_jobs.update().where(still).values(state=state, ended=datetime.now(UTC), **values))


def _job(row: "Row[Any]") -> ScoreJob:
    told = {name: getattr(row, name) for name in ScoreJob.__dataclass_fields__}
    return ScoreJob(**{**told, "problem": Problem(**json.loads(row.problem)) if row.problem else None})


def _age(place: Path) -> float:
    """Seconds since anything was written there."""
    newest = 0.0
    for path in (place, *place.iterdir()):
        with suppress(OSError):
            newest = max(newest, path.stat().st_mtime)
    return time.time() - newest
