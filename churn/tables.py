"""Writing rows as CSV or Parquet, piece by piece, whole or not at all."""

import base64
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn.errors import UnreadableFile
from churn.reading import first_line, is_parquet

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as arrow

    from churn.contract import FileFormat

Write = Callable[["arrow.Table", "arrow.Schema"], None]
"""Takes rows, and the types that their columns have in the file: a column that is text there may be
given as a dictionary."""


@contextmanager
def writer(target: Path, form: "FileFormat") -> Iterator[Write]:
    """A function that appends tables of one shape; ``target`` takes its name when all is written.

    Raises:
        UnreadableFile: the name ends in neither .csv nor .parquet, the folder is missing, the disk
            is full, nothing may be written there, or the rows hold what the format cannot.
    """
    import pyarrow as arrow

    scratch = target.with_name(f".{target.name}.{os.getpid()}.part")
    if target.is_dir():
        raise UnreadableFile(f"{target}: a folder, not a file")
    if target.suffix.lower() != ".csv" and not is_parquet(target):
        raise UnreadableFile(f"{target}: rows are written as CSV or Parquet; end its name in .csv or .parquet")
    try:
        append, close = _to_parquet(scratch) if is_parquet(target) else _to_csv(scratch, form)
        try:
            yield append
        finally:
            close()
        scratch.replace(target)
    except OSError as error:
        raise UnreadableFile(f"{target}: cannot be written: {error.strerror or error}") from error
    except UnicodeEncodeError as error:
        sign = error.object[error.start]
        raise UnreadableFile(f"{target}: {sign!r} cannot be written as {form.encoding}") from error
    except arrow.ArrowException as error:
        raise UnreadableFile(f"{target}: cannot be written as Parquet: {first_line(error)}") from error
    finally:
        scratch.unlink(missing_ok=True)


def _to_csv(scratch: Path, form: "FileFormat") -> tuple[Write, Callable[[], None]]:
    handle = scratch.open("w", encoding=form.encoding, newline="")
    written = False

    def append(table: "arrow.Table", _: "arrow.Schema") -> None:
        nonlocal written
        frame = table.to_pandas(types_mapper=_unless_floating, ignore_metadata=True)
        frame.to_csv(handle, index=False, header=not written, sep=form.separator, decimal=form.decimal)
        written = True

    return append, handle.close


def _unless_floating(kind: "arrow.DataType") -> "pd.ArrowDtype | None":
    """Arrow's own types, so that whole numbers with gaps stay whole; but pandas' floating-point
    numbers, of which alone it writes the decimal sign."""
    import pandas as pd
    import pyarrow as arrow

    return None if arrow.types.is_floating(kind) else pd.ArrowDtype(kind)


def _to_parquet(scratch: Path) -> tuple[Write, Callable[[], None]]:
    from pyarrow import parquet

    opened: list[Any] = []

    def append(table: "arrow.Table", types: "arrow.Schema") -> None:
        if not opened:
            # dictionaries are written several times as fast as texts; in the file both are the same
            # but for Arrow's own note of the types, which is put there by hand
            opened.append(parquet.ParquetWriter(scratch, table.schema, store_schema=False))
            note = base64.b64encode(types.serialize().to_pybytes()).decode()
            opened[0].add_key_value_metadata({"ARROW:schema": note})
        opened[0].write_table(table)

    def close() -> None:
        for file in opened:
            file.close()

    return append, close
