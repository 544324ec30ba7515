"""A draft fits the file it was drafted from, or says everything that stands against it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from churn import contract as contracts
from churn.contract import Column, Contract
from churn.data import read_rows, validate
from churn.drafting import WHOLE, draft
from churn.errors import ContractError, UnreadableFile
from churn.inference import label

TELCO = Path(__file__).resolve().parents[2] / "data" / "telco" / "customers.csv"
ROWS = 60

Draft = Callable[..., Contract]


@pytest.fixture
def drafted(tmp_path: Path) -> Draft:
    """Draft from a file's content; what comes back was read from the file that was written."""

    def run(content: str | bytes | pd.DataFrame, *, name: str = "rows.csv", **more: Any) -> Contract:
        source = tmp_path / name
        if isinstance(content, pd.DataFrame):
            content.to_parquet(source) if name.endswith("parquet") else content.to_csv(source, index=False)
        else:
            source.write_bytes(content.encode() if isinstance(content, str) else content)
        out = tmp_path / "set"
        contract = draft(source, out=out, **{"target": "left"} | more)
        assert contracts.load(out / "contract.yaml") == contract
        copied = out / contract.rows.training
        assert copied.read_bytes() == source.read_bytes()
        frame = validate(read_rows(copied, contract.rows.format), contract, target="required")
        assert len(frame) > 0
        return contract

    return run


def rows(**columns: Any) -> pd.DataFrame:
    """Sixty customers with a target, and the columns given (cycled through)."""
    data = {"left": [0, 1, 0, 0], "months": range(3, 50), **columns}
    return pd.DataFrame({n: [v[i % len(v)] for i in range(ROWS)] for n, v in data.items()})


def feature(contract: Contract, name: str) -> Column:
    return contract.features[name]


def faults(drafted: Draft, *content: Any, **more: Any) -> str:
    with pytest.raises((ContractError, UnreadableFile)) as caught:
        drafted(*content, **more)
    return str(caught.value)


def test_the_shipped_rows(telco: Contract, tmp_path: Path) -> None:
    """A draft says what the contract written by hand says, as far as cells can tell."""
    seen = draft(TELCO, target=telco.target.column, out=tmp_path / "telco")
    assert (seen.id, seen.target.positive, seen.monthly_value) == (telco.id, "Yes", telco.monthly_value)
    assert (seen.name, list(seen.features)) == (telco.name, list(telco.features))
    assert [band.action for band in seen.risk.values()] == [band.action for band in telco.risk.values()]
    # by the profit curve: above a half for high, and where contacting pays (0.164) for medium
    assert seen.risk["high"].threshold == pytest.approx(0.6, abs=0.05)
    assert seen.risk["medium"].threshold == pytest.approx(0.164, abs=0.05)
    for name, column in telco.features.items():
        drawn = seen.features[name]
        assert (drawn.type, sorted(drawn.values)) == (column.type, sorted(column.values))
        assert (drawn.blank == "missing") == (column.blank != "refuse")
        assert (drawn.min, drawn.sensitive) == (column.min, column.sensitive)
        if column.is_numeric:
            assert 0 < (drawn.max or 0) <= (column.max or 0)
        else:
            assert drawn.label.casefold()[:4] in column.label.casefold()
    text = (tmp_path / "telco" / "contract.yaml").read_text()
    assert "blank: missing  # 11 of 7,043 cells are blank, the first in row 490" in text
    assert "# Proposed by the profit curve of a quick logistic regression on 5,000 rows" in text


