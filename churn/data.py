"""Holding every cell of every row against the contract."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from churn.cells import as_arrow, as_series, is_number, is_text, numbers, parse
from churn.errors import SHOWN_FAULTS, Fault, InvalidData
from churn.reading import CHUNK, FIRST_ROW, read_chunks, read_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.columns import Column
    from churn.contract import Contract

TargetRole = Literal["required", "optional"]
Masks = dict[str, "NDArray[np.bool_]"]
_NO_ID = "expected an id"
_TWICE = "this id stands twice; every customer has an id of its own"


def validate(
    rows: pd.DataFrame, contract: "Contract", *, target: TargetRole = "optional", source: str = ""
) -> pd.DataFrame:
    """Hold rows against the contract and give them the types that the pipeline takes.

    Args:
        rows: as :func:`read_rows` gives them; the index counts rows from 0.
        target: whether the target column (and the id, where there is one) must be there.

    Returns:
        A frame of the id (where there is one), the features and, if present, the target, in the
        contract's order: integers as int64, numbers as float64, categories as objects,
        booleans as bool, the target as 0 and 1. A column that may be missing is float64 or
        object, its gaps NaN or None.

    Raises:
        InvalidData: with every fault of the rows, the first hundred in full.
    """
    ((_, parsed),) = checked([rows], contract, target=target, source=source)
    return parsed


def checked(
    pieces: Iterable[pd.DataFrame], contract: "Contract", *, target: TargetRole = "optional", source: str = ""
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Each piece of a file beside what :func:`validate` makes of it.

    From the first fault on nothing more is given, but all pieces are looked at, so that the
    faults of the whole file are told at once; an id that stands in two pieces is told at the end.

    Raises:
        InvalidData: as :func:`validate`, after the last piece.
    """
    missing: list[Fault] = []
    faults: list[Fault] = []
    total = 0
    ids = []
    for rows in pieces:
        missing = _column_faults(rows, contract, target)
        parsed, bad = _parse_columns(rows, contract)
        if contract.id in parsed:
            ids.append(parsed[contract.id])
        total += sum(int(mask.sum()) for mask in bad.values())
        faults += _cell_faults(rows, bad, contract)
        if not (missing or total):
            yield rows, parsed
    twice = _ids_that_stand_twice(ids)
    shown = twice.head(SHOWN_FAULTS)
    for row, value in zip(shown.index.to_numpy(), shown, strict=True):
        faults.append(Fault(int(row) + FIRST_ROW, str(contract.id), value, _TWICE))
    if missing or faults:
        faults.sort(key=lambda fault: fault.row or 0)  # stable: a row's faults stay in column order
        raise InvalidData([*missing, *faults], len(missing) + total + len(twice), source)


def _column_faults(rows: pd.DataFrame, contract: "Contract", target: TargetRole) -> list[Fault]:
    wanted = list(contract.features)
    if target == "required":
        wanted += [contract.target.column, *([contract.id] if contract.id else [])]
    missing = [name for name in wanted if name not in rows.columns]
    if missing and len(rows.columns) == 1 and len(wanted) > 1:
        separator = contract.rows.format.separator
        return [
            Fault(
                1,
                str(rows.columns[0]),
                None,
                f"the whole header is one column; the contract says that {separator!r} separates columns",
            )
        ]
    if not missing and rows.empty:
        return [Fault(None, wanted[0], None, "the file has a header and no rows")]
    return [Fault(None, name, None, "this column is missing" + _spelled(name, rows)) for name in missing]


def _spelled(name: str, rows: pd.DataFrame) -> str:
    """Names that differ by case or spaces are told, and not taken for the same."""
    alike = [there for there in rows.columns if str(there).strip().casefold() == name.strip().casefold()]
    return f"; the file has {alike[0]!r}, which is spelled differently" if alike else ""


