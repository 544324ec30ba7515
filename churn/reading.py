"""Reading CSV and Parquet files piece by piece; what is broken is refused, never mended."""

import csv
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn.errors import UnreadableFile

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as arrow

    from churn.contract import FileFormat

FIRST_ROW = 2  # the header is row 1, as a spreadsheet shows it
CHUNK = 50_000
_BLOCK = 1 << 20
_SHOWN_ROWS = 5
_FOREIGN = {
    b"PK\x03\x04": "a workbook or zip archive; save it as CSV",
    b"\xd0\xcf\x11\xe0": "an old workbook; save it as CSV",
    b"\x1f\x8b": "compressed; unpack it",
    b"PAR1": "a Parquet file; name it .parquet",
}


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows of a file."""

    table: "arrow.Table"
    rows: "pd.Index"
    """Where each row stands in the file, counted from 0."""
    types: "arrow.Schema"
    """The columns as the file has them; the table may hold a text column as a dictionary."""


def is_parquet(path: Path) -> bool:
    return path.suffix.lower() in (".parquet", ".pq")


def read_rows(path: Path, form: "FileFormat") -> "pd.DataFrame":
    """Read a whole file: CSV cells as text, Parquet with its own types.

    Raises:
        UnreadableFile: missing, empty, broken, or of another encoding or format; the message
            says where and how to mend it.
    """
    import pandas as pd

    pieces = list(read_chunks(path, form))
    return pieces[0] if len(pieces) == 1 else pd.concat(pieces)


def read_chunks(path: Path, form: "FileFormat", chunk: int = CHUNK) -> Iterator["pd.DataFrame"]:
    """The pieces of :func:`read_pieces` as frames, indexed by where each row stands in the file.

    Raises:
        UnreadableFile: as :func:`read_rows`; a broken place is found when its piece is read.
    """
    import pandas as pd

    kept = pd.ArrowDtype if is_parquet(path) else None
    for piece in read_pieces(path, form, chunk):
        frame: pd.DataFrame = piece.table.to_pandas(types_mapper=kept, ignore_metadata=True)
        yield frame.set_axis(piece.rows)


def read_pieces(
    path: Path, form: "FileFormat", chunk: int = CHUNK, *, repeating: Collection[str] = ()
) -> Iterator[Piece]:
    """Read a file in pieces of about ``chunk`` rows; only a file without rows gives an empty piece.

    Args:
        repeating: columns of few values; where a Parquet file has them as texts, they are read as
            dictionaries, in half the time.

    Raises:
        UnreadableFile: as :func:`read_rows`; a broken place is found when its piece is read.
    """
    if path.is_dir():
        raise UnreadableFile(f"{path}: a folder, not a file")
    try:
        yield from _parquet_pieces(path, chunk, repeating) if is_parquet(path) else _csv_pieces(path, form, chunk)
    except FileNotFoundError as error:
        raise UnreadableFile(f"{path}: no such file") from error
    except UnicodeError as error:
        raise UnreadableFile(_wrong_encoding(path, form)) from error
    except csv.Error as error:
        raise UnreadableFile(f"{path}: not a well-formed CSV file: {error}") from error
    except OSError as error:
        raise UnreadableFile(f"{path}: {error.strerror or error}") from error


def _wrong_encoding(path: Path, form: "FileFormat") -> str:
    return (
        f"{path}: not {form.encoding} text; save it as UTF-8, or say its encoding "
        "in the contract under rows.format.encoding"
    )


def _csv_pieces(path: Path, form: "FileFormat", chunk: int) -> Iterator[Piece]:
    import pyarrow as arrow

    header, more = _read_header(path, form)
    start = 0
    given = False
    for batches in _gathered(_batches(path, form, header, _check_quotes(path, form)) if more else iter(()), chunk):
        piece = _csv_piece(batches, start)
        start += sum(map(len, batches))
        if len(piece.rows):
            given = True
            yield piece
    if not given:
        none = arrow.RecordBatch.from_pydict({name: arrow.array([], arrow.string()) for name in header})
        yield _csv_piece([none], 0)


def _gathered(batches: "Iterator[arrow.RecordBatch]", chunk: int) -> "Iterator[list[arrow.RecordBatch]]":
    """Batches together, until they have as many rows as asked."""
    held = []
    count = 0
    for batch in batches:
        held.append(batch)
        count += len(batch)
        if count >= chunk:
            yield held
            held, count = [], 0
    if held:
        yield held


def _batches(path: Path, form: "FileFormat", header: list[str], quoted: bool) -> "Iterator[arrow.RecordBatch]":
    import pyarrow as arrow
    from pyarrow import csv as arrow_csv

    ragged: list[Any] = []

    def note(row: Any) -> str:
        ragged.append(row)
        return "skip" if len(ragged) <= _SHOWN_ROWS else "error"

    try:
        for batch in arrow_csv.open_csv(
            path,
            # One thread: only then does Arrow count the rows.
            arrow_csv.ReadOptions(
                use_threads=False,
                block_size=_BLOCK,
                column_names=header,
                skip_rows_after_names=1,
                encoding=_plain(form),
            ),
            arrow_csv.ParseOptions(
                delimiter=form.separator,
                newlines_in_values=quoted,
                ignore_empty_lines=False,
                invalid_row_handler=note,
            ),
            arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(header, arrow.string()), strings_can_be_null=False, check_utf8=True
            ),
        ):
            _refuse_ragged(path, ragged, len(header))
            yield batch
        _refuse_ragged(path, ragged, len(header))
    except arrow.ArrowException as error:
        _refuse_ragged(path, ragged, len(header))
        if "invalid UTF8" in str(error):
            raise UnreadableFile(_wrong_encoding(path, form)) from error
        long = "a row is longer than a megabyte; is there a quote that is never closed?"
        what = long if "straddles" in str(error) else first_line(error)
        raise UnreadableFile(f"{path}: not a well-formed CSV file: {what}") from error


def _plain(form: "FileFormat") -> str:
    name = form.codec
    return "utf8" if name == "utf-8-sig" else name  # Arrow skips the mark by itself


def _csv_piece(batches: "list[arrow.RecordBatch]", start: int) -> Piece:
    import pandas as pd
    import pyarrow as arrow
    import pyarrow.compute as compute

    table = arrow.Table.from_batches(batches)
    rows: pd.Index = pd.RangeIndex(start, start + len(table))
    empty = compute.equal(table.column(0), "")
    if compute.any(empty).as_py():  # empty lines, as editors and spreadsheets leave them, are no customers
        for cells in table.columns[1:]:
            empty = compute.and_(empty, compute.equal(cells, ""))
        customers = compute.invert(empty)
        table, rows = table.filter(customers), rows[customers.to_numpy()]
    return Piece(table, rows, table.schema)


def _refuse_ragged(path: Path, ragged: list[Any], width: int) -> None:
    if not ragged:
        return
    rows = [f"row {row.number} has {row.actual_columns}" for row in ragged[:_SHOWN_ROWS]]
    more = ", and there are more" if len(ragged) > _SHOWN_ROWS else ""
    raise UnreadableFile(
        f"{path}: the header has {width} cells, but {', '.join(rows)}{more}; "
        "a cell that holds the separator must stand in quotes"
    )


def _read_header(path: Path, form: "FileFormat") -> tuple[list[str], bool]:
    """The names in a CSV file's first line, and whether anything follows it.

    A column without a name is called by its place.

    Raises:
        UnreadableFile: the file is empty, no CSV file at all, or a name stands twice.
    """
    with path.open("rb") as raw:
        start = raw.read(8)
    for magic, what in _FOREIGN.items():
        if start.startswith(magic):
            raise UnreadableFile(f"{path}: this is {what}")
    with path.open(encoding=form.codec, newline="") as handle:
        header = next(csv.reader(handle, delimiter=form.separator), [])
        more = handle.read(1) != ""
    if any("\0" in name for name in header):
        raise UnreadableFile(f"{path}: holds NUL bytes; {_wrong_encoding(path, form).partition(': ')[2]}")
    if not any(name.strip() for name in header):
        raise UnreadableFile(f"{path}: the file is empty, or its first line is not a header")
    names = [name or f"Unnamed: {place}" for place, name in enumerate(header)]
    _refuse_twice(path, names)
    return names, more


def _refuse_twice(path: Path, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UnreadableFile(f"{path}: stands twice in the header: {', '.join(map(repr, twice))}")


def _check_quotes(path: Path, form: "FileFormat") -> bool:
    """Whether the file has quotes at all; one that is opened and never closed is refused.

    Such a quote swallows the rest of the file, which may look like one long cell. Only an odd
    number of quotes can hide one, and only then is the file read for it.
    """
    count = 0
    with path.open("rb") as raw:
        while block := raw.read(_BLOCK):
            count += block.count(b'"')
    if count % 2:
        with path.open(encoding=form.codec, newline="") as handle:
            reader = csv.reader(handle, delimiter=form.separator, strict=True)
            row = 0
            try:
                for _ in reader:
                    row += 1
            except csv.Error as error:
                if "unexpected end" in str(error) or "field limit" in str(error):
                    told = f"row {row + 1} opens a quote that is never closed"
                    raise UnreadableFile(f"{path}: {told}") from error
    return count > 0


def _parquet_pieces(path: Path, chunk: int, repeating: Collection[str]) -> Iterator[Piece]:
    """Arrow's own types are kept, so that a file is carried through unchanged."""
    import pandas as pd
    import pyarrow as arrow
    from pyarrow import parquet

    try:
        told = parquet.read_schema(path).remove_metadata()
        types = arrow.schema([field for field in told if not field.name.startswith("__index_level_")])
        _refuse_twice(path, types.names)
        texts = {field.name for field in types if field.type in (arrow.string(), arrow.large_string())}
        with parquet.ParquetFile(path, read_dictionary=[name for name in repeating if name in texts]) as file:
            start = 0
            batches = file.iter_batches(chunk, columns=types.names)
            for held in _gathered(batches, chunk) if file.metadata.num_rows else [[]]:
                table = arrow.Table.from_batches(held) if held else file.read(columns=types.names)
                rows = pd.RangeIndex(start, start + len(table))
                start += len(table)
                # a dictionary for each row group would make the writer give up dictionaries
                yield Piece(table.unify_dictionaries().replace_schema_metadata(None), rows, types)
    except arrow.ArrowException as error:
        raise UnreadableFile(f"{path}: not a Parquet file: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