def test_types_of_a_file_of_another_shape(drafted: Draft) -> None:
    seen = drafted(
        rows(
            is_active=["true", "false"],
            newsletter=[1, 0, 0],
            planName=["Basic", "Gold", "No"],
            monthly_fee=["9.90", "19.90", "29.00"],
            balance=["-12.5", "30", "0"],
            visits=["1.0", "2.0", "", "17.0"],
            zip_code=["01067", "80331", "10115"],
            discount_rate=[0.1, 0.25, 0],
        )
    )
    assert {name: column.type for name, column in seen.features.items()} == {
        "months": "integer",
        "is_active": "boolean",
        "newsletter": "category",
        "planName": "category",
        "monthly_fee": "number",
        "balance": "number",
        "visits": "integer",
        "zip_code": "category",
        "discount_rate": "number",
    }
    assert feature(seen, "newsletter").values == [0, 1]
    assert feature(seen, "planName").values == ["Basic", "Gold", "No"]
    assert feature(seen, "zip_code").values == ["01067", "10115", "80331"]
    assert (feature(seen, "visits").blank, feature(seen, "months").blank) == ("missing", "refuse")
    limits = {name: (column.min, column.max) for name, column in seen.features.items() if column.is_numeric}
    assert limits == {
        "months": (0, 100),
        "monthly_fee": (0, 100),
        "balance": (-50, 100),
        "visits": (0, 50),
        "discount_rate": (0, 1),
    }
    assert (seen.target.values, seen.target.positive, seen.monthly_value, seen.id) == (
        [0, 1],
        1,
        "monthly_fee",
        None,
    )
    assert [(b, seen.risk[b].threshold, seen.risk[b].action) for b in contracts.BANDS] == [
        ("high", 0.6, "Immediate retention offer"),
        ("medium", 0.3, "Survey"),
        ("low", 0, "Standard engagement"),
    ]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("decimal", [".", ","])
def test_however_the_file_is_written(separator: str, encoding: str, decimal: str, drafted: Draft) -> None:
    frame = rows(größe=["groß", "klein, fein; |"], preis=[1.5, 22.25, 3.0])
    text = frame.to_csv(index=False, sep=separator, decimal=decimal, lineterminator="\r\n")
    seen = drafted(text.encode(encoding))
    form = seen.rows.format
    assert (form.separator, form.decimal) == (separator, decimal)
    assert form.encoding == ("utf-8" if encoding == "utf-8-sig" else encoding)
    assert feature(seen, "größe").values == ["groß", "klein, fein; |"]
    assert (feature(seen, "preis").type, feature(seen, "preis").max) == ("number", 50)


def test_texts_that_mean_a_gap(drafted: Draft) -> None:
    seen = drafted(
        rows(
            usage=["1.5", "unknown", "-", "N/A", "7"],
            plan=["Gold", "None", "Basic", "?"],
            active=["true", "false", "None", "null"],
        )
    )
    assert seen.rows.format.blanks == sorted(["unknown", "-", "N/A", "?", "None", "null"])
    assert feature(seen, "plan").values == ["Basic", "Gold", "None"]
    assert {seen.features[name].blank for name in ("usage", "plan", "active")} == {"missing"}


def test_typed_parquet(drafted: Draft) -> None:
    frame = rows(
        active=[True, False],
        plan=["Basic", "Gold"],
        fee=[9.5, 10.0],
        visits=[1.0, float("nan"), 3.0],
        who=["x"],
    )
    frame["who"] = [f"c{i}" for i in range(ROWS)]
    frame = frame.astype({"plan": "category", "months": "Int64"})
    seen = drafted(frame, name="rows.parquet", id_column="who")
    assert {name: column.type for name, column in seen.features.items()} == {
        "months": "integer",
        "active": "boolean",
        "plan": "category",
        "fee": "number",
        "visits": "integer",
    }


@pytest.mark.parametrize(
    "value",
    [
        *(
            "2024-01-31",
            "31.01.2024",
            "01/31/2024",
            "1/2/24",
            "2024-01-31T10:11:12Z",
            "2024-01-31 10:11",
            "20240131",
        ),
        *("31-Jan-2024", "January 31, 2024", "31 Dez 2024", "2024-01", "2024/01/31", "12:30", "12:30:15 PM"),
    ],
)
def test_dates_are_refused_with_a_word(value: str, drafted: Draft) -> None:
    other = value.replace("31", "30") if "31" in value else value.replace("1", "2", 1)
    frame = rows(since=[value, other])
    message = faults(drafted, frame)
    assert re.search(r"'since': dates or times, such as '.*'; turn them into a number, such as the days", message)
    assert "--ignore since" in message
    assert drafted(frame, ignore=["since"]).ignored == ["since"]


def test_parquet_dates_are_refused(drafted: Draft) -> None:
    frame = rows(tags=[["a"], ["b"]])
    frame["since"] = pd.Timestamp("2024-01-31") + pd.to_timedelta(np.arange(ROWS), "D")
    frame["day"] = frame["since"].dt.date
    message = faults(drafted, frame, name="rows.parquet")
    assert "'since': dates or times, such as '2024-01-31 00:00:00'" in message
    assert "'day': dates or times, such as '2024-01-31'" in message
    assert "'tags': holds list" in message


