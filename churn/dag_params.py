"""The parameters of a DAG's run, held against the schemas that the DAG itself declares.

Of JSON Schema that is the part which our DAGs use (types, enumerations, bounds, lists of those).
What else a DAG may ask for, Airflow checks when the run is made.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from churn.errors import Fault, InvalidData

Schema = Mapping[str, Any]


def check(given: Mapping[str, Any], declared: Mapping[str, Any]) -> None:
    """Hold parameters against what Airflow tells of a DAG's.

    Args:
        declared: by name an object with the parameter's ``schema``.

    Raises:
        InvalidData: unknown names, values of another type or out of bounds; each named.
    """
    known = ", ".join(declared) or "none"
    faults = [Fault(None, name, given[name], f"unknown parameter; there are: {known}") for name in given
              if name not in declared]  # fmt: skip
    faults += [Fault(None, name, None, "no text that could be sent") for name in given if not _sendable(given[name])]
    for name, value in given.items():
        schema = (declared.get(name) or {}).get("schema") or {}
        faults += [Fault(None, name, value, message) for message in _wrong(value, schema)]
    if faults:
        raise InvalidData(faults)


def _sendable(value: Any) -> bool:
    """Whether it is text in UTF-8: half a surrogate pair is none."""
    text = json.dumps(value, ensure_ascii=False)
    return text.encode(errors="replace").decode() == text


def _wrong(value: Any, schema: Schema) -> Iterator[str]:
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else list(kinds)
    if kinds and not any(_KINDS.get(kind, _anything)(value) for kind in kinds):
        yield f"expected {' or '.join(map(str, kinds))}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"expected one of {', '.join(map(str, schema['enum']))}"
    if _number(value):
        yield from _bounds(value, schema, "minimum", "maximum", "")
    elif isinstance(value, str):
        yield from _bounds(len(value), schema, "minLength", "maxLength", " characters")
    elif isinstance(value, list):
        yield from _bounds(len(value), schema, "minItems", "maxItems", " items")
        yield from _items(value, schema)


def _items(value: list[Any], schema: Schema) -> Iterator[str]:
    if schema.get("uniqueItems") and any(one in value[:place] for place, one in enumerate(value)):
        yield "expected each once"
    for place, one in enumerate(value):
        for message in _wrong(one, schema.get("items") or {}):
            yield f"item {place}: {message}"


def _bounds(found: float, schema: Schema, least: str, most: str, unit: str) -> Iterator[str]:
    if least in schema and found < schema[least]:
        yield f"expected at least {schema[least]}{unit}"
    if most in schema and found > schema[most]:
        yield f"expected at most {schema[most]}{unit}"


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _integer(value: Any) -> bool:
    return _number(value) and (isinstance(value, int) or value.is_integer())


def _anything(_: Any) -> bool:
    return True


_KINDS: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": _integer,
    "number": _number,
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
