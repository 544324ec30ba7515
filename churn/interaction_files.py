"""Interactions in a CSV or Parquet file."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from churn.errors import SHOWN_FAULTS, Fault, InvalidData, UnreadableFile
from churn.interaction_reading import AT, EVENT, ID, ITEM, KEY, VERSION, Interaction, Reader
from churn.interaction_records import CHUNK, Check, record
from churn.outcomes import require_id
from churn.reading import FIRST_ROW, read_pieces

if TYPE_CHECKING:
    import pyarrow as arrow

    from churn.contract import Contract
    from churn.store import Store

_TOLD_APART = "blank; expected a moment, or an idempotency_key: the same file told twice is to be kept once"


class Counted(NamedTuple):
    """What has been done with the interactions of a file."""

    new: int
    known: int
    """Those that had been told before, in the file itself or ever."""


def keep(store: "Store", path: Path, contract: "Contract", *, by: str, dry_run: bool = False) -> Counted:
    """Keep the interactions of a file. It is read twice: all of it is checked before any of it is kept.

    Its columns: ``customer_id``, or the contract's id; ``item``; ``event``; ``at`` or ``idempotency_key``,
    by which a row is told apart, and ``version``. Others are passed over.

    Args:
        by: who tells of them.
        dry_run: whether to check alone.

    Raises:
        InvalidData: with every fault, keys under which something else was told among them; a column is
            missing, or the file has no rows. Nothing is kept.
        UnreadableFile: as :func:`churn.reading.read_rows`; or the file has changed meanwhile.
        Refused: the contract names no id; or another has told something else under a key since the check:
            then a part is kept, and the file may be told again.
        Unavailable, NotReady: as :class:`churn.store.Store`; of a part that is kept as before.
    """
    before = _stamp(path)
    done = _checked(store, path, contract, by)
    if dry_run:
        return done
    new = 0
    for told, faults in _pieces(path, contract):
        if faults or _stamp(path) != before:
            raise UnreadableFile(f"{path}: it has changed while it was read; tell it again")
        for start in range(0, len(told), CHUNK):
            new += record(store, told[start : start + CHUNK], by=by).new
    return Counted(new, sum(done) - new)


def _checked(store: "Store", path: Path, contract: "Contract", by: str) -> Counted:
    check = Check(store, by)
    faults: list[Fault] = []
    total = rows = 0
    for told, found in _pieces(path, contract):
        wrong = sorted([*found, *check.add(told)], key=lambda fault: fault.row or 0)
        rows += len(told)
        total += len(wrong)
        faults += wrong[: SHOWN_FAULTS - len(faults)]
    wrong = check.contradictions()
    total += len(wrong)
    faults += wrong[: SHOWN_FAULTS - len(faults)]
    if total:
        raise InvalidData(faults, total, str(path))
    new = check.new()
    return Counted(new, rows - new)


def _pieces(path: Path, contract: "Contract") -> "Iterator[tuple[list[Interaction], list[Fault]]]":
    """The file's interactions, and what is wrong with its other rows, some rows at a time."""
    own_id = require_id(contract, "an interaction")
    reader = Reader([*contract.products, *contract.offers])
    for piece in read_pieces(path, contract.rows.format):
        columns = _columns(path, piece.table.column_names, own_id)
        if not len(piece.rows):
            raise InvalidData([Fault(None, columns[ID], None, "the file has a header and no rows")], source=str(path))
        told: list[Interaction] = []
        faults: list[Fault] = []
        for row, given in zip(piece.rows, _rows(piece.table, columns), strict=True):
            one, found = reader.read(int(row) + FIRST_ROW, given)
            if one and one.at is None and one.key is None:
                found, one = [Fault(one.row, AT, None, _TOLD_APART)], None
            faults += found
            told += [one] if one else []
        yield told, faults


def _stamp(path: Path) -> tuple[int, ...] | None:
    """What is another once a file has been written to; None of one that reading will tell of."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _columns(path: Path, names: list[str], own_id: str) -> dict[str, str]:
    """The file's column of each field that it has."""
    ids = [name for name in dict.fromkeys((own_id, ID)) if name in names]
    if len(ids) > 1:
        raise InvalidData([Fault(None, ID, None, f"stands beside {own_id!r}; leave one out")], source=str(path))
    there = {name: name for name in (ITEM, EVENT, AT, VERSION, KEY) if name in names}
    there |= {ID: ids[0]} if ids else {}
    faults = [Fault(None, name, None, "this column is missing") for name in (ID, ITEM, EVENT) if name not in there]
    if faults:
        raise InvalidData(faults, source=str(path))
    return there


def _rows(table: "arrow.Table", columns: dict[str, str]) -> Iterator[dict[str, Any]]:
    """The cells as a request would have them; what is blank is left out."""
    from churn.cells import plain
    from churn.checking import id_texts

    texts = {field: id_texts(plain(table.column(name))).to_pylist() for field, name in columns.items() if field != AT}
    if AT in columns:
        texts[AT] = table.column(columns[AT]).to_pylist()
    for cells in zip(*texts.values(), strict=True):
        told = {name: cell.strip() if isinstance(cell, str) else cell for name, cell in zip(texts, cells, strict=True)}
        yield {name: cell for name, cell in told.items() if cell not in (None, "")}


__all__ = ["Counted", "keep"]
