"""One rule for a value, whether it comes as JSON, as a CSV cell or typed from Parquet."""

import decimal
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from churn import contract as contracts
from churn.cells import parse
from churn.columns import LARGEST_INTEGER, Column
from churn.contract import FileFormat

COLUMNS = {
    "months": {"type": "integer", "min": 0, "max": 240},
    "count": {"type": "integer"},
    "charge": {"type": "number", "min": 0, "max": 500},
    "balance": {"type": "number"},
    "plan": {"type": "category", "values": ["Basic", "Gold", "No"]},
    "flag": {"type": "category", "values": [0, 1]},
    "code": {"type": "category", "values": ["007", "1"]},
    "active": {"type": "boolean"},
}
BLANKS: dict[str, Any] = {"months": 3, "count": 3, "charge": 3.5, "balance": 3.5, "plan": "No", "flag": 1}
BLANKS |= {"code": "007", "active": True}


def column(name: str, blank: Any = "refuse") -> Column:
    return Column.model_validate({"name": name, **COLUMNS[name], "blank": blank})


# The value as JSON, the same as a CSV cell (None: cells cannot say it), what it is read as (... : refused).
SAME = [
    ("months", "27", "27", 27),
    ("months", "27.0", "27.0", 27),
    ("months", "27.5", "27.5", ...),
    ("months", "0", "0", 0),
    ("months", "240", "240", 240),
    ("months", "241", "241", ...),
    ("months", "-1", "-1", ...),
    ("months", "2.7e1", "2.7e1", 27),
    ("months", "true", "true", ...),
    ("months", '"27"', None, ...),
    ("months", '"abc"', "abc", ...),
    ("months", "[27]", None, ...),
    ("months", "{}", None, ...),
    ("months", '""', None, ...),
    ("count", str(LARGEST_INTEGER), str(LARGEST_INTEGER), LARGEST_INTEGER),
    ("count", str(2**53), str(2**53), ...),
    ("count", str(2**53 + 1), str(2**53 + 1), ...),
    ("count", "1" * 400, "1" * 400, ...),
    ("charge", "0.1", "0.1", 0.1),
    ("charge", "70", "70", 70.0),
    ("charge", "500.0000001", "500.0000001", ...),
    ("charge", "NaN", "nan", ...),
    ("charge", "Infinity", "inf", ...),
    ("charge", "1e400", "1e400", ...),
    ("charge", "false", "false", ...),
    ("balance", "-12.5", "-12.5", -12.5),
    ("balance", "1e299", "1e299", 1e299),
    ("balance", "1e301", "1e301", ...),
    ("balance", "-Infinity", "-Infinity", ...),
    ("plan", '"Gold"', "Gold", "Gold"),
    ("plan", '"gold"', "gold", ...),
    ("plan", '"Gold "', "Gold ", ...),
    ("plan", '" Gold"', " Gold", ...),
    ("plan", '"No"', "No", "No"),
    ("plan", "1", "1", ...),
    ("plan", "false", "false", ...),
    ("plan", "[]", None, ...),
    ("flag", "1", "1", 1),
    ("flag", "1.0", "1.0", 1),
    ("flag", "2", "2", ...),
    ("flag", "0.5", "0.5", ...),
    ("flag", "true", "true", ...),
    ("flag", '"Yes"', "Yes", ...),
    ("flag", '"1"', None, ...),
    ("code", '"007"', "007", "007"),
    ("code", '"7"', "7", ...),
    ("code", "1", None, ...),
    ("active", "true", "true", True),
    ("active", "false", "False", False),
    ("active", "1", "1", ...),
    ("active", '"yes"', "yes", ...),
    ("active", '"true"', None, ...),
]


@pytest.mark.parametrize(("name", "as_json", "cell", "expected"), SAME)
def test_json_and_csv_agree(name: str, as_json: str, cell: str | None, expected: Any) -> None:
    seen = column(name)
    value, fault = seen.read(json.loads(as_json))
    assert (fault is not None) == (expected is ...)
    if expected is not ...:
        assert (value, type(value)) == (expected, type(expected))
    if cell is not None:
        values, bad = parse(pd.Series(["", cell]), seen, FileFormat())
        assert bad.tolist() == [True, expected is ...]
        if expected is not ...:
            assert values[1] == expected


