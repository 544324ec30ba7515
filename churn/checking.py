"""Holding every cell of every row of a file against the contract."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as arrow
import pyarrow.compute as compute

from churn.cells import Cells, is_number, is_text, numbers, plain, read, resolved
from churn.encoding import Encoded
from churn.errors import SHOWN_FAULTS, Fault, InvalidData
from churn.reading import FIRST_ROW, Piece

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.columns import Column
    from churn.contract import Contract
    from churn.encoding import Encoder

TargetRole = Literal["required", "optional"]
_NO_ID = "expected an id"
_TWICE = "this id stands twice; every customer has an id of its own"


@dataclass(frozen=True, slots=True)
class Held:
    """A piece of a file held against the contract."""

    piece: Piece
    missing: list[Fault]
    """What is wrong with the columns as such."""
    cells: dict[str, Cells]
    """The features and the target, as far as they are there."""
    ids: arrow.Array | None
    """The ids as text, (n,), without nulls; None where there are none."""
    bad: "dict[str, NDArray[np.bool_]]"
    """The cells of each column, the ids among them, that do not fit."""

    @property
    def fits(self) -> bool:
        return not self.missing and not any(mask.any() for mask in self.bad.values())

    def encoded(self, encoder: "Encoder") -> Encoded:
        """The features as numbers, (n,); only of a piece that fits."""
        found = Encoded(
            np.empty((len(self.piece.rows), len(encoder.numeric))),
            np.empty((len(self.piece.rows), len(encoder.categorical)), dtype=np.int64),
        )
        for columns, array in ((encoder.numeric, found.numbers), (encoder.categorical, found.codes)):
            for place, column in enumerate(columns):
                array[:, place] = self.cells[column.name].encoded(column)
        return found


class Findings:
    """What is wrong with a file, gathered piece by piece in the order of its rows."""

    def __init__(self, contract: "Contract", source: str = "") -> None:
        self._contract = contract
        self._source = source
        self._missing: list[Fault] = []
        self._faults: list[Fault] = []
        self._total = 0

    @property
    def none(self) -> bool:
        return not (self._missing or self._total)

    def add(self, held: Held) -> bool:
        """Whether this piece and all before it fit."""
        self._missing = held.missing
        if not held.fits:
            self._total += sum(int(mask.sum()) for mask in held.bad.values())
            self._faults += _cell_faults(held, self._contract)
        return self.none

    def tell(self, twice: "pd.Series[str]") -> None:
        """Raise if there is anything, now that the whole file has been looked at.

        Args:
            twice: the ids that stand twice, as :func:`ids_that_stand_twice` gives them.

        Raises:
            InvalidData: with every fault of the file, the first hundred in full.
        """
        faults = list(self._faults)
        shown = twice.head(SHOWN_FAULTS)
        for row, value in zip(shown.index.to_numpy(), shown, strict=True):
            faults.append(Fault(int(row) + FIRST_ROW, str(self._contract.id), value, _TWICE))
        if self._missing or faults:
            faults.sort(key=lambda fault: fault.row or 0)  # stable: a row's faults stay in column order
            total = len(self._missing) + self._total + len(twice)
            raise InvalidData([*self._missing, *faults], total, self._source)


def hold(piece: Piece, contract: "Contract", *, target: TargetRole = "optional") -> Held:
    """Read every cell of the contract's columns, as far as they are there."""
    form = contract.rows.format
    names = piece.table.column_names
    columns = [*contract.features.values(), contract.target.as_column]
    cells = {
        column.name: read(plain(piece.table.column(column.name)), column, form)
        for column in columns
        if column.name in names
    }
    bad = {name: found.bad for name, found in cells.items()}
    ids = None
    if contract.id and contract.id in names:
        ids = id_texts(plain(piece.table.column(contract.id)))
        blank = compute.equal(compute.utf8_trim_whitespace(ids), "")
        blank = compute.or_(blank, compute.is_in(ids, value_set=arrow.array(form.blanks, type=ids.type)))
        bad[contract.id] = blank.to_numpy(zero_copy_only=False)
    return Held(piece, _column_faults(piece.table, contract, target), cells, ids, bad)


