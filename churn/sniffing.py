"""How a CSV file is written: encoding, separator, decimal mark, and the texts that mean a gap."""

import codecs
import csv
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as arrow
import pyarrow.compute as compute

from churn.cells import as_arrow, is_text
from churn.errors import UnreadableFile
from churn.file_format import FileFormat

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = (",", ";", "\t", "|")
_BLOCK = 1 << 20
_SAMPLE = 1 << 17

# Gaps in any column; and those that are gaps only where all else is numbers, or true and false,
# since a text column may well mean something by them.
_GAPS = {"na", "n/a", "#n/a", "nan", "null", "?", "-", "--"}
_GAPS_AMONG_NUMBERS = _GAPS | {
    "none",
    "nil",
    ".",
    "missing",
    "unknown",
    "n.a.",
    "n.v.",
    "k.a.",
    "#null!",
    "<na>",
}

NUMBER = re.compile(r"[+-]?(?:[0-9]+[.,]?[0-9]*|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?")
_BROKEN = re.compile(r"[+-]?[0-9]*([.,])[0-9]+(?:[eE][+-]?[0-9]+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:[.,][0-9]{3})+")


def sniff(path: Path) -> FileFormat:
    """The format of a CSV file, as far as its bytes and its first lines tell.

    Raises:
        UnreadableFile: it is missing, empty, or no text.
    """
    try:
        encoding = _encoding(path)
        form = FileFormat(encoding=encoding)
        with path.open(encoding=form.codec, newline="") as handle:
            sample = handle.read(_SAMPLE)
    except FileNotFoundError as error:
        raise UnreadableFile(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise UnreadableFile(f"{path}: a folder, not a file") from error
    except OSError as error:
        raise UnreadableFile(f"{path}: {error.strerror or error}") from error
    if not sample.strip():
        raise UnreadableFile(f"{path}: the file is empty")
    return form.model_copy(update={"separator": _separator(sample)})


def _encoding(path: Path) -> str:
    with path.open("rb") as handle:
        if handle.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "utf-16"
    for encoding in ("utf-8", "cp1252"):
        if _decodes(path, encoding):
            return encoding
    return "latin-1"  # any byte is a character in it


def _decodes(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        with path.open("rb") as handle:
            while block := handle.read(_BLOCK):
                decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _separator(sample: str) -> str:
    """The one that splits most lines into as many cells as the header has, and into the most."""
    if len(sample) == _SAMPLE:
        sample = sample[: sample.rfind("\n") + 1] or sample

    def evenness(separator: str) -> tuple[float, int]:
        try:
            widths = [len(row) for row in csv.reader(io.StringIO(sample, newline=""), delimiter=separator) if row]
        except csv.Error:
            return 0.0, 1
        if not widths or widths[0] == 1:
            return 0.0, 1
        return round(sum(width == widths[0] for width in widths) / len(widths), 2), widths[0]

    return max(SEPARATORS, key=evenness)


def conventions(rows: "pd.DataFrame", form: FileFormat) -> FileFormat:
    """The format with the decimal mark and the blank texts that the cells show."""
    columns = [texts for name in rows.columns if (texts := _distinct_texts(rows[name])) is not None]
    decimal = _decimal(columns)
    blanks = sorted({gap for texts in columns for gap in _gaps(texts)})
    return form.model_copy(update={"decimal": decimal, "blanks": blanks})


def own_blanks(cells: "pd.Series[Any]", form: FileFormat) -> FileFormat:
    """The format with the blank texts of one column: another's may be a value here."""
    return form.model_copy(update={"blanks": _gaps(_distinct_texts(cells) or [])})


def _distinct_texts(cells: "pd.Series[Any]") -> list[str] | None:
    """The different texts of a column, trimmed; None where it holds no texts."""
    array = as_arrow(cells)
    if not is_text(array):
        return None
    found: arrow.Array = compute.unique(compute.utf8_trim_whitespace(compute.drop_null(array)))
    return [text for text in found.to_pylist() if text]


def _gaps(texts: list[str]) -> list[str]:
    rest = [text for text in texts if text.casefold() not in _GAPS_AMONG_NUMBERS]
    typed = rest and (
        all(NUMBER.fullmatch(text) for text in rest) or {text.casefold() for text in rest} <= {"true", "false"}
    )
    words = _GAPS_AMONG_NUMBERS if typed else _GAPS
    return [text for text in texts if text.casefold() in words]


def _decimal(columns: list[list[str]]) -> str:
    """A comma where more columns of numbers use that than a point."""
    marks = []
    for texts in columns:
        numbers = [text for text in texts if text.casefold() not in _GAPS_AMONG_NUMBERS]
        broken = [match for text in numbers if (match := _BROKEN.fullmatch(text))]
        if not broken or not all(NUMBER.fullmatch(text) for text in numbers):
            continue
        if len({match[1] for match in broken}) == 1 and not all(_THOUSANDS.fullmatch(m[0]) for m in broken):
            marks.append(broken[0][1])
    return "," if marks.count(",") > marks.count(".") else "."
