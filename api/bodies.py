"""A request's JSON body as one of our models, and who sent it."""

from typing import Any, NoReturn, TypeVar

from flask import g, request
from pydantic import BaseModel, ConfigDict, ValidationError

from api.customers import read_json
from churn.errors import Fault, InvalidData


class Body(BaseModel):
    """Nothing is guessed: no unknown field, and no text for a number."""

    model_config = ConfigDict(extra="forbid", strict=True)


Wanted = TypeVar("Wanted", bound=Body)


def read_as(kind: type[Wanted]) -> Wanted:
    """The request's body.

    Raises:
        BadBody: it is not JSON.
        InvalidData: it is not of this shape; each field that is at fault is named.
    """
    body = read_json()
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise at_fault(error) from error


def listed(body: Any, many: str, most: int, one: str) -> list[Any]:
    """The rows of a body that is one of them, or a list of them under a name.

    Args:
        many: the name.
        most: how many there may be.
        one: what a row is, with its article, for messages.

    Raises:
        InvalidData: it is neither.
    """
    if not isinstance(body, dict):
        raise InvalidData([Fault(None, "", body, f"expected an object: {one}, or a list under '{many}'")])
    if many not in body:
        return [body]
    strangers = [Fault(None, name, body[name], f"unknown beside '{many}'") for name in body if name != many]
    if strangers:
        raise InvalidData(strangers)
    rows = body[many]
    if not isinstance(rows, list):
        raise InvalidData([Fault(None, many, rows, f"expected a list of {many}")])
    if not 1 <= len(rows) <= most:
        raise InvalidData([Fault(None, many, None, f"expected 1 to {most:,} {many}, not {len(rows):,}")])
    return rows


def at_fault(error: ValidationError) -> InvalidData:
    """What pydantic says of a body or of a query's parameters, as ours."""
    return InvalidData(
        [
            Fault(None, ".".join(map(str, one["loc"])), None if one["type"] == "missing" else one["input"], one["msg"])
            for one in error.errors(include_url=False, include_context=False)
        ]
    )


def refuse_query(error: ValidationError) -> NoReturn:
    """Called where the parameters of a route's query are not what it takes."""
    raise at_fault(error) from error


def asker() -> str:
    """Who asks, as the audit trail names them."""
    key = g.get("key")
    return f"key {key.name}" if key else "anonymous (loopback)"


def source() -> str:
    """From where."""
    return request.remote_addr or "unknown"
