"""What a column seems to be, told by its cells: a draft of its entry in a contract."""

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as arrow
import pyarrow.compute as compute

from churn.cells import as_arrow, blanks, is_number, is_text, numbers
from churn.columns import LARGEST_INTEGER, Column
from churn.errors import ChurnError
from churn.reading import FIRST_ROW

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from churn.contract import FileFormat

MOST_VALUES = 60  # the states of the USA are a category, surnames are not
_FEW_VALUES = 8  # a small file's category may have as many values as that, however few its rows
_HEADROOM = 2

_MONTHS = "jan|feb|fév|mar|mär|mrz|apr|avr|mai|may|jun|jui|jul|aug|aoû|sep|oct|okt|nov|dec|dez|déc"
_MONTH = rf"(?:{_MONTHS})[a-zé]{{0,6}}\.?"
_DATE = re.compile(
    r"[0-9]{4}[-/.](0?[1-9]|1[0-2])([-/.][0-9]{1,2})?([T ].*)?"
    r"|[0-9]{1,2}[-/.][0-9]{1,2}[-/.]([0-9]{4}|[0-9]{2})([T ,].*)?"
    rf"|[0-9]{{1,2}}\.?[- ]?{_MONTH}[-, ]*([0-9]{{4}}|[0-9]{{2}})([T ,].*)?"
    rf"|{_MONTH}[- ]([0-9]{{1,2}},? ?)?([0-9]{{4}}|[0-9]{{2}})([T ,].*)?"
    r"|[0-9]{1,3}:[0-9]{2}(:[0-9]{2})?(\.[0-9]+)?( ?[ap]m)?",
    re.IGNORECASE,
)
_COMPACT_DATE = re.compile(r"(19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])")
_DRESSED_NUMBER = re.compile(r"[^\w\s]?\s?[+-]?[0-9]{1,3}([,. '’][0-9]{3})*([.,][0-9]+)?\s?(%|[^\w\s]|[A-Z]{3})?")
_CODE = re.compile(r"[+-]?0[0-9]+")
_SENSITIVE = {
    *("gender", "sex", "age", "birth", "race", "ethnicity", "religion", "nationality", "citizenship"),
    *("senior", "marital", "disability", "disabled", "geschlecht", "alter"),
}
_SHARES = {"rate", "ratio", "share", "fraction", "probability", "percent", "percentage", "pct"}


class Refusal(ChurnError):
    """A column that no type fits, with what to do about it."""


class Uninformative(ChurnError):
    """A column that says the same of every customer."""


@dataclass(frozen=True)
class Guess:
    """A draft of a column, and what a person should know of it."""

    column: Column
    remark: str = ""


def infer(name: str, cells: "pd.Series[Any]", form: "FileFormat") -> Guess:
    """What a column seems to be.

    Raises:
        Refusal: dates, free text, identifiers and whatever else is no feature as it stands.
        Uninformative: one value, or none.
    """
    array = _typed(cells)
    blank = blanks(array, form)
    told = array.filter(arrow.array(~blank))
    distinct = compute.unique(compute.utf8_trim_whitespace(told) if is_text(told) else told) if len(told) else told
    if len(distinct) < 2:
        only = f"no other value than {distinct[0].as_py()!r}" if len(distinct) else "every cell is blank"
        raise Uninformative(only)
    entry, remark = _entry(told, distinct, form)
    entry |= {"name": name, "label": label(name), "sensitive": not _SENSITIVE.isdisjoint(words(name))}
    if entry["type"] in ("integer", "number"):
        found = numbers(told, form.decimal)
        if found.min() == found.max():  # in several spellings: 5 and 5.0
            raise Uninformative(f"no other value than {found[0]:.15g}")
        entry |= _range(found, words(name))
    if blank.any():
        entry["blank"] = "missing"
        first = int(blank.argmax()) + FIRST_ROW
        gaps = f"{int(blank.sum()):,} of {len(blank):,} cells are blank, the first in row {first}"
        remark = f"{gaps}; {remark}" if remark else gaps
    return Guess(Column.model_validate(entry), remark)


def _typed(cells: "pd.Series[Any]") -> arrow.Array:
    array = as_arrow(cells)
    if arrow.types.is_temporal(array.type) and array.null_count < len(array):
        raise _date(str(cells.dropna().iloc[0]))
    if not has_feature_type(array):
        raise Refusal(f"holds {array.type}, which is neither number, text nor true/false; leave it out")
    return array


def has_feature_type(array: arrow.Array) -> bool:
    """Whether cells of this type can be a feature or a target; a column of gaps alone has any type."""
    empty = array.null_count == len(array)
    return empty or is_text(array) or is_number(array) or bool(arrow.types.is_boolean(array.type))


def _date(value: str) -> Refusal:
    return Refusal(
        f"dates or times, such as {value!r}; turn them into a number, such as the days until the day of the "
        "export, or leave the column out"
    )


def _entry(told: arrow.Array, distinct: arrow.Array, form: "FileFormat") -> tuple[dict[str, Any], str]:
    if is_text(told):
        return _from_text(told, distinct, form)
    if arrow.types.is_boolean(told.type):
        return {"type": "boolean", "example": _mode(told)}, ""
    found = numbers(told, form.decimal)
    exact = arrow.types.is_integer(told.type) or (arrow.types.is_decimal(told.type) and told.type.scale == 0)
    # Whole numbers of which some are missing are often stored as floats.
    return _from_numbers(found, exact or bool((found % 1 == 0).all())), ""