def _parse_columns(rows: pd.DataFrame, contract: "Contract") -> tuple[pd.DataFrame, Masks]:
    """The contract's columns as far as they are there, and the cells of each that do not fit."""
    parsed: dict[str, Any] = {}
    bad: Masks = {}
    form = contract.rows.format
    if contract.id and contract.id in rows.columns:
        ids = _id_text(rows[contract.id])
        parsed[contract.id] = ids
        bad[contract.id] = (ids.str.strip() == "").to_numpy() | ids.isin(form.blanks).to_numpy()
    for name, column in contract.features.items():
        if name in rows.columns:
            parsed[name], mask = parse(rows[name], column, form)
            bad[name] = mask.to_numpy()
    target = contract.target.as_column
    if target.name in rows.columns:
        values, mask = parse(rows[target.name], target, form)
        bad[target.name] = mask.to_numpy()
        parsed[target.name] = (values == contract.target.positive).astype("int64")
    return pd.DataFrame(parsed, index=rows.index), bad


def _id_text(ids: "pd.Series[Any]") -> "pd.Series[str]":
    """Ids as text: 27 and 27.0, as a column with gaps shows whole numbers, are both "27"."""
    array = as_arrow(ids)
    if not (is_text(array) or is_number(array)):
        return ids.astype("str").fillna("")
    found = None if is_text(array) else numbers(array, ".")
    if found is not None and (np.mod(found[~np.isnan(found)], 1) == 0).all() and np.nanmax(found, initial=0) < 2**63:
        array = array.cast("int64", safe=False)
    texts: pd.Series[str] = array.cast("large_string").fill_null("").to_pandas().astype("str")
    return texts.set_axis(ids.index)


def _cell_faults(rows: pd.DataFrame, bad: Masks, contract: "Contract") -> list[Fault]:
    """The first cells that do not fit, in reading order."""
    names = [name for name in rows.columns if name in bad]
    if not any(bad[name].any() for name in names):
        return []
    faults = []
    for row, place in np.argwhere(np.column_stack([bad[name] for name in names]))[:SHOWN_FAULTS]:
        value = _scalar(rows[names[place]].iloc[row])
        blank = value is None or (isinstance(value, str) and not value.strip())
        message = ("blank; " if blank else "") + _expectation(contract, names[place])
        faults.append(Fault(int(rows.index[row]) + FIRST_ROW, names[place], value, message))
    return faults


def _scalar(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return None if value is None or value is pd.NA or value is pd.NaT or value != value else value


def _expectation(contract: "Contract", name: str) -> str:
    if name == contract.id:
        return _NO_ID
    column: Column = contract.features.get(name) or contract.target.as_column
    return column.expectation


def _ids_that_stand_twice(ids: "list[pd.Series[str]]") -> "pd.Series[str]":
    if not ids:
        return pd.Series(dtype=str)
    every = pd.concat(ids) if len(ids) > 1 else ids[0]
    trimmed = every.str.strip()  # " A" is no other customer than "A"
    return every[trimmed.duplicated() & (trimmed != "")]


def read_prepared(path: Path, contract: "Contract") -> pd.DataFrame:
    """A frame that :func:`validate` gave, written with ``to_parquet``, in the very same types.

    Parquet has no object columns: what comes back is read by the contract again, so that gaps are
    None or NaN and whole numbers are whole as they were. Rows are counted from 0.

    Raises:
        UnreadableFile: it is missing or broken.
    """
    rows = read_rows(path, contract.rows.format)
    parsed: dict[str, Any] = {}
    if contract.id and contract.id in rows:
        parsed[contract.id] = _id_text(rows[contract.id])
    for name, column in contract.features.items():
        parsed[name], _ = parse(rows[name], column, contract.rows.format)
    target = contract.target.column
    if target in rows:
        parsed[target] = rows[target].astype("int64")
    return pd.DataFrame(parsed)


def features_and_target(frame: pd.DataFrame, contract: "Contract") -> tuple[pd.DataFrame, "pd.Series[int]"]:
    """Split a validated frame into raw features (n, columns) and the target (n,) of 0 and 1."""
    return frame[list(contract.features)], frame[contract.target.column]


def to_frame(customers: list[dict[str, Any]], contract: "Contract") -> pd.DataFrame:
    """Customers that the request model has read, as a frame of the types that :func:`validate` gives."""
    columns = {
        name: as_series([customer[name] for customer in customers], column)
        for name, column in contract.features.items()
    }
    return pd.DataFrame(columns)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


__all__ = [
    "CHUNK",
    "FIRST_ROW",
    "checked",
    "features_and_target",
    "file_hash",
    "read_chunks",
    "read_prepared",
    "read_rows",
    "to_frame",
    "validate",
]