def test_everything_that_is_wrong_is_told_at_once(drafted: Draft) -> None:
    frame = rows(since=["2024-01-31", "2024-02-01"], price=["1,234.50", "$5", "17 %"], risk=["a", "b"])
    frame["remark"] = [f"said thing {i}" for i in range(ROWS)]
    frame["usage"] = [str(i) if i != 7 else "seven" for i in range(ROWS)]
    frame["row"] = range(1, ROWS + 1)
    frame["phone"] = [2**60 + 7 * i for i in range(ROWS)]
    frame.loc[3, "left"] = None
    message = faults(drafted, frame.astype({"left": "Int64"}))
    assert "target 'left': 1 cells are blank, the first in row 5" in message
    assert "'since': dates or times" in message
    assert "'price': numbers with signs around or inside them, such as '1,234.50'" in message
    assert "'risk': a name that replies use" in message
    assert "'remark': 60 different texts in 60 rows, such as 'said thing 0' (every row has its own)" in message
    assert "'usage': numbers, but 1 of its 60 different values are none, such as 'seven'" in message
    assert "'row': every row has its own number" in message
    assert "'phone': whole numbers as large as" in message
    assert message.count("--ignore") == 7


def test_columns_that_say_nothing_are_ignored_with_a_note(drafted: Draft) -> None:
    notes: list[str] = []
    frame = rows(country=["DE"], nothing=[""], year=[2024], fee=["5", "5.0", ""], plan=["Gold", "n/a", "Gold "])
    frame.insert(0, "", range(ROWS))
    seen = drafted(frame, note=notes.append)
    assert seen.ignored == ["Unnamed: 0", "country", "nothing", "year", "fee", "plan"]
    assert list(seen.features) == ["months"]
    assert "'country' is ignored: no other value than 'DE'" in notes
    assert "'nothing' is ignored: every cell is blank" in notes
    assert "'fee' is ignored: no other value than 5" in notes
    assert "'plan' is ignored: no other value than 'Gold'" in notes


@pytest.mark.parametrize("more", [0, 1, 40])
def test_how_far_a_draft_is(more: int, drafted: Draft) -> None:
    told: list[tuple[str, int]] = []
    frame = rows(**{f"c{i}": ["a", "b", "c"] for i in range(more)})
    drafted(frame, advance=lambda *done: told.append(done))
    assert sum(hundredths for _, hundredths in told) == WHOLE
    assert min(hundredths for _, hundredths in told) >= 0
    assert [step for step, _ in told][3:-2] == list(frame)


def test_values_that_differ_by_case_are_told(drafted: Draft) -> None:
    notes: list[str] = []
    seen = drafted(rows(plan=["Gold", "gold ", "Basic"]), note=notes.append)
    assert feature(seen, "plan").values == ["Basic", "Gold", "gold "]
    assert notes == ["'plan': 'Gold' and 'gold ' differ only in case or spaces"]


def test_a_column_that_gives_the_target_away_is_told(drafted: Draft) -> None:
    notes: list[str] = []
    drafted(rows(plan=["a", "b", "c"], reason=["none", "price", "none", "-none-"]), note=notes.append)
    assert len(notes) == 1
    assert notes[0].startswith("'reason': it tells the target without fail")


def test_the_id(drafted: Draft, tmp_path: Path) -> None:
    frame = rows()
    frame["customer_id"] = [f"c{i:03}" for i in range(ROWS)]
    seen = drafted(frame, name="a.csv")
    assert (seen.id, "customer_id" in seen.features) == ("customer_id", False)
    frame["account id"] = range(1_000, 1_000 + ROWS)
    (tmp_path / "set" / "contract.yaml").unlink()
    assert "'customer_id' and 'account id' look like ids; say which with --id" in faults(drafted, frame)
    assert drafted(frame, id_column="account id", ignore=["customer_id"]).id == "account id"


def test_an_id_must_be_one(drafted: Draft) -> None:
    frame = rows(who=["a", "b"])
    assert "this id stands twice" in faults(drafted, frame, id_column="who")


