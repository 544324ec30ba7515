"""``GET /models/history``, ``POST /models/<name>/promote`` and ``/rollback``: which version is in service, and when."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from flask import g, request
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field

from api.access import needs
from api.bodies import Body, asker, read_as, source
from api.document import PROBLEMS, body_of, said
from api.keeper import keeper
from api.models import state
from api.replies import HistoryReply, ModelsReply
from api.serving import Serving, servings
from churn.errors import NoChampion, Refused
from churn.kinds import CLASSIFIER, Loaded, kind_of

if TYPE_CHECKING:
    from churn.promoter import Promoter
    from churn.registry import Registry

blueprint = APIBlueprint("promotions", __name__, abp_tags=[Tag(name="models")])

_ANSWERS: dict[str | int, Any] = {
    200: ModelsReply,
    **{status: PROBLEMS[status] for status in (400, 415, 422, 503)},
    404: said("No such model or version"),
    409: said("Refused: by the gate, by its contract, or because it does not load"),
}


class Promote(Body):
    """Which version is to go into service."""

    version: str = Field(min_length=1, max_length=20)
    reason: str = Field("", max_length=1_000, description="Goes into the history")
    despite_gate: str = Field(
        "", max_length=1_000, description="The reason to overrule the gate; goes into the history"
    )
    accept_contract: bool = Field(False, description="Whether the rows that callers send may change with it")


class Rollback(Body):
    """Why the version before goes back into service."""

    reason: str = Field("", max_length=1_000, description="Goes into the history")


class HistoryQuery(BaseModel):
    """Of which model."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(CLASSIFIER.name, max_length=100, description="The registered model, as `GET /models` names it")


class ModelPath(BaseModel):
    name: str = Field(description="The registered model, as `GET /models` names it")


@blueprint.get(
    "/models/history",
    operation_id="history",
    summary="Which version was in service when",
    responses={200: HistoryReply, 404: said("No such model"), 422: PROBLEMS[422], 503: PROBLEMS[503]},
)
def history(query: HistoryQuery) -> dict[str, Any]:
    """Every term in service, newest first: from when to when, who or what began it, how and why."""
    terms = [
        {**asdict(term), "since": term.since.isoformat(), "until": term.until and term.until.isoformat()}
        for term in _serving(query.name).registry.history()
    ]
    return {"history": terms}


@blueprint.post(
    "/models/<name>/promote",
    operation_id="promote",
    summary="Put a version into service",
    request_body=body_of(Promote),
    responses=_ANSWERS,
)
@needs("admin")
def promote(path: ModelPath) -> dict[str, Any]:
    """The version must have passed the gate against the one in service, and must load. All workers
    serve it within seconds; what is in service already stays."""
    wanted = read_as(Promote)
    now = _serving(path.name)
    _promoter(now.registry).promote(
        wanted.version,
        reason=wanted.reason,
        despite_gate=wanted.despite_gate,
        accept_contract=wanted.accept_contract,
    )
    now.refresh()
    return state()


@blueprint.post(
    "/models/<name>/rollback",
    operation_id="rollback",
    summary="Go back to the version before",
    request_body=body_of(Rollback),
    responses=_ANSWERS,
)
@needs("admin")
def rollback(path: ModelPath) -> dict[str, Any]:
    """The version that the present one replaced goes back into service."""
    wanted = read_as(Rollback)
    now = _serving(path.name)
    try:
        _promoter(now.registry).rollback(reason=wanted.reason)
    except NoChampion as error:
        raise Refused(str(error)) from error
    now.refresh()
    return state()


def _serving(name: str) -> Serving[Loaded]:
    kind = kind_of(name)
    return next(one for one in servings() if one.kind is kind)


def _promoter(registry: "Registry[Loaded]") -> "Promoter":
    from churn.promoter import Promoter

    return Promoter(registry, keeper().audit, by=asker(), source=source(), in_history=_asker())


def _asker() -> str:
    key = f" with the key {g.key.name!r}" if g.key else ""
    return f"api, asked from {request.remote_addr}{key}"
