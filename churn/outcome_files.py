"""Outcomes in a CSV or Parquet file, read piece by piece."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn.columns import Column
from churn.errors import Fault, InvalidData
from churn.outcomes import AT, CHURNED, ID, Outcome, Piece, read_at, require_id
from churn.reading import FIRST_ROW, read_pieces

if TYPE_CHECKING:
    import pyarrow as arrow

    from churn.contract import Contract


def read(path: Path, contract: "Contract") -> Iterator[Piece]:
    """The outcomes of a file and its faults, piece by piece.

    Its columns: ``customer_id``, or the contract's id; ``churned`` (true or false), or the contract's
    target with its values; and ``at``, which may be left out or blank. Others are passed over.

    Raises:
        InvalidData: a column is missing, or the file has no rows.
        UnreadableFile: as :func:`churn.reading.read_rows`.
        Refused: the contract names no id.
    """
    own_id = require_id(contract)
    for piece in read_pieces(path, contract.rows.format):
        names = piece.table.column_names
        id_name = _one_of(path, names, ID, own_id)
        told = _one_of(path, names, CHURNED, contract.target.column)
        if not len(piece.rows):
            raise InvalidData([Fault(None, id_name, None, "the file has a header and no rows")], source=str(path))
        rows = [int(row) + FIRST_ROW for row in piece.rows]
        yield _piece(piece.table, rows, (id_name, told), contract)


def _one_of(path: Path, names: list[str], ours: str, theirs: str) -> str:
    there = [name for name in dict.fromkeys((ours, theirs)) if name in names]
    if len(there) == 1:
        return there[0]
    if there:
        raise InvalidData([Fault(None, ours, None, f"stands beside {theirs!r}; leave one out")], source=str(path))
    told = f"this column is missing; {theirs!r} would do as well"
    raise InvalidData([Fault(None, ours, None, told)], source=str(path))


def _piece(table: "arrow.Table", rows: list[int], names: tuple[str, str], contract: "Contract") -> Piece:
    from churn.cells import plain
    from churn.checking import id_texts

    id_name, told_name = names
    ids = [str(one).strip() for one in id_texts(plain(table.column(id_name))).to_pylist()]
    said = _churned(table, told_name, contract)
    given = table.column(AT).to_pylist() if AT in table.column_names else [None] * len(rows)
    outcomes: list[Outcome] = []
    faults: list[Fault] = []
    for row, customer, churned, when in zip(rows, ids, said, given, strict=True):
        at, day, wrong = read_at(when)
        found = [Fault(row, id_name, None, "blank; expected an id")] if not customer else []
        if "\0" in customer:  # PostgreSQL has no such text
            found.append(Fault(row, id_name, customer, "expected an id without NUL"))
        if isinstance(churned, Fault):
            found.append(Fault(row, churned.field, churned.value, churned.message))
        if wrong:
            found.append(Fault(row, AT, when, wrong))
        faults += found
        if not found:
            outcomes.append(Outcome(row, customer, bool(churned), at, day))
    return outcomes, faults


def _churned(table: "arrow.Table", name: str, contract: "Contract") -> "list[bool | Fault]":
    """Who left, (n,); a fault, whose row is yet to be told, where a cell does not say."""
    from churn.cells import plain, read

    own = name == contract.target.column
    column = contract.target.as_column if own else Column(name=name, type="boolean")
    positive: Any = contract.target.positive if own else True
    cells = read(plain(table.column(name)), column, contract.rows.format)
    import pandas as pd

    values = cells.series(column, pd.RangeIndex(len(table)))
    bad = cells.bad | cells.blank
    shown = table.column(name).to_pylist() if bad.any() else []
    return [
        Fault(None, name, shown[place], column.expectation) if bad[place] else bool(value == positive)
        for place, value in enumerate(values)
    ]
