"""``/score``: a file of customers, scored in the background; the result to download."""

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from http import HTTPStatus
from typing import IO, Any, Literal
from urllib.parse import quote

from flask import Response, current_app, g, jsonify, request
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, Field

from api.access import needs
from api.arrival import Pace, read_on
from api.bodies import asker
from api.document import PROBLEMS, said
from api.problems import Denied
from api.replies import FaultReply, Model
from api.score_desk import ScoreDesk
from api.serving import serving
from api.uploads import CSV, FIELD, FORM, PARQUET, discard, receive
from churn.errors import NotReady, Refused, UnknownName
from churn.score_jobs import DONE, FAILED, ScoreJob

blueprint = APIBlueprint("score", __name__, abp_tags=[Tag(name="score")])
MOST_WAITING = 10
"""Files that wait to be scored, of all callers together."""
MOST_OF_ONE = 3
"""Of one caller."""
_PIECE = 256 * 1024
_ROOM = 3
"""How much of the disk a file may come to need, as a multiple of its size: itself, and its result twice over."""
_SPARE = 256 * 2**20
_BUSY = {"Retry-After": "15"}

_FILE = {"type": "string", "format": "binary"}
_FORM = {"type": "object", "required": [FIELD], "additionalProperties": False, "properties": {FIELD: _FILE}}
_BODY = {
    "required": True,
    "content": {FORM: {"schema": _FORM}, CSV: {"schema": _FILE}, PARQUET: {"schema": _FILE}},
}
_NONE = said("No such job, or another key's")


@blueprint.after_request
def _heard(reply: Response) -> Response:
    """A sender who still sends when the connection ends may never see what the answer was."""
    if reply.status_code >= HTTPStatus.BAD_REQUEST:
        read_on()
    return reply


class ProblemReply(BaseModel):
    title: str
    status: int
    detail: str
    errors: list[FaultReply] = Field(
        description="The first faults of the file; `row` counts its lines, the header is 1"
    )


class ScoreReply(BaseModel):
    job: str
    state: Literal["queued", "running", "done", "failed"]
    filename: str
    rows: int = Field(description="Of a CSV file about, until it is done; 0 before it is begun")
    done: int = Field(description="Rows scored so far")
    created: str
    started: str | None
    ended: str | None
    expires: str | None = Field(description="When the job and its files are removed")
    model: Model | None = Field(description="The version that scores")
    problem: ProblemReply | None = Field(description="Why it failed")
    result: str | None = Field(description="Where the scored file is, once it is done")


class JobPath(BaseModel):
    job: str = Field(max_length=100)


@blueprint.post(
    "/score",
    operation_id="score",
    summary="Score a file",
    request_body=_BODY,
    responses={
        200: ScoreReply,
        202: ScoreReply,
        400: said("No file, an empty one, or a broken form"),
        **{status: PROBLEMS[status] for status in (413, 503)},
        408: said("The file came too slowly"),
        415: said("Neither CSV nor Parquet"),
        422: said("The form holds something else than one file"),
        429: said("Too many files of this caller wait: `Retry-After`"),
    },
)
@needs("write")  # it changes nothing, but takes disk and minutes of a processor
def score() -> Response:
    """CSV or Parquet, in the contract's columns, as the part `file` of a form or as the body itself.
    202, and the job's address in `Location`. Who sends the same `Idempotency-Key` again gets the job
    that there is, with 200."""
    desk = _desk()
    with desk.transfer():
        token = _token()
        if token and (known := desk.known(token)):
            discard(desk.most)
            return _accepted(known, new=False)
        _admit(desk)
        with desk.jobs.arriving() as folder:
            arrived = receive(folder, desk.most)
            job, new = desk.jobs.add(folder, arrived.name, asker(), token)
        desk.wake()
        return _accepted(job, new)


@blueprint.get(
    "/score/<job>",
    operation_id="score_job",
    summary="How far a file is",
    responses={200: ScoreReply, 404: _NONE, 503: PROBLEMS[503]},
)
def progress(path: JobPath) -> dict[str, Any]:
    """State, rows done, and, of a file that does not fit the contract, every fault that was found."""
    job = _mine(path.job)
    if job.state not in (DONE, FAILED):
        _desk().wake()  # whose process was killed is taken up by another
    return _told(job)


