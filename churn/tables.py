"""Writing rows as CSV or Parquet, piece by piece, whole or not at all."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn.errors import UnreadableFile
from churn.reading import first_line, is_parquet

if TYPE_CHECKING:
    import pandas as pd

    from churn.contract import FileFormat

Write = Callable[["pd.DataFrame"], None]


@contextmanager
def writer(target: Path, form: "FileFormat") -> Iterator[Write]:
    """A function that appends frames of one shape; ``target`` takes its name when all is written.

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

    def append(frame: "pd.DataFrame") -> None:
        nonlocal written
        frame.to_csv(handle, index=False, header=not written, sep=form.separator, decimal=form.decimal)
        written = True

    return append, handle.close


def _to_parquet(scratch: Path) -> tuple[Write, Callable[[], None]]:
    import pyarrow as arrow
    from pyarrow import parquet

    opened: list[Any] = []

    def append(frame: "pd.DataFrame") -> None:
        table = arrow.Table.from_pandas(frame, preserve_index=False)
        if not opened:
            opened.append(parquet.ParquetWriter(scratch, table.schema))
        opened[0].write_table(table.cast(opened[0].schema))

    def close() -> None:
        for file in opened:
            file.close()

    return append, close
