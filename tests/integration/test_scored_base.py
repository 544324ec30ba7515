"""The customer base scored into the store: who is in it, with which score, and that it is whole or not there."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from churn import advice_jobs, base_scoring, portfolio, scoring_runs, splits
from churn import contract as contracts
from churn.cli import main
from churn.customer_scores import CustomerScores, Row, Run
from churn.data import read_rows, validate
from churn.errors import InvalidData, NoChampion, NotReady, Refused, UnreadableFile
from churn.held_out import FILE, HeldOut, keys
from churn.kinds import RECOMMENDER
from churn.settings import Settings
from churn.store import Store
from tests.conftest import ROOT

TELCO = ROOT / "data/telco"
SHIPPED, STAYED = 7_043, 5_174


def with_database(settings: Settings, folder: Path, **changes: object) -> Settings:
    """The settings of the session's registry, with a store of one's own."""
    return settings.model_copy(update={"database_url": f"sqlite:///{folder / 'own.db'}", **changes})


@pytest.fixture(scope="module")
def base(settings: Settings, champion, recommender_champion, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The settings of a store that holds one scoring of the shipped customers."""
    own = with_database(settings, tmp_path_factory.mktemp("base"))
    assert list(portfolio.score_base(own, "first")) == [SHIPPED]
    return own


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set of its own, the first 600 shipped rows."""
    shutil.copy(TELCO / "contract.yaml", tmp_path)
    lines = (TELCO / "customers.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "customers.csv").write_text("".join(lines[:601]), encoding="utf-8")
    return tmp_path


@pytest.fixture
def small(settings: Settings, champion, recommender_champion, folder: Path) -> Settings:
    """The settings of that data set, with an empty store."""
    return with_database(settings, folder, contract=folder / "contract.yaml")


def all_of(settings: Settings) -> tuple[Run, dict[str, Row]]:
    store = Store(settings)
    scores = CustomerScores(store)
    run = scores.shown()
    rows = {row.customer_id: row for part in scores.rows(run.id, chunk=1_000) for row in part}
    store.close()
    return run, rows


def edit(folder: Path, row: int, **cells: str) -> str:
    """Change some cells of a row of the file; returns the customer's id."""
    path = folder / "customers.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    names, values = lines[0].split(","), lines[row + 1].split(",")
    for name, cell in cells.items():
        values[names.index(name)] = cell
    lines[row + 1] = ",".join(values)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return values[0]


def stays(folder: Path) -> list[int]:
    """The places of rows whose customers have not left."""
    lines = (folder / "customers.csv").read_text(encoding="utf-8").splitlines()
    return [place for place, line in enumerate(lines[1:]) if line.endswith(",No")]


# --- who is in it, and with which score


def test_who_has_left_is_counted_and_not_listed(base: Settings) -> None:
    run, rows = all_of(base)
    assert (run.customers, run.left, run.state, len(rows)) == (STAYED, SHIPPED - STAYED, "whole", STAYED)
    telco = read_rows(TELCO / "customers.csv", contracts.load(base.contract).rows.format)
    assert set(rows) == set(telco["customerID"][telco["Churn"] == "No"])


def test_training_rows_are_listed_with_what_was_said_while_they_were_held_out(base: Settings, champion, scorer) -> None:
    from churn.registry import Registry

    _, rows = all_of(base)
    contract = scorer.contract
    frame = validate(read_rows(TELCO / "customers.csv", contract.rows.format), contract)
    part = dict(zip(frame[contract.id], splits.assign(frame, contract), strict=True))
    assert {row.held_out for row in rows.values()} == {True, False}
    assert all(row.held_out == (part[name] == splits.PARTS.index("train")) for name, row in rows.items())
    own = dict(zip(frame[contract.id], scorer.probabilities(scorer.encoder.frame(frame)), strict=True))
    for name, row in rows.items():
        assert row.held_out or abs(row.probability - own[name]) < 1e-9
    moved = [abs(row.probability - own[name]) for name, row in rows.items() if row.held_out]
    assert 0.005 < float(np.mean(moved)) < 0.1
    held = HeldOut.read(Registry(base).run_file(champion.run_id, FILE, base.home / "fetched"))
    assert len(held.keys) > 5_000
    assert sum(row.held_out for row in rows.values()) < len(held.keys)


