"""``/outcomes``: what became of customers."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from flask import Response, jsonify
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, Field

from api.access import needs
from api.bodies import asker, listed
from api.customers import read_json
from api.document import PROBLEMS, said
from api.keeper import keeper
from api.serving import serving
from churn import outcomes, truth
from churn.errors import Fault
from churn.outcomes import AT, CHURNED, ID, Outcome

blueprint = APIBlueprint("outcomes", __name__, abp_tags=[Tag(name="outcomes")])

MANY = "outcomes"
MOST = 1_000


class OutcomeBody(BaseModel):
    """What became of one customer."""

    customer_id: str | int
    churned: bool = Field(description="Whether the customer left; false: stayed until then")
    at: str | None = Field(None, description="A day or a time, ISO 8601, in UTC where it names no zone; left out: now")


_ONE = OutcomeBody.model_json_schema()
_LIST = {"type": "array", "minItems": 1, "maxItems": MOST, "items": _ONE}
_BODY = {"oneOf": [_ONE, {"type": "object", "required": [MANY], "properties": {MANY: _LIST}}]}


class RecordedReply(BaseModel):
    new: int
    known: int = Field(description="Recorded before, in the same words")
    unscored: int = Field(
        description="Of the new ones, those of customers who had not been scored before it: they judge no version "
        "and join no training"
    )


class OutcomesReply(BaseModel):
    outcomes: int
    customers: int
    churned: int
    unscored: int
    first: str | None = Field(description="When the earliest of them was, ISO 8601")
    last: str | None
    received: str | None = Field(description="When the newest came in")


@blueprint.get(
    "/outcomes",
    operation_id="outcomes",
    summary="How many outcomes there are",
    responses={200: OutcomesReply, 503: PROBLEMS[503]},
)
@needs("read")
def summary() -> dict[str, Any]:
    """How many customers are known to have left or stayed, from when to when."""
    told = truth.summary(keeper().store)
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in told.items()}


@blueprint.post(
    "/outcomes",
    operation_id="record_outcomes",
    summary="Tell who left and who stayed",
    request_body={"required": True, "content": {"application/json": {"schema": _BODY}}},
    responses={
        200: RecordedReply,
        201: RecordedReply,
        **{status: PROBLEMS[status] for status in (400, 413, 415, 422, 503)},
        409: said("The contract names no id"),
    },
)
@needs("write")
def record() -> Response:
    """One outcome, or up to 1,000 under `outcomes`; all are kept, or none. 201 where any was new; the
    same outcome sent again is kept once. Each is joined with the customer as he was scored last before
    it, judges the version that scored him, and joins the next training."""
    contract = serving().contract
    outcomes.require_id(contract)
    done = outcomes.record(keeper().store, [_read(read_json())], contract, by=asker())
    reply = jsonify(asdict(done))
    reply.status_code = HTTPStatus.CREATED if done.new else HTTPStatus.OK
    return reply


def _read(body: Any) -> outcomes.Piece:
    now = datetime.now(UTC)
    made: list[Outcome] = []
    faults: list[Fault] = []
    for row, given in enumerate(listed(body, MANY, MOST, "an outcome")):
        found = list(_faults(row, given))
        if not found:
            at, day, wrong = outcomes.read_at(given.get(AT), now)
            if wrong:
                found = [Fault(row, AT, given[AT], wrong)]
            else:
                made.append(Outcome(row, str(given[ID]).strip(), given[CHURNED], at, day))
        faults += found
    return made, faults


def _faults(row: int, given: Any) -> Iterator[Fault]:
    if not isinstance(given, dict):
        yield Fault(row, "", given, "expected an object: an outcome")
        return
    customer, churned = given.get(ID), given.get(CHURNED)
    if isinstance(customer, bool) or not isinstance(customer, str | int) or not _printable(str(customer)):
        yield Fault(row, ID, customer, "expected the id of a customer: a text or a whole number")
    if not isinstance(churned, bool):
        yield Fault(row, CHURNED, churned, "expected true (has left) or false (has stayed)")
    if not isinstance(given.get(AT), str | None):
        yield Fault(row, AT, given[AT], "expected a day or a time, as text in ISO 8601")
    for name in given:
        if name not in (ID, CHURNED, AT):
            yield Fault(row, name, given[name], "an outcome has no such field")


def _printable(text: str) -> bool:
    """Whether a database can hold it: no lone surrogate, no NUL."""
    return bool(text.strip()) and "\0" not in text and text.encode(errors="replace").decode() == text
