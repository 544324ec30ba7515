"""What if: the cheapest legal changes, held against trying all of them; and what is refused."""

import math
import time
import zipfile
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from churn import change_search, whatif
from churn import combinations as seen_together
from churn import contract as contracts
from churn.change_search import search
from churn.contract import Contract
from churn.encoding import Encoded, Encoder
from churn.errors import InvalidData
from churn.options import Option, Options
from churn.scoring import ModelVersion, Scorer

PLAIN: dict[str, Any] = {
    "name": "club",
    "rows": {"training": "rows.csv"},
    "target": {"column": "left", "values": [0, 1], "positive": 1},
    "features": {
        "years": {"type": "integer", "min": 0, "max": 50},
        "net": {"type": "category", "values": ["none", "slow", "fast"], "actionable": True, "change_cost": 20},
        "guard": {"type": "category", "values": ["no", "yes", "no net"], "actionable": True, "change_cost": 6},
        "film": {"type": "category", "values": ["no", "yes", "no net"], "actionable": True, "change_cost": 7},
        "paper": {"type": "boolean", "actionable": True, "change_cost": 1},
        "visits": {"type": "integer", "min": 0, "max": 9, "actionable": True, "change_cost": 2, "blank": "missing"},
        "fee": {"type": "number", "min": 0, "max": 100, "actionable": True, "change_cost": 0.5},
    },
    "risk": {
        "high": {"threshold": 0.6, "action": "x"},
        "medium": {"threshold": 0.3, "action": "y"},
        "low": {"threshold": 0, "action": "z"},
    },
    "monthly_value": "fee",
    "products": {
        "guard": {"owned": ["yes"], "requires": {"net": ["slow", "fast"]}, "label": "The guard"},
        "film": {"owned": ["yes"], "requires": {"net": ["fast"], "guard": ["yes", "no"]}},
    },
}


class Logistic:
    """A score that every column moves."""

    def __init__(self, contract: Contract, seed: int) -> None:
        dice = np.random.default_rng(seed)
        encoder = Encoder(contract)
        self.numbers = dice.normal(0, 0.12, len(encoder.numeric))
        self.codes = dice.normal(0, 1.0, (len(encoder.categorical), 4))

    def probabilities(self, encoded: Encoded) -> np.ndarray:
        score = 0.8 + np.nan_to_num(encoded.numbers) @ (self.numbers * np.array([0.3, 1, 0.15])[: len(self.numbers)])
        for place, column in enumerate(encoded.codes.T):
            score = score + self.codes[place][column]
        return 1 / (1 + np.exp(-score))

    features = probabilities


def scorer_of(contract: Contract, folder: Path | None = None, seed: int = 0) -> Scorer:
    """A version with that score, and with what made-up rows hold together where there is a folder for it."""
    known = None
    if folder:
        seen_together.write(folder / seen_together.FILE, contract, Encoder(contract).customers(rows(200)))
        known = seen_together.load(folder, contract)
    return Scorer(Logistic(contract, seed), contract, 0.2, ModelVersion("m", "1"), seen=known)


def rows(count: int, seed: int = 5) -> list[dict[str, Any]]:
    """Customers as they come: without a net, the columns that hang on it say so."""
    dice = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        net = str(dice.choice(["none", "slow", "fast"]))
        guard = "no net" if net == "none" else str(dice.choice(["no", "yes"]))
        film = "no net" if net == "none" else str(dice.choice(["no", "yes"])) if net == "fast" else "no"
        fee = {"none": 10, "slow": 30, "fast": 60}[net] + float(dice.integers(0, 20))
        visits = None if dice.random() < 0.1 else int(dice.integers(0, 9))
        years, paper = int(dice.integers(0, 30)), bool(dice.random() < 0.5)
        found.append(
            {"years": years, "net": net, "guard": guard, "film": film, "paper": paper, "visits": visits, "fee": fee}
        )
    return found


