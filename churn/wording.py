"""A reason in words, from what the contract calls columns, values and units."""

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from churn.columns import Column, Scalar

_YES, _NO = ("yes", "true"), ("no", "false")
_VERBS = {"has", "is", "was", "does", "did", "uses", "owns", "had", "can", "wants"}
"""Words that begin a label which is a statement: "Has a partner"."""
_MOST_WORDS = 3
_PLAIN = re.compile(r"[^\W\d_][^\W_]*([ -][^\W_]+)*")
"""A label of letters, spaces and hyphens, which can stand before its column's."""
_SMALLEST, _LARGEST = 0.01, 1e15


def reason(column: "Column", value: "Scalar | None", points: float) -> str:
    """Such as "Month-to-month contract raises the risk by 12 points".

    Args:
        points: what this reason adds to the probability; 0.12 is 12 points.
    """
    title = _tidy(column.title)
    if value is None:
        subject, many = _phrase(title, None)
    elif column.is_numeric:
        subject, many = f"{_first_up(title)} of {_quantity(float(value), column.unit)}", _is_plural(title)
    else:
        subject, many = _phrase(title, _tidy(column.label_of(value)))
    if points == 0:
        return f"{subject} {'do' if many else 'does'} not change the risk"
    verb = ("raise" if points > 0 else "lower") + ("" if many else "s")
    return f"{subject} {verb} the risk by {_points(abs(points))}"


def phrase(column: "Column", value: "Scalar | None") -> str:
    """How a value of a category is spoken of: "Month-to-month contract"; of None that it is unknown."""
    return _phrase(_tidy(column.title), None if value is None else _tidy(column.label_of(value)))[0]


def is_statement(label: str) -> bool:
    """Whether a label is a sentence of its own, as "Has a partner" is."""
    return _is_statement(_tidy(label))


def _points(size: float) -> str:
    whole = round(100 * size)
    if whole < 1:
        return "under 1 point"
    return "1 point" if whole == 1 else f"{whole} points"


def _quantity(value: float, unit: str) -> str:
    if value == 1 and len(unit) > 3 and unit.endswith("s") and not unit.endswith("ss"):
        unit = unit[:-1]  # 1 month
    return f"{_shown(value)} {unit}".rstrip()


def _shown(value: float) -> str:
    if value != 0 and not _SMALLEST <= abs(value) < _LARGEST:
        return f"{value:.3g}"
    text = f"{value:,.2f}"
    return text.rstrip("0").rstrip(".")


@lru_cache(maxsize=10_000)
def _phrase(title: str, label: str | None) -> tuple[str, bool]:
    """How a value of a category is spoken of, None being a missing one, and whether in the plural."""
    many = _is_plural(title)
    if label is None:
        return f"Unknown {inside(title)}", many
    words, lower = label.split(), label.lower()
    if lower in _YES:
        return _first_up(title), many
    if lower in _NO and not _is_statement(title):
        return f"No {inside(title)}", many
    combines = _PLAIN.fullmatch(label) and len(words) <= _MOST_WORDS
    if not combines or _is_statement(title) or words[0].lower() in ("no", "not"):
        return f"{_first_up(title)}: {inside(label)}", False
    if words[-1].lower() == title.split()[-1].lower():  # "Gold plan", of the column "Plan"
        return _first_up(label), many
    return f"{_first_up(label)} {inside(title)}", many


def _is_statement(title: str) -> bool:
    return title.split()[0].lower() in _VERBS


@lru_cache(maxsize=1_000)
def _is_plural(title: str) -> bool:
    last = title.split()[-1].lower()
    ends = last.endswith("s") and not last.endswith(("ss", "us", "is"))
    return ends and len(last) > 3 and not _is_statement(title)


@lru_cache(maxsize=10_000)
def _tidy(text: str) -> str:
    return " ".join(text.split()) or "?"


def _first_up(text: str) -> str:
    first = text[:1].upper()
    return first + text[1:] if len(first) == 1 else text  # "ß" would become two letters


def inside(text: str) -> str:
    """A text within a sentence; what is written in capitals, such as DSL, stays as it is."""
    return text if len(text) > 1 and not text[1].islower() else text[:1].lower() + text[1:]
