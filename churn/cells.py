"""Reading whole columns of cells: the array form of :meth:`churn.columns.Column.read`."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as arrow
import pyarrow.compute as compute

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.columns import Column, Scalar
    from churn.contract import FileFormat

# What numbers look like. Arabic digits, 1_000, 1,000, inf and nan are not among them.
_DIGITS = {
    ".": r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)",
    ",": r"(?:[0-9]+,?[0-9]*|,[0-9]+)",
}


def parse(cells: "pd.Series[Any]", column: "Column", form: "FileFormat") -> tuple["pd.Series[Any]", "pd.Series[bool]"]:
    """Read a column of cells.

    Returns:
        The values in the type that the pipeline takes, and a mask of the cells that do not fit
        (their values are placeholders).
    """
    array = as_arrow(cells)
    found: NDArray[Any]
    if column.is_numeric:
        found, blank = numbers(array, form.decimal), blanks(array, form)
        low, high = column.bounds
        bad = ~((found >= low) & (found <= high))
        if column.type == "integer":
            bad |= found != np.floor(found)
    else:
        codes, blank = _codes(array, column, form), blanks(array, form)
        if is_text(array):  # where a category has a blank's text among its values, it is that value
            blank &= codes < 0
        found, bad = codes, codes < 0
    bad = bad & ~blank if column.blank != "refuse" else bad | blank
    return _finish(found, blank, bad, column, cells.index), pd.Series(bad, index=cells.index)


def as_arrow(cells: "pd.Series[Any]") -> arrow.Array:
    """The cells as one typed array, dictionaries resolved.

    Raises:
        pyarrow.ArrowException: the cells are of several types, which no file brings.
    """
    array = arrow.array(cells, from_pandas=True)
    if isinstance(array, arrow.ChunkedArray):
        array = array.combine_chunks()
    if isinstance(array, arrow.DictionaryArray):
        array = array.dictionary_decode()
    return array.cast(arrow.large_string()) if arrow.types.is_string_view(array.type) else array


def is_text(array: arrow.Array) -> bool:
    return bool(arrow.types.is_string(array.type) or arrow.types.is_large_string(array.type))


def is_number(array: arrow.Array) -> bool:
    kinds = arrow.types
    return bool(kinds.is_integer(array.type) or kinds.is_floating(array.type) or kinds.is_decimal(array.type))


def blanks(array: arrow.Array, form: "FileFormat") -> "NDArray[np.bool_]":
    """Which cells say nothing: null, empty, white space, or one of the format's blank texts."""
    if not is_text(array):
        return _mask(array.is_null())
    trimmed = compute.utf8_trim_whitespace(array)
    empty = compute.is_in(trimmed, value_set=arrow.array(["", *form.blanks], type=array.type))
    return _mask(compute.or_(array.is_null(), empty))


def numbers(array: arrow.Array, decimal: str) -> "NDArray[np.float64]":
    """Cells as doubles; NaN where a cell is blank or no number."""
    if is_text(array):
        trimmed = compute.utf8_trim_whitespace(array)
        looks = compute.match_substring_regex(trimmed, f"^[+-]?{_DIGITS[decimal]}(?:[eE][+-]?[0-9]+)?$")
        array = compute.if_else(looks, trimmed, None)
        if decimal != ".":
            array = compute.replace_substring(array, decimal, ".")
    elif not is_number(array):
        return np.full(len(array), np.nan)
    values = compute.cast(array, arrow.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.asarray(values, dtype="float64")


def _codes(array: arrow.Array, column: "Column", form: "FileFormat") -> "NDArray[np.int64]":
    """Where each cell stands among the column's values; -1 where it does not."""
    if column.type == "boolean" and is_text(array):
        array = compute.utf8_lower(compute.utf8_trim_whitespace(array))
        return _index(array, ["false", "true"])
    if column.type == "boolean":
        typed = arrow.types.is_boolean(array.type)
        return _index(array, [False, True]) if typed else np.full(len(array), -1)
    if not isinstance(column.values[0], str):
        return np.asarray(pd.Index(column.values, dtype="float64").get_indexer(pd.Index(numbers(array, form.decimal))))
    return _index(array, list(column.values)) if is_text(array) else np.full(len(array), -1)


def _index(array: arrow.Array, values: list[Any]) -> "NDArray[np.int64]":
    codes = compute.index_in(array, value_set=arrow.array(values, type=array.type))
    return np.asarray(compute.fill_null(codes, -1).to_numpy(zero_copy_only=False), dtype="int64")


def _mask(array: arrow.Array) -> "NDArray[np.bool_]":
    return np.asarray(compute.fill_null(array, True).to_numpy(zero_copy_only=False), dtype=bool)


def _finish(
    found: "NDArray[Any]",
    blank: "NDArray[np.bool_]",
    bad: "NDArray[np.bool_]",
    column: "Column",
    index: pd.Index,
) -> "pd.Series[Any]":
    filler = column.blank_value
    if column.is_numeric:
        values = np.where(blank, np.nan if filler is None else filler, found)
        if column.type == "integer" and not column.may_be_missing:
            values = np.where(bad, 0, values).astype("int64")
        return pd.Series(values, index=index)
    choices = np.array([False, True] if column.type == "boolean" else column.values, dtype=object)
    labels = choices[found]
    labels[blank] = filler
    exact = column.type == "boolean" and not column.may_be_missing
    return pd.Series(labels.astype(bool) if exact else labels, index=index, dtype=bool if exact else object)


def as_series(values: "list[Scalar | None]", column: "Column") -> "pd.Series[Any]":
    """Values that :meth:`Column.read` has passed, in the type that the pipeline takes."""
    if column.is_numeric:
        exact = column.type == "integer" and not column.may_be_missing
        return pd.Series(values, dtype="int64" if exact else "float64")
    exact = column.type == "boolean" and not column.may_be_missing
    return pd.Series(values, dtype=bool if exact else object)