def lawful(contract: Contract, before: dict[str, Any], after: dict[str, Any], history: list[dict[str, Any]]) -> bool:
    """Whether a customer may be changed so, said another way than the module says it."""
    moved = {name for name in after if after[name] != before[name]}
    for name in moved:
        if not contract.features[name].actionable or contract.features[name].read(after[name])[1]:
            return False
    for name, entry in contract.products.items():
        for needed, allowed in entry.requires.items():
            if {name, needed} & moved and after[name] in entry.owned and after[needed] not in allowed:
                return False
    for one, two in combinations(contract.features, 2):
        if not history or not {one, two} & moved:
            continue
        numeric = [name for name in (one, two) if contract.features[name].is_numeric]
        if not numeric:
            if not any(row[one] == after[one] and row[two] == after[two] for row in history):
                return False
        elif len(numeric) == 1:
            (number,), (other,) = numeric, {one, two} - set(numeric)
            beside = [row[number] for row in history if row[other] == after[other] and row[number] is not None]
            if after[number] is not None and not (beside and min(beside) <= after[number] <= max(beside)):
                return False
    return after["fee"] <= before["fee"]


def cheapest(scorer: Scorer, customer: dict[str, Any], options: Options, history: list[dict[str, Any]]) -> tuple | None:
    """Cost, number of changes and probability of the best set of up to three, by trying every one."""
    best = None
    for size in (1, 2, 3):
        for some in combinations(options.all, size):
            after = customer | {one.column: one.value for one in some}
            if len({one.column for one in some}) < size or not lawful(scorer.contract, customer, after, history):
                continue
            probability = scorer.predict([after])[0].churn_probability
            found = (round(sum(one.cost for one in some), 9), size, probability)
            if probability < 0.6 and (best is None or found < best):
                best = found
    return best