def test_a_row_gives_back_all_that_was_said(base: Settings, scorer) -> None:
    run, rows = all_of(base)
    contract = scorer.contract
    for row in list(rows.values())[:200]:
        values, faults = contract.read(dict(zip(run.columns, row.features, strict=True)))
        assert faults == []
        assert row.monthly_value == values[contract.monthly_value]
        assert row.revenue_at_risk == pytest.approx(row.probability * row.monthly_value * 12)
        assert row.risk == contract.band_of(row.probability)
        assert row.prediction == (row.probability >= scorer.threshold)
        assert (row.expected_profit > 0) == (row.prediction == 1)
        assert row.persona in scorer.personas.names
        assert 1 <= len(row.reasons) <= 3
        assert set(row.reasons[0]) == {"feature", "value", "contribution", "points", "text"}
        assert row.reasons[0]["value"] == values[row.reasons[0]["feature"]]


def test_a_row_has_what_churn_recommend_says(base: Settings, scorer, tmp_path: Path) -> None:
    run, rows = all_of(base)
    list(advice_jobs.recommend_file(base, TELCO / "customers.csv", tmp_path / "out.parquet"))
    told = pd.read_parquet(tmp_path / "out.parquet").set_index(scorer.contract.id)
    compared = 0
    for name, row in rows.items():
        assert row.control == told.loc[name, "recommendation_control"]
        assert all(one["item"] in run.facts["items"] for one in row.recommendations)
        # of a row that was held out, probability and band are others than the model's own
        if row.held_out:
            continue
        compared += 1
        items = [told.loc[name, f"recommendation_{place}"] for place in (1, 2, 3)]
        assert [one["item"] for one in row.recommendations] == [one for one in items if isinstance(one, str)]
        for place, one in enumerate(row.recommendations, start=1):
            assert one["score"] == pytest.approx(told.loc[name, f"recommendation_{place}_score"], abs=1e-6)
    assert compared > 800
    assert 0.04 < np.mean([row.control for row in rows.values()]) < 0.06


def test_who_has_changed_since_the_training_is_listed_with_the_models_own_score(small, folder, scorer) -> None:
    place = stays(folder)[0]
    name = edit(folder, place, MonthlyCharges="117.35")
    list(portfolio.score_base(small, "one"))
    run, rows = all_of(small)
    row = rows[name]
    assert not row.held_out
    said = scorer.predict([dict(zip(run.columns, row.features, strict=True))])[0]
    assert row.probability == pytest.approx(said.churn_probability, abs=1e-12)
    assert row.monthly_value == 117.35


def test_whose_newest_outcome_says_so_has_left(small: Settings, folder: Path) -> None:
    from datetime import UTC, datetime

    from churn.schema import outcomes

    list(portfolio.score_base(small, "before"))
    _, rows = all_of(small)
    left, back = list(rows)[:2]
    told = {"received": datetime(2026, 1, 9, tzinfo=UTC), "by": "a test"}
    store = Store(small)
    with store.write() as connection:
        for name, churned, day in ((left, False, 1), (left, True, 2), (back, True, 1), (back, False, 2)):
            at = datetime(2026, 1, day, tzinfo=UTC)
            connection.execute(outcomes.insert().values(customer_id=name, churned=churned, at=at, **told))
    store.close()
    list(portfolio.score_base(small, "after"))
    run, after = all_of(small)
    assert set(rows) - set(after) == {left}
    assert run.customers + run.left == 600


