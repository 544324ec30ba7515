"""Who left and who stayed: told over HTTP or in a file, joined with scores, and with the next training."""

import json
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from churn import contract as contracts
from churn import jobs, preparation, truth
from churn.cli import main
from churn.errors import InvalidData, NotReady, Refused, Unavailable
from churn.keys import Keys
from churn.outcomes import Outcome, Piece, record
from churn.schema import customer_scores, scoring_runs
from churn.settings import Settings, load
from churn.store import Store
from tests.conftest import ROOT

FIRST, SECOND = datetime(2026, 1, 10, 4, 30, tzinfo=UTC), datetime(2026, 2, 10, 4, 30, tzinfo=UTC)
BETWEEN = datetime(2026, 1, 20, 12, tzinfo=UTC)
CONTRACT = contracts.load(ROOT / "data/telco/contract.yaml")
MORE = ("new-1", "new-2")
"""Customers who are not among the training rows."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a home with nothing in it."""
    return load().model_copy(update={"home": tmp_path / "home"})


@pytest.fixture
def store(settings: Settings) -> Store:
    return Store(settings)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    from churn.data import read_rows, validate

    return validate(read_rows(ROOT / "data/telco/customers.csv", CONTRACT.rows.format), CONTRACT)


@pytest.fixture
def scored(store: Store, rows: pd.DataFrame) -> list[str]:
    """Two scorings of twenty customers and two more, a month apart: 0.2, and then 0.7. In the first of
    them each was a month younger than in the training rows. Returns their ids."""
    name = next(name for name, column in CONTRACT.features.items() if column.type == "integer")
    stayed = rows[(rows[CONTRACT.target.column] == 0) & (rows[name] > 0)].head(20)
    ids = [*stayed[CONTRACT.id], *MORE]
    plain = json.loads(stayed[list(CONTRACT.features)].to_json(orient="records"))
    people = [*plain, *plain[: len(MORE)]]
    for number, (at, probability) in enumerate([(FIRST, 0.2), (SECOND, 0.7)], start=1):
        features = [{**person, name: person[name] - 2 + number} for person in people]
        _write(store, number, at, probability, ids, features)
    return ids


def _write(store: Store, number: int, at: datetime, probability: float, ids: list[str], people: list[Any]) -> None:
    run = {"id": number, "key": f"run-{number}", "state": "whole", "started": at - timedelta(minutes=1), "ended": at}
    run |= {"model": "churn-classifier", "version": str(number), "source": "", "data_hash": "", "model_run": ""}
    run |= {"customers": len(ids), "left": 0, "facts": json.dumps({"columns": list(CONTRACT.features)})}
    scores = {"run_id": number, "probability": probability, "prediction": 0, "risk": "low", "held_out": False}
    scores |= {"reasons": "[]", "revenue_at_risk": 0.0, "expected_profit": 0.0}
    with store.write() as connection:
        connection.execute(scoring_runs.insert(), [run])
        written = [
            {**scores, "customer_id": one, "features": json.dumps(list(person.values()))}
            for one, person in zip(ids, people, strict=True)
        ]
        connection.execute(customer_scores.insert(), written)


def tell(store: Store, *outcomes: Outcome, **how: Any) -> tuple[int, int, int]:
    done = record(store, [(outcomes, [])], CONTRACT, by="ann", **how)
    return done.new, done.known, done.unscored


def test_an_outcome_is_joined_with_the_last_score_before_it(store: Store, scored: list[str]) -> None:
    one, two, three, *_ = scored
    later = datetime(2026, 3, 1, tzinfo=UTC)
    told = (
        Outcome(0, one, True, BETWEEN),
        Outcome(1, two, False, later),
        Outcome(2, three, True, FIRST - timedelta(1)),
    )
    assert tell(store, *told) == (3, 0, 1)
    found = {kept.customer_id: kept for kept in truth.newest(store)}
    assert (found[one].probability, found[one].version, found[one].scored) == (0.2, "1", FIRST)
    assert (found[two].probability, found[two].version) == (0.7, "2")
    assert (found[three].scored, found[three].probability, found[three].features) == (None, None, None)
    assert set(found[one].features or {}) == set(CONTRACT.features)


