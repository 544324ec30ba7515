"""Files are read as they are or refused, and every cell that does not fit is named."""

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as arrow
import pytest
from pyarrow import parquet

from churn import contract as contracts
from churn.contract import Contract, FileFormat
from churn.data import checked, read_chunks, read_rows, validate
from churn.errors import Fault, InvalidData, UnreadableFile
from churn.reading import read_pieces
from tests.frames import to_frame

TELCO = Path(__file__).resolve().parents[2] / "data" / "telco" / "customers.csv"

CONTRACT = """\
name: small
rows: {training: rows.csv, format: {blanks: [NA]}}
id: who
target: {column: left, values: [No, Yes], positive: Yes}
features:
  months: {type: integer, min: 0, max: 99}
  charge: {type: number, blank: missing}
  plan: {type: category, values: [Basic, Gold]}
  active: {type: boolean, blank: {as: false}}
risk:
  high: {threshold: 0.6, action: a}
  medium: {threshold: 0.3, action: b}
  low: {threshold: 0, action: c}
"""
HEADER = "who,months,charge,plan,active,left\n"
GOOD = HEADER + "a,1,2.5,Basic,true,Yes\nb,2,,Gold,,No\n"
Save = Callable[..., Path]


@pytest.fixture
def small(tmp_path: Path) -> Contract:
    (tmp_path / "contract.yaml").write_text(CONTRACT)
    return contracts.load(tmp_path / "contract.yaml")


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def write(content: str | bytes, name: str = "rows.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def read(path: Path, contract: Contract, **more: Any) -> pd.DataFrame:
    return validate(read_rows(path, contract.rows.format), contract, source=path.name, **more)


def faults(path: Path, contract: Contract, **more: Any) -> list[tuple[Any, ...]]:
    with pytest.raises(InvalidData) as caught:
        read(path, contract, **more)
    return [(fault.row, fault.field, fault.value, fault.message) for fault in caught.value.faults]


def test_the_shipped_rows_fit(telco: Contract) -> None:
    frame = read(TELCO, telco, target="required")
    assert frame.shape == (7043, 21)
    assert frame[telco.target.column].sum() == 1869
    assert list(frame) == [telco.id, *telco.features, telco.target.column]
    blank = [name for name, column in telco.features.items() if column.blank_value == 0]
    assert [(frame[name] == 0).sum() for name in blank] == [11]


def test_rows_in_the_types_that_the_pipeline_takes(small: Contract, save: Save) -> None:
    frame = read(save(GOOD), small)
    assert frame.to_dict("list") | {"charge": None} == {
        "who": ["a", "b"],
        "months": [1, 2],
        "charge": None,
        "plan": ["Basic", "Gold"],
        "active": [True, False],
        "left": [1, 0],
    }
    assert [str(kind) for kind in frame.dtypes] == ["str", "int64", "float64", "object", "bool", "int64"]
    assert frame["charge"].isna().tolist() == [False, True]


def test_json_gives_the_same_frame(small: Contract, save: Save) -> None:
    bodies = [
        {"months": 1, "charge": 2.5, "plan": "Basic", "active": True},
        {"months": 2.0, "plan": "Gold", "active": False},
    ]
    customers = [small.customer_model.model_validate(body).model_dump(by_alias=True) for body in bodies]
    pd.testing.assert_frame_equal(to_frame(customers, small), read(save(GOOD), small)[list(small.features)])


def test_every_fault_names_row_column_value_and_expectation(small: Contract, save: Save) -> None:
    path = save(
        HEADER
        + 'a,1,2.5,Basic,true,Yes\n\nb,100,x,gold,1,yes\na,,NA,"Gold ",,No\n'
        + ",true,inf,Basic,True,\nNA,1.5,1_0,,no,No\n"
    )
    whole = "expected a whole number from 0 to 99"
    plan = "expected one of 'Basic', 'Gold'"
    left = "expected one of 'No', 'Yes'"
    assert faults(path, small) == [
        (4, "months", "100", whole),
        (4, "charge", "x", "expected a number"),
        (4, "plan", "gold", plan),
        (4, "active", "1", "expected true or false"),
        (4, "left", "yes", left),
        (5, "months", "", f"blank; {whole}"),
        (5, "plan", "Gold ", plan),
        (5, "who", "a", "this id stands twice; every customer has an id of its own"),
        (6, "who", "", "blank; expected an id"),
        (6, "months", "true", whole),
        (6, "charge", "inf", "expected a number"),
        (6, "left", "", f"blank; {left}"),
        (7, "who", "NA", "expected an id"),
        (7, "months", "1.5", whole),
        (7, "charge", "1_0", "expected a number"),
        (7, "plan", "", f"blank; {plan}"),
        (7, "active", "no", "expected true or false"),
    ]


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_number_that_json_has_not_is_told_as_a_text(value: float) -> None:
    assert Fault(2, "a", value, "expected a number").as_dict()["value"] == str(value)


def test_a_hundred_faults_are_shown_and_the_rest_counted(small: Contract, save: Save) -> None:
    path = save(HEADER + "".join(f"{i},-1,?,Basic,true,No\n" for i in range(70_000)))
    with pytest.raises(InvalidData) as caught:
        read(path, small)
    assert (len(caught.value.faults), caught.value.total) == (100, 140_000)
    assert caught.value.report().splitlines()[0] == "rows.csv: 140,000 faults found"
    assert caught.value.report().splitlines()[-1] == "  … and 139,900 more"
    assert [fault.row for fault in caught.value.faults[:4]] == [2, 2, 3, 3]


def test_all_pieces_of_a_file_are_looked_at_before_its_faults_are_told(small: Contract, save: Save) -> None:
    rows = [f"{i},1,1,Basic,true,No\n" for i in range(60)]
    rows[20], rows[45], rows[50] = "20,-1,1,Basic,true,No\n", "45,1,1,basic,true,No\n", "3,1,1,Gold,true,No\n"
    pieces = read_rows(save(HEADER + "".join(rows)), small.rows.format)
    given = []
    with pytest.raises(InvalidData) as caught:
        for piece, parsed in checked((pieces[i : i + 10] for i in range(0, 60, 10)), small):
            given.append((len(piece), len(parsed)))
    assert given == [(10, 10), (10, 10)]
    assert [(fault.row, fault.field) for fault in caught.value.faults] == [
        (22, "months"),
        (47, "plan"),
        (52, "who"),
    ]
    assert caught.value.total == 3


def test_every_missing_column_is_named(small: Contract, save: Save) -> None:
    path = save("who,Months ,charge\na,1,2\n")
    assert faults(path, small) == [
        (
            None,
            "months",
            None,
            "this column is missing; the file has 'Months ', which is spelled differently",
        ),
        (None, "plan", None, "this column is missing"),
        (None, "active", None, "this column is missing"),
    ]
    assert [fault[1] for fault in faults(path, small, target="required")] == [
        "months",
        "plan",
        "active",
        "left",
    ]


def test_a_missing_column_hides_no_fault_of_the_others(small: Contract, save: Save) -> None:
    path = save("who,months,plan,active\na,x,Basic,true\nb,2,gold,\na,3,Gold,no\n")
    with pytest.raises(InvalidData) as caught:
        read(path, small, target="required")
    assert [(fault.row, fault.field) for fault in caught.value.faults] == [
        *((None, "charge"), (None, "left")),
        *((2, "months"), (3, "plan"), (4, "active"), (4, "who")),
    ]
    assert caught.value.total == 6


def test_missing_columns_are_told_once_and_first_however_many_the_pieces(small: Contract, save: Save) -> None:
    pieces = read_rows(save("who,months,plan\n" + "".join(f"{i},-1,Gold\n" for i in range(300))), FileFormat())
    given = []
    with pytest.raises(InvalidData) as caught:
        given += checked((pieces[i : i + 100] for i in (0, 100, 200)), small)
    assert given == []
    assert [(fault.row, fault.field) for fault in caught.value.faults[:3]] == [
        *((None, "charge"), (None, "active")),
        (2, "months"),
    ]
    assert (len(caught.value.faults), caught.value.total) == (100, 302)


def test_an_id_is_the_same_with_spaces_around_it_and_is_carried_as_it_stands(small: Contract, save: Save) -> None:
    path = save(HEADER + "A,1,1,Gold,true,No\nB ,1,1,Gold,true,No\n A,1,1,Gold,true,No\n")
    ((row, name, value, message),) = faults(path, small)
    assert (row, name, value) == (4, "who", " A")
    assert message.startswith("this id stands twice")
    fine = save(HEADER + " A,1,1,Gold,true,No\nB ,1,1,Gold,true,No\n")
    assert read(fine, small)["who"].tolist() == [" A", "B "]


def test_columns_in_any_order_and_columns_that_nobody_asked_for(small: Contract, save: Save) -> None:
    path = save("x,left,active,plan,charge,months,who\n?,Yes,true,Basic,2.5,1,a\n?,No,,Gold,,2,b\n")
    pd.testing.assert_frame_equal(read(path, small), read(save(GOOD, "good.csv"), small))


def test_the_target_and_the_id_may_be_absent_where_they_are_not_needed(small: Contract, save: Save) -> None:
    path = save("months,charge,plan,active\n1,2.5,Basic,true\n")
    assert list(read(path, small)) == list(small.features)
    assert [fault[1] for fault in faults(path, small, target="required")] == ["left", "who"]


def test_blank_lines_are_no_customers_and_count_as_rows(small: Contract, save: Save) -> None:
    path = save(GOOD.replace("b,2", "\n,,,,,\nb,-2") + "\n\n,,,,,\n")
    assert faults(path, small)[0][:3] == (5, "months", "-2")
    assert len(read(save(GOOD.replace("b,2", "\n,,,,,\nb,2") + "\n\n\n"), small)) == 2


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_line_endings_and_a_byte_order_mark(ending: str, last: bool, small: Contract, save: Save) -> None:
    text = (GOOD if last else GOOD.rstrip("\n")).replace("\n", ending)
    frame = read(save(b"\xef\xbb\xbf" + text.encode()), small)
    assert frame["who"].tolist() == ["a", "b"]


def test_cells_in_quotes(small: Contract, save: Save) -> None:
    text = 'who,"note\nof two",months,charge,plan,active,left\n"a,1","x ""y""\nz",1,2,"Gold","true",No\n'
    text += 'b,5" pipe,2,3,Gold,,No\n'
    rows = read_rows(save(text), FileFormat())
    assert rows.iloc[:, 0].tolist() == ["a,1", "b"]
    assert rows.iloc[:, 1].tolist() == ['x "y"\nz', '5" pipe']
    assert len(validate(rows, small)) == 2


BROKEN = [
    (b"", "the file is empty"),
    (b"\n\n", "the file is empty, or its first line is not a header"),
    (b"  ,\n1,2\n", "the file is empty, or its first line is not a header"),
    ((HEADER + "a,1,2,Basic,true\n").encode(), "the header has 6 cells, but row 2 has 5"),
    ((HEADER + "\na,1,2,Basic,true,No,x\nb,1\n").encode(), "row 3 has 7, row 4 has 2"),
    (
        (HEADER + "a,1\n" * 9).encode(),
        "row 2 has 2, row 3 has 2, row 4 has 2, row 5 has 2, row 6 has 2, and there are more",
    ),
    (
        (HEADER + 'a,1,2,Basic,true,"No\nb,1,2,Gold,true,No\n').encode(),
        "row 2 opens a quote that is never closed",
    ),
    (
        (HEADER + 'a,1,2,Basic,true,No\nb,"1,2,Gold,true,No\n').encode(),
        "row 3 opens a quote that is never closed",
    ),
    (
        (GOOD + "ä,1,2,Gold,true,No\n").encode("cp1252"),
        "not utf-8 text; save it as UTF-8, or say its encoding",
    ),
    (GOOD.replace("who", "wär").encode("cp1252"), "not utf-8 text"),
    (GOOD.encode("utf-16"), "not utf-8 text"),
    (GOOD.encode("utf-16-le"), "holds NUL bytes; not utf-8 text"),
    (GOOD.replace("months", "who").encode(), "stands twice in the header: 'who'"),
    ((HEADER + 'a,1,2,"' + "x" * 3_000_000 + '",true,No\n').encode(), "a row is longer than a megabyte"),
    (b"PK\x03\x04\x14\x00\x06\x00", "a workbook or zip archive"),
    (b"\x1f\x8b\x08\x00", "compressed; unpack it"),
    (b"PAR1\x15\x04", "a Parquet file; name it .parquet"),
]


@pytest.mark.parametrize(("content", "said"), BROKEN, ids=[said[:40] for _, said in BROKEN])
def test_files_that_are_refused(content: bytes, said: str, save: Save) -> None:
    path = save(content)
    with pytest.raises(UnreadableFile) as caught:
        read_rows(path, FileFormat())
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path / "none.parquet", tmp_path):
        with pytest.raises(UnreadableFile, match=re.escape(str(path))):
            read_rows(path, FileFormat())


