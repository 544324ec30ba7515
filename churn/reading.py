"""Reading CSV and Parquet files piece by piece; what is broken is refused, never mended."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn.errors import UnreadableFile

if TYPE_CHECKING:
    import pandas as pd

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
    """Read a file in pieces of about ``chunk`` rows.

    The index counts the rows of the file from 0. Only a file without rows gives an empty piece.

    Raises:
        UnreadableFile: as :func:`read_rows`; a broken place is found when its piece is read.
    """
    if path.is_dir():
        raise UnreadableFile(f"{path}: a folder, not a file")
    try:
        yield from _parquet_pieces(path, chunk) if is_parquet(path) else _csv_pieces(path, form, chunk)
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


def _csv_pieces(path: Path, form: "FileFormat", chunk: int) -> Iterator["pd.DataFrame"]:
    import pandas as pd
    import pyarrow as arrow

    header, more = _read_header(path, form)
    if not more:
        yield pd.DataFrame(columns=header, dtype=str)
        return
    quoted = _check_quotes(path, form)
    ragged: list[Any] = []
    held: list[arrow.RecordBatch] = []
    start = count = 0
    given = False
    for batch in _batches(path, form, header, quoted, ragged):
        _refuse_ragged(path, ragged, len(header))
        held.append(batch)
        count += len(batch)
        if count >= chunk:
            frame = _csv_frame(held, start)
            start, count, held = start + count, 0, []
            if len(frame):
                given = True
                yield frame
    _refuse_ragged(path, ragged, len(header))
    frame = _csv_frame(held, start) if held else pd.DataFrame(columns=header, dtype=str)
    if len(frame) or not given:
        yield frame


def _batches(path: Path, form: "FileFormat", header: list[str], quoted: bool, ragged: list[Any]) -> Iterator[Any]:
    import pyarrow as arrow
    from pyarrow import csv as arrow_csv

    def note(row: Any) -> str:
        ragged.append(row)
        return "skip" if len(ragged) <= _SHOWN_ROWS else "error"

    try:
        yield from arrow_csv.open_csv(
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
        )
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


def _csv_frame(batches: list[Any], start: int) -> "pd.DataFrame":
    import pandas as pd
    import pyarrow as arrow

    frame: pd.DataFrame = arrow.Table.from_batches(batches).to_pandas()
    frame.index = pd.RangeIndex(start, start + len(frame))
    empty = frame.iloc[:, 0] == ""
    if empty.any():  # empty lines, as editors and spreadsheets leave them, are no customers
        frame = frame[~(empty & (frame[empty] == "").all(axis=1).reindex(frame.index, fill_value=False))]
    return frame


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


def _parquet_pieces(path: Path, chunk: int) -> Iterator["pd.DataFrame"]:
    """Arrow's own types are kept, so that a file is carried through unchanged."""
    import pandas as pd
    import pyarrow as arrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            names = [name for name in file.schema_arrow.names if not name.startswith("__index_level_")]
            _refuse_twice(path, names)
            empty = file.metadata.num_rows == 0
            batches = [file.read(columns=names)] if empty else file.iter_batches(chunk, columns=names)
            start = 0
            for batch in batches:
                frame = batch.to_pandas(types_mapper=pd.ArrowDtype, ignore_metadata=True)
                frame.index = pd.RangeIndex(start, start + len(frame))
                start += len(frame)
                yield frame
    except arrow.ArrowException as error:
        raise UnreadableFile(f"{path}: not a Parquet file: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
