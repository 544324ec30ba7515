"""The contract as a file: YAML in and out, and what is wrong with it in plain words.

Read as YAML 1.2 reads scalars, in which fewer texts turn into something else: ``Yes``, ``No``,
``on`` and ``off`` are texts, so are ``2024-01-31``, ``12:30``, ``007`` and ``1_000``.
"""

import re
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

Place = tuple[int | str, ...]

_SCALARS = (
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", "~nN\0"),
    ("tag:yaml.org,2002:int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan",
        "-+.0123456789",
    ),
)


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | None):
                raise _fault("a key is a single text", key_node)
            if key in seen:
                raise _fault(f"{key!r} stands twice", key_node)
            seen.add(key)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes what either version of YAML would not read as a text."""

    yaml_implicit_resolvers: dict[str, Any] = {
        first: list(resolvers) for first, resolvers in yaml.SafeDumper.yaml_implicit_resolvers.items()
    }

    def ignore_aliases(self, _data: Any) -> bool:
        return True


for _tag, _pattern, _first in _SCALARS:
    for _class in (_Loader, _Dumper):
        _signs = ["" if sign == "\0" else sign for sign in _first]
        _class.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), _signs)


def _fault(problem: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def read(text: str) -> Any:
    """The plain form of a YAML text.

    Raises:
        ValueError: it is not YAML, or says a key twice; the message names the line.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"{where}{error.problem or error.context}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(str(error).strip().splitlines()[0]) from error


def write(plain: dict[str, Any]) -> str:
    """YAML that :func:`read` reads back to the same."""
    return yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def in_line(value: Any) -> str:
    """A value as it stands behind a key, on one line."""
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, allow_unicode=True, width=10**9, sort_keys=False)
    return text.removesuffix("...\n").strip()


def told(error: ValidationError, raw: Any, known: Collection[str], text: str | None = None) -> list[str]:
    """Each fault of a contract by its place (and line, given the text) and in plain words.

    Args:
        known: the keys that a contract may have, to suggest the one that was meant.
    """
    faults: dict[Place, list[ErrorDetails]] = {}
    for fault in error.errors(include_url=False):
        faults.setdefault(_place(fault, raw), []).append(fault)
    node = yaml.compose(text, Loader=_Loader) if text else None
    return [f"{_named(place)}{_line(node, place)}: {_wording(place, some, known)}" for place, some in faults.items()]


def _place(fault: ErrorDetails, raw: Any) -> Place:
    """The fault's place without the names that pydantic gives to the arms of a choice."""
    place: list[int | str] = []
    here = raw
    steps = fault["loc"][:-1] if fault["type"] in ("missing", "extra_forbidden") else fault["loc"]
    for step in steps:
        if isinstance(here, dict) and step in here:
            place.append(str(step))
            here = here[step]
        elif isinstance(here, list) and isinstance(step, int) and step < len(here):
            place.append(step)
            here = here[step]
    if steps != fault["loc"]:
        place.append(fault["loc"][-1])
    if len(place) > 3 and place[0] == "features" and place[2] == "blank":
        return tuple(place[:3])
    return tuple(place)


def _named(place: Place) -> str:
    parts = [f"entry {part + 1}" if isinstance(part, int) else str(part) for part in place]
    return ".".join(parts) if parts else "the contract"


def _line(node: yaml.Node | None, place: Place) -> str:
    """`` (line 12)``: the deepest part of the place that stands in the file."""
    line = None
    for part in place:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(part)]
            if not found:
                break
            line, node = found[0][0].start_mark.line, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line
    return "" if line is None else f" (line {line + 1})"


_EXPECTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list, such as [a, b]",
    "dict_type": "keys with values below it",
    "model_type": "keys with values below it",
    "model_attributes_type": "keys with values below it",
}


def _wording(place: Place, faults: Sequence[ErrorDetails], known: Collection[str]) -> str:
    first = faults[0]
    if place[-1:] == ("blank",):
        return f"expected refuse, missing, or {{as: a value}}, not {_shown(first['input'])}"
    if any(part == "[key]" for part in first["loc"]):
        return "a name is a text; put it in quotes"
    expected = [_EXPECTED[fault["type"]] for fault in faults if fault["type"] in _EXPECTED]
    if expected:
        quotes = "; put it in quotes" if "a text" in expected and _is_plain(first["input"]) else ""
        return f"expected {' or '.join(dict.fromkeys(expected))}, not {_shown(first['input'])}{quotes}"
    match first["type"]:
        case "missing":
            return "missing"
        case "extra_forbidden":
            return f"there is no such key{_near(str(place[-1]), known)}"
        case "literal_error":
            return f"expected {first['ctx']['expected']}, not {_shown(first['input'])}"
        case "string_pattern_mismatch":
            return f"expected lower-case letters, digits, - and _, not {_shown(first['input'])}"
        case "too_short":
            return f"expected at least {first['ctx']['min_length']} of them, not {_shown(first['input'])}"
        case "value_error":
            return str(first["ctx"]["error"])
        case _:
            return f"{first['msg'].replace('Input should', 'it should')}, not {_shown(first['input'])}"


def _is_plain(value: Any) -> bool:
    return isinstance(value, int | float)


def _shown(value: Any) -> str:
    text = "nothing" if value is None else in_line(value)
    return text if len(text) <= 60 else text[:60] + "…"


def _near(key: str, known: Collection[str]) -> str:
    close = get_close_matches(key, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