def test_nul_bytes_are_no_number(small: Contract, save: Save) -> None:
    assert faults(save(GOOD.replace("a,1", "a,1\0")), small)[0][:3] == (2, "months", "1\0")


@pytest.mark.parametrize(
    "ids", [[7, 8, None], [7.0, 8.0, None], ["7", "8", None], [Decimal("7"), Decimal("8"), None], ["7", "8", " "]]
)
def test_ids_of_any_type(ids: list[Any], small: Contract, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    for kind in ("plain", "category"):
        who = pd.Series(ids, dtype="category" if kind == "category" else None)
        typed_rows().assign(who=who).to_parquet(path)
        ((row, name, _, message),) = faults(path, small)
        assert (row, name, message) == (4, "who", "blank; expected an id")
        assert read_rows(path, FileFormat()).shape == (3, 7)
        typed_rows().assign(who=who).head(2).to_parquet(path)
        assert read(path, small)["who"].tolist() == ["7", "8"]


def test_a_header_and_no_rows(small: Contract, save: Save) -> None:
    for text in (HEADER, HEADER.strip(), HEADER + "\n\n"):
        assert faults(save(text), small) == [(None, "months", None, "the file has a header and no rows")]


def test_another_separator(small: Contract, save: Save) -> None:
    ((row, _, _, message),) = faults(save(GOOD.replace(",", ";")), small)
    assert row == 1
    assert message == "the whole header is one column; the contract says that ',' separates columns"


def test_the_format_that_the_contract_says(small: Contract, save: Save) -> None:
    form = FileFormat(separator=";", decimal=",", encoding="utf-16")
    text = GOOD.replace(",", ";").replace("2.5", "2,5").replace("a;", "ä;")
    other = small.model_copy(update={"rows": small.rows.model_copy(update={"format": form})})
    frame = read(save(text.encode("utf-16")), other)
    assert (frame["who"][0], frame["charge"][0]) == ("ä", 2.5)


def test_pieces_make_the_whole(small: Contract, save: Save) -> None:
    lines = [f"{i},{i % 99},,Basic,true,No\n" for i in range(130_000)]
    lines.insert(60_000, "\n")
    path = save(HEADER + "".join(lines))
    pieces = list(read_chunks(path, FileFormat()))
    assert len(pieces) > 1
    whole = pd.concat(pieces)
    assert whole["who"].tolist() == [str(i) for i in range(130_000)]
    assert whole.index[[0, 59_999, 60_000, -1]].tolist() == [0, 59_999, 60_001, 130_000]
    pd.testing.assert_frame_equal(read_rows(path, FileFormat()), whole)


def typed_rows() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "who": pd.array([7, 8, 9], dtype="Int64"),
            "months": [1.0, 2.0, 27.0],
            "charge": pd.array([1, None, 3], dtype="Int32"),
            "plan": pd.Categorical(["Basic", "Gold", "Gold"]),
            "active": pd.array([True, None, False], dtype="boolean"),
            "left": ["No", "Yes", "No"],
            "since": pd.to_datetime(["2024-01-31"] * 3),
        }
    )