@pytest.mark.parametrize(
    ("values", "positive", "expected"),
    [
        (["Yes", "No"], None, ("Yes", ["No", "Yes"])),
        (["no", "yes"], None, ("yes", ["no", "yes"])),
        (["True", "False"], None, (True, [False, True])),
        (["0", "1"], None, (1, [0, 1])),
        (["0.0", "1.0"], None, (1, [0, 1])),
        (["stayed", "churned"], None, ("churned", ["churned", "stayed"])),
        (["Attrited Customer", "Existing Customer"], None, ("Attrited Customer", None)),
        (["Left", "Active"], None, ("Left", None)),
        (["ja", "nein"], None, ("ja", None)),
        (["A", "B"], "B", ("B", ["A", "B"])),
        (["0", "1"], "0", (0, [0, 1])),
        (["1", "2"], "2", (2, [1, 2])),
        (["True", "False"], "false", (False, [False, True])),
    ],
)
def test_the_targets_positive_value(
    values: list[str], positive: str | None, expected: tuple[Any, list[Any] | None], drafted: Draft
) -> None:
    target = drafted(rows(left=values), positive=positive).target
    assert (target.positive, type(target.positive)) == (expected[0], type(expected[0]))
    assert expected[1] is None or target.values == expected[1]


def test_targets_that_will_not_do(drafted: Draft) -> None:
    assert "which of 'A' and 'B' means that a customer left? Say it with --positive" in faults(
        drafted, rows(left=["A", "B"])
    )
    assert "has no value 'C'; its values are 'A' and 'B'" in faults(drafted, rows(left=["A", "B"]), positive="C")
    assert "this one has 3: 'a', 'b', 'c'" in faults(drafted, rows(left=["a", "b", "c"]))
    assert "this one has 1: 1" in faults(drafted, rows(left=[1]))
    assert "this one has 60: '0.0', '0.5'" in faults(drafted, rows(left=[i / 2 for i in range(ROWS)]))
    assert "target 'left'" in faults(drafted, rows(left=[""]))
    assert "did you mean 'Left'?" in faults(drafted, rows().rename(columns={"left": "Left"}))
    assert "there are left, months" in faults(drafted, rows(), target="xyz")
    assert "--id: the file has no column 'x'" in faults(drafted, rows(), id_column="x")
    assert "must name different columns" in faults(drafted, rows(), id_column="left")
    assert "no column is left that could be a feature" in faults(drafted, rows(), ignore=["months"])


def test_most_of_them_left(drafted: Draft) -> None:
    notes: list[str] = []
    drafted(rows(left=[1, 1, 1, 0]), note=notes.append)
    assert notes == ["75% of the rows have 1 in 'left': did they leave?"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"\n\n", "the file is empty"),
        (b"left,months\n", "a header and no rows"),
        (b"left,months\n\n\n", "a header and no rows"),
        (b"left,left\n1,2\n", "stands twice in the header: 'left'"),
        (b"left,months\n1,2\n0\n", "row 3 has 1"),
        (b"PK\x03\x04\x00\x00", "a workbook"),
        (b"l\0e\0f\0t\0", "NUL"),
        (b"left\n1\n0\n", "no column is left"),
    ],
)
def test_files_of_which_no_contract_can_be_made(content: bytes, said: str, drafted: Draft, tmp_path: Path) -> None:
    assert said in faults(drafted, content)
    assert not (tmp_path / "set").exists()


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path / "none.parquet", tmp_path):
        with pytest.raises(UnreadableFile, match=re.escape(str(path))):
            draft(path, target="left", out=tmp_path / "set")


def test_nothing_is_overwritten(drafted: Draft, tmp_path: Path) -> None:
    drafted(rows())
    assert "contract.yaml is there already" in faults(drafted, rows())
    (tmp_path / "set" / "contract.yaml").unlink()
    assert "with other rows" in faults(drafted, rows(months=[1, 2, 3]))
    drafted(rows())  # the same rows again
    source = tmp_path / "set" / "rows.csv"
    (tmp_path / "set" / "contract.yaml").unlink()
    contract = draft(source, target="left", out=tmp_path / "set")  # rows that lie there already
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == [
        "contract.yaml",
        contract.rows.training,
    ]
    (tmp_path / "file").write_text("")
    with pytest.raises(ContractError, match="names a folder"):
        draft(source, target="left", out=tmp_path / "file")


def test_awkward_names_and_values(drafted: Draft) -> None:
    """YAML has its own ideas of some texts; none of them may change a name or a value."""
    awkward = [
        "Yes",
        "no",
        "null",
        "1e5",
        "2024",
        "a: b",
        "# x",
        "'",
        '"q"',
        "~",
        "é",
        "on",
        "[1]",
        "*a",
        "0x1",
    ]
    seen = drafted(rows(**{name: [f"{name}!", name + "?", "No"] for name in awkward}, **{"2": awkward[:8]}))
    assert list(seen.features)[1:] == [*awkward, "2"]
    for name in awkward:
        assert feature(seen, name).values == sorted([f"{name}!", f"{name}?", "No"])