def test_a_day_without_an_hour_includes_the_scoring_of_that_day(store: Store, scored: list[str]) -> None:
    tell(store, Outcome(0, scored[0], True, datetime(2026, 2, 10, tzinfo=UTC), day=True))
    assert next(truth.newest(store)).probability == 0.7


def test_the_joined_customer_stays_when_the_scores_are_removed(store: Store, scored: list[str]) -> None:
    tell(store, Outcome(0, scored[0], True, BETWEEN))
    with store.write() as connection:
        connection.execute(scoring_runs.delete())
    assert next(truth.newest(store)).features is not None


def test_what_is_told_twice_is_kept_once(store: Store, scored: list[str]) -> None:
    dated, now = Outcome(0, scored[0], True, BETWEEN), Outcome(1, scored[1], True, None)
    assert tell(store, dated, now) == (2, 0, 0)
    assert tell(store, dated, now) == (0, 2, 0)
    assert tell(store, dated, dated) == (0, 2, 0)
    assert truth.summary(store)["outcomes"] == 2


def test_a_contradiction_is_refused_and_a_later_outcome_corrects(store: Store, scored: list[str]) -> None:
    tell(store, Outcome(0, scored[0], True, BETWEEN))
    with pytest.raises(InvalidData, match="1 fault") as refused:
        tell(store, Outcome(4, scored[0], False, BETWEEN))
    assert "recorded of 2026-01-20T12:00:00+00:00 that this customer left" in str(refused.value.faults[0])
    assert tell(store, Outcome(0, scored[0], False, BETWEEN + timedelta(days=1))) == (1, 0, 0)
    assert [kept.churned for kept in truth.newest(store)] == [False]


def test_who_is_unknown_is_named_and_nothing_is_kept(store: Store, scored: list[str]) -> None:
    with pytest.raises(InvalidData) as refused:
        tell(store, Outcome(0, scored[0], True, None), Outcome(1, "nobody", True, None))
    (fault,) = refused.value.faults
    assert (fault.row, fault.value) == (1, "nobody")
    assert truth.summary(store)["outcomes"] == 0


def test_a_dry_run_keeps_nothing(store: Store, scored: list[str]) -> None:
    assert tell(store, Outcome(0, scored[0], True, None), dry_run=True) == (1, 0, 0)
    assert truth.summary(store) == {
        "outcomes": 0, "customers": 0, "churned": 0, "unscored": 0, "first": None, "last": None, "received": None,
    }  # fmt: skip


def test_while_a_file_is_read_others_write(settings: Settings, store: Store, scored: list[str], monkeypatch) -> None:
    monkeypatch.setattr("churn.database.LOCK_SECONDS", 0.2)
    other = Store(settings)

    def pieces() -> Iterator[Piece]:
        yield [Outcome(0, scored[0], True, BETWEEN)], []
        assert Keys(other).make("crm", "read", by="ann")
        yield [Outcome(1, scored[1], True, BETWEEN)], []

    assert record(store, pieces(), CONTRACT, by="ann").new == 2
    other.close()


def test_without_scores_or_ids_nothing_can_be_joined(store: Store) -> None:
    with pytest.raises(NotReady, match="has not been scored yet"):
        tell(store, Outcome(0, "C1", True, None))
    nameless = CONTRACT.model_copy(update={"id": None})
    with pytest.raises(Refused, match="names no id"):
        record(store, [([Outcome(0, "C1", True, None)], [])], nameless, by="ann")


# --- in a training


