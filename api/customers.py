"""From a request's body to customers that fit the contract. Nothing is guessed or filled in."""

import json
import math
from http import HTTPStatus
from typing import Any

from flask import request
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from api.problems import BadBody
from churn.contract import Contract
from churn.errors import SHOWN_FAULTS, Fault, InvalidData

MOST_CUSTOMERS = 1_000
MANY = "customers"

Customer = dict[str, Any]


def read_json() -> Any:
    """The request's body.

    Raises:
        BadBody: it is of another media type, or not JSON: NaN, Infinity and an object that
            says one key twice are not JSON here.
    """
    if not request.is_json:
        raise BadBody(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the body as application/json")
    try:
        return json.loads(request.get_data(), parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise BadBody(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {error}") from error


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is larger than a number can be")
    return number


def _object(pairs: list[tuple[str, Any]]) -> Customer:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object says one key twice")
    return found


def read_customers(contract: Contract) -> tuple[list[Customer], bool]:
    """The customers of the body, and whether it was a list of them.

    Raises:
        BadBody, InvalidData: with every fault of every customer.
    """
    body = read_json()
    if not isinstance(body, dict):
        raise InvalidData([Fault(None, "", body, "expected an object: a customer, or a list under 'customers'")])
    many = MANY in body
    rows = _listed(body) if many else [body]
    customers: list[Customer] = []
    faults: list[Fault] = []
    total = 0
    for row, given in enumerate(rows):
        try:
            customers.append(_read(given, row, contract))
        except InvalidData as error:
            total += error.total
            faults += error.faults[: SHOWN_FAULTS - len(faults)]
    if total:
        raise InvalidData(faults, total)
    return customers, many


def _listed(body: Customer) -> list[Any]:
    rows = body[MANY]
    if not isinstance(rows, list):
        raise InvalidData([Fault(None, MANY, rows, "expected a list of customers")])
    if not 1 <= len(rows) <= MOST_CUSTOMERS:
        message = f"expected 1 to {MOST_CUSTOMERS:,} customers, not {len(rows):,}; send more in several requests"
        raise InvalidData([Fault(None, MANY, None, message)])
    strangers = [Fault(None, name, body[name], "unknown beside 'customers'") for name in body if name != MANY]
    if strangers:
        raise InvalidData(strangers)
    return rows


def _read(given: Any, row: int, contract: Contract) -> Customer:
    if not isinstance(given, dict):
        raise InvalidData([Fault(row, "", given, "expected an object in the contract's columns")])
    try:
        return contract.customer_model.model_validate(given).model_dump(by_alias=True)
    except ValidationError as error:
        raise InvalidData(_faults(error, row, contract)) from error


def _faults(error: ValidationError, row: int, contract: Contract) -> list[Fault]:
    told: dict[str, Fault] = {}
    for fault in error.errors(include_url=False, include_context=False):
        field = str(fault["loc"][0]) if fault["loc"] else ""
        value = None if fault["type"] == "missing" else fault["input"]
        told.setdefault(field, Fault(row, field, value, _message(fault, field, contract)))
    return list(told.values())


def _message(fault: ErrorDetails, field: str, contract: Contract) -> str:
    match fault["type"]:
        case "missing":
            return f"missing; {contract.features[field].expectation}"
        case "contract":
            return fault["msg"]
        case "extra_forbidden" if field == contract.target.column:
            return "this is what is predicted; leave it out"
        case "extra_forbidden":
            return "the contract has no such column"
        case _:  # the id is the only field that pydantic itself reads
            return "expected a text or a whole number"