@pytest.mark.parametrize("with_history", [True, False])
def test_the_proposal_is_the_cheapest_lawful_set(
    tmp_path: Path, with_history: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("churn.change_search._FIRST", 1)  # so that equally dear sets come in several batches
    monkeypatch.setattr("churn.change_search._LARGEST", 7)
    contract = contracts.parse(PLAIN)
    history = rows(200) if with_history else []
    looked = found = 0
    for seed in range(4):
        scorer = scorer_of(contract, tmp_path if with_history else None, seed)
        high = [one for one in rows(60, seed=99) if scorer.predict([one])[0].risk == "high"][:4]
        for customer in high:
            options = Options(scorer, customer)
            told = search(scorer, customer, options, seconds=60)
            best = cheapest(scorer, customer, options, history)
            assert told.complete
            assert bool(told.changes) == (best is not None)
            looked += 1
            if best:
                after = customer | {one.column: one.value for one in told.changes}
                assert lawful(contract, customer, after, history)
                probability = scorer.predict([after])[0].churn_probability
                reached = (round(sum(one.cost for one in told.changes), 9), len(told.changes), probability)
                assert reached == pytest.approx(best)
                found += 1
    assert looked >= 10
    assert found >= 5


def test_a_proposal_says_what_it_costs_and_keeps_its_promise(tmp_path: Path) -> None:
    scorer = scorer_of(contracts.parse(PLAIN), tmp_path)
    customer = next(one for one in rows(300, seed=7) if whatif.proposed(scorer, one).proposal)
    answer = whatif.proposed(scorer, customer)
    proposal = answer.proposal
    assert proposal
    after = customer | {one["feature"]: one["to"] for one in proposal["changes"]}
    assert proposal["churn_probability"] == answer.after == scorer.predict([after])[0].churn_probability
    assert proposal["risk"] == scorer.predict([after])[0].risk != "high"
    assert answer.before == scorer.predict([customer])[0].churn_probability >= 0.6
    assert proposal["cost"] == pytest.approx(sum(one["cost"] for one in proposal["changes"]))
    for one, alone in zip(proposal["changes"], answer.each, strict=True):
        assert one["from"] == alone["from"] == customer[one["feature"]]
        changed = scorer.predict([customer | {one["feature"]: one["to"]}])[0]
        assert alone["churn_probability"] == changed.churn_probability


def test_why_there_is_no_proposal(tmp_path: Path) -> None:
    contract = contracts.parse(PLAIN)
    scorer = scorer_of(contract, tmp_path)
    people = rows(300, seed=7)
    calm = next(one for one in people if scorer.predict([one])[0].risk != "high")
    answer = whatif.proposed(scorer, calm)
    assert (answer.proposal, answer.after, answer.reason) == (None, None, "the customer is not in the high band")
    features = {name: {k: v for k, v in one.items() if k not in ("actionable", "change_cost")}
                for name, one in PLAIN["features"].items()}  # fmt: skip
    fixed = scorer_of(contracts.parse(PLAIN | {"features": features}))
    restless = next(one for one in people if fixed.predict([one])[0].risk == "high")
    assert whatif.proposed(fixed, restless).reason == "the contract calls no column actionable"
    certain = scorer_of(contract, tmp_path)
    certain.source.probabilities = lambda encoded: np.full(len(encoded), 0.99)  # type: ignore[method-assign]
    assert whatif.proposed(certain, restless).reason == "no set of up to 3 actionable changes leaves the high band"


def test_without_a_history_no_number_is_proposed_and_all_else_is() -> None:
    options = Options(scorer_of(contracts.parse(PLAIN)), rows(1)[0])
    assert {one.column for one in options.all} == {"net", "guard", "film", "paper"}


def test_numbers_are_round_within_what_was_seen_and_never_raise_the_price(tmp_path: Path) -> None:
    scorer = scorer_of(contracts.parse(PLAIN), tmp_path)
    history = rows(200)
    for customer in rows(20, seed=3):
        offered = Options(scorer, customer).all
        fees = [one for one in offered if one.column == "fee"]
        assert all(min(row["fee"] for row in history) <= one.value < customer["fee"] for one in fees)
        assert all(one.cost == pytest.approx(0.5 * (customer["fee"] - one.value)) for one in fees)
        assert all(one.value % 5 == 0 for one in fees)
        visits = [one.value for one in offered if one.column == "visits"]
        assert all(type(value) is int and value != customer["visits"] for value in visits)
        assert bool(visits) == (customer["visits"] is not None)


def test_the_search_ends_in_time_and_says_that_it_is_not_complete(tmp_path: Path) -> None:
    scorer = scorer_of(contracts.parse(PLAIN), tmp_path)
    customer = next(one for one in rows(300, seed=7) if scorer.predict([one])[0].risk == "high")
    told = search(scorer, customer, Options(scorer, customer), seconds=-1)
    assert len(told.changes) <= 1  # single changes are always tried
    assert not told.complete


def test_of_equally_dear_changes_the_one_that_helps_most_is_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("churn.change_search._FIRST", 1)
    features = {f"c{i}": {"type": "category", "values": list("abcd"), "actionable": True} for i in range(5)}
    contract = contracts.parse(PLAIN | {"features": features, "monthly_value": None, "products": {}})
    found = 0
    for seed in range(10):
        scorer = Scorer(Logistic(contract, seed), contract, 0.2, ModelVersion("m", "1"))
        customer = dict.fromkeys(features, "a")
        options = Options(scorer, customer)
        alone = [scorer.predict([customer | {one.column: one.value}])[0].churn_probability for one in options.all]
        told = search(scorer, customer, options, seconds=60)
        if scorer.predict([customer])[0].risk == "high" and min(alone) < 0.6:
            assert told.changes == [options.all[int(np.argmin(alone))]]
            found += 1
    assert found >= 3


def test_with_many_columns_the_search_stays_small() -> None:
    features = {f"c{i}": {"type": "category", "values": list("abcd"), "actionable": True} for i in range(60)}
    quiet = PLAIN | {"features": features, "monthly_value": None, "products": {}}
    contract = contracts.parse(quiet)
    scorer = Scorer(Logistic(contract, 0), contract, 0.2, ModelVersion("m", "1"))
    high = [
        dict(zip(features, letters, strict=True))
        for letters in np.random.default_rng(0).choice(list("abcd"), (200, 60))
    ]
    customer = next(one for one in high if scorer.predict([one])[0].churn_probability >= 0.6)
    told = search(scorer, customer, Options(scorer, customer), seconds=60)
    assert not told.complete
    assert told.changes
    assert sum(one.cost for one in told.changes) == len(told.changes)  # nothing said: each change is 1


class Columns:
    """A probability of 0.9, less what the values of two categories take away, by their codes."""

    def __init__(self, *less: dict[int, float]) -> None:
        self.less = less

    def probabilities(self, encoded: Encoded) -> np.ndarray:
        found = np.full(len(encoded), 0.9)
        for less, codes in zip(self.less, encoded.codes.T, strict=True):
            found -= [less.get(code, 0.0) for code in codes.tolist()]
        return found

    features = probabilities


def test_a_category_of_thousands_of_values_is_searched_in_time_and_twice_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []
    places = change_search._places.__wrapped__
    monkeypatch.setattr(change_search, "_places", lambda count, size: built.append(count) or places(count, size))
    wide = {"type": "category", "values": [f"v{i}" for i in range(2_000)], "actionable": True}
    few = {"type": "category", "values": ["a", "b"], "actionable": True}
    contract = contracts.parse(PLAIN | {"features": {"w": wide, "x": few}, "monthly_value": None, "products": {}})
    told = {}
    for kind, less in {"one": ({1_999: 0.5}, {}), "two": ({1_999: 0.2}, {1: 0.2}), "none": ({}, {})}.items():
        scorer = Scorer(Columns(*less), contract, 0.2, ModelVersion("m", "1"))
        customer = {"w": "v0", "x": "a"}
        options = Options(scorer, customer)
        began = time.process_time()
        told[kind] = [search(scorer, customer, options, seconds=60) for _ in range(2)]
        assert time.process_time() - began < 2 * 0.5  # 0.1 on a quiet machine
        assert search(scorer, customer, options, seconds=-1).changes == (
            told["one"][0].changes if kind == "one" else []
        )
    assert all(first == second and not first.complete for first, second in told.values())
    assert {kind: [one.value for one in found[0].changes] for kind, found in told.items()} == {
        "one": ["v1999"],
        "two": ["v1999", "b"],
        "none": [],
    }
    assert max(built) <= 200


# --- changes that are given


def refused(scorer: Scorer, customer: dict[str, Any], changes: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(InvalidData) as refusal:
        whatif.changed(scorer, customer, changes)
    return {fault.field: fault.message for fault in refusal.value.faults}


CUSTOMER = {"years": 3, "net": "fast", "guard": "no", "film": "yes", "paper": True, "visits": 4, "fee": 65.0}


def test_given_changes_are_scored_alone_and_together(tmp_path: Path) -> None:
    scorer = scorer_of(contracts.parse(PLAIN), tmp_path)
    answer = whatif.changed(scorer, CUSTOMER, {"guard": "yes", "fee": 60})
    assert answer.before == scorer.predict([CUSTOMER])[0].churn_probability
    assert answer.after == scorer.predict([CUSTOMER | {"guard": "yes", "fee": 60.0}])[0].churn_probability
    assert [(one["feature"], one["from"], one["to"]) for one in answer.each] == [
        ("guard", "no", "yes"),
        ("fee", 65, 60),
    ]
    for one in answer.each:
        alone = scorer.predict([CUSTOMER | {one["feature"]: one["to"]}])[0]
        assert one["churn_probability"] == alone.churn_probability
    assert (answer.proposal, answer.reason, answer.warnings) == (None, "", [])


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"years": 9}, "changes.years", "does not call this actionable; what may be changed: net, guard, film, paper"),
        ({"colour": "red"}, "changes.colour", "no such column; what may be changed: net"),
        ({"left": 0}, "changes.left", "no such column"),
        ({"net": "slower"}, "changes.net", "expected one of 'none', 'slow', 'fast'"),
        ({"net": None}, "changes.net", "expected one of"),
        ({"visits": None}, "changes.visits", "expected a whole number from 0 to 9"),
        ({"visits": 10}, "changes.visits", "expected a whole number from 0 to 9"),
        ({"visits": 1.5}, "changes.visits", "expected a whole number"),
        ({"paper": 1}, "changes.paper", "expected true or false"),
        ({"fee": [1]}, "changes.fee", "expected a number from 0 to 100"),
        ({"net": "slow"}, "changes.net", "film (film) requires net 'fast', not 'slow'"),
        ({"net": "none", "film": "no"}, None, ""),
        ({"net": "slow", "guard": "yes"}, "changes.net", "film (film) requires net 'fast'"),
        ({"guard": "no net"}, "changes.guard", "film (film) requires guard 'yes' or 'no', not 'no net'"),
    ],
)
def test_a_change_that_may_not_be_is_refused_by_name(changes: dict, field: str | None, said: str) -> None:
    scorer = scorer_of(contracts.parse(PLAIN))
    if field is None:
        whatif.changed(scorer, CUSTOMER, changes)
        return
    assert said in refused(scorer, CUSTOMER, changes)[field]


