"""A file is scored whole or not at all, and keeps every column as it was."""

import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as arrow
import pytest
from pyarrow import parquet

from churn import batch, compiled, compiling
from churn import contract as contracts
from churn.contract import Contract
from churn.data import features_and_target, read_rows, validate
from churn.encoding import Encoded, Encoder
from churn.errors import InvalidData, UnreadableFile
from churn.scoring import ADDED_COLUMNS, ModelVersion, Scorer

TELCO = Path(__file__).resolve().parents[2] / "data" / "telco" / "customers.csv"
CONTRACT: dict[str, Any] = {
    "name": "small",
    "rows": {"training": "rows.csv", "format": {"blanks": ["NA"]}},
    "id": "who",
    "target": {"column": "left", "values": ["No", "Yes"], "positive": "Yes"},
    "features": {
        "months": {"type": "integer", "min": 0, "max": 99},
        "charge": {"type": "number", "blank": "missing"},
        "plan": {"type": "category", "values": ["Basic", "Gold"], "blank": "missing"},
        "grade": {"type": "category", "values": [1, 2, 3], "blank": {"as": 2}},
        "active": {"type": "boolean", "blank": {"as": True}},
    },
    "risk": {
        "high": {"threshold": 0.6, "action": "a"},
        "medium": {"threshold": 0.3, "action": "b"},
        "low": {"threshold": 0, "action": "c"},
    },
}


class Hundredths:
    """Says that a customer of n months leaves with a probability of n %."""

    def probabilities(self, encoded: Encoded) -> "np.ndarray[Any, np.dtype[np.float64]]":
        return encoded.numbers[:, 0] / 100


@pytest.fixture
def contract() -> Contract:
    return contracts.parse(CONTRACT)


@pytest.fixture
def scorer(contract: Contract) -> Scorer:
    return Scorer(Hundredths(), contract, 0.5, ModelVersion("m", "1"))


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "CHUNK", 3)


def rows(count: int = 10) -> dict[str, Any]:
    return {
        "who": [f"id{i}" for i in range(count)],
        "plan": [["Basic", "Gold", None][i % 3] for i in range(count)],
        "months": [(i * 10) % 100 for i in range(count)],
        "charge": [None if i % 4 == 0 else i / 4 for i in range(count)],
        "grade": [i % 3 + 1 for i in range(count)],
        "active": [i % 2 == 0 for i in range(count)],
        "left": ["No"] * count,
    }


def save(path: Path, columns: dict[str, Any], group: int = 4) -> Path:
    parquet.write_table(arrow.table(columns), path, row_group_size=group)
    return path


def faults(contract: Contract, path: Path) -> list[tuple[Any, ...]]:
    with pytest.raises(InvalidData) as caught:
        list(batch.validate_file(contract, path))
    return [(fault.row, fault.field, fault.value) for fault in caught.value.faults]


def test_scores_stand_behind_the_columns_of_the_file(scorer: Scorer, tmp_path: Path) -> None:
    source, target = save(tmp_path / "in.parquet", rows()), tmp_path / "out.parquet"
    assert list(batch.score_file(scorer, source, target)) == [3, 6, 9, 10]
    scored = parquet.read_table(target)
    assert scored.column_names == [*rows(), *ADDED_COLUMNS]
    assert scored.drop_columns(ADDED_COLUMNS).to_pydict() == rows()
    assert scored["churn_probability"].to_pylist() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    assert scored["prediction"].to_pylist() == [0] * 5 + [1] * 5
    assert scored["risk"].to_pylist() == ["low"] * 3 + ["medium"] * 3 + ["high"] * 4
    assert [str(kind) for kind in scored.schema.types[-3:]] == ["double", "int64", "string"]


CARRIED: dict[str, arrow.Array] = {
    "large": arrow.array(["a", None] * 5, arrow.large_string()),
    "view": arrow.array(["a", None] * 5, arrow.string_view()),
    "word": arrow.array(["a", "b"] * 5).dictionary_encode(),
    "empty": arrow.nulls(10),
    "money": arrow.array([Decimal("1.50"), None] * 5, arrow.decimal128(9, 2)),
    "when": arrow.array(range(10), arrow.timestamp("us", "Europe/Berlin")),
    "exact": arrow.array(range(10), arrow.timestamp("ns")),
    "whole": arrow.array([2**60 + 1, None] * 5),
    "short": arrow.array([0.1, None] * 5, arrow.float32()),
    "bytes": arrow.array([b"\xff", None] * 5),
    "list": arrow.array([[1], None] * 5),
    "nested": arrow.array([{"x": "y"}, None] * 5),
    "no number": arrow.array([float("nan")] * 10),
}