@blueprint.get(
    "/score/<job>/result",
    operation_id="score_result",
    summary="The scored file",
    responses={
        200: {"description": "The file, in the format that was sent", "content": {CSV: {}, PARQUET: {}}},
        404: _NONE,
        409: said("It is not done"),
        503: PROBLEMS[503],
    },
)
def result(path: JobPath) -> Response:
    """Every column of the file that was sent, and behind them `churn_probability`, `prediction` and `risk`."""
    job, desk = _mine(path.job), _desk()
    if job.state != DONE:
        raise Refused(f"the file is {job.state}; there is no result")
    with ExitStack() as opened:
        opened.enter_context(desk.transfer())
        try:
            handle = opened.enter_context(desk.jobs.result(job).open("rb"))
        except OSError as error:
            raise UnknownName("the result is gone from this machine; send the file again") from error
        reply = Response(
            _sent(handle, Pace(socket.SHUT_RDWR)), mimetype=CSV if job.filename.endswith(".csv") else PARQUET
        )
        reply.content_length = os.fstat(handle.fileno()).st_size
        reply.headers["Content-Disposition"] = _attachment(job.filename)
        reply.call_on_close(opened.pop_all().close)
    return reply


@blueprint.delete(
    "/score/<job>",
    operation_id="score_remove",
    summary="Cancel a job, and remove its files",
    responses={204: {"description": "It is gone"}, 404: _NONE, 503: PROBLEMS[503]},
)
@needs("write")
def remove(path: JobPath) -> Response:
    """What is being scored ends within a second or two; nothing of it is kept."""
    _desk().jobs.remove(_mine(path.job).id)
    return Response(status=HTTPStatus.NO_CONTENT)


def _sent(handle: IO[bytes], pace: Pace) -> Iterator[bytes]:
    pace.begin()
    try:
        while piece := handle.read(_PIECE):
            yield piece
            pace.moved(len(piece))
    finally:
        pace.end()


def _admit(desk: ScoreDesk) -> None:
    serving().scorer()  # before there is a model a file would wait for nothing
    size = desk.most if request.content_length is None else request.content_length
    room = shutil.disk_usage(desk.room).free
    if room < _ROOM * size + _SPARE:
        raise NotReady(f"there is no room for the file: {room / 2**20:,.0f} MiB are free on the disk of CHURN_HOME")
    if desk.jobs.waiting(asker()) >= MOST_OF_ONE:
        detail = f"{MOST_OF_ONE} files of yours wait already; send the next when one is done"
        raise Denied(HTTPStatus.TOO_MANY_REQUESTS, detail, _BUSY)
    if desk.jobs.waiting() >= MOST_WAITING:
        raise Denied(HTTPStatus.SERVICE_UNAVAILABLE, f"{MOST_WAITING} files wait already; try again later", _BUSY)


def _token() -> str | None:
    key = request.headers.get("Idempotency-Key", "")
    return hashlib.sha256(json.dumps([asker(), key]).encode()).hexdigest() if key else None


def _mine(job: str) -> ScoreJob:
    """A job of the key that asks; an admin's key opens all, and where no key is asked for, so may who has none."""
    found = _desk().jobs.find(job)
    if g.key is not None and g.key.scope != "admin" and found.by != asker():
        raise UnknownName("there is no such job; it may have been removed, or be too old")
    return found


def _accepted(job: ScoreJob, new: bool) -> Response:
    reply: Response = jsonify(_told(job))
    reply.status_code = HTTPStatus.ACCEPTED if new else HTTPStatus.OK
    reply.headers["Location"] = f"/score/{job.id}"
    return reply


def _told(job: ScoreJob) -> dict[str, Any]:
    problem = job.problem
    return {
        "job": job.id,
        "state": job.state,
        "filename": job.filename,
        "rows": job.rows,
        "done": job.done,
        "created": job.created.isoformat(),
        "started": _moment(job.started),
        "ended": _moment(job.ended),
        "expires": _moment(job.ended and job.ended + _desk().jobs.kept),
        "model": {"name": job.model, "version": job.version} if job.model else None,
        "problem": problem and {**vars(problem), "errors": list(problem.errors)},
        "result": f"/score/{job.id}/result" if job.state == DONE else None,
    }


def _moment(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _attachment(filename: str) -> str:
    """Of RFC 6266: the name in ASCII for old programs, and as it is for others."""
    stem, _, suffix = filename.rpartition(".")
    name = f"{stem}-scored.{suffix}"
    plain = name.encode("ascii", "replace").decode().replace("?", "_").replace('"', "_").replace("\\", "_")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _desk() -> ScoreDesk:
    found: ScoreDesk = current_app.extensions["churn.score"]
    return found
