"""The OpenAPI document: what flask-openapi gathers, with the customer of the contract in it."""

from collections.abc import Callable
from typing import Any

from flask_openapi import OpenAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.customers import MOST_CUSTOMERS
from api.replies import PredictionReply, PredictionsReply
from churn.contract import Contract

_SCHEMAS = "#/components/schemas/"
_JSON = "application/json"
_PROBLEM = "application/problem+json"


def _either(one: str, many: str) -> dict[str, Any]:
    return {_JSON: {"schema": {"oneOf": [{"$ref": _SCHEMAS + one}, {"$ref": _SCHEMAS + many}]}}}


CUSTOMER = {"$ref": _SCHEMAS + "Customer"}
CUSTOMERS_BODY = {"required": True, "content": _either("Customer", "Customers")}
PREDICTED = {
    "description": "A prediction; for a list of customers, a list of them",
    "content": _either("PredictionReply", "PredictionsReply"),
}


def said(description: str) -> dict[str, Any]:
    return {"description": description, "content": {_PROBLEM: {"schema": {"$ref": _SCHEMAS + "Problem"}}}}


PROBLEMS: dict[str | int, Any] = {
    400: said("Not JSON"),
    413: said("Too large"),
    415: said("Not application/json"),
    422: said("Not a customer: `errors` says row, field, value and what was expected"),
    503: said("No model in service, or another service does not answer"),
}
GUARDED: dict[str, Any] = {
    "401": said("No key, or one that is not known or revoked"),
    "403": said("The key's scope is too small"),
    "429": said("Too many requests with this key: `Retry-After` says when the next may come"),
}
"""What every route may answer where a key is asked for."""


def body_of(kind: type[BaseModel]) -> dict[str, Any]:
    """A request's body, which the route itself reads and judges."""
    return {"required": True, "content": {_JSON: {"schema": kind.model_json_schema()}}}


def customer_schema(contract: Contract) -> dict[str, Any]:
    """JSON Schema of one customer."""
    # pydantic would sort the example's keys; people know the contract's order
    return {**contract.customer_model.model_json_schema(by_alias=True), "examples": [contract.example]}


class Document(OpenAPI):
    """A Flask application whose document describes the customer of the contract in service."""

    def __init__(self, name: str, *, contract_now: Callable[[], Contract], keys_required: bool, **options: Any) -> None:
        self._contract_now = contract_now
        self._keys_required = keys_required
        super().__init__(name, **options)

    @property
    def api_doc(self) -> dict[str, Any]:
        document: dict[str, Any] = super().api_doc
        for path in document["paths"].values():
            for method, operation in path.items():
                asked = operation.get("parameters", [])
                if method == "get" and not any(one["in"] == "query" for one in asked):  # then nothing can be at fault
                    operation["responses"].pop("422", None)
        document["components"]["schemas"].update(_schemas(self._contract_now()))
        if self._keys_required:
            _guard(document)
        return document


def _guard(document: dict[str, Any]) -> None:
    """Say that a key is asked for, but by the routes of health."""
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"key": []}]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if path.startswith("/health/"):
                operation["security"] = []
            else:
                operation["responses"].update(GUARDED)


def _schemas(contract: Contract) -> dict[str, Any]:
    """The schemas that the body and the reply of ``/predict`` refer to."""
    listed = {
        "type": "array",
        "minItems": 1,
        "maxItems": MOST_CUSTOMERS,
        "items": {"$ref": _SCHEMAS + "Customer"},
    }
    customers = {
        "title": "Customers",
        "type": "object",
        "additionalProperties": False,
        "required": ["customers"],
        "properties": {"customers": listed},
    }
    replies = models_json_schema(
        [(PredictionReply, "serialization"), (PredictionsReply, "serialization")],
        ref_template=_SCHEMAS + "{model}",
    )[1]["$defs"]
    return {"Customer": customer_schema(contract), "Customers": customers, **replies}