@pytest.mark.parametrize("kind", [arrow.string(), arrow.large_string(), arrow.string_view(), None])
def test_every_column_keeps_its_own_type(kind: arrow.DataType | None, scorer: Scorer, tmp_path: Path) -> None:
    table = arrow.table(CARRIED | rows())
    for name in ("who", "plan", "left"):
        place = table.column_names.index(name)
        cells = table.column(name)
        table = table.set_column(place, name, cells.cast(kind) if kind else cells.dictionary_encode())
    parquet.write_table(table, tmp_path / "in.parquet")
    source = parquet.read_table(tmp_path / "in.parquet")
    list(batch.score_file(scorer, tmp_path / "in.parquet", tmp_path / "out.parquet"))
    scored = parquet.read_table(tmp_path / "out.parquet").drop_columns(ADDED_COLUMNS)
    assert scored.schema.equals(source.schema)
    nan = "no number"  # which is not equal to itself
    assert scored.drop_columns(nan).to_pylist() == source.drop_columns(nan).to_pylist()
    assert np.isnan(scored[nan].to_numpy()).all()


def test_csv_cells_stay_as_they_stand_and_blank_lines_go(scorer: Scorer, tmp_path: Path) -> None:
    lines = ["who,note,months,charge,plan,grade,active", '01,"a ""b"", c", 7,NA,Gold,1,TRUE', ",,,,,,", "2,,50,+1e1,,,"]
    (tmp_path / "in.csv").write_text("\n".join(lines) + "\n")
    assert list(batch.score_file(scorer, tmp_path / "in.csv", tmp_path / "out.csv")) == [2]
    told = (tmp_path / "out.csv").read_text().splitlines()
    assert told == [f"{lines[0]},{','.join(ADDED_COLUMNS)}", f"{lines[1]},0.07,0,low", f"{lines[3]},0.5,1,medium"]
    list(batch.score_file(scorer, tmp_path / "in.csv", tmp_path / "out.parquet"))
    back = parquet.read_table(tmp_path / "out.parquet")
    assert back["months"].to_pylist() == [" 7", "50"]
    assert back["churn_probability"].to_pylist() == [0.07, 0.5]


def test_parquet_becomes_csv(scorer: Scorer, tmp_path: Path) -> None:
    source = save(tmp_path / "in.parquet", rows(3) | {"n": [1, None, 2**60 + 1]})
    list(batch.score_file(scorer, source, tmp_path / "out.csv"))
    assert (tmp_path / "out.csv").read_text().splitlines()[1:] == [
        "id0,Basic,0,,1,True,No,1,0.0,0,low",
        "id1,Gold,10,0.25,2,False,No,,0.1,0,low",
        "id2,,20,0.5,3,True,No,1152921504606846977,0.2,0,low",
    ]


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("plan", ["Basic", "Gold", " Gold", "gold", "", "NA", "  ", None]),
        ("active", ["true", "FALSE", " True ", "1", "", "NA", None, "yes"]),
        ("grade", ["1", "2.0", " 3", "4", "1.5", "NA", None, "x"]),
        ("grade", [1.0, 2.0, 1.5, float("nan"), float("inf"), None, 0.0, 3.0]),
        ("months", [" 7", "7.0", "7.5", "100", "NA", "", None, "1_0"]),
        ("months", [Decimal("7.0"), Decimal("7.5"), None, Decimal(-1), Decimal(0), Decimal(99), None, Decimal(1)]),
        ("charge", [1.5, float("nan"), float("inf"), None, -1e300, 1e301, 0.0, -0.0]),
        ("left", ["No", "Yes", "no", "", None, "NA", " Yes", "Yes"]),
        ("who", ["a", " a", "b", "", None, "NA", "B", "b "]),
        ("who", [1, 2, 1, None, 3, 4, 5, 3]),
        ("who", [1.0, 2.0, 2.5, None, 3.0, 4.0, 4.0, float("inf")]),
        ("who", [True, False, True, None, True, False, None, True]),
    ],
)
@pytest.mark.parametrize("kind", ["plain", "dictionary"])
def test_files_and_frames_are_read_alike(
    name: str, cells: list[Any], kind: str, contract: Contract, tmp_path: Path
) -> None:
    """Cell by cell: the same fault, or the same value; and of whole columns the same faults together."""
    encoder = Encoder(contract)
    array = arrow.array(cells)
    array = array.dictionary_encode() if kind == "dictionary" else array
    fitting = 0
    for place in range(len(cells)):
        one = save(tmp_path / "one.parquet", rows(1) | {name: array.slice(place, 1)})
        told = said = None
        try:
            found = encoder.frame(validate(read_rows(one, contract.rows.format), contract))
        except InvalidData as error:
            told = error.faults
        try:
            ((_, own),) = batch.fitting(contract, one, lambda held: held.encoded(encoder))
        except InvalidData as error:
            said = error.faults
        assert told == said
        if told is None:
            fitting += 1
            np.testing.assert_array_equal(found.numbers, own.numbers)
            np.testing.assert_array_equal(found.codes, own.codes)
    assert fitting > 0
    whole = save(tmp_path / "whole.parquet", rows(8) | {name: array})
    with pytest.raises(InvalidData) as caught:
        validate(read_rows(whole, contract.rows.format), contract)
    assert faults(contract, whole) == [(fault.row, fault.field, fault.value) for fault in caught.value.faults]