def test_every_fault_of_the_changes_is_told() -> None:
    assert (
        len(refused(scorer_of(contracts.parse(PLAIN)), CUSTOMER, {"years": 1, "net": 3, "fee": -1, "paper": False}))
        == 3
    )


def test_what_the_customer_breaks_already_is_not_held_against_a_change() -> None:
    odd = CUSTOMER | {"net": "slow"}  # a film without a fast net
    assert whatif.changed(scorer_of(contracts.parse(PLAIN)), odd, {"paper": False}).after is not None


def test_a_change_to_what_nobody_has_seen_is_warned_of(tmp_path: Path) -> None:
    scorer = scorer_of(contracts.parse(PLAIN), tmp_path)
    (warning, *more) = whatif.changed(scorer, CUSTOMER, {"guard": "no net", "film": "no"}).warnings
    assert warning == "guard = no net beside net = fast, and none of the rows that the version was trained on was so"
    assert [one.partition(",")[0] for one in more] == [
        "guard = no net beside fee = 65",
        "guard = no net beside film = no",
    ]
    assert whatif.changed(scorer, CUSTOMER, {"net": "fast"}).warnings == []  # no change at all
    assert whatif.changed(scorer_of(contracts.parse(PLAIN)), CUSTOMER, {"guard": "no net", "film": "no"}).warnings == []