@pytest.mark.parametrize(("name", "as_json", "cell", "expected"), SAME)
def test_the_request_model_agrees_too(name: str, as_json: str, cell: str | None, expected: Any) -> None:
    value = json.loads(as_json)
    model = a_contract(name).customer_model
    if expected is ...:
        with pytest.raises(ValidationError):
            model.model_validate({name: value})
    else:
        assert model.model_validate({name: value}).model_dump(by_alias=True) == {name: expected}


def a_contract(name: str, **more: Any) -> contracts.Contract:
    return contracts.parse(
        {
            "name": "one",
            "rows": {"training": "rows.csv"},
            "target": {"column": "left", "values": [0, 1], "positive": 1},
            "features": {name: COLUMNS[name] | more},
            "risk": {
                "high": {"threshold": 0.6, "action": "a"},
                "medium": {"threshold": 0.3, "action": "b"},
                "low": {"threshold": 0, "action": "c"},
            },
        }
    )


@pytest.mark.parametrize("name", COLUMNS)
def test_blank_cells_and_absent_fields(name: str) -> None:
    good = column(name).shown_example
    cells = pd.Series(["", "  ", None, str(good).lower() if good is False else str(good)])
    assert parse(cells, column(name), FileFormat())[1].tolist() == [True, True, True, False]

    filler = BLANKS[name]
    values, bad = parse(cells, column(name, {"as": filler}), FileFormat())
    assert not bad.any()
    assert values.tolist() == [filler, filler, filler, good]

    values, bad = parse(cells, column(name, "missing"), FileFormat())
    assert not bad.any()
    assert values.isna().tolist() == [True, True, True, False]

    for blank, refused in (("refuse", True), ({"as": filler}, True), ("missing", False)):
        assert (column(name, blank).read(None)[1] is not None) == refused
        model = a_contract(name, blank=blank).customer_model
        for body in ({}, {name: None}):
            if refused:
                with pytest.raises(ValidationError):
                    model.model_validate(body)
            else:
                assert model.model_validate(body).model_dump(by_alias=True) == {name: None}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_bad_cell_is_bad_whatever_a_blank_means(name: str) -> None:
    for blank in ("refuse", "missing", {"as": BLANKS[name]}):
        assert parse(pd.Series(["nonsense"]), column(name, blank), FileFormat())[1].tolist() == [True]


@pytest.mark.parametrize("cell", ["1_000", "1,000", "1 000", "١٢", "0x10", "1e", "+-1", "12 months", "−5", "1\x00"])
def test_cells_that_are_no_numbers(cell: str) -> None:
    for name in ("count", "balance"):
        assert parse(pd.Series([cell]), column(name), FileFormat())[1].all()


@pytest.mark.parametrize(("cell", "value"), [(" 12 ", 12), ("+5", 5), ("5.", 5), ("012", 12), ("-0", 0)])
def test_spellings_of_a_number(cell: str, value: float) -> None:
    values, bad = parse(pd.Series([cell]), column("balance"), FileFormat())
    assert not bad.any()
    assert values[0] == value


def test_cells_are_read_to_the_last_bit() -> None:
    texts = [repr(0.1 * i) for i in range(2_000)] + ["2.2250738585072011e-308", "8.41e21", "9007199254740993"]
    values, bad = parse(pd.Series(texts), column("balance"), FileFormat())
    assert not bad.any()
    assert values.tolist() == [float(text) for text in texts]


def test_decimal_comma() -> None:
    form = FileFormat(separator=";", decimal=",")
    values, bad = parse(pd.Series(["1,5", "2", "1.5", "1.234,5", ",5"]), column("balance"), form)
    assert bad.tolist() == [False, False, True, True, False]
    assert values[[0, 1, 4]].tolist() == [1.5, 2, 0.5]


def test_blank_texts_and_a_category_that_has_one_as_its_value() -> None:
    form = FileFormat(blanks=["NA", "No"])
    assert parse(pd.Series(["NA", " NA ", "na"]), column("months", "missing"), form)[1].tolist() == [
        False,
        False,
        True,
    ]
    values, _ = parse(pd.Series(["NA", "No"]), column("plan", "missing"), form)
    assert values.tolist() == [None, "No"]