def _column_faults(rows: arrow.Table, contract: "Contract", target: TargetRole) -> list[Fault]:
    wanted = list(contract.features)
    if target == "required":
        wanted += [contract.target.column, *([contract.id] if contract.id else [])]
    missing = [name for name in wanted if name not in rows.column_names]
    if missing and len(rows.column_names) == 1 and len(wanted) > 1:
        separator = contract.rows.format.separator
        return [
            Fault(
                1,
                str(rows.column_names[0]),
                None,
                f"the whole header is one column; the contract says that {separator!r} separates columns",
            )
        ]
    if not missing and not len(rows):
        return [Fault(None, wanted[0], None, "the file has a header and no rows")]
    return [Fault(None, name, None, "this column is missing" + _spelled(name, rows)) for name in missing]


def _spelled(name: str, rows: arrow.Table) -> str:
    """Names that differ by case or spaces are told, and not taken for the same."""
    alike = [there for there in rows.column_names if str(there).strip().casefold() == name.strip().casefold()]
    return f"; the file has {alike[0]!r}, which is spelled differently" if alike else ""


def id_texts(ids: arrow.Array) -> arrow.Array:
    """Ids as text, (n,), "" where there is none: 27 and 27.0, as a column with gaps shows whole
    numbers, are both "27"."""
    array = resolved(ids)
    if not (is_text(array) or is_number(array)):
        texts = pd.Series(pd.array(array, dtype=pd.ArrowDtype(array.type))).astype("str").fillna("")
        return arrow.array(texts, arrow.large_string(), from_pandas=True)
    if is_number(array):
        found = numbers(array, ".")
        found = found[~np.isnan(found)]
        if (found == np.floor(found)).all() and np.abs(found).max(initial=0) < 2**63:
            array = array.cast("int64", safe=False)
    return array.cast("large_string").fill_null("")


def id_series(ids: arrow.Array, rows: pd.Index) -> "pd.Series[str]":
    """Ids that :func:`id_texts` gave, indexed by where each row stands in the file."""
    texts: pd.Series[str] = ids.to_pandas().astype("str")
    return texts.set_axis(rows)


def _cell_faults(held: Held, contract: "Contract") -> list[Fault]:
    """The first cells that do not fit, in reading order."""
    table, rows = held.piece.table, held.piece.rows
    names = [name for name in table.column_names if name in held.bad]
    if not names:
        return []
    faults = []
    for row, place in np.argwhere(np.column_stack([held.bad[name] for name in names]))[:SHOWN_FAULTS]:
        value = _scalar(table.column(names[place])[int(row)])
        blank = value is None or (isinstance(value, str) and not value.strip())
        message = ("blank; " if blank else "") + _expectation(contract, names[place])
        faults.append(Fault(int(rows[row]) + FIRST_ROW, names[place], value, message))
    return faults


def _scalar(cell: arrow.Scalar) -> Any:
    try:
        value = cell.as_py()
    except (ValueError, OverflowError):  # a day that Python's calendar does not have
        return str(compute.cast(cell, arrow.string()))
    return None if value != value else value


def _expectation(contract: "Contract", name: str) -> str:
    if name == contract.id:
        return _NO_ID
    column: Column = contract.features.get(name) or contract.target.as_column
    return column.expectation


def ids_that_stand_twice(ids: "list[pd.Series[str]]") -> "pd.Series[str]":
    """The ids that stood before, in the order of the rows."""
    if not ids:
        return pd.Series(dtype=str)
    every = pd.concat(ids) if len(ids) > 1 else ids[0]
    trimmed = every.str.strip()  # " A" is no other customer than "A"
    return every[trimmed.duplicated() & (trimmed != "")]