def test_a_file_of_customers_goes_before_the_training_rows(small: Settings, folder: Path) -> None:
    contract = folder / "contract.yaml"
    text = contract.read_text(encoding="utf-8")
    contract.write_text(text.replace("  training: customers.csv", "  training: t.csv\n  customers: customers.csv", 1))
    lines = [line.rpartition(",")[0] for line in (folder / "customers.csv").read_text(encoding="utf-8").splitlines()]
    (folder / "customers.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    list(portfolio.score_base(small, "one"))
    run, rows = all_of(small)
    assert (run.customers, run.left, len(rows)) == (600, 0, 600)  # without a target nobody has left


def test_of_a_version_that_explains_slowly_the_likeliest_to_leave_have_reasons(small: Settings, monkeypatch) -> None:
    monkeypatch.setattr(base_scoring, "is_quick", lambda _: False)
    monkeypatch.setattr(base_scoring, "FEW", 100)
    list(portfolio.score_base(small, "one"))
    run, rows = all_of(small)
    ordered = sorted(rows.values(), key=lambda row: -row.probability)
    size = -(-len(rows) // 10)
    assert all(row.reasons for row in ordered[:size])
    assert not any(row.reasons for row in ordered[size:])
    assert "explains slowly" in run.facts["notes"][0]
    monkeypatch.setattr(base_scoring, "FEW", 10_000)
    list(portfolio.score_base(small, "two"))
    run, rows = all_of(small)
    assert all(row.reasons for row in rows.values())
    assert run.facts["notes"] == []


# --- whole or not at all


def test_the_same_key_again_does_nothing(small: Settings) -> None:
    assert list(portfolio.score_base(small, "monday")) == [600]
    before = all_of(small)
    assert list(portfolio.score_base(small, "monday")) == []
    assert all_of(small) == before
    told = CliRunner().invoke(main, ["score-base", "--key", "monday"], env=environment(small)).output
    assert "the run 'monday' is whole already" in told


def environment(settings: Settings) -> dict[str, str]:
    return {
        "CHURN_HOME": str(settings.home),
        "CHURN_CONTRACT": str(settings.contract),
        "CHURN_DATABASE_URL": str(settings.database_url),
    }


def test_a_wrong_file_is_told_whole_and_changes_nothing(small: Settings, folder: Path) -> None:
    list(portfolio.score_base(small, "good"))
    before = all_of(small)
    edit(folder, 3, Contract="Monthly")
    edit(folder, 500, tenure="-4")
    with pytest.raises(InvalidData) as refusal:
        list(portfolio.score_base(small, "bad"))
    assert [(fault.row, fault.field) for fault in refusal.value.faults] == [(5, "Contract"), (502, "tenure")]
    assert all_of(small) == before
    assert states(small) == [("good", "whole")]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("customerID", "other", 1), "this column is missing"),
        (lambda text: text.replace("\nC00001,", f"\n{'C' * 251},", 1), "at most 250 characters"),
        (lambda text: text.replace("\nC00002,", "\nC00001,", 1), "stands twice"),
        (lambda text: text.split("\n")[0] + "\n", "no rows"),
    ],
)
def test_ids_that_the_store_cannot_keep_are_refused(small: Settings, folder: Path, change, said: str) -> None:
    path = folder / "customers.csv"
    changed = change(path.read_text(encoding="utf-8"))
    assert changed != path.read_text(encoding="utf-8")
    path.write_text(changed, encoding="utf-8")
    with pytest.raises(InvalidData) as refusal:
        list(portfolio.score_base(small, "bad"))
    assert said in refusal.value.report()
    assert states(small) == []


def states(settings: Settings) -> list[tuple[str, str]]:
    store = Store(settings)
    with store.read() as connection:
        found = connection.execute(sa.text("SELECT key, state FROM scoring_runs ORDER BY id")).all()
    store.close()
    return [tuple(one) for one in found]


def test_a_missing_file_and_a_missing_champion_are_told(small: Settings, folder: Path, tmp_path: Path) -> None:
    (folder / "customers.csv").unlink()
    with pytest.raises(UnreadableFile, match="No such file"):
        list(portfolio.score_base(small, "one"))
    empty = with_database(small, tmp_path, home=tmp_path / "empty", contract=TELCO / "contract.yaml")
    with pytest.raises(NoChampion):
        list(portfolio.score_base(empty, "one"))