def test_typed_parquet(small: Contract, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    typed_rows().to_parquet(path)
    frame = read(path, small, target="required")
    assert frame["who"].tolist() == ["7", "8", "9"]
    assert frame["months"].tolist() == [1, 2, 27]
    assert frame["active"].tolist() == [True, False, False]
    assert [str(kind) for kind in frame.dtypes] == ["str", "int64", "float64", "object", "bool", "int64"]
    assert [len(piece) for piece in read_chunks(path, FileFormat(), chunk=2)] == [2, 1]


def test_an_index_that_pandas_wrote_is_a_column_like_any_other(small: Contract, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    typed_rows().set_index("who").to_parquet(path)
    assert read(path, small)["who"].tolist() == ["7", "8", "9"]
    typed_rows().set_axis([5, 6, 7]).to_parquet(path)
    assert list(read_rows(path, FileFormat())) == list(typed_rows())


def test_faults_of_typed_parquet(small: Contract, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    rows = typed_rows().assign(months=[1.5, float("nan"), 100], plan=["Basic", "x", None], left=[True, False, True])
    rows["charge"] = rows["since"]
    rows.to_parquet(path)
    told = faults(path, small)
    assert [(row, name) for row, name, _, _ in told] == [
        *((2, "months"), (2, "charge"), (2, "left")),
        *((3, "months"), (3, "charge"), (3, "plan"), (3, "left")),
        *((4, "months"), (4, "charge"), (4, "plan"), (4, "left")),
    ]
    assert [value for _, name, value, _ in told if name == "months"] == [1.5, None, 100]
    assert [message[:6] for _, name, _, message in told if name == "plan"] == ["expect", "blank;"]


ODD: list[tuple[str, list[Any], Any]] = [
    ("list", [[1], [], None], None),
    ("struct", [{"a": 1}, {"a": None}, None], None),
    ("map", [[("a", 1)], [], None], arrow.map_(arrow.string(), arrow.int64())),
    ("binary", [b"Gold", b"\xff", None], None),
    ("view", ["x", "y", None], arrow.string_view()),
    ("money", [Decimal("100.50"), Decimal("-1"), None], arrow.decimal128(9, 2)),
    ("vast", [Decimal(10) ** 60, Decimal("-1"), None], arrow.decimal256(70, 2)),
    ("half", [0.5, -1.0, None], arrow.float16()),
    ("unsigned", [2**64 - 1, 2**63, None], arrow.uint64()),
    ("time", [1, 2, None], arrow.time32("s")),
    ("span", [1, 2, None], arrow.duration("s")),
]


@pytest.mark.parametrize(("cells", "kind"), [odd[1:] for odd in ODD], ids=[odd[0] for odd in ODD])
def test_parquet_of_any_type_is_read_or_refused_cell_by_cell(
    cells: list[Any], kind: Any, small: Contract, tmp_path: Path
) -> None:
    """No file brings cells that cannot be told apart: each column is of one type."""
    path = tmp_path / "rows.parquet"
    good = arrow.Table.from_pandas(typed_rows())
    for name in ("months", "plan", "active", "left"):
        odd = good.set_column(good.column_names.index(name), name, [arrow.array(cells, kind)])
        parquet.write_table(odd, path)
        told = [(row, field) for row, field, *_ in faults(path, small)]
        blank = small.features[name].blank if name in small.features else "refuse"
        wrong = [row for row, cell in enumerate(cells, 2) if cell is not None or blank == "refuse"]
        assert told == [(row, name) for row in wrong]


def test_small_row_groups_make_pieces_of_the_size_asked_and_one_dictionary_each(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    texts = ["a", "b", "a", "c", "c", None, "a", "d"]
    parquet.write_table(arrow.table({"t": texts, "n": range(8)}), path, row_group_size=2)
    pieces = list(read_pieces(path, FileFormat(), 4, repeating=["t", "n", "absent"]))
    assert [piece.rows.tolist() for piece in pieces] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [str(kind) for kind in pieces[0].types.types] == ["string", "int64"]
    for piece in pieces:
        first, second = piece.table.column("t").chunks
        assert first.dictionary.equals(second.dictionary)
    assert [cell for piece in pieces for cell in piece.table.column("t").to_pylist()] == texts


def test_parquet_without_rows_and_files_that_are_none(small: Contract, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    typed_rows().head(0).to_parquet(path)
    assert faults(path, small) == [(None, "months", None, "the file has a header and no rows")]
    for content in (b"", b"PAR1", b"not Parquet at all", path.read_bytes()[:-9]):
        path.write_bytes(content)
        with pytest.raises(UnreadableFile, match="not a Parquet file"):
            read_rows(path, FileFormat())


def test_whole_files_are_checked_quickly(telco: Contract) -> None:
    """A hundred thousand rows take a tenth of a second; per-row Python would take ten."""
    import time

    rows = pd.concat([read_rows(TELCO, telco.rows.format)] * 15, ignore_index=True)
    rows[telco.id] = rows.index.astype(str)
    started = time.process_time()
    validate(rows, telco, target="required")
    assert time.process_time() - started < 2