# --- what was seen together


def test_what_was_seen_together_is_what_the_rows_show(tmp_path: Path) -> None:
    contract = contracts.parse(PLAIN)
    history = rows(150)
    scorer = scorer_of(contract, tmp_path)
    history = rows(200)
    options = Options(scorer, CUSTOMER)
    names = [name for name, column in contract.features.items() if not column.is_numeric]
    for one, two in combinations(names, 2):
        pairs = product(options_of(contract, one), options_of(contract, two))
        for first, second in pairs:
            clash = options.clashes([Option(one, first, 0), Option(two, second, 0)])[1][0, 1]
            seen = any(row[one] == first and row[two] == second for row in history)
            if not contract.products.get(one) and not contract.products.get(two):
                assert clash == (not seen)
            assert seen <= (not clash)
    spread = scorer.seen.spreads if scorer.seen else {}
    fees = sorted(row["fee"] for row in history)
    assert fees[0] <= spread["fee"][0] < spread["fee"][-1] <= fees[-1]


def options_of(contract: Contract, name: str) -> list[Any]:
    column = contract.features[name]
    return [False, True] if column.type == "boolean" else list(column.values)


def test_a_number_that_is_always_missing_and_a_value_that_never_occurs(tmp_path: Path) -> None:
    contract = contracts.parse(PLAIN)
    history = [one | {"visits": None} for one in rows(100) if one["net"] != "slow"]
    seen_together.write(tmp_path / seen_together.FILE, contract, Encoder(contract).customers(history))
    known = seen_together.load(tmp_path, contract)
    assert known is not None
    assert "visits" not in known.spreads
    slow = known.places.starts[0] + 1
    assert not known.together[slow].any()
    assert not known.between(slow, 2, 30.0)
    assert known.between(slow, 2, math.nan)