def test_the_faults_of_the_whole_file_are_told_and_nothing_is_left(scorer: Scorer, tmp_path: Path) -> None:
    columns = rows()
    columns["months"][1], columns["plan"][5], columns["who"][9] = 100, "Silver", " id0"
    source = save(tmp_path / "in.parquet", columns)
    with pytest.raises(InvalidData) as caught:
        list(batch.score_file(scorer, source, tmp_path / "out.parquet"))
    told = [(fault.row, fault.field, fault.value) for fault in caught.value.faults]
    assert told == [(3, "months", 100), (7, "plan", "Silver"), (11, "who", " id0")]
    assert str(source) in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


def test_ids_that_share_a_hash_are_not_taken_for_one(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "_hashes", lambda ids: np.zeros(len(ids), dtype=np.uint64))
    path = save(tmp_path / "in.parquet", rows())
    assert list(batch.validate_file(contract, path))[-1] == 10
    columns = rows()
    columns["who"][8] = columns["who"][2]
    assert faults(contract, save(path, columns)) == [(10, "who", "id2")]


def test_many_faults_are_counted(contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "CHUNK", 200)
    path = save(tmp_path / "in.parquet", rows(1000) | {"months": [-1] * 1000, "who": ["x"] * 1000}, 1000)
    with pytest.raises(InvalidData) as caught:
        list(batch.validate_file(contract, path))
    assert (len(caught.value.faults), caught.value.total) == (100, 1999)


def test_a_date_that_no_calendar_has_is_a_fault_like_any_other(contract: Contract, tmp_path: Path) -> None:
    far = arrow.array([2**62] * 4, arrow.timestamp("us"))
    told = faults(contract, save(tmp_path / "in.parquet", rows(4) | {"months": far}))
    assert [row for row, *_ in told] == [2, 3, 4, 5]


@pytest.mark.parametrize("name", ADDED_COLUMNS)
def test_a_column_named_like_an_added_one_is_refused(name: str, scorer: Scorer, tmp_path: Path) -> None:
    source = save(tmp_path / "in.parquet", rows() | {name: [1] * 10})
    with pytest.raises(InvalidData, match="1 fault found") as caught:
        list(batch.score_file(scorer, source, tmp_path / "out.parquet"))
    assert [(fault.row, fault.field) for fault in caught.value.faults] == [(1, name)]
    assert not (tmp_path / "out.parquet").exists()
    assert list(batch.validate_file(scorer.contract, source))[-1] == 10


def test_a_contract_without_an_id_takes_any_rows(scorer: Scorer, tmp_path: Path) -> None:
    nameless = Scorer(scorer.source, scorer.contract.model_copy(update={"id": None}), 0.5, scorer.model)
    source = save(tmp_path / "in.parquet", rows() | {"who": ["same"] * 10})
    assert list(batch.score_file(nameless, source, tmp_path / "out.parquet"))[-1] == 10


def test_a_file_without_the_id_column_is_scored(scorer: Scorer, tmp_path: Path) -> None:
    columns = {name: cells for name, cells in rows().items() if name not in ("who", "left")}
    list(batch.score_file(scorer, save(tmp_path / "in.parquet", columns), tmp_path / "out.parquet"))
    assert parquet.read_table(tmp_path / "out.parquet").column_names == [*columns, *ADDED_COLUMNS]