def test_a_file_that_changes_while_it_is_read_is_not_taken(small: Settings, folder: Path) -> None:
    going = portfolio.score_base(small, "one")
    assert next(going) == 600
    with (folder / "customers.csv").open("a", encoding="utf-8") as handle:
        handle.write("\n")
    with pytest.raises(UnreadableFile, match="has changed while it was read"):
        next(going)
    assert states(small) == []


def test_of_two_at_once_the_second_is_refused(small: Settings) -> None:
    first = portfolio.score_base(small, "one")
    assert next(first) == 600
    with pytest.raises(Refused, match="another process is scoring"):
        next(portfolio.score_base(small, "two"))
    assert list(first) == []
    assert states(small) == [("one", "whole")]


def test_a_disk_that_fills_up_leaves_the_run_before(small: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    list(portfolio.score_base(small, "good"))
    before = all_of(small)
    insert = scoring_runs._insert

    def no_room(connection: sa.Connection, *arguments: object) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
        insert(connection, *arguments)

    monkeypatch.setattr(scoring_runs, "_insert", no_room)
    with pytest.raises(NotReady, match="full"):
        list(portfolio.score_base(small, "bad"))
    assert all_of(small) == before
    assert states(small) == [("good", "whole")]


KILLED = """
import sys, time
from churn import portfolio, scoring_runs, settings
add = scoring_runs.Writing.add
def slow(self, lines):
    add(self, lines)
    print("some are written", flush=True)
    time.sleep(600)
scoring_runs.Writing.add = slow
for _ in portfolio.score_base(settings.load(), "killed"):
    pass
"""


def test_a_killed_process_leaves_the_run_before_and_the_next_one_cleans_up(small: Settings) -> None:
    list(portfolio.score_base(small, "good"))
    before = all_of(small)
    environ = {**os.environ, **environment(small)}
    with subprocess.Popen([sys.executable, "-c", KILLED], env=environ, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"some are written\n"
        with pytest.raises(Refused):  # it lives, and so does its lease
            next(portfolio.score_base(small, "meanwhile"))
        process.send_signal(signal.SIGKILL)
    assert states(small) == [("good", "whole"), ("killed", "running")]
    assert written(small) > len(before[1])
    assert all_of(small) == before
    assert list(portfolio.score_base(small, "killed")) == [600]
    assert states(small) == [("good", "whole"), ("killed", "whole")]
    assert written(small) == 2 * len(before[1])


def written(settings: Settings) -> int:
    store = Store(settings)
    with store.read() as connection:
        found = connection.execute(sa.text("SELECT count(*) FROM customer_scores")).scalar_one()
    store.close()
    return int(found)


def test_the_scores_of_old_runs_go_and_what_they_add_up_to_stays(small: Settings) -> None:
    for key in "abcd":
        list(portfolio.score_base(small.model_copy(update={"scoring_runs": 2}), key))
    run, rows = all_of(small)
    assert states(small) == [("a", "past"), ("b", "past"), ("c", "whole"), ("d", "whole")]
    assert written(small) == 2 * len(rows)
    kept = portfolio.summary(small, 10)
    assert [one.run.key for one in kept] == list("dcba")
    for one in kept:
        sums = one.sums()
        assert (
            sums["customers"] == run.customers == sum(one.sums(risk=band)["customers"] for band in one.values("risk"))
        )
        assert sums["expected_churners"] == pytest.approx(sum(row.probability for row in rows.values()))
        assert sums["expected_profit"] == pytest.approx(sum(max(row.expected_profit, 0) for row in rows.values()))
    store = Store(small)
    with pytest.raises(NotReady, match="no scores of a run"):
        next(CustomerScores(store).rows(kept[-1].run.id))
    store.close()


def test_scores_that_are_removed_while_they_are_read_are_not_taken_for_all(small: Settings) -> None:
    list(portfolio.score_base(small, "one"))
    store = Store(small)
    reading = CustomerScores(store).rows(all_of(small)[0].id, chunk=100)
    next(reading)
    with store.write() as connection:
        connection.execute(sa.text("DELETE FROM customer_scores"))
    with pytest.raises(NotReady, match="were removed while they were read"):
        list(reading)
    store.close()


# --- when it is due, and the commands


def test_it_is_due_after_a_change_of_the_file_or_the_version(small: Settings, folder: Path, champion) -> None:
    due = portfolio.due(small)
    assert due is not None
    assert (due.version, due.model_run) == (champion.version, champion.run_id)
    list(portfolio.score_base(small, "one"))
    assert portfolio.due(small) is None
    edit(folder, 0, tenure="7")
    changed = portfolio.due(small)
    assert changed is not None
    assert changed.data_hash != due.data_hash
    list(portfolio.score_base(small, "two"))
    assert portfolio.due(small) is None
    store = Store(small)
    with store.write() as connection:
        connection.execute(sa.text("UPDATE scoring_runs SET version = '0'"))
    store.close()
    assert portfolio.due(small) == changed


def test_it_is_due_after_a_change_of_the_recommender(small: Settings, recommender_champion, monkeypatch) -> None:
    due = portfolio.due(small)
    assert due is not None
    assert (due.recommender, due.recommender_run) == (recommender_champion.version, recommender_champion.run_id)
    list(portfolio.score_base(small, "one"))
    assert portfolio.due(small) is None
    gone = replace(RECOMMENDER, name="nobody-knows")
    monkeypatch.setattr(portfolio, "RECOMMENDER", gone)
    monkeypatch.setattr(advice_jobs, "RECOMMENDER", gone)
    assert portfolio.due(small) == replace(due, recommender="", recommender_run="")
    list(portfolio.score_base(small, "two"))
    run, rows = all_of(small)
    assert not any(row.recommendations or row.control for row in rows.values())
    assert [note.partition(":")[0] for note in run.facts["notes"]] == ["nothing is recommended"]
    assert portfolio.due(small) is None


def test_without_a_champion_nothing_is_due(tmp_path: Path, settings: Settings) -> None:
    assert portfolio.due(with_database(settings, tmp_path, home=tmp_path / "empty")) is None


def test_the_commands_score_and_sum_up(small: Settings) -> None:
    def run(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(main, arguments, env=environment(small), catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done.output

    assert "has not been scored yet: `churn score-base` does so" in run("portfolio", code=1)
    told = run("score-base")
    rows = all_of(small)[1]
    assert f"{len(rows):,} customers, {600 - len(rows)} more have left" in told
    assert "USD at risk in 12 months" in told
    run("score-base")
    assert "before:" in run("portfolio")
    (newest, _) = json.loads(run("portfolio", "--json"))
    assert newest["customers"] == len(rows) == sum(cell["customers"] for cell in newest["cells"])


# --- keys of rows


def test_keys_are_the_same_in_every_process_and_differ_by_every_part(scorer, customers) -> None:
    some = scorer.encoder.customers(customers[:50])
    ids = [customer[scorer.contract.id] for customer in customers[:50]]
    found = keys(some, ids)
    assert len(set(found)) == 50
    assert list(keys(scorer.encoder.customers(customers[:1]), [f" {ids[0]} "])) == [found[0]]
    assert not set(found) & set(keys(some))
    for number in range(len(scorer.contract.features)):
        place = number - some.numbers.shape[1]
        changed = scorer.encoder.customers(customers[:50])
        if place < 0:
            changed.numbers[:, number] += 1
        else:
            changed.codes[:, place] += 1
        assert not set(found) & set(keys(changed, ids)), number


def test_a_key_is_what_it_was_in_the_versions_before() -> None:
    """A change of it would have every version's training rows listed with scores that know them."""
    from churn.encoding import Encoded

    rows = Encoded(np.array([[1.5, np.nan], [-0.0, 3.0]]), np.array([[0, 2], [-1, 1]]))
    assert [hex(key) for key in keys(rows, ["C1", "C2"])] == PINNED
    assert [hex(key) for key in keys(rows)] == PINNED_WITHOUT_IDS


PINNED = ["0xe0e22d65dee69011", "0xdabd528c65f14c4d"]
PINNED_WITHOUT_IDS = ["0xacaa55fce9acd06b", "0x66412f82bccfeb54"]


def test_a_broken_file_of_held_out_scores_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(UnreadableFile, match=FILE):
        HeldOut.read(tmp_path / FILE)
