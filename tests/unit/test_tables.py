"""Files are written whole or not at all, and carry what they are given."""

import decimal
from pathlib import Path

import pandas as pd
import pyarrow as arrow
import pytest
from pyarrow import parquet

from churn.contract import FileFormat
from churn.errors import UnreadableFile
from churn.reading import read_chunks, read_rows
from churn.tables import writer

PIECES = [pd.DataFrame({"a": ["x", 'y "q", z'], "p": [0.25, 0.5]}), pd.DataFrame({"a": ["ü\nv"], "p": [1.0]})]


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", "out.PQ"])
def test_pieces_become_one_file(name: str, tmp_path: Path) -> None:
    with writer(tmp_path / name, FileFormat()) as write:
        for piece in PIECES:
            write(piece)
        assert not (tmp_path / name).exists()
    rows = read_rows(tmp_path / name, FileFormat())
    assert rows["a"].tolist() == ["x", 'y "q", z', "ü\nv"]
    assert rows["p"].astype(float).tolist() == [0.25, 0.5, 1.0]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_data_sets_own_format(tmp_path: Path) -> None:
    form = FileFormat(separator=";", decimal=",", encoding="cp1252")
    with writer(tmp_path / "out.csv", form) as write:
        write(pd.DataFrame({"größe": ["ä;b"], "p": [0.25]}))
    assert (tmp_path / "out.csv").read_bytes() == 'größe;p\n"ä;b";0,25\n'.encode("cp1252")
    assert read_rows(tmp_path / "out.csv", form).to_dict("list") == {"größe": ["ä;b"], "p": ["0,25"]}


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_nothing_is_left_of_a_failure(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("old")
    with pytest.raises(ZeroDivisionError), writer(tmp_path / name, FileFormat()) as write:
        write(PIECES[0])
        raise ZeroDivisionError
    assert (tmp_path / name).read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_places_where_nothing_can_be_written(tmp_path: Path) -> None:
    for target in (tmp_path, tmp_path / "none" / "out.csv", tmp_path / "none" / "out.parquet"):
        with pytest.raises(UnreadableFile), writer(target, FileFormat()) as write:
            write(PIECES[0])
    with (
        pytest.raises(UnreadableFile, match="cp1252"),
        writer(tmp_path / "a.csv", FileFormat(encoding="cp1252")) as w,
    ):
        w(pd.DataFrame({"a": ["☃"]}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["o.xlsx", "o", "o.csv.gz", "o.json", ".csv"])
def test_other_endings_are_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    said = r"as CSV or Parquet; end its name in \.csv or \.parquet"
    with pytest.raises(UnreadableFile, match=said), writer(tmp_path / name, FileFormat()):
        pytest.fail("it was opened")
    assert list(tmp_path.iterdir()) == []


def test_parquet_types_are_carried_through(tmp_path: Path) -> None:
    table = arrow.table(
        {
            "whole": arrow.array([1, None, 3]),
            "money": arrow.array([decimal.Decimal("1.50"), None, None]),
            "day": arrow.array([None, None, 7], arrow.date32()),
            "word": arrow.array(["a", "b", "a"]).dictionary_encode(),
            "text": arrow.array([None, "x", "y"]),
            "yes": arrow.array([True, None, False]),
            "list": arrow.array([[1], [], None]),
        }
    )
    parquet.write_table(table, tmp_path / "in.parquet")
    with writer(tmp_path / "out.parquet", FileFormat()) as write:
        for piece in read_chunks(tmp_path / "in.parquet", FileFormat(), chunk=1):
            write(piece)
    back = parquet.read_table(tmp_path / "out.parquet")
    assert back.to_pylist() == table.to_pylist()
    assert back.schema.types == table.schema.types
