"""Files are written whole or not at all, and carry what they are given."""

import decimal
from pathlib import Path

import pyarrow as arrow
import pytest
from pyarrow import parquet

from churn.contract import FileFormat
from churn.errors import UnreadableFile
from churn.reading import read_pieces, read_rows
from churn.tables import writer

PIECES = [arrow.table({"a": ["x", 'y "q", z'], "p": [0.25, 0.5]}), arrow.table({"a": ["ü\nv"], "p": [1.0]})]


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", "out.PQ"])
def test_pieces_become_one_file(name: str, tmp_path: Path) -> None:
    with writer(tmp_path / name, FileFormat()) as write:
        for piece in PIECES:
            write(piece, piece.schema)
        assert not (tmp_path / name).exists()
    rows = read_rows(tmp_path / name, FileFormat())
    assert rows["a"].tolist() == ["x", 'y "q", z', "ü\nv"]
    assert rows["p"].astype(float).tolist() == [0.25, 0.5, 1.0]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_data_sets_own_format(tmp_path: Path) -> None:
    form = FileFormat(separator=";", decimal=",", encoding="cp1252")
    with writer(tmp_path / "out.csv", form) as write:
        table = arrow.table(
            {"größe": ["ä;b", None], "p": [0.25, None], "short": arrow.array([1.5, 0.1], arrow.float32())}
        )
        write(table, table.schema)
    assert (tmp_path / "out.csv").read_bytes() == 'größe;p;short\n"ä;b";0,25;1,5\n;;0,1\n'.encode("cp1252")
    told = read_rows(tmp_path / "out.csv", form).to_dict("list")
    assert told == {"größe": ["ä;b", ""], "p": ["0,25", ""], "short": ["1,5", "0,1"]}


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_nothing_is_left_of_a_failure(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("old")
    with pytest.raises(ZeroDivisionError), writer(tmp_path / name, FileFormat()) as write:
        write(PIECES[0], PIECES[0].schema)
        raise ZeroDivisionError
    assert (tmp_path / name).read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_places_where_nothing_can_be_written(tmp_path: Path) -> None:
    for target in (tmp_path, tmp_path / "none" / "out.csv", tmp_path / "none" / "out.parquet"):
        with pytest.raises(UnreadableFile), writer(target, FileFormat()) as write:
            write(PIECES[0], PIECES[0].schema)
    with (
        pytest.raises(UnreadableFile, match="cp1252"),
        writer(tmp_path / "a.csv", FileFormat(encoding="cp1252")) as w,
    ):
        snow = arrow.table({"a": ["☃"]})
        w(snow, snow.schema)
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
        for piece in read_pieces(tmp_path / "in.parquet", FileFormat(), chunk=1):
            write(piece.table, piece.types)
    back = parquet.read_table(tmp_path / "out.parquet")
    assert back.to_pylist() == table.to_pylist()
    assert back.schema.types == table.schema.types


def test_texts_that_are_given_as_dictionaries_are_texts_in_the_file(tmp_path: Path) -> None:
    texts = arrow.schema([("a", arrow.large_string()), ("b", arrow.dictionary(arrow.int32(), arrow.string()))])
    pieces = [arrow.table({"a": cells, "b": cells}) for cells in (["x", None, "x"], ["y", "x", None])]
    pieces = [arrow.table([column.dictionary_encode() for column in piece.columns], ["a", "b"]) for piece in pieces]
    for name in ("out.parquet", "out.csv"):
        with writer(tmp_path / name, FileFormat()) as write:
            for piece in pieces:
                write(piece, texts)
    back = parquet.read_table(tmp_path / "out.parquet")
    assert back.schema.types == texts.types
    assert back["a"].to_pylist() == back["b"].to_pylist() == ["x", None, "x", "y", "x", None]
    assert (tmp_path / "out.csv").read_text() == "a,b\nx,x\n,\nx,x\ny,y\nx,x\n,\n"
