"""From a request's body to customers that fit the contract. Nothing is guessed or filled in."""

import json
import math
from http import HTTPStatus
from typing import Any

from flask import request
from pydantic import TypeAdapter, ValidationError

from api.arrival import read_body
from api.problems import BadBody
from churn.columns import CustomerId
from churn.contract import Contract
from churn.errors import SHOWN_FAULTS, Fault, InvalidData

MOST_CUSTOMERS = 1_000
MANY = "customers"

Customer = dict[str, Any]
"""The typed values of the features, and the id where the contract has one."""


def read_json() -> Any:
    """The request's body.

    Raises:
        BadBody: it is of another media type, or not JSON: NaN, Infinity and an object that
            says one key twice are not JSON here.
    """
    if not request.is_json:
        raise BadBody(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the body as application/json")
    given = read_body()
    try:
        return _DECODER.decode(given.decode(json.detect_encoding(given), "surrogatepass"))
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


# json.loads would make one for each body
_DECODER = json.JSONDecoder(parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_object)


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
        customer, wrong = _read(given, row, contract)
        customers.append(customer)
        if wrong:
            total += len(wrong)
            faults += wrong[: SHOWN_FAULTS - len(faults)]
    if total:
        raise InvalidData(faults, total)
    return customers, many


def read_customer(given: Any, contract: Contract) -> Customer:
    """One customer that stands within a body.

    Raises:
        InvalidData: with every fault.
    """
    customer, faults = _read(given, 0, contract)
    if faults:
        raise InvalidData(faults)
    return customer


def read_id(given: Any, contract: Contract) -> str | int | None:
    """The id of one customer of whom nothing else is told.

    Raises:
        InvalidData: it is none.
    """
    message = _id_fault(given)
    if message:
        raise InvalidData([Fault(0, str(contract.id), given, message)])
    found: str | int | None = given
    return found


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


def _read(given: Any, row: int, contract: Contract) -> tuple[Customer, list[Fault]]:
    """A customer and its faults, in the contract's order; with a fault the values are not whole."""
    if not isinstance(given, dict):
        return {}, [Fault(row, "", given, "expected an object in the contract's columns")]
    values, found = contract.read(given)
    faults = [Fault(row, name, given.get(name), message) for name, message in found]
    if contract.id:
        customer_id = given.get(contract.id)
        message = _id_fault(customer_id)
        if message:
            faults.insert(0, Fault(row, contract.id, customer_id, message))
        values[contract.id] = customer_id
    return values, faults


_ID: TypeAdapter[str | int | None] = TypeAdapter(CustomerId)


def _id_fault(given: object) -> str:
    try:
        _ID.validate_python(given)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False)[0]
        return fault["msg"] if fault["type"] == "contract" else "expected a text or a whole number"
    return ""
