"""``GET /schema``: what a customer row is."""

from typing import Any

from flask_openapi import APIBlueprint, Tag

from api.document import customer_schema
from api.serving import serving

blueprint = APIBlueprint("schema", __name__, abp_tags=[Tag(name="contract")])


@blueprint.get("/schema", operation_id="schema", summary="JSON Schema of a customer")
def schema() -> dict[str, Any]:
    """The columns of a customer as JSON Schema; the whole contract stands under `x-contract`."""
    contract = serving().contract
    plain = contract.model_dump(mode="json", by_alias=True)
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, **customer_schema(contract), "x-contract": plain}