@pytest.mark.parametrize("seed", range(15))
def test_any_shape_of_file_fits_its_own_draft(seed: int, drafted: Draft) -> None:
    random = np.random.default_rng(seed)
    size = int(random.integers(8, 400))

    def some(values: Any) -> Any:
        return random.choice(np.array(values, dtype=object), size)

    kinds: list[Callable[[], Any]] = [
        lambda: random.integers(-(10 ** int(random.integers(1, 15))), 10**6, size),
        lambda: random.normal(0, 10.0 ** random.integers(-3, 9), size),
        lambda: random.gamma(2, 30, size).round(2),
        lambda: some(["a", "B", " c", "d,e", 'f"g', "h\ni"]),
        lambda: some([0, 1]),
        lambda: some(["true", "false"]),
        lambda: some(["TRUE", "FALSE", "NA"]),
        lambda: some([1, 2, 3, "?"]),
        lambda: some([1.5, 2.25, "", "n/a"]),
        lambda: some(["007", "1", "12"]),
        lambda: some(["1e3", "5", "2.5E-2"]),
    ]
    frame = pd.DataFrame({"left": np.arange(size) % 2, "first": np.arange(size) * 3 % 7})
    for place in range(int(random.integers(1, 12))):
        frame[f"c {place}"] = kinds[int(random.integers(len(kinds)))]()
    separator = str(random.choice([",", ";", "\t", "|"]))
    contract = drafted(frame.to_csv(index=False, sep=separator))
    assert contract.rows.format.separator == separator
    assert set(contract.features) | set(contract.ignored) == set(frame) - {"left"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("SeniorCitizen", "Senior citizen"),
        ("monthly_charges", "Monthly charges"),
        ("StreamingTV", "Streaming TV"),
        ("customerID", "Customer ID"),
        ("TOTAL_CHARGES", "Total charges"),
        ("total-day  minutes", "Total day minutes"),
        ("größeÄnderung", "Größe änderung"),
        ("tenure", "Tenure"),
        ("c2", "C2"),
        ("_", "_"),
    ],
)
def test_labels(name: str, said: str) -> None:
    assert label(name) == said


def bands_of(contract: Contract) -> list[tuple[str, float]]:
    return [(band, contract.risk[band].threshold) for band in contracts.BANDS]


USUAL = [("high", 0.6), ("medium", 0.3), ("low", 0.0)]


def test_thresholds_are_proposed_from_enough_rows(drafted: Draft, tmp_path: Path) -> None:
    dice = np.random.default_rng(3)
    months = dice.integers(1, 60, 600)
    left = (dice.random(600) < 1 / (1 + np.exp(months / 8 - 2))).astype(int)
    seen = drafted(pd.DataFrame({"left": left, "months": months, "plan": dice.choice(["a", "b"], 600)}))
    (_, high), (_, medium), (_, low) = bands_of(seen)
    assert 1 >= high > medium > low == 0
    assert bands_of(seen) != USUAL
    assert "logistic regression on 600 rows" in (tmp_path / "set" / "contract.yaml").read_text()


@pytest.mark.parametrize(
    ("count", "churners", "why"),
    [(199, 60, "199 rows, 60 of the rarer class, are too few"), (400, 19, "400 rows, 19 of the rarer class")],
)
def test_from_too_few_rows_the_usual_thresholds_are_kept(
    count: int, churners: int, why: str, drafted: Draft, tmp_path: Path
) -> None:
    left = [1] * churners + [0] * (count - churners)
    seen = drafted(pd.DataFrame({"left": left, "months": [n % 47 for n in range(count)]}))
    assert bands_of(seen) == USUAL
    assert f"# Usual figures: {why}" in (tmp_path / "set" / "contract.yaml").read_text()


def test_a_model_that_cannot_be_fitted_leaves_the_usual_thresholds(
    drafted: Draft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from churn import training

    def fail(*_: object) -> None:
        raise ValueError("no")

    monkeypatch.setattr(training, "cross_validate", fail)
    seen = drafted(pd.DataFrame({"left": [0, 1] * 150, "months": [n % 47 for n in range(300)]}))
    assert bands_of(seen) == USUAL
    assert "could not be fitted" in (tmp_path / "set" / "contract.yaml").read_text()
