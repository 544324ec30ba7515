"""The part of :mod:`churn.client` about files: sent, waited for, and fetched, none of it kept in memory."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote
from uuid import uuid4

import httpx

from churn.client_connection import Connection, Refused, faults_of, moment
from churn.errors import Fault, Unavailable, UnreadableFile

Progress = Callable[[int, int], None]
"""Told how much is done, and of how much: bytes of what is sent, rows of what is scored."""
_PIECE = 256 * 1024
_SECONDS = 60.0
_TYPES = {".csv": "text/csv", ".parquet": "application/vnd.apache.parquet", ".pq": "application/vnd.apache.parquet"}


@dataclass(frozen=True)
class ScoreJob:
    """A file that is scored: ``state`` is queued, running, done or failed. ``reason`` and ``faults`` say
    why it failed; of a CSV file ``rows`` is about right until it is done."""

    id: str
    state: str
    filename: str
    rows: int
    done: int
    created: datetime | None
    started: datetime | None
    ended: datetime | None
    expires: datetime | None
    model_name: str | None
    model_version: str | None
    reason: str
    faults: list[Fault]

    @property
    def has_ended(self) -> bool:
        return self.state in ("done", "failed")


class ScorePart(Connection):
    """``/score``."""

    def send_file(self, path: Path, progress: Progress | None = None, *, key: str | None = None) -> ScoreJob:
        """Send a CSV or Parquet file from the disk; returns the job that scores it.

        Args:
            key: names this click: sent twice with one key, one job is made.

        Raises:
            UnreadableFile: there is none, or its name ends otherwise.
        """
        try:
            with path.open("rb") as handle:
                return self.send(handle, path.name, path.stat().st_size, progress, key=key)
        except OSError as error:
            raise UnreadableFile(f"{path}: {error.strerror or error}") from error

    def send(
        self, file: BinaryIO, filename: str, size: int, progress: Progress | None = None, *, key: str | None = None
    ) -> ScoreJob:
        """The same of an opened file.

        Args:
            filename: ends in .csv or .parquet.
            size: its bytes.

        Raises:
            UnreadableFile: its name ends otherwise.
        """
        kind = _TYPES.get(Path(filename).suffix.lower())
        if kind is None:
            raise UnreadableFile(f"{filename}: expected a file whose name ends in .csv or .parquet")
        self._ask("GET", "/models")  # a key that was replaced is found out now: a file is not sent twice
        headers = {"Content-Type": kind, "Content-Length": str(size), "Idempotency-Key": key or uuid4().hex}
        pieces, asked = _pieces(file, size, progress), {"filename": filename}
        try:
            told = self._ask("POST", "/score", params=asked, content=pieces, headers=headers, timeout=_SECONDS)
        except Unavailable as error:
            if not isinstance(error.__cause__, httpx.ReadError | httpx.WriteError | httpx.RemoteProtocolError):
                raise
            reason = "it may have no room for the file just now, or too many wait; try again in a moment"
            raise Unavailable(f"the API at {self.url} ended the connection; {reason}") from error
        return self._job(told)

    def score_job(self, job: str) -> ScoreJob:
        """How far a job is."""
        return self._job(self._ask("GET", _path(job)))

    def wait(self, job: str, progress: Progress | None = None, every: float = 1.0) -> ScoreJob:
        """Wait until a job has ended, well or not; ``progress`` is told the rows."""
        while not (now := self.score_job(job)).has_ended:
            if progress:
                progress(now.done, now.rows)
            time.sleep(every)
        if progress:
            progress(now.done, now.rows)
        return now

    def download(self, job: str, target: Path) -> None:
        """Write the scored file to the disk; it appears whole or not at all.

        Raises:
            UnreadableFile: it cannot be written.
        """
        scratch = target.with_name(f".{target.name}.part")
        try:
            with scratch.open("wb") as handle:
                for piece in self.scored(job):
                    handle.write(piece)
            scratch.replace(target)
        except OSError as error:
            raise UnreadableFile(f"{target}: cannot be written: {error.strerror or error}") from error
        finally:
            scratch.unlink(missing_ok=True)

    def scored(self, job: str) -> Iterator[bytes]:
        """The scored file, piece by piece."""
        try:
            with self._http.stream("GET", f"{_path(job)}/result", timeout=_SECONDS) as reply:
                if not reply.is_success:
                    reply.read()
                    told = reply.json()
                    raise Refused(reply.status_code, told.get("title", ""), told.get("detail", ""), faults_of(told))
                yield from reply.iter_bytes(_PIECE)
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable(f"the API at {self.url} does not answer") from error

    def remove_job(self, job: str) -> None:
        """Cancel a job, or remove its files."""
        reply = self._reply("DELETE", _path(job))
        if reply.status_code != httpx.codes.NO_CONTENT:
            self._ask("GET", _path(job))  # says what is wrong in its own words
            raise Refused(reply.status_code, reply.reason_phrase, "", [])

    def _job(self, told: dict[str, Any]) -> ScoreJob:
        problem, model = told.get("problem") or {}, told.get("model") or {}
        times = {name: moment(told.get(name)) for name in ("created", "started", "ended", "expires")}
        more = {"id": told.get("job"), "model_name": model.get("name"), "model_version": model.get("version")}
        said = {"reason": problem.get("detail", ""), "faults": faults_of(problem)}
        return self._one(ScoreJob, {**told, **times, **more, **said})


def _path(job: str) -> str:
    return f"/score/{quote(job, safe='')}"


def _pieces(file: BinaryIO, size: int, progress: Progress | None) -> Iterator[bytes]:
    done = 0
    while piece := file.read(min(_PIECE, size - done)):
        yield piece
        done += len(piece)
        if progress:
            progress(done, size)
