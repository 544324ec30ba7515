"""Reading whole columns of cells: the array form of :meth:`churn.columns.Column.read`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as arrow
import pyarrow.compute as compute

from churn.encoding import MISSING, values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.columns import Column, Scalar
    from churn.contract import FileFormat

# What numbers look like. Arabic digits, 1_000, 1,000, inf and nan are not among them.
_DIGITS = {
    ".": r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)",
    ",": r"(?:[0-9]+,?[0-9]*|,[0-9]+)",
}


@dataclass(frozen=True, slots=True)
class Cells:
    """A column of n cells, read."""

    found: "NDArray[Any]"
    """(n,) doubles, or the codes of categories and booleans; a placeholder where a cell is blank or bad."""
    blank: "NDArray[np.bool_]"
    """(n,) the cells that say nothing."""
    bad: "NDArray[np.bool_]"
    """(n,) the cells that do not fit their column."""

    def encoded(self, column: "Column") -> "NDArray[Any]":
        """A column of :class:`churn.encoding.Encoded`, (n,); none of the cells may be bad."""
        if not self.blank.any():
            return self.found
        filler: Any = column.blank_value
        if column.is_numeric:
            filler = np.nan if filler is None else filler
        else:
            filler = MISSING if filler is None else values(column).index(filler)
        return np.where(self.blank, filler, self.found)

    def series(self, column: "Column", index: pd.Index) -> "pd.Series[Any]":
        """The cells in the type that the pipeline takes, (n,); placeholders where they are bad."""
        filler = column.blank_value
        if column.is_numeric:
            found = np.where(self.blank, np.nan if filler is None else filler, self.found)
            if column.type == "integer" and not column.may_be_missing:
                found = np.where(self.bad, 0, found).astype("int64")
            return pd.Series(found, index=index)
        labels = np.array(values(column), dtype=object)[self.found]
        labels[self.blank] = filler
        exact = column.type == "boolean" and not column.may_be_missing
        return pd.Series(labels.astype(bool) if exact else labels, index=index, dtype=bool if exact else object)


def parse(cells: "pd.Series[Any]", column: "Column", form: "FileFormat") -> tuple["pd.Series[Any]", "pd.Series[bool]"]:
    """Read a column of cells.

    Returns:
        The values in the type that the pipeline takes, and a mask of the cells that do not fit
        (their values are placeholders).
    """
    found = read(as_arrow(cells), column, form)
    return found.series(column, cells.index), pd.Series(found.bad, index=cells.index)


def read(array: arrow.Array, column: "Column", form: "FileFormat") -> Cells:
    """Read a column of cells, (n,): an array as :func:`plain` gives it."""
    if not column.is_numeric and is_text(array):
        array = array.dictionary_encode()  # each distinct text is looked at once
    if not isinstance(array, arrow.DictionaryArray):
        return _read(array, column, form)
    known, places = plain(array.dictionary), array.indices.cast(arrow.int64())
    if places.null_count:
        known = arrow.concat_arrays([known, arrow.nulls(1, known.type)])
        places = places.fill_null(len(known) - 1)
    each, place = _read(known, column, form), places.to_numpy()
    return Cells(each.found[place], _spread(each.blank, place), _spread(each.bad, place))


def _read(array: arrow.Array, column: "Column", form: "FileFormat") -> Cells:
    blank = blanks(array, form)
    found: NDArray[Any]
    if column.is_numeric:
        found = numbers(array, form.decimal)
        low, high = column.bounds
        bad = ~((found >= low) & (found <= high))
        if column.type == "integer":
            bad |= found != np.floor(found)
    else:
        found = _codes(array, column, form)
        if is_text(array):  # where a category has a blank's text among its values, it is that value
            blank &= found < 0
        bad = found < 0
    return Cells(found, blank, bad | blank if column.blank == "refuse" else bad & ~blank)


def _spread(mask: "NDArray[np.bool_]", place: "NDArray[np.int64]") -> "NDArray[np.bool_]":
    return mask[place] if mask.any() else np.zeros(len(place), dtype=bool)


def as_arrow(cells: "pd.Series[Any]") -> arrow.Array:
    """The cells as one typed array, dictionaries resolved.

    Raises:
        pyarrow.ArrowException: the cells are of several types, which no file brings.
    """
    return resolved(plain(arrow.array(cells, from_pandas=True)))


def resolved(array: arrow.Array) -> arrow.Array:
    """The array without a dictionary."""
    return plain(array.dictionary_decode()) if isinstance(array, arrow.DictionaryArray) else array


def plain(cells: "arrow.Array | arrow.ChunkedArray") -> arrow.Array:
    """The cells as one array, texts in a layout that every function here knows."""
    array = cells.combine_chunks() if isinstance(cells, arrow.ChunkedArray) else cells
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
    found = compute.cast(array, arrow.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.asarray(found, dtype="float64")


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


def _index(array: arrow.Array, known: list[Any]) -> "NDArray[np.int64]":
    codes = compute.index_in(array, value_set=arrow.array(known, type=array.type))
    return np.asarray(compute.fill_null(codes, -1).to_numpy(zero_copy_only=False), dtype="int64")


def _mask(array: arrow.Array) -> "NDArray[np.bool_]":
    return np.asarray(compute.fill_null(array, True).to_numpy(zero_copy_only=False), dtype=bool)


def as_series(given: "list[Scalar | None]", column: "Column") -> "pd.Series[Any]":
    """Values that :meth:`Column.read` has passed, in the type that the pipeline takes."""
    if column.is_numeric:
        exact = column.type == "integer" and not column.may_be_missing
        return pd.Series(given, dtype="int64" if exact else "float64")
    exact = column.type == "boolean" and not column.may_be_missing
    return pd.Series(given, dtype=bool if exact else object)