def test_outcomes_join_the_next_training(
    settings: Settings, store: Store, scored: list[str], rows: pd.DataFrame
) -> None:
    before = preparation.load(jobs.prepare(settings, "before"))
    fingerprint = jobs.fingerprint(settings)
    one, two, *_ = scored
    told = [
        Outcome(0, one, True, BETWEEN),
        Outcome(1, MORE[0], True, BETWEEN),
        Outcome(2, two, True, FIRST - timedelta(1)),
    ]
    tell(store, *told)
    after = preparation.load(jobs.prepare(settings, "after"))
    by_id = after.frame.set_index(CONTRACT.id)
    assert len(after.frame) == len(before.frame) + 1 == len(rows) + 1
    assert after.frame.dtypes.to_dict() == before.frame.dtypes.to_dict()
    assert list(by_id.loc[[one, two, MORE[0]], CONTRACT.target.column]) == [1, 0, 1]
    name = next(name for name, column in CONTRACT.features.items() if column.type == "integer")
    was = rows.set_index(CONTRACT.id).loc[one]
    assert by_id.loc[one, name] == was[name] - 1  # as he was scored before it, not as the file has him now
    assert after.origin["outcomes"] == "2"
    assert after.origin["data_hash"] == before.origin["data_hash"]
    assert "outcomes" not in before.origin
    assert jobs.fingerprint(settings) == after.origin["fingerprint"] == fingerprint
    again = preparation.load(jobs.prepare(settings, "again"))
    assert again.origin == after.origin
    pd.testing.assert_frame_equal(again.frame, after.frame)


