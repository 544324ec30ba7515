"""Personas: found the same way twice, named by what sets them apart, and told by arrays as by scikit-learn."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from churn import clustering, personas, segmenting
from churn.clustering import Fitted
from churn.contract import Contract, parse
from churn.data import features_and_target, read_rows, validate
from churn.drafting import draft
from churn.encoding import Encoded, Encoder
from churn.errors import NotReady
from churn.naming import in_words
from churn.personas import Personas
from tests.gym import write_members

RISK = {"high": {"threshold": 0.6, "action": "a"}, "medium": {"threshold": 0.3, "action": "b"},
        "low": {"threshold": 0, "action": "c"}}  # fmt: skip


@dataclass
class Rows:
    contract: Contract
    features: pd.DataFrame
    target: "pd.Series[int]"

    def fit(self, seed: int = 20) -> Fitted:
        return clustering.fit(self.contract, self.features, self.target, seed)


def shop(count: int, seed: int = 0, **columns: Any) -> Rows:
    """Customers of a shop with these features; each is told by its entry and its values."""
    dice = np.random.default_rng(seed)
    contract = parse(
        {
            "name": "shop",
            "rows": {"training": "rows.csv"},
            "target": {"column": "left", "values": [0, 1], "positive": 1},
            "features": {name: entry for name, (entry, _) in columns.items()},
            "risk": RISK,
        }
    )
    frame = pd.DataFrame({name: values(dice, count) for name, (_, values) in columns.items()})
    return Rows(contract, frame, pd.Series(dice.integers(0, 2, count), name="left"))


NUMBER = ({"type": "number", "label": "Spend"}, lambda dice, n: dice.normal(size=n))
CONSTANT = ({"type": "integer", "label": "Year"}, lambda _, n: np.full(n, 7))
SAME = (
    {"type": "category", "values": ["a", "b"]},
    lambda _, n: np.array(["a"] * n, dtype=object),
)
GAPS = (
    {"type": "number", "label": "Age", "blank": "missing"},
    lambda dice, n: np.where(dice.random(n) < 0.3, np.nan, dice.normal(40, 9, n)),
)
EMPTY = ({"type": "number", "blank": "missing"}, lambda _, n: np.full(n, np.nan))
GAPPED = (
    {"type": "category", "values": ["red", "green", "blue"], "blank": "missing"},
    lambda dice, n: np.array([["red", "green", "blue", None][i] for i in dice.integers(0, 4, n)], dtype=object),
)
FLAG = (
    {"type": "boolean", "blank": "missing"},
    lambda dice, n: np.array([[True, False, None][i] for i in dice.integers(0, 3, n)], dtype=object),
)


@pytest.fixture(scope="module")
def shipped(telco: Contract) -> Rows:
    rows = read_rows(Path("data/telco/customers.csv"), telco.rows.format)
    return Rows(telco, *features_and_target(validate(rows, telco, target="required"), telco))


@pytest.fixture(scope="module")
def fitted(shipped: Rows) -> Fitted:
    return shipped.fit()


@pytest.fixture(scope="module")
def gym(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    source = tmp_path_factory.mktemp("gym") / "members.csv"
    write_members(source)
    contract = draft(source, target="quit", ignore=["joined_on"], out=source.parent / "set")
    rows = validate(read_rows(source, contract.rows.format), contract, target="required")
    return Rows(contract, *features_and_target(rows, contract))


def agrees(rows: Rows, found: Fitted) -> None:
    """The arrays tell every row as the pipeline does, and so do the sizes."""
    told = Personas(found.told, rows.contract).assign(Encoder(rows.contract).frame(rows.features))
    assert (told == found.pipeline.predict(rows.features)).all()
    assert np.bincount(told, minlength=len(found.told.personas)).tolist() == [
        one.customers for one in found.told.personas
    ]


def test_the_arrays_tell_every_shipped_row_as_the_pipeline_does(shipped: Rows, fitted: Fitted) -> None:
    agrees(shipped, fitted)


def test_the_same_rows_give_the_same_personas_and_names_in_whatever_order(shipped: Rows, fitted: Fitted) -> None:
    shuffled = shipped.features.sample(frac=1, random_state=3)
    again = Rows(shipped.contract, shuffled, shipped.target.loc[shuffled.index]).fit()
    assert again.told == fitted.told
    assert (again.pipeline.predict(shipped.features) == fitted.pipeline.predict(shipped.features)).all()
    other = shipped.fit(seed=21)  # another seed may number groups alike, but draws other bootstraps
    assert other.told.trials != fitted.told.trials


def test_personas_of_the_shipped_rows(shipped: Rows, fitted: Fitted) -> None:
    told = fitted.told
    assert told.stable
    best = max(
        (trial for trial in told.trials if trial.stability >= clustering.STABLE), key=lambda trial: trial.silhouette
    )
    assert best.k == len(told.personas)
    assert [trial.k for trial in told.trials] == list(range(3, 9))
    assert sum(one.customers for one in told.personas) == len(shipped.features)
    assert [one.customers for one in told.personas] == sorted((one.customers for one in told.personas), reverse=True)
    groups = fitted.pipeline.predict(shipped.features)
    for group, one in enumerate(told.personas):
        assert one.churn_rate == pytest.approx(shipped.target[groups == group].mean())
        assert one.share == pytest.approx((groups == group).mean())
        assert [trait.feature for trait in one.profile] == list(shipped.contract.features)
        assert 0 < len(one.name) <= 60
        assert one.name.lower().startswith(one.traits[0].lower())
    without = next(one for one in told.personas if "no internet service" in one.name.lower())
    trait = next(one for one in without.profile if one.label == "Internet service")
    assert trait.shares["No"] == 1
    assert 0.2 < trait.shares_of_all["No"] < 0.3
    tenure = next(one for one in without.profile if one.label == "Tenure")
    assert tenure.mean == pytest.approx(shipped.features["tenure"][groups == told.personas.index(without)].mean())


def test_sensitive_columns_name_nobody(shipped: Rows, fitted: Fitted) -> None:
    sensitive = [column.title.lower() for column in shipped.contract.features.values() if column.sensitive]
    words = " ".join(trait for one in fitted.told.personas for trait in one.traits).lower()
    assert sensitive
    assert not [label for label in sensitive if label in words]


@pytest.mark.parametrize("seed", range(3))
def test_another_data_set_with_gaps_and_booleans(gym: Rows, seed: int) -> None:
    agrees(gym, gym.fit(seed))


@pytest.mark.parametrize(
    "columns",
    [
        {"spend": NUMBER},
        {"spend": GAPS},
        {"colour": GAPPED},
        {"spend": NUMBER, "year": CONSTANT, "same": SAME},
        {"age": GAPS, "empty": EMPTY, "colour": GAPPED, "flag": FLAG},
        {"colour": GAPPED, "flag": FLAG},
    ],
    ids=lambda columns: "-".join(columns),
)
def test_rows_of_any_shape(columns: dict[str, Any]) -> None:
    rows = shop(300, **columns)
    found = rows.fit()
    agrees(rows, found)
    names = [one.name for one in found.told.personas]
    assert len(set(names)) == len(names) >= clustering.FEWEST
    assert found.told == rows.fit().told


@pytest.mark.parametrize(
    ("count", "columns", "why"),
    [
        (59, {"spend": NUMBER}, "59 customers, 59 of them different, are too few for 3 groups"),
        (500, {"year": CONSTANT, "same": SAME}, "500 customers, 1 of them different"),
        (500, {"flag": ({"type": "boolean"}, lambda dice, n: dice.random(n) < 0.5)}, "2 of them different"),
        (1, {"spend": NUMBER}, "1 customers"),
    ],
)
def test_too_few_customers_have_no_personas(count: int, columns: dict[str, Any], why: str) -> None:
    with pytest.raises(NotReady, match=why):
        shop(count, **columns).fit()


def with_outlier(far: float) -> Rows:
    def spend(_: np.random.Generator, count: int) -> np.ndarray:
        return np.append(np.arange(count - 1) % 100, far).astype(float)

    return shop(1_001, spend=({"type": "number", "label": "Spend"}, spend))


@pytest.mark.parametrize("far", [1e13, 1e200, -1e300])
def test_one_absurd_number_leaves_no_group_empty(far: float) -> None:
    with pytest.raises(NotReady, match="groups"):
        with_outlier(far).fit()


@pytest.mark.parametrize("entry", [{"type": "number"}, {"type": "number", "blank": "missing"}])
def test_numbers_whose_squares_overflow_are_told_apart(entry: dict[str, Any]) -> None:
    def near(dice: np.random.Generator, count: int) -> np.ndarray:
        spend = dice.choice([-1.0, 0.0, 1.0], count) + dice.normal(0, 0.05, count)
        return np.where(dice.random(count) < 0.1, np.nan, spend) if "blank" in entry else spend

    def wide(dice: np.random.Generator, count: int) -> np.ndarray:
        return near(dice, count) * 2.0**990

    found, plain = (shop(400, x=(entry, values)) for values in (wide, near))
    agrees(found, told := found.fit())
    assert [one.customers for one in told.told.personas] == [one.customers for one in plain.fit().told.personas]
    means = [(one.profile[0].mean, other.profile[0].mean) for one, other in
             zip(told.told.personas, plain.fit().told.personas, strict=True)]  # fmt: skip
    assert all(one == pytest.approx(other * 2.0**990) for one, other in means)


@pytest.mark.parametrize("error", [ValueError("no such thing"), NotReady("too few")])
def test_whatever_keeps_personas_from_being_found_is_noted_and_training_goes_on(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Prepared:
        contract = None

        def rows(self, _: str) -> tuple[None, None]:
            return None, None

    def fails(*_: object) -> None:
        raise error

    (tmp_path / personas.FILE).write_text("of a run before")
    monkeypatch.setattr("churn.preparation.load", lambda _: Prepared())
    monkeypatch.setattr(clustering, "fit", fails)
    segmenting.segment(tmp_path, 1)
    assert not segmenting.digest(tmp_path)
    assert segmenting._why_none(tmp_path) == str(error)
    assert f"no personas: {error}" in caplog.text
    assert ("Traceback" in caplog.text) == isinstance(error, ValueError)


def test_groups_that_no_refit_finds_again_are_told_as_such() -> None:
    noise = {f"n{i}": NUMBER for i in range(12)}
    found = shop(200, **noise).fit()
    assert not found.told.stable
    assert len(found.told.personas) == max(found.told.trials, key=lambda trial: trial.stability).k


def test_many_rows_are_told_as_one_by_one(shipped: Rows, fitted: Fitted) -> None:
    encoded = Encoder(shipped.contract).frame(shipped.features)
    told = Personas(fitted.told, shipped.contract)
    twice = Encoded(np.vstack([encoded.numbers] * 2), np.vstack([encoded.codes] * 2))
    assert (told.assign(twice) == np.tile(told.assign(encoded), 2)).all()
    ones = [told.assign(Encoded(encoded.numbers[i : i + 1], encoded.codes[i : i + 1]))[0] for i in range(500)]
    assert ones == told.assign(encoded)[:500].tolist()
    assert told.assign(Encoded(encoded.numbers[:0], encoded.codes[:0])).shape == (0,)


def test_the_widest_numbers_have_a_persona(shipped: Rows, fitted: Fitted) -> None:
    told = Personas(fitted.told, shipped.contract)
    encoded = Encoder(shipped.contract).frame(shipped.features.iloc[:2])
    for extreme in (1e300, -1e300):
        far = Encoded(np.full_like(encoded.numbers, extreme), encoded.codes)
        assert set(told.assign(far)) <= set(range(len(told.names)))


def test_one_row_costs_microseconds(shipped: Rows, fitted: Fitted) -> None:
    told = Personas(fitted.told, shipped.contract)
    one = Encoder(shipped.contract).frame(shipped.features.iloc[:1])
    taken = []
    for _ in range(500):
        began = time.perf_counter()
        told.assign(one)
        taken.append(time.perf_counter() - began)
    assert np.median(taken) < 100e-6  # 12 on a quiet machine


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda told: told.update(row_hash="other"), "other columns"),
        (lambda told: told["numbers"].pop(), "one centroid of all numbers"),
        (lambda told: told["centroids"].pop(), "one centroid"),
        (lambda told: told["centroids"][0].append(1.0), "one centroid"),
        (lambda told: told["personas"].clear(), "personas"),
        (lambda told: told["categories"][0]["distances"].pop(), "categories are not those"),
        (lambda told: told["categories"][0]["distances"][0].append(0.0), "for each persona"),
        (lambda told: told["categories"].reverse(), "order"),
        (lambda told: told["numbers"][0].update(scale=0.0), "scale"),
        (lambda told: told["numbers"][0].update(mean=float("nan")), "mean"),
        (lambda told: told["numbers"].reverse(), "numbers are not those"),
        (lambda told: told["personas"][0].update(name=told["personas"][1]["name"]), "share a name"),
        (lambda told: told["personas"][0].update(churn_rate="high"), "churn_rate"),
        (lambda told: told.update(code="import os"), "code"),
        (lambda told: told.pop("trials"), "trials"),
    ],
)
def test_a_damaged_file_is_refused(damage: Any, message: str, shipped: Rows, fitted: Fitted, tmp_path: Path) -> None:
    path = tmp_path / personas.FILE
    personas.write(path, fitted.told)
    assert Personas(personas.read(path), shipped.contract).names
    told = json.loads(path.read_text(encoding="utf-8"))
    damage(told)
    path.write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        personas.load(tmp_path, shipped.contract, expected=None)


def test_a_file_that_is_cut_off_missing_or_another_one_is_refused(
    shipped: Rows, fitted: Fitted, tmp_path: Path
) -> None:
    assert personas.load(tmp_path, shipped.contract, expected=None) is None
    with pytest.raises(FileNotFoundError):
        personas.load(tmp_path, shipped.contract, expected="a hash")
    path = tmp_path / personas.FILE
    personas.write(path, fitted.told)
    with pytest.raises(ValueError, match="not the one"):
        personas.load(tmp_path, shipped.contract, expected="a hash")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError):
        personas.load(tmp_path, shipped.contract, expected=None)


@pytest.mark.parametrize(
    ("label", "values", "labels", "words"),
    [
        ("Technical support", ["No", "Yes"], {}, ["no technical support", "technical support"]),
        ("Has a partner", ["No", "Yes"], {}, ["without partner", "has a partner"]),
        ("Contract", ["Month-to-month", "DSL"], {}, ["month-to-month contract", "DSL contract"]),
        ("Hall", [1, 2], {2: "Pool"}, ["hall 1", "pool hall"]),
    ],
)
def test_values_in_words(label: str, values: list[Any], labels: dict[Any, str], words: list[str]) -> None:
    column = shop(1, x=({"type": "category", "values": values, "value_labels": labels, "label": label},
                        lambda _, n: [values[0]] * n)).contract.features["x"]  # fmt: skip
    assert [in_words(column, value) for value in values] == words