def test_files_without_rows_and_without_columns(scorer: Scorer, tmp_path: Path) -> None:
    empty = save(tmp_path / "in.parquet", {name: arrow.array([], arrow.string()) for name in rows()})
    assert faults(scorer.contract, empty) == [(None, "months", None)]
    (tmp_path / "in.csv").write_text(",".join(rows()) + "\n\n\n")
    assert faults(scorer.contract, tmp_path / "in.csv") == [(None, "months", None)]
    few = save(tmp_path / "few.parquet", {"who": ["a"] * 9, "months": [1] * 9})
    assert [field for row, field, _ in faults(scorer.contract, few) if row is None] == [*CONTRACT["features"]][1:]


def test_a_file_is_not_scored_onto_itself(scorer: Scorer, tmp_path: Path) -> None:
    source = save(tmp_path / "in.parquet", rows())
    before = source.read_bytes()
    with pytest.raises(UnreadableFile, match="write to another"):
        list(batch.score_file(scorer, source, source))
    assert source.read_bytes() == before


def test_whoever_stops_half_way_leaves_nothing(scorer: Scorer, tmp_path: Path) -> None:
    under_way = batch.score_file(scorer, save(tmp_path / "in.parquet", rows()), tmp_path / "out.parquet")
    assert next(under_way) == 3
    under_way.close()
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


def test_of_a_file_with_a_fault_every_piece_is_told_of(scorer: Scorer, tmp_path: Path) -> None:
    """Who cancels it does not wait for its end, and nobody takes it for one that hangs."""
    source, told = save(tmp_path / "in.parquet", {**rows(), "months": [-1] * 10}), []
    with pytest.raises(InvalidData):
        list(batch.score_file(scorer, source, tmp_path / "out.parquet", lambda: told.append(None)))
    assert len(told) == 4


def test_rows_stay_in_order_whichever_piece_is_ready_first(scorer: Scorer, tmp_path: Path) -> None:
    class SlowAtFirst(Hundredths):
        done: list[float] = []

        def probabilities(self, encoded: Encoded) -> "np.ndarray[Any, np.dtype[np.float64]]":
            if encoded.numbers[0, 0] == 0:
                time.sleep(0.2)
            self.done.append(encoded.numbers[0, 0])
            return super().probabilities(encoded)

    source = SlowAtFirst()
    slow = Scorer(source, scorer.contract, 0.5, scorer.model)
    list(batch.score_file(slow, save(tmp_path / "in.parquet", rows()), tmp_path / "out.parquet"))
    scored = parquet.read_table(tmp_path / "out.parquet")
    assert scored["churn_probability"].to_pylist() == [months / 100 for months in rows()["months"]]
    assert sorted(source.done) == [0, 30, 60, 90]


def test_what_the_scorer_raises_ends_the_work(scorer: Scorer, tmp_path: Path) -> None:
    class Broken(Hundredths):
        def probabilities(self, encoded: Encoded) -> "np.ndarray[Any, np.dtype[np.float64]]":
            raise ZeroDivisionError(len(encoded))

    broken = Scorer(Broken(), scorer.contract, 0.5, scorer.model)
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        list(batch.score_file(broken, save(tmp_path / "in.parquet", rows()), tmp_path / "out.parquet"))
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]
    assert threading.active_count() == before


def test_the_compiled_scorer_gives_what_the_pipeline_gives(
    telco: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline

    from churn.preprocessing import make_preprocessor

    monkeypatch.setattr(batch, "CHUNK", 3_000)
    frame = validate(read_rows(TELCO, telco.rows.format), telco, target="required")
    features, target = features_and_target(frame, telco)
    steps = [("preprocess", make_preprocessor(telco, scale=True)), ("model", LogisticRegression(max_iter=1000))]
    pipeline = Pipeline(steps).fit(features, target)
    (tmp_path / compiled.FILE).write_bytes(compiling.compile_pipeline(pipeline, telco))
    scorer = Scorer(compiled.Compiled(tmp_path / compiled.FILE), telco, 0.5, ModelVersion("m", "1"))
    list(batch.score_file(scorer, TELCO, tmp_path / "out.parquet"))
    scored = pd.read_parquet(tmp_path / "out.parquet")
    expected = pipeline.predict_proba(features)[:, 1]
    np.testing.assert_allclose(scored["churn_probability"], expected, rtol=0, atol=compiled.TOLERANCE)
    assert scored["risk"].tolist() == [telco.band_of(p) for p in scored["churn_probability"]]
