"""Rows as frames: held against the contract, and in the types that the pipeline takes."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as arrow

from churn.cells import as_arrow, parse
from churn.checking import Findings, Held, TargetRole, hold, id_series, id_texts, ids_that_stand_twice
from churn.reading import CHUNK, FIRST_ROW, Piece, read_chunks, read_rows

if TYPE_CHECKING:
    from churn.contract import Contract


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
    findings = Findings(contract, source)
    ids = []
    for rows in pieces:
        held = hold(_piece(rows, contract), contract, target=target)
        if held.ids is not None:
            ids.append(id_series(held.ids, rows.index))
        if findings.add(held):
            yield rows, _parsed(held, contract)
    findings.tell(ids_that_stand_twice(ids))


def _piece(rows: pd.DataFrame, contract: "Contract") -> Piece:
    """A frame as a piece; of a column that the contract does not ask for, only its name is needed."""
    asked = {*contract.features, contract.target.column, contract.id}
    table = arrow.table(
        {str(name): as_arrow(rows[name]) if name in asked else arrow.nulls(len(rows)) for name in rows.columns}
    )
    return Piece(table, rows.index, table.schema)


def _parsed(held: Held, contract: "Contract") -> pd.DataFrame:
    parsed: dict[str, Any] = {}
    if held.ids is not None:
        parsed[str(contract.id)] = id_series(held.ids, held.piece.rows)
    for name, column in contract.features.items():
        parsed[name] = held.cells[name].series(column, held.piece.rows)
    target = contract.target.as_column
    if target.name in held.cells:
        labels = held.cells[target.name].series(target, held.piece.rows)
        parsed[target.name] = (labels == contract.target.positive).astype("int64")
    return pd.DataFrame(parsed, index=held.piece.rows)


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
        parsed[contract.id] = id_series(id_texts(as_arrow(rows[contract.id])), rows.index)
    for name, column in contract.features.items():
        parsed[name], _ = parse(rows[name], column, contract.rows.format)
    target = contract.target.column
    if target in rows:
        parsed[target] = rows[target].astype("int64")
    return pd.DataFrame(parsed)


def features_and_target(frame: pd.DataFrame, contract: "Contract") -> tuple[pd.DataFrame, "pd.Series[int]"]:
    """Split a validated frame into raw features (n, columns) and the target (n,) of 0 and 1."""
    return frame[list(contract.features)], frame[contract.target.column]


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
    "validate",
]