TYPED = [
    ("months", pd.array([27, None], dtype="Int64"), [False, True]),
    ("months", pd.array([27, None], dtype="int64[pyarrow]"), [False, True]),
    ("months", [27.0, 27.5], [False, True]),
    ("months", [decimal.Decimal("27.00"), decimal.Decimal("27.5")], [False, True]),
    ("months", [True, False], [True, True]),
    ("months", pd.array([True, None], dtype="boolean"), [True, True]),
    ("months", pd.Categorical([27, 300]), [False, True]),
    ("months", pd.to_datetime(["2024-01-31", None]), [True, True]),
    ("months", [b"27", None], [True, True]),
    ("months", [None, None], [True, True]),
    ("charge", [float("inf"), float("nan")], [True, True]),
    ("charge", pd.array([1, 501], dtype="uint16"), [False, True]),
    ("plan", pd.Categorical(["Gold", None]), [False, True]),
    ("plan", pd.Categorical(["Gold", "gold"]), [False, True]),
    ("plan", [1, 2], [True, True]),
    ("plan", [True, False], [True, True]),
    ("flag", pd.array([1, None], dtype="Int8"), [False, True]),
    ("flag", [1.0, 0.5], [False, True]),
    ("flag", [True, False], [True, True]),
    ("active", pd.array([True, None], dtype="boolean"), [False, True]),
    ("active", np.array([True, None], dtype=object), [False, True]),
    ("active", [1, 0], [True, True]),
    ("code", ["007", "7"], [False, True]),
]


@pytest.mark.parametrize(("name", "cells", "bad"), TYPED)
def test_typed_cells(name: str, cells: Any, bad: list[bool]) -> None:
    series = pd.Series(cells, index=[10, 20])
    values, mask = parse(series, column(name), FileFormat())
    assert mask.tolist() == bad
    assert values.index.tolist() == mask.index.tolist() == [10, 20]
    blank = series.isna().tolist()
    values, mask = parse(series, column(name, "missing"), FileFormat())
    assert mask.tolist() == [b and not gap for b, gap in zip(bad, blank, strict=True)]


def test_types_that_the_pipeline_takes() -> None:
    kinds = {name: parse(pd.Series([str(c.shown_example)]), c, FileFormat())[0].dtype for name, c in all_columns()}
    wanted = {
        "months": "int64",
        "count": "int64",
        "charge": "float64",
        "balance": "float64",
        "active": "bool",
    }
    assert {name: str(kind) for name, kind in kinds.items()} == dict.fromkeys(COLUMNS, "object") | wanted


def all_columns() -> list[tuple[str, Column]]:
    return [(name, column(name)) for name in COLUMNS]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"type": "category", "values": ["a"]}, "at least two values"),
        ({"type": "category", "values": ["a", "a"]}, "each once"),
        ({"type": "category", "values": ["a", 1]}, "all texts or all whole numbers"),
        ({"type": "category", "values": ["a", " "]}, "blank text"),
        ({"type": "category", "values": [1, 2**60]}, "too large"),
        ({"type": "category", "values": ["a", "b"], "value_labels": {"c": "C"}}, "not among the values"),
        ({"type": "category", "values": ["a", "b"], "min": 1}, "min and max"),
        ({"type": "integer", "values": [1, 2]}, "belong to a category"),
        ({"type": "integer", "min": 5, "max": 1}, "above max"),
        ({"type": "integer", "min": 0.5}, "whole numbers"),
        ({"type": "integer", "min": 0, "example": -1}, "example"),
        ({"type": "number", "blank": {"as": "x"}}, "blank is 'x'"),
        ({"type": "number", "min": float("nan")}, "finite"),
        ({"type": "number", "max": True}, "valid number"),
        ({"type": "boolean", "example": 1}, "example"),
    ],
)
def test_columns_that_contradict_themselves(entry: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Column.model_validate({"name": "x", **entry})


@pytest.mark.parametrize("name", COLUMNS)
def test_the_shown_example_is_allowed(name: str) -> None:
    assert column(name).read(column(name).shown_example)[1] is None


@pytest.mark.parametrize(("low", "high"), [(None, -5), (3, None), (-9, -2), (None, None), (0, 0)])
def test_the_shown_example_of_a_range_is_in_it(low: float | None, high: float | None) -> None:
    for kind in ("integer", "number"):
        seen = Column.model_validate({"name": "x", "type": kind, "min": low, "max": high})
        assert seen.read(seen.shown_example)[1] is None


def test_json_schema_says_what_is_read() -> None:
    assert column("flag", "missing").json_schema()["enum"] == [0, 1, None]
    assert column("months").json_schema() | {"title": ""} == {
        "type": "integer",
        "minimum": 0,
        "maximum": 240,
        "title": "",
    }
    assert column("count").json_schema()["maximum"] == LARGEST_INTEGER
