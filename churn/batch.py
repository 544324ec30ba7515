"""Scoring and checking whole files: read, check, score and write, each piece while others are under way."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pandas as pd
import pyarrow as arrow
import pyarrow.compute as compute

from churn.cells import plain
from churn.checking import Findings, Held, hold, id_series, id_texts, ids_that_stand_twice
from churn.contract import BANDS, Contract
from churn.encoding import Encoded
from churn.errors import Fault, InvalidData, UnreadableFile
from churn.reading import CHUNK, FIRST_ROW, Piece, read_pieces
from churn.scoring import ADDED_COLUMNS, Scorer
from churn.tables import writer

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_THREADS = 8
"""Each holds a piece of the file in memory."""
_CACHED = 2_000
"""Rows whose features stay in a core's cache: the compiled scorer takes half the time over them."""
_Made = TypeVar("_Made")
_Given = TypeVar("_Given")


def validate_file(contract: Contract, source: Path) -> Iterator[int]:
    """Hold a file against the contract, piece by piece; yields the rows done so far.

    Raises:
        InvalidData: with the faults of the whole file.
        UnreadableFile: as :func:`churn.reading.read_rows`.
    """
    done = 0
    for _, rows in fitting(contract, source, lambda held: len(held.piece.rows)):
        done += rows
        yield done


def score_file(scorer: Scorer, source: Path, target: Path, each: Callable[[], None] = lambda: None) -> Iterator[int]:
    """Score a file piece by piece; yields the rows done so far.

    Args:
        each: as :func:`write_beside`, which says how ``target`` comes about; behind the file's columns
            it has :data:`churn.scoring.ADDED_COLUMNS`.

    Raises:
        InvalidData, UnreadableFile: as :func:`write_beside`.
    """
    return write_beside(
        scorer.contract, source, target, ADDED_COLUMNS, lambda held: _scores(scorer, held.encoded(scorer.encoder)), each
    )


def write_beside(
    contract: Contract,
    source: Path,
    target: Path,
    names: Sequence[str],
    work: Callable[[Held], Sequence[arrow.Array]],
    each: Callable[[], None] = lambda: None,
) -> Iterator[int]:
    """Write a file with what is said of its rows, piece by piece; yields the rows done so far.

    ``target`` has every column of the file, unchanged and in its order, and behind them the added
    ones. It appears whole or not at all.

    Args:
        names: of the columns that are added.
        work: gives them, (n,) each; it is called by several threads at once, and what it asks needs no
            more than one of its own.
        each: is called for every piece that is read, also where none is given any more; what it
            raises ends the work.

    Raises:
        InvalidData: with the faults of the whole file, or a column has the name of an added one.
        UnreadableFile: the file cannot be read, or ``target`` not be written, or both are one.
    """
    refuse_onto_itself(source, target)
    done = 0

    def added(held: Held) -> Sequence[arrow.Array]:
        _refuse_taken(held.piece, names)
        return work(held)

    with writer(target, contract.rows.format) as write:
        for piece, cells in fitting(contract, source, added, each):
            write(*_beside(piece, names, cells))
            done += len(piece.rows)
            yield done


def refuse_onto_itself(source: Path, target: Path) -> None:
    """Raise UnreadableFile where a file would be written over the one that is read."""
    if target.exists() and source.exists() and target.samefile(source):
        raise UnreadableFile(f"{target}: this is the file that is read; write to another")


def probabilities(scorer: Scorer, rows: Encoded) -> "NDArray[np.float64]":
    """Churn probabilities, (n,), of any number of validated rows."""
    size = _CACHED if scorer.is_compiled else len(rows)
    parts = [rows.at(slice(at, at + size)) for at in range(0, len(rows), size)]
    return np.concatenate([scorer.probabilities(part) for part in parts])


def _scores(scorer: Scorer, rows: Encoded) -> list[arrow.Array]:
    probability = probabilities(scorer, rows)
    bands = arrow.array(scorer.bands(probability), arrow.int8())
    return [
        arrow.array(probability),
        arrow.array(probability >= scorer.threshold).cast(arrow.int64()),
        arrow.DictionaryArray.from_arrays(bands, list(BANDS)),
    ]


def _refuse_taken(piece: Piece, names: Sequence[str]) -> None:
    taken = [name for name in names if name in piece.table.column_names]
    if taken:
        message = "a column is added under this name; rename this one or leave it out"
        raise InvalidData([Fault(FIRST_ROW - 1, name, None, message) for name in taken])


def _beside(piece: Piece, names: Sequence[str], added: Sequence[arrow.Array]) -> tuple[arrow.Table, arrow.Schema]:
    """The rows with what is added, and the types that they have in the file."""
    table, types = piece.table, piece.types
    for name, cells in zip(names, added, strict=True):
        table = table.append_column(name, cells)
        types = types.append(arrow.field(name, getattr(cells.type, "value_type", cells.type)))
    return table, types


def fitting(
    contract: Contract, source: Path, work: Callable[[Held], _Made], each: Callable[[], None] = lambda: None
) -> Iterator[tuple[Piece, _Made]]:
    """Each piece of a file beside what the work makes of it.

    From the first fault on nothing more is given, but all pieces are looked at.

    Args:
        work: is called by several threads at once.
        each: is called for every piece that is read, by the thread that asks for them.

    Raises:
        InvalidData: after the last piece.
    """
    findings = Findings(contract, str(source))
    hashes = bytearray()

    def look(piece: Piece) -> tuple[Held, bytes, list[_Made]]:
        held = hold(piece, contract)
        made = [work(held)] if findings.none and held.fits else []
        return held, b"" if held.ids is None else _hashes(held.ids).tobytes(), made

    for held, hashed, made in _in_threads(look, _pieces(contract, source, each)):
        hashes += hashed
        if findings.add(held):
            yield held.piece, made[0]
    findings.tell(_ids_that_stand_twice(contract, source, hashes, each))


def _pieces(contract: Contract, source: Path, each: Callable[[], None]) -> Iterator[Piece]:
    columns = [*contract.features.values(), contract.target.as_column]
    repeating = [column.name for column in columns if not column.is_numeric]
    for piece in read_pieces(source, contract.rows.format, CHUNK, repeating=repeating):
        each()
        yield piece


def _in_threads(work: Callable[[_Given], _Made], given: Iterator[_Given]) -> Iterator[_Made]:
    """The work's results in the order of what is given, of which it takes only a few ahead."""
    threads = min(os.cpu_count() or 1, MOST_THREADS)
    waiting: deque[Future[_Made]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for one in given:
            waiting.append(pool.submit(work, one))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _hashes(ids: arrow.Array) -> "NDArray[np.uint64]":
    """64 bits of each id: of five million ids they take 40 MB, and the ids themselves ten times that."""
    trimmed = compute.utf8_trim_whitespace(ids).to_numpy(zero_copy_only=False)
    return pd.util.hash_array(trimmed, categorize=False)


def _ids_that_stand_twice(
    contract: Contract, source: Path, hashes: bytearray, each: Callable[[], None]
) -> "pd.Series[str]":
    """Exactly those: ids that only share a hash are told apart by reading them again."""
    every = np.frombuffer(hashes, np.uint64)
    every.sort()
    alike = np.unique(every[1:][every[1:] == every[:-1]])
    suspects: list[pd.Series[str]] = []
    if len(alike):
        for piece in read_pieces(source, contract.rows.format):
            each()
            ids = id_texts(plain(piece.table.column(str(contract.id))))
            suspects.append(id_series(ids, piece.rows)[np.isin(_hashes(ids), alike)])
    return ids_that_stand_twice(suspects)
