"""``/interactions``: what customers did with what was recommended to them."""

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from flask import Response, jsonify, request
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from api.access import needs
from api.bodies import asker, listed
from api.customers import read_json
from api.document import PROBLEMS, said
from api.keeper import keeper
from api.serving import serving, servings
from churn.errors import Fault, InvalidData
from churn.interaction_reading import KEY, LONGEST_ID, LONGEST_KEY, Event, Interaction, Reader, key_fault
from churn.outcomes import require_id

if TYPE_CHECKING:
    from churn.interactions import Kept

blueprint = APIBlueprint("interactions", __name__, abp_tags=[Tag(name="interactions")])

MANY = "interactions"
MOST = 1_000
MOST_ROWS = 500
HEADER = "Idempotency-Key"


class InteractionBody(BaseModel):
    """What one customer did with one item."""

    customer_id: str | int
    item: str = Field(description="A product's column or an offer's name, as `/recommend` has it")
    event: Event
    at: str | None = Field(None, description="A day or a time, ISO 8601, in UTC where it names no zone; left out: now")
    version: str | int | None = Field(None, description="The recommender's version that recommended it")
    idempotency_key: str | None = Field(
        None, min_length=1, max_length=LONGEST_KEY, description="What you call it by, so that it is kept once"
    )


_ONE = InteractionBody.model_json_schema()
_LIST = {"type": "array", "minItems": 1, "maxItems": MOST, "items": _ONE}
_BODY = {"oneOf": [_ONE, {"type": "object", "required": [MANY], "properties": {MANY: _LIST}}]}


class InteractionReply(BaseModel):
    """An interaction as it is kept."""

    id: int
    customer_id: str
    item: str
    event: Event
    at: str = Field(description="ISO 8601, in UTC")
    received: str
    by: str = Field(description="Who told of it")
    version: str | None


class InteractionsReply(BaseModel):
    interactions: list[InteractionReply] = Field(description="In the order of the body, as they were recorded first")


class InteractionsPage(InteractionsReply):
    customer_id: str
    total: int = Field(description="Of all pages")
    page: int
    limit: int


def _stripped(given: str) -> str:
    """As an id that is told is kept."""
    return given.strip()


class PageQuery(BaseModel):
    """Whose, and which page of them."""

    model_config = ConfigDict(extra="forbid")

    customer_id: Annotated[str, BeforeValidator(_stripped)] = Field(min_length=1, max_length=LONGEST_ID)
    page: int = Field(1, ge=1, le=10_000_000)
    limit: int = Field(50, ge=1, le=MOST_ROWS, description="Interactions of a page")


@blueprint.get(
    "/interactions",
    operation_id="interactions",
    summary="What a customer did with what was recommended to him",
    responses={200: InteractionsPage, 422: said("No such parameter, or not such a value"), 503: PROBLEMS[503]},
)
@needs("read")
def interactions(query: PageQuery) -> dict[str, Any]:
    """The newest first; none of a customer of whom nothing has been told."""
    from churn.interactions import page

    found, total = page(keeper().store, query.customer_id, query.page, query.limit)
    told = {"customer_id": query.customer_id, "interactions": [_told(one) for one in found], "total": total}
    return told | {"page": query.page, "limit": query.limit}


@blueprint.post(
    "/interactions",
    operation_id="record_interactions",
    summary="Tell what customers did with recommendations",
    request_body={"required": True, "content": {"application/json": {"schema": _BODY}}},
    responses={
        200: InteractionsReply,
        201: InteractionsReply,
        **{status: PROBLEMS[status] for status in (400, 413, 415, 422, 503)},
        409: said("The contract names no id, or something else was told under the idempotency key"),
    },
)
@needs("write")
def record_interactions() -> Response:
    """One interaction, or up to 1,000 under `interactions`; all are kept, or none. 201 where any was new;
    what is told again under its key (a field of each, or the header Idempotency-Key for the whole body) is
    kept once, and the reply is what it was. What is refused is not recommended again for a time."""
    from churn.interaction_records import record

    # those in service; only where none is the file in the settings, which takes longer to read than all else
    contracts = [one.contract for one in servings() if one.live] or [serving().contract]
    for contract in contracts:
        require_id(contract, "an interaction")
    items = dict.fromkeys(item for contract in contracts for item in (*contract.products, *contract.offers))
    key = request.headers.get(HEADER)
    done = record(keeper().store, _read(read_json(), Reader(items), key), by=asker(), request_key=key)
    reply = jsonify(interactions=[_told(one) for one in done.kept])
    reply.status_code = HTTPStatus.CREATED if done.new else HTTPStatus.OK
    return reply


def _read(body: Any, reader: Reader, key: str | None) -> list[Interaction]:
    told: list[Interaction] = []
    faults = [Fault(None, HEADER, key, key_fault(key))] if key is not None and key_fault(key) else []
    for row, given in enumerate(listed(body, MANY, MOST, "an interaction")):
        one, found = reader.read(row, given)
        if one and one.key is not None and key is not None:
            found = [Fault(row, KEY, one.key, f"stands beside the header {HEADER}; leave one out")]
        told += [one] if one else []
        faults += found
    if faults:
        raise InvalidData(faults)
    return told


def _told(one: "Kept") -> dict[str, Any]:
    return one._asdict() | {"at": one.at.isoformat(), "received": one.received.isoformat()}