def test_the_file_of_another_contract_or_a_broken_one_is_refused(tmp_path: Path) -> None:
    contract = contracts.parse(PLAIN)
    path = tmp_path / seen_together.FILE
    assert seen_together.load(tmp_path, contract) is None
    seen_together.write(path, contract, Encoder(contract).customers(rows(50)))
    wider = contracts.parse(PLAIN | {"features": PLAIN["features"] | {"more": {"type": "boolean"}}})
    with pytest.raises(ValueError, match="other columns"):
        seen_together.load(tmp_path, wider)
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **(arrays | {"low": arrays["low"][:3]}))
    with pytest.raises(ValueError, match=r"low is of type float64 and shape"):
        seen_together.load(tmp_path, contract)


@pytest.mark.parametrize("name", ["low", "high", "spread"])
def test_a_number_that_no_contract_allows_is_refused(name: str, tmp_path: Path) -> None:
    contract = contracts.parse(PLAIN)
    path = tmp_path / seen_together.FILE
    seen_together.write(path, contract, Encoder(contract).customers(rows(50)))
    with np.load(path) as file:
        arrays = dict(file)
    arrays[name][0, 0] = math.inf
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=f"{name} holds a number beyond 1e"):
        seen_together.load(tmp_path, contract)


@pytest.mark.parametrize(("low", "high"), [(-math.inf, math.inf), (-1e307, -1e307 / 2), (-1e308, 1e308)])
def test_a_spread_beyond_all_steps_offers_no_number(low: float, high: float, tmp_path: Path) -> None:
    scorer = scorer_of(contracts.parse(PLAIN), tmp_path)
    assert scorer.seen is not None
    scorer.seen.spread[-1] = np.linspace(low, high, 19) if math.isfinite(high - low) else [low] * 9 + [high] * 10
    offered = Options(scorer, rows(1)[0]).all
    assert "visits" in {one.column for one in offered}
    assert "fee" not in {one.column for one in offered}


def test_what_would_not_be_read_again_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contract = contracts.parse(PLAIN)
    path, seen = tmp_path / seen_together.FILE, Encoder(contract).customers(rows(9))
    assert seen_together.write(path, contract, seen)
    with zipfile.ZipFile(path) as file:
        size = sum(part.file_size for part in file.infolist())
    path.unlink()
    monkeypatch.setattr(seen_together, "_LARGEST_FILE", size - 1)
    assert seen_together.write(path, contract, seen) is None
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(seen_together, "_LARGEST_FILE", size + seen_together._HEADERS)
    assert seen_together.write(path, contract, seen)
    assert seen_together.load(tmp_path, contract)


def test_too_many_values_leave_the_file_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contract = contracts.parse(PLAIN)
    monkeypatch.setattr(seen_together, "LARGEST", 5)
    assert seen_together.write(tmp_path / seen_together.FILE, contract, Encoder(contract).customers(rows(9))) is None
    assert list(tmp_path.iterdir()) == []
