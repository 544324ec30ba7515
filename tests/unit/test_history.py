"""What the changes that were kept, and the alias, say of the past."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from churn import history
from churn.history import NOTHING, OUTSIDE, PROMOTE, ROLLBACK, Change, begin, read, reconciled, terms, undone

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def change(
    version: str, minute: float, *, before: str = "", how: str = PROMOTE, done: bool = True, by: str = "ann@host"
) -> Change:
    at = NOON + timedelta(minutes=minute)
    return replace(begin(version, before=before, by=by, how=how), begun=at, done=at if done else None)


def told(changes: list[Change], live: str) -> list[tuple[str, str, str]]:
    return [(term.version, term.how, term.by) for term in terms(reconciled(changes, live))]


def test_a_term_ends_where_the_next_one_starts() -> None:
    newest, older = terms(reconciled([change("1", 0), change("2", 5)], "2"))
    assert (newest.version, newest.since, newest.until) == ("2", NOON + timedelta(minutes=5), None)
    assert (older.version, older.since, older.until) == ("1", NOON, newest.since)


def test_what_was_begun_and_did_not_happen_is_no_term() -> None:
    """Killed before the alias moved."""
    assert told([change("1", 0), change("2", 5, done=False)], "1") == [("1", PROMOTE, "ann@host")]


def test_what_happened_and_was_not_completed_has_its_author() -> None:
    """Killed after the alias moved."""
    found = told([change("1", 0), change("2", 5, done=False, by="bob@host")], "2")
    assert found == [("2", PROMOTE, "bob@host"), ("1", PROMOTE, "ann@host")]


def test_what_was_not_completed_is_told_when_others_have_followed() -> None:
    changes = [change("1", 0), change("2", 5, done=False, by="bob@host"), change("3", 5.1, before="2")]
    assert told(changes, "3") == [("3", PROMOTE, "ann@host"), ("2", PROMOTE, "bob@host"), ("1", PROMOTE, "ann@host")]


def test_what_did_not_happen_is_no_term_when_others_have_followed() -> None:
    changes = [change("1", 0), change("2", 5, done=False, by="bob@host"), change("3", 5.1, before="1")]
    assert told(changes, "3") == [("3", PROMOTE, "ann@host"), ("1", PROMOTE, "ann@host")]


def test_of_two_at_once_the_one_not_completed_yet_is_the_newer_if_the_alias_says_so() -> None:
    first, second = change("2", 5.2, before="1"), change("3", 5.1, before="1", done=False, by="bob@host")
    found = told([change("1", 0), first, second], "3")
    assert found == [("3", PROMOTE, "bob@host"), ("2", PROMOTE, "ann@host"), ("1", PROMOTE, "ann@host")]


def test_an_old_attempt_does_not_explain_a_move_of_today() -> None:
    changes = [change("1", 0), change("2", 5, done=False, by="bob@host"), change("3", 60)]
    assert told(changes, "2")[0] == ("2", OUTSIDE, "unknown")


@pytest.mark.parametrize("changes", [[], [change("1", 0)]])
def test_an_alias_that_was_moved_by_other_means_is_told(changes: list[Change]) -> None:
    past = reconciled(changes, "2")
    assert (past[-1].version, past[-1].how, past[-1].by) == ("2", OUTSIDE, "unknown")
    assert past[-1].reason == "changed outside of churn"
    assert past[-1].before == (changes[-1].version if changes else NOTHING)
    assert abs(past[-1].at - datetime.now(UTC)) < timedelta(seconds=10)


def test_an_alias_that_was_taken_away_ends_the_term() -> None:
    past = reconciled([change("1", 0)], NOTHING)
    (only,) = terms(past)
    assert only.version == "1"
    assert only.until == past[-1].at


def test_a_promotion_that_was_seen_before_it_was_completed_keeps_its_author() -> None:
    found = told([change("1", 0), change("2", 5, how=OUTSIDE, by="unknown"), change("2", 5.01)], "2")
    assert found == [("2", PROMOTE, "ann@host"), ("1", PROMOTE, "ann@host")]


def test_two_who_saw_the_same_move_tell_it_once() -> None:
    seen = [change("2", minute, how=OUTSIDE, by="unknown") for minute in (5, 5.02)]
    assert told([change("1", 0), *seen], "2") == [("2", OUTSIDE, "unknown"), ("1", PROMOTE, "ann@host")]


def test_a_champion_from_before_the_history_has_its_time() -> None:
    (term,) = terms(reconciled([], "4", promoted="2026-01-02T03:04:05+00:00"))
    assert (term.version, term.since, term.how) == ("4", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), PROMOTE)


def test_nothing_has_no_history() -> None:
    assert terms(reconciled([], NOTHING)) == []
    assert undone([]) is None


def test_a_rollback_undoes_one_promotion_after_the_other() -> None:
    past = [change(number, minute) for minute, number in enumerate("ABC")]
    assert undone(past) == "B"
    past.append(change("B", 10, how=ROLLBACK))
    assert undone(past) == "A"
    past.append(change("A", 11, how=ROLLBACK))
    assert undone(past) is None
    past.append(change("D", 12))
    assert undone(past) == "A"


def test_a_version_that_serves_a_second_time_is_undone_to_what_it_replaced() -> None:
    past = [change(number, minute) for minute, number in enumerate("ABA")]
    assert undone(past) == "B"
    assert undone([*past, change("B", 9, how=ROLLBACK)]) == "A"


def test_a_gap_in_service_is_not_gone_back_to() -> None:
    gap = change(NOTHING, 1, how=OUTSIDE)
    assert undone([change("A", 0), gap, change("B", 2)]) == "A"


def test_a_change_is_read_as_it_was_kept() -> None:
    made = replace(begin("3", before="2", by="änn@host", how=ROLLBACK, reason="a “reason”"), done=NOON)
    assert read({made.key: made.dump(), "owner": "retention"}) == [made]


def test_changes_are_read_in_the_order_in_which_they_were_completed() -> None:
    late, early = change("1", 9), change("2", 3)
    assert read({late.key: late.dump(), early.key: early.dump()}) == [early, late]


@pytest.mark.parametrize(
    "broken", ["", "{", "[]", "3", "null", "{}", '{"begun": 3, "done": null}', '{"begun": "now", "done": null}']
)
def test_a_change_that_somebody_has_broken_is_left_out(broken: str) -> None:
    good = change("1", 0)
    assert read({good.key: good.dump(), f"{history.PREFIX}x": broken}) == [good]


def test_a_time_without_offset_is_one_in_utc() -> None:
    made = change("1", 0)
    assert read({made.key: made.dump().replace("+00:00", "")}) == [made]


@pytest.mark.parametrize("reason", ["x" * 9_000, '"\\' * 9_000, "\x00\x1b" * 9_000, "é😀" * 9_000, "a\nb\t" * 9_000])
def test_a_reason_of_any_length_fits_into_a_tag(reason: str) -> None:
    """MLflow's column holds 5,000 characters; PostgreSQL refuses more, SQLite does not."""
    made = begin("1" * 9, before="2" * 9, by=reason, how=ROLLBACK, reason=reason)
    assert len(replace(made, done=NOON).dump()) < 5_000
    assert read({made.key: made.dump()}) == [made]