def test_outcomes_join_in_pieces_as_they_would_at_once(
    settings: Settings, store: Store, scored: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(store, *(Outcome(n, one, bool(n % 3), BETWEEN) for n, one in enumerate(scored)))
    at_once = preparation.load(jobs.prepare(settings, "at-once"))
    monkeypatch.setattr(truth, "_PIECE", 4)
    pieces = preparation.load(jobs.prepare(settings, "pieces"))
    pd.testing.assert_frame_equal(pieces.frame, at_once.frame)
    assert pieces.origin == at_once.origin
    assert pieces.origin["outcomes"] == str(len(scored))


def test_a_look_keeps_no_customers_and_counts_what_can_be_learned_from(store: Store, scored: list[str]) -> None:
    later = SECOND + timedelta(1)
    tell(store, Outcome(0, scored[0], False, BETWEEN), Outcome(1, scored[1], True, BETWEEN))
    assert truth.known(store, CONTRACT) == truth.Known(
        [truth.Proved(False, 0.2, "churn-classifier", "1"), truth.Proved(True, 0.2, "churn-classifier", "1")], 2
    )
    tell(store, Outcome(0, scored[0], True, later), Outcome(1, scored[2], True, FIRST - timedelta(1)))
    found = truth.known(store, CONTRACT)
    assert found.joinable == 3  # a second one of the same customer; the unscored one cannot be learned from
    assert sorted(found.proved)[-1] == truth.Proved(True, 0.7, "churn-classifier", "2")
    assert len(found.proved) == 2
    other = CONTRACT.model_copy(update={"features": dict(list(CONTRACT.features.items())[1:])})
    assert truth.known(store, other).joinable == 0


def test_a_look_reads_many_outcomes_in_little_memory(store: Store, scored: list[str]) -> None:
    from churn.schema import outcomes

    tell(store, Outcome(0, scored[0], True, BETWEEN))
    with store.write() as connection:
        row = dict(connection.execute(outcomes.select()).one()._mapping)
        del row["id"]
        connection.execute(outcomes.insert(), [{**row, "customer_id": f"C{n}"} for n in range(20_000)])
    truth.known(store, CONTRACT)  # what is loaded once
    tracemalloc.start()
    found = truth.known(store, CONTRACT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found.proved) == found.joinable == 20_001
    assert peak < 10e6  # their features alone would take 30 MB


def test_the_last_outcome_of_a_customer_counts(settings: Settings, store: Store, scored: list[str]) -> None:
    tell(store, Outcome(0, MORE[0], False, BETWEEN), Outcome(1, MORE[0], True, SECOND + timedelta(1)))
    found = preparation.load(jobs.prepare(settings, "run")).frame.set_index(CONTRACT.id).loc[MORE[0]]
    assert found[CONTRACT.target.column] == 1


def test_a_customer_of_another_contract_joins_no_training(
    settings: Settings, store: Store, scored: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    tell(store, Outcome(0, scored[0], True, BETWEEN))
    from churn.schema import outcomes

    with store.write() as connection:
        connection.execute(outcomes.update().values(features='{"colour": "red"}'))
    assert "outcomes" not in preparation.load(jobs.prepare(settings, "run")).origin
    assert "1 outcomes join no training" in caplog.text


def test_a_file_that_somebody_names_is_trained_on_as_it_is(settings: Settings, store: Store, scored: list[str]) -> None:
    tell(store, Outcome(0, scored[0], True, BETWEEN))
    folder = jobs.prepare(settings, "run", ROOT / "data/telco/customers.csv")
    assert "outcomes" not in preparation.load(folder).origin


def test_a_training_makes_no_store_to_look_for_outcomes(settings: Settings) -> None:
    jobs.prepare(settings, "run")
    assert not (settings.home / "churn.db").exists()


def test_a_training_does_not_go_on_without_the_store(settings: Settings) -> None:
    away = settings.model_copy(update={"database_url": "postgresql://churn@127.0.0.1:9/churn"})
    with pytest.raises(Unavailable, match="does not answer"):
        jobs.prepare(away, "run")


# --- over HTTP


@pytest.fixture
def post(settings: Settings, store: Store, scored: list[str]) -> Callable[[Any], Any]:
    """Posts to ``/outcomes`` of an API over this store, in which no version serves yet."""
    from api.app import create_app
    from api.keeper import Keeper
    from api.serving import Serving

    client = create_app(settings, serving=Serving(settings), keeper=Keeper(settings)).test_client()

    def call(body: Any) -> Any:
        return client.post("/outcomes", json=body)

    call.client = client  # type: ignore[attr-defined]
    return call


def test_one_outcome_and_many_over_http(post: Any, scored: list[str]) -> None:
    one = {"customer_id": scored[0], "churned": True, "at": "2026-01-20"}
    reply = post(one)
    assert (reply.status_code, reply.get_json()) == (201, {"new": 1, "known": 0, "unscored": 0})
    reply = post({"outcomes": [one, {"customer_id": scored[1], "churned": False}]})
    assert (reply.status_code, reply.get_json()) == (201, {"new": 1, "known": 1, "unscored": 0})
    reply = post(one)
    assert (reply.status_code, reply.get_json()["known"]) == (200, 1)
    told = post.client.get("/outcomes").get_json()
    assert (told["outcomes"], told["customers"], told["churned"]) == (2, 2, 1)
    assert told["first"] == "2026-01-20T00:00:00+00:00"


@pytest.mark.parametrize(
    ("body", "row", "field"),
    [
        ([], None, ""),
        ({"outcomes": {}}, None, "outcomes"),
        ({"outcomes": []}, None, "outcomes"),
        ({"outcomes": [], "more": 1}, None, "more"),
        ({"outcomes": [7]}, 0, ""),
        ({"churned": True}, 0, "customer_id"),
        ({"customer_id": True, "churned": True}, 0, "customer_id"),
        ({"customer_id": "  ", "churned": True}, 0, "customer_id"),
        ({"customer_id": "a\0b", "churned": True}, 0, "customer_id"),
        ({"customer_id": "new-1", "churned": 1}, 0, "churned"),
        ({"customer_id": "new-1", "churned": True, "at": "yesterday"}, 0, "at"),
        ({"customer_id": "new-1", "churned": True, "at": "2999-01-01"}, 0, "at"),
        ({"customer_id": "new-1", "churned": True, "at": 20260101}, 0, "at"),
        ({"customer_id": "new-1", "churned": True, "why": "price"}, 0, "why"),
        (
            {"outcomes": [{"customer_id": "new-1", "churned": True}, {"customer_id": 12, "churned": True}]},
            1,
            "customer_id",
        ),
    ],
)
def test_what_is_no_outcome_is_named_and_nothing_is_kept(post: Any, body: Any, row: int | None, field: str) -> None:
    reply = post(body)
    assert reply.status_code == 422
    assert [(fault["row"], fault["field"]) for fault in reply.get_json()["errors"]] == [(row, field)]
    assert post.client.get("/outcomes").get_json()["outcomes"] == 0


# --- in a file


@pytest.fixture
def churn(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    monkeypatch.setenv("CHURN_HOME", str(settings.home))

    def call(*arguments: object) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["outcomes", *map(str, arguments)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output

    return call


def test_a_csv_file_in_our_words(churn: Any, store: Store, scored: list[str], tmp_path: Path) -> None:
    path = tmp_path / "told.csv"
    path.write_text(f"at,customer_id,churned\n2026-01-20,{scored[0]},TRUE\n,{scored[1]},false\n", encoding="utf-8")
    assert churn(path, "--dry-run") == (0, f"{path}: 2 outcomes are new, 0 were known (nothing is kept: --dry-run)\n")
    assert churn(path) == (0, f"{path}: 2 outcomes are new, 0 were known\n")
    assert churn(path) == (0, f"{path}: 0 outcomes are new, 2 were known\n")
    assert truth.summary(store)["churned"] == 1


def test_a_parquet_file_in_the_contracts_words(churn: Any, store: Store, scored: list[str], tmp_path: Path) -> None:
    path = tmp_path / "told.parquet"
    says = {CONTRACT.id: scored[:3], CONTRACT.target.column: ["Yes", "No", "Yes"]}
    pd.DataFrame({**says, "at": [BETWEEN, pd.NaT, FIRST - timedelta(1)]}).to_parquet(path)
    assert churn(path) == (
        0,
        f"{path}: 3 outcomes are new, 0 were known; 1 of customers who were not scored before it\n",
    )
    found = {kept.customer_id: kept.churned for kept in truth.newest(store)}
    assert found == dict(zip(scored[:3], [True, False, True], strict=True))


def test_every_fault_of_a_file_is_told_with_its_row(
    churn: Any, store: Store, scored: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "told.csv"
    lines = [f"{scored[0]},true,", ",true,", f"{scored[1]},maybe,", "nobody,true,", f"{scored[2]},true,2999-01-01"]
    path.write_text("customer_id,churned,at\n" + "\n".join(lines), encoding="utf-8")
    code, told = churn(path)
    assert code == 1
    faults = [line.strip() for line in told.splitlines()[1:]]
    assert faults == [
        "row 3, customer_id: blank; expected an id",
        "row 4, churned: 'maybe': expected true or false",
        "row 5, customer_id: 'nobody': in no scoring run that is kept: is the id right?",
        "row 6, at: '2999-01-01': lies in the future; expected what has happened",
    ]
    assert truth.summary(store)["outcomes"] == 0


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_an_id_that_no_database_holds_is_a_fault(churn: Any, scored: list[str], tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"told.{ending}"
    rows = pd.DataFrame({"customer_id": [scored[0], "C\0"], "churned": ["true", "true"]})
    rows.to_csv(path, index=False) if ending == "csv" else rows.to_parquet(path)
    code, told = churn(path)
    assert code == 1
    assert "row 3, customer_id: 'C\\x00': expected an id without NUL" in told


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("customer_id,churned\n", "a header and no rows"),
        ("customer_id,at\nC1,\n", "churned: this column is missing; 'Churn' would do as well"),
        ("who,churned\nC1,true\n", "customer_id: this column is missing"),
        ("customer_id,customerID,churned\nC1,C1,true\n", "stands beside 'customerID'"),
    ],
)
def test_a_file_that_tells_of_nobody(churn: Any, scored: list[str], tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "told.csv"
    path.write_text(text, encoding="utf-8")
    code, told = churn(path)
    assert code == 1
    assert words in told
