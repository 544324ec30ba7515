"""One column of the contract as one input: its words, its range, its example."""

import math
import re
from typing import Any

import streamlit as st

from churn.contract import Column

UNKNOWN = "Not known"
# The widest whole numbers that a browser holds exactly.
_WIDEST = 2**53 - 1
# Two labels that are longer than this together do not fit beside each other.
_SHORT = 16


def draw(column: Column, key: str) -> None:
    """The input that fits the column. Its value is then in ``st.session_state[key]``, in the type
    that the contract wants; None where a value that may be missing was left empty."""
    if column.is_numeric:
        _number(column, key)
    elif column.type == "boolean" and not column.may_be_missing:
        st.toggle(label(column), value=bool(column.shown_example), help=_help(column), key=key)
    elif column.type == "boolean":
        _two(column, key, [False, True])
    elif len(column.values) == 2 and sum(len(column.label_of(value)) for value in column.values) <= _SHORT:
        _two(column, key, column.values)
    else:
        _select(column, key)


def label(column: Column) -> str:
    return plain(f"{column.title} ({column.unit})" if column.unit else column.title)


def plain(text: str) -> str:
    """A text of the contract or the API, safe where Streamlit would read Markdown."""
    return re.sub(r"([\\`*_\[\]$~<>#|])", r"\\\1", text)


def _number(column: Column, key: str) -> None:
    whole = column.type == "integer"
    low, high = _limits(column)
    start = _start(column, key)
    st.number_input(
        label(column),
        min_value=low,
        max_value=high,
        value=start if start is None or whole else float(start),
        step=1 if whole else _step(column),
        format="%d" if whole else "%.15g",
        placeholder=UNKNOWN if column.may_be_missing else None,
        help=_help(column),
        key=key,
    )


def _select(column: Column, key: str) -> None:
    start = _start(column, key)
    st.selectbox(
        label(column),
        column.values,
        index=None if start is None else column.values.index(start),
        format_func=column.label_of,
        placeholder=UNKNOWN if column.may_be_missing else None,
        help=_help(column),
        key=key,
    )


def _two(column: Column, key: str, options: list[Any]) -> None:
    """Two values side by side; where the value may be missing, a second click takes it back."""
    st.segmented_control(
        label(column),
        options,
        default=_start(column, key),
        format_func=lambda value: plain(column.label_of(value)),
        required=not column.may_be_missing,
        help=_help(column),
        key=key,
        width="stretch",
    )


def _start(column: Column, key: str) -> Any:
    """What the field starts with. One that may be missing starts empty or with the contract's own
    example, and gets that through the session: only a field without a default can be cleared."""
    if not column.may_be_missing:
        return column.shown_example
    if column.example is not None:
        start = float(column.example) if column.type == "number" else column.example
        st.session_state.setdefault(key, start)
    return None


def _limits(column: Column) -> tuple[float | None, float | None]:
    if column.type == "number":
        return column.min, column.max
    low = None if column.min is None else max(math.ceil(column.min), -_WIDEST)
    high = None if column.max is None else min(math.floor(column.max), _WIDEST)
    return low, high


def _step(column: Column) -> float:
    """About a hundredth of the range, as a power of ten, at most 1."""
    if column.min is None or column.max is None or column.max <= column.min:
        return 1.0
    return float(10.0 ** min(0, math.floor(math.log10(column.max - column.min)) - 2))


def _help(column: Column) -> str | None:
    said = [f"{column.description.rstrip('.')}."] if column.description else []
    if column.is_numeric and (column.min, column.max) != (None, None):
        said.append(f"{column.expectation.capitalize()}.")
    if column.may_be_missing:
        said.append("Leave it empty if it is not known.")
    return plain(" ".join(said)) or None