def _from_text(told: arrow.Array, distinct: arrow.Array, form: "FileFormat") -> tuple[dict[str, Any], str]:
    texts = distinct.to_pylist()
    if {text.casefold() for text in texts} == {"true", "false"}:
        return {
            "type": "boolean",
            "example": _mode(compute.utf8_trim_whitespace(told)).casefold() == "true",
        }, ""
    found = numbers(distinct, form.decimal)
    codes = any(_CODE.fullmatch(text) for text in texts)
    if np.isfinite(found).all() and not codes:
        _refuse_compact_dates(texts)
        decimals = [text.partition(form.decimal)[2] for text in texts]
        whole = bool((found % 1 == 0).all()) and set(decimals) <= {"", "0"}
        return _from_numbers(numbers(told, form.decimal), whole), ""
    _refuse_dates(texts)
    if not codes:
        _refuse_near_numbers(texts, found)
    return _category(told)


def _refuse_compact_dates(texts: list[str]) -> None:
    if all(_COMPACT_DATE.fullmatch(text) for text in texts):
        raise _date(texts[0])


def _refuse_dates(texts: list[str]) -> None:
    alike = [text for text in texts if _DATE.fullmatch(text)]
    if len(alike) > 0.8 * len(texts):
        raise _date(alike[0])


def _refuse_near_numbers(texts: list[str], found: "NDArray[np.float64]") -> None:
    odd = [text for text, number in zip(texts, found, strict=True) if not math.isfinite(number)]
    dressed = [text for text in odd if _DRESSED_NUMBER.fullmatch(text)]
    if len(dressed) == len(odd):
        raise Refusal(
            f"numbers with signs around or inside them, such as {dressed[0]!r}; export plain numbers, "
            "or leave the column out"
        )
    if len(odd) < 0.5 * len(texts) and len(texts) > _FEW_VALUES:
        raise Refusal(
            f"numbers, but {len(odd)} of its {len(texts):,} different values are none, such as {odd[0]!r}; "
            "mend these cells or empty them, or leave the column out"
        )


def _category(told: arrow.Array) -> tuple[dict[str, Any], str]:
    values = sorted(compute.unique(told).to_pylist())  # as they stand, spaces included
    if len(values) > MOST_VALUES or len(values) > max(_FEW_VALUES, len(told) / 2):
        what = "every row has its own" if len(values) == len(told) else "free text or an identifier"
        raise Refusal(
            f"{len(values):,} different texts in {len(told):,} rows, such as {values[0][:40]!r} ({what}); "
            "group them into a few values, or leave the column out"
        )
    seen: dict[str, str] = {}
    twins = [(seen[key], v) for v in values if (key := " ".join(v.casefold().split())) in seen or seen.update({key: v})]
    remark = f"{twins[0][0]!r} and {twins[0][1]!r} differ only in case or spaces" if twins else ""
    return {"type": "category", "values": values, "example": _mode(told)}, remark


def _mode(told: arrow.Array) -> Any:
    return compute.mode(told)[0].as_py()["mode"] if not is_text(told) else _most_frequent_text(told)


def _most_frequent_text(told: arrow.Array) -> str:
    counts = compute.value_counts(told).to_pylist()
    return str(min(counts, key=lambda entry: (-entry["counts"], entry["values"]))["values"])


def _from_numbers(found: "NDArray[np.float64]", whole: bool) -> dict[str, Any]:
    if not np.isfinite(found).all():
        raise Refusal("holds infinite numbers; mend them, or leave the column out")
    if set(np.unique(found)) == {0.0, 1.0}:
        return {"type": "category", "values": [0, 1], "example": int(np.median(found) >= 1)}
    if not whole:
        return {"type": "number", "example": float(f"{np.median(found):.6g}")}
    if np.abs(found).max() > LARGEST_INTEGER:
        raise Refusal(f"whole numbers as large as {np.abs(found).max():.0f}, such as identifiers have; leave it out")
    return {"type": "integer", "example": int(np.sort(found)[len(found) // 2])}


def _range(found: "NDArray[np.float64]", said: list[str]) -> dict[str, float]:
    """Room for what the next months bring: twice the extremes, rounded up to 1, 2 or 5 and zeros."""
    low, high = float(found.min()), float(found.max())
    if low >= 0 and not _SHARES.isdisjoint(said):
        for whole in (1, 100):
            if high <= whole:
                return {"min": 0, "max": whole}
    return {"min": -_roomy(-low) if low < 0 else 0, "max": _roomy(high) if high > 0 else 0}


def _roomy(extreme: float) -> float:
    wanted = _HEADROOM * extreme
    power = 10.0 ** math.floor(math.log10(wanted))
    room = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= wanted * (1 - 1e-9))
    return min(float(f"{room:.6g}"), float(LARGEST_INTEGER)) if extreme <= LARGEST_INTEGER else room


def words(name: str) -> list[str]:
    """The words of a column's name, in small letters: ``seniorCitizen`` is senior, citizen."""
    return [word.lower() for word in _split(name)]


def _split(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-zà-ÿ0-9])(?=[A-ZÀ-Þ])|(?<=[A-ZÀ-Þ])(?=[A-ZÀ-Þ][a-zà-ÿ])", " ", name)
    return [word for word in re.split(r"[\W_]+", spaced) if word]


def label(name: str) -> str:
    """What people would call the column: ``StreamingTV`` is "Streaming TV"."""
    parts = _split(name)
    shouted = name.isupper() and len(name) > 4
    parts = [part if part.isupper() and len(part) > 1 and not shouted else part.lower() for part in parts]
    text = " ".join(parts) or name
    return text[:1].upper() + text[1:]
