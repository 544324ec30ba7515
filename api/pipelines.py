"""``/pipelines``: what Airflow is doing, and having it begin something."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from flask import Response, current_app, jsonify, request
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, Field

from api.access import needs
from api.bodies import Body, asker, read_as, source
from api.document import PROBLEMS, body_of, said
from api.keeper import keeper
from api.replies import PipelinesReply, RunReply
from churn import audit
from churn.errors import ChurnError, Fault, InvalidData, Refused, UnknownName
from churn.pipelines import MOST_RUNS, Pipelines, RunInDetail

blueprint = APIBlueprint("pipelines", __name__, abp_tags=[Tag(name="pipelines")])
_NONE = said("No such pipeline or run")
_RUN_ID = r"^[A-Za-z0-9_.~:+-]*[A-Za-z0-9_~:+-][A-Za-z0-9_.~:+-]*$"
"""Not of dots alone: an address loses ``..`` on its way."""


class PipelinePath(BaseModel):
    dag: str = Field(description="As `GET /pipelines` names it")


class RunPath(PipelinePath):
    run_id: str


class Start(Body):
    """What a run is started with."""

    params: dict[str, Any] = Field({}, description="By name; left out are those that keep their defaults")
    run_id: str | None = Field(
        None, min_length=1, max_length=200, pattern=_RUN_ID, description="A name of your own: asked twice, one run"
    )


class TaskReply(BaseModel):
    task_id: str
    label: str = Field(description="The name, with the value that the task is mapped over")
    state: str | None = Field(description="In Airflow's words; null before it is scheduled")
    started: str | None
    ended: str | None
    attempt: int = Field(description="0 before the first")
    url: str = Field(description="Its log in Airflow's pages")


class RunInDetailReply(RunReply):
    dag: str
    params: dict[str, Any]
    tasks: list[TaskReply] = Field(description="In the order of the graph")


class RunsReply(BaseModel):
    runs: list[RunReply]


@blueprint.get(
    "/pipelines",
    operation_id="pipelines",
    summary="The pipelines and their newest runs",
    responses={200: PipelinesReply, 503: PROBLEMS[503]},
)
def pipelines() -> dict[str, Any]:
    """State and progress of each pipeline's newest run, with links into Airflow."""
    return {"pipelines": [asdict(pipeline) for pipeline in _airflow().list()]}


@blueprint.get(
    "/pipelines/<dag>/runs",
    operation_id="runs",
    summary="A pipeline's newest runs",
    responses={200: RunsReply, 404: _NONE, 503: PROBLEMS[503]},
)
def runs(path: PipelinePath) -> dict[str, Any]:
    """Newest first; `?limit=` says how many, 10 where it is left out."""
    return {"runs": [asdict(run) for run in _airflow().runs(path.dag, _limit())]}


@blueprint.get(
    "/pipelines/<dag>/runs/<run_id>",
    operation_id="run",
    summary="One run, task by task",
    responses={200: RunInDetailReply, 404: _NONE, 503: PROBLEMS[503]},
)
def run(path: RunPath) -> dict[str, Any]:
    """State, parameters, and each task in the order of the graph, with a link to its log."""
    return asdict(_airflow().run(path.dag, path.run_id))


@blueprint.post(
    "/pipelines/<dag>/runs",
    operation_id="start_run",
    summary="Start a run",
    request_body=body_of(Start),
    responses={
        200: RunInDetailReply,
        202: RunInDetailReply,
        **{status: PROBLEMS[status] for status in (400, 415, 422, 503)},
        404: said("No such pipeline"),
        409: said("The pipeline is paused, or has a run of that name with other parameters"),
    },
)
@needs("admin")  # a training takes hours of a machine, and what it makes may go into service
def start(path: PipelinePath) -> Response:
    """202 and the run, whose address is in `Location`. Who sends the same `Idempotency-Key`, or the
    same `run_id`, again gets the run that there is, with 200."""
    wanted = read_as(Start)
    run_id = wanted.run_id or _named_by_key(path.dag)
    with _audited(path.dag, run_id, wanted.params) as told:
        found, new = _airflow().start(path.dag, wanted.params, run_id)
        told.update(subject=f"{path.dag} {found.id}", outcome=audit.DONE if new else audit.UNCHANGED)
    return _accepted(found, new)


def _accepted(found: RunInDetail, new: bool) -> Response:
    reply = jsonify(asdict(found))
    reply.status_code = HTTPStatus.ACCEPTED if new else HTTPStatus.OK
    reply.headers["Location"] = f"/pipelines/{quote(found.dag, safe='')}/runs/{quote(found.id, safe='')}"
    return reply


def _named_by_key(dag: str) -> str | None:
    """The same name for the same key from the same caller; a key is any text, a run's name is not."""
    key = request.headers.get("Idempotency-Key", "")
    if not key:
        return None
    return f"api__{hashlib.sha256(json.dumps([asker(), dag, key]).encode()).hexdigest()[:32]}"


def _limit() -> int:
    given = request.args.get("limit", "10")
    if not (given.isascii() and given.isdigit() and 1 <= int(given[:9]) <= MOST_RUNS and len(given) < 9):
        raise InvalidData([Fault(None, "limit", given, f"expected a whole number from 1 to {MOST_RUNS}")])
    return int(given)


@contextmanager
def _audited(dag: str, run_id: str | None, params: dict[str, Any]) -> Iterator[dict[str, str]]:
    told = {"subject": f"{dag} {run_id or ''}", "outcome": audit.FAILED}
    detail = json.dumps(params) if params else ""
    try:
        yield told
    except (InvalidData, Refused, UnknownName) as error:
        told["outcome"], detail = audit.REFUSED, f"{error} {detail}"
        raise
    except ChurnError as error:
        detail = f"{error} {detail}"
        raise
    finally:
        keeper().audit(audit.entry(action="pipeline.start", by=asker(), source=source(), detail=detail, **told))


def _airflow() -> Pipelines:
    found: Pipelines = current_app.extensions["churn.pipelines"]
    return found
