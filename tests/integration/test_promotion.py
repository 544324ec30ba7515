"""A version's way into service, out of it and back, over a real registry."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient

from churn import audit, history, peek, persona_models, recommender_models
from churn import settings as settings_of
from churn.cli import main
from churn.errors import NoChampion, Refused, RefusedModel, UnknownVersion
from churn.kinds import CLASSIFIER, KINDS, RECOMMENDER, Kind
from churn.peek import Named
from churn.promoter import Promoter
from churn.promotion import promote, rollback
from churn.registry import CHALLENGER, CHAMPION, Registry, Version
from churn.settings import Settings
from churn.store import Store
from churn.tracking import Candidate, Tracking
from tests import versions
from tests.conftest import free_port

PASSED = {"gate": "passed"}
REFUSED = {"gate": "refused", "gate_reason": "it loses 0.1 in log loss"}


def logged(tracking: Tracking, scratch: Path, *, other_rows: bool = False, whole: bool = True) -> str:
    """A run with the smallest classifier that serving takes; returns its URI.

    Args:
        other_rows: whether its contract lacks the shipped one's last feature.
        whole: whether it carries all that serving needs.
    """
    from churn import parity, training
    from churn.data import features_and_target
    from churn.packaging import write_parts

    contract, rows = versions.rows_of(0, other_rows, count=200)
    features, target = features_and_target(rows, contract)
    pipeline = training.build("logistic_regression", contract, 1).fit(features, target)
    scratch.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "JITTERED", 200)
        parts = write_parts(scratch, pipeline, contract, features, threshold=0.3, told={}, seed=1)
    return tracking.log_candidate(
        Candidate(
            **told_of_run("logistic_regression"),
            pipeline=pipeline,
            contract=contract,
            parts=parts if whole else parts[:1],
            example=features.head(2),
        )
    )


def logged_recommender(tracking: Tracking, scratch: Path, *, other_rows: bool = False, whole: bool = True) -> str:
    """The same with a recommender."""
    contract = versions.rows_of(0, other_rows, count=2)[0]
    versions.write_recommender(scratch, rows=200, without_last=other_rows)
    if not whole:
        (scratch / "contract.yaml").unlink()
    trained = recommender_models.TrainedRecommender(
        **told_of_run("lightfm"),
        contract=contract,
        folder=scratch,
        example=None,  # with one, MLflow would try the model
    )
    return recommender_models.log(tracking, trained)


def told_of_run(name: str) -> dict[str, Any]:
    figures = {"log_loss": 0.42}
    return {
        "name": name,
        "metrics": figures,
        "per_fold": [figures],
        "params": {},
        "provenance": {"candidate": name},
    }


Runs = tuple[Path, list[str], str, str]


@pytest.fixture(scope="module")
def every_run(tmp_path_factory: pytest.TempPathFactory) -> dict[Kind[Any], Runs]:
    """A home in which nothing is registered yet; of each kind three good runs, one of other rows, one that
    lacks parts."""
    folder = tmp_path_factory.mktemp("runs")
    tracking = Tracking(settings_of.load().model_copy(update={"home": folder / "home"}))
    found = {}
    for kind, log in ((CLASSIFIER, logged), (RECOMMENDER, logged_recommender)):
        good = [log(tracking, folder / f"{kind.name}-{number}") for number in range(3)]
        other = log(tracking, folder / f"{kind.name}-other", other_rows=True)
        broken = log(tracking, folder / f"{kind.name}-broken", whole=False)
        found[kind] = folder / "home", good, other, broken
    return found


both_kinds = pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS], indirect=True)


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> Kind[Any]:
    """The kind that a test is about: the classifier, unless it is for both."""
    return getattr(request, "param", CLASSIFIER)


@pytest.fixture
def runs(every_run: dict[Kind[Any], Runs], kind: Kind[Any]) -> Runs:
    return every_run[kind]


@pytest.fixture
def home(runs, tmp_path: Path) -> Settings:
    """A copy of its database; the artefacts stay where they are."""
    settings = settings_of.load().model_copy(update={"home": tmp_path / "home"})
    settings.mlflow_home.mkdir(parents=True)
    shutil.copy(runs[0] / "mlflow/mlflow.db", settings.mlflow_home)
    return settings


@pytest.fixture
def registry(home: Settings, kind: Kind[Any]) -> Registry:
    return Registry(home, kind=kind)


@pytest.fixture
def three(registry: Registry, runs) -> list[Version]:
    """Versions 1, 2 and 3, none of them in service."""
    return [registry.register(uri) for uri in runs[1]]


@pytest.fixture
def serving(registry: Registry, three: list[Version]) -> Registry:
    """A registry whose versions 1, 2 and 3 have been promoted one after the other."""
    for number in "123":
        promote(registry, number, by="ann@host", despite_gate="a test")
    return registry


def put_first(registry: Registry) -> Version:
    """Version 1 in service, which the gate has passed: the recommender's first one needs that, too."""
    registry.judged(registry.version("1"), PASSED | {"gate_against": ""})
    return promote(registry, "1", by="ann@host")


def told(registry: Registry) -> list[tuple[str, str, str]]:
    return [(term.version, term.how, term.by) for term in registry.history()]


def aliases(registry: Registry) -> dict[str, str]:
    found = registry.client.get_registered_model(registry.name).aliases
    return {alias: str(number) for alias, number in found.items()}


@both_kinds
def test_what_is_registered_is_the_challenger(registry: Registry, runs) -> None:
    with pytest.raises(NoChampion):
        registry.champion()
    assert registry.challenger() is None
    assert registry.versions() == registry.history() == []
    first = registry.register(runs[1][0], {"fingerprint": "f00d"})
    assert registry.challenger() == first
    assert first.tags == {"fingerprint": "f00d"}
    assert first.metrics == {"log_loss": 0.42}
    second = registry.register(runs[1][1])
    assert registry.challenger() == second
    assert registry.versions() == [second, first]
    third = registry.register(runs[1][2], {"fingerprint": "f00d"})
    assert not registry.trained_on("f00d", second)  # nobody has judged it
    registry.judged(third, REFUSED)
    assert registry.trained_on("f00d", second)
    assert not registry.trained_on("f00d", third)
    assert not registry.trained_on("beef", second)
    assert not registry.trained_on("", second)


@both_kinds
def test_registering_again_makes_no_version_and_no_challenger_of_the_champion(serving: Registry, runs) -> None:
    again = serving.register(runs[1][1], {"fingerprint": "f00d"})
    assert (again.version, again.tags["fingerprint"]) == ("2", "f00d")
    assert len(serving.versions()) == 3
    assert aliases(serving) == {CHAMPION: "3"}


def test_a_registration_that_broke_off_is_made_whole_by_the_next(registry: Registry, runs, monkeypatch) -> None:
    monkeypatch.setattr(registry.client, "set_registered_model_alias", _killed)
    with pytest.raises(_Killed):
        registry.register(runs[1][0], {"fingerprint": "f00d"})
    monkeypatch.undo()
    assert registry.challenger() is None
    assert registry.register(runs[1][0], {"fingerprint": "f00d"}).version == "1"
    assert aliases(registry) == {CHALLENGER: "1"}


def test_a_verdict_stands_on_the_version(registry: Registry, three: list[Version]) -> None:
    judged = registry.judged(three[1], REFUSED | {"gate_against": "1", "gate_loss": "0.1"})
    assert judged.refused == "it loses 0.1 in log loss"
    assert judged.tags["gate_loss"] == "0.1"
    assert datetime.fromisoformat(judged.tags["gate_at"]).tzinfo == UTC
    assert registry.judged(judged, PASSED).refused is None
    assert three[0].refused is None


def test_a_verdict_that_is_being_replaced_is_none(registry: Registry, three: list[Version], monkeypatch) -> None:
    version = registry.judged(three[0], PASSED)
    whole = registry.client.set_model_version_tag

    def killed_at_the_end(name: str, number: str, key: str, value: str) -> None:
        if (key, value) == ("gate", "refused"):
            raise _Killed
        whole(name, number, key, value)

    monkeypatch.setattr(registry.client, "set_model_version_tag", killed_at_the_end)
    with pytest.raises(_Killed):
        registry.judged(version, REFUSED)
    assert registry.version("1").tags["gate"] not in ("passed", "refused")


@both_kinds
@pytest.mark.parametrize("verdict", [{}, {"gate": "pending"}], ids=["never judged", "being judged"])
def test_the_first_version_that_nobody_has_judged(
    registry: Registry, three: list[Version], verdict: dict[str, str]
) -> None:
    """The platform does nothing without a classifier, and well without a recommender."""
    if verdict:
        registry.judged(three[0], verdict)
    if registry.kind is CLASSIFIER:
        assert promote(registry, "1", by="ann@host").version == "1"
        return
    with pytest.raises(Refused, match="stays out of service: the gate has not judged it; --despite-gate"):
        promote(registry, "1", by="ann@host")
    assert registry.history() == []
    promote(registry, "1", by="ann@host", despite_gate="a show")
    assert registry.history()[0].reason == "despite the gate (the gate has not judged it): a show"


@both_kinds
def test_the_first_version_needs_no_champion_to_be_held_against(registry: Registry, three: list[Version]) -> None:
    registry.judged(three[0], PASSED | {"gate_against": ""})
    before = datetime.now(UTC)
    version = promote(registry, "1", by="churn_training")
    assert version == registry.champion()
    assert before <= version.since <= datetime.now(UTC)
    assert aliases(registry) == {CHAMPION: "1", CHALLENGER: "3"}
    (term,) = registry.history()
    assert (term.version, term.since, term.until) == ("1", version.since, None)
    assert (term.by, term.how, term.reason) == ("churn_training", "promote", "")


def test_a_promoted_version_is_no_challenger(registry: Registry, three: list[Version]) -> None:
    promote(registry, "3", by="ann@host")
    assert aliases(registry) == {CHAMPION: "3"}
    assert registry.challenger() is None


@pytest.mark.parametrize(
    ("verdict", "why"),
    [
        ({}, "not judged"),
        (REFUSED | {"gate_against": "1"}, "it loses 0.1 in log loss"),
        (PASSED | {"gate_against": "3"}, "against version 3, and version 1 is in service"),
        (PASSED | {"gate_against": ""}, "against no champion"),
        (PASSED, "against no champion"),
        ({"gate": "pending"}, "not judged"),
    ],
)
def test_what_the_gate_has_not_let_through_is_promoted_with_a_reason_only(
    registry: Registry, three: list[Version], verdict: dict[str, str], why: str
) -> None:
    promote(registry, "1", by="ann@host")
    if verdict:
        registry.judged(three[1], verdict)
    for reason in ("", "  \n"):
        with pytest.raises(Refused, match=why):
            promote(registry, "2", by="ann@host", despite_gate=reason)
    assert registry.champion().version == "1"
    promote(registry, "2", by="ann@host", despite_gate="a new tariff")
    newest = registry.history()[0]
    assert newest.version == "2"
    assert newest.reason.startswith("despite the gate (")
    assert newest.reason.endswith("): a new tariff")


@both_kinds
def test_what_the_gate_has_let_through_is_promoted(registry: Registry, three: list[Version]) -> None:
    put_first(registry)
    registry.judged(three[1], PASSED | {"gate_against": "1"})
    assert promote(registry, "2", by="ann@host").version == "2"
    assert registry.history()[0].reason == ""


@both_kinds
def test_a_refused_version_is_not_the_first_either(registry: Registry, three: list[Version]) -> None:
    registry.judged(three[0], REFUSED | {"gate_against": ""})
    with pytest.raises(Refused, match="log loss"):
        promote(registry, "1", by="ann@host")


@both_kinds
def test_what_has_served_before_needs_no_new_verdict(serving: Registry) -> None:
    assert promote(serving, "1", by="bob@host").version == "1"
    assert told(serving)[:2] == [("1", "promote", "bob@host"), ("3", "promote", "ann@host")]
    assert rollback(serving, by="bob@host").version == "3"


def test_promoting_the_champion_changes_nothing(serving: Registry) -> None:
    before = serving.champion(), serving.history()
    assert promote(serving, "3", by="bob@host", despite_gate="once more") == before[0]
    assert (serving.champion(), serving.history()) == before


@pytest.mark.parametrize("number", ["4", "0", "-1", "", "x", "1.0", "²", "9" * 30, "1' or '1'='1"])
def test_a_version_that_there_is_not(serving: Registry, number: str) -> None:
    with pytest.raises(UnknownVersion, match="has no version"):
        promote(serving, number, by="ann@host")


@both_kinds
def test_other_rows_are_accepted_on_demand_only(registry: Registry, runs, three: list[Version]) -> None:
    put_first(registry)
    other = registry.judged(registry.register(runs[2]), PASSED | {"gate_against": "1"})
    with pytest.raises(Refused, match="asks for other rows than that of version 1"):
        promote(registry, other.version, by="ann@host")
    with pytest.raises(Refused, match="other rows"):
        promote(registry, other.version, by="ann@host", despite_gate="this is not about the gate")
    assert registry.champion().version == "1"
    accepted = promote(registry, other.version, by="ann@host", accept_contract=True)
    assert accepted.tags["contract_change"] == "accepted"
    assert rollback(registry, by="ann@host").version == "1"


@both_kinds
def test_a_champion_that_cannot_be_read_is_replaced_on_demand(registry: Registry, runs, three: list[Version]) -> None:
    broken = registry.register(runs[3])
    registry.move(broken, by="nobody", how=history.PROMOTE)
    registry.judged(three[0], PASSED | {"gate_against": broken.version})
    with pytest.raises(Refused, match=r"cannot be read .*contract\.yaml is missing"):
        promote(registry, "1", by="ann@host")
    assert promote(registry, "1", by="ann@host", accept_contract=True).version == "1"


@both_kinds
def test_what_serving_would_not_load_is_refused_whoever_asks(registry: Registry, runs, three: list[Version]) -> None:
    put_first(registry)
    broken = registry.register(runs[3])
    with pytest.raises(RefusedModel, match="does not load"):
        promote(registry, broken.version, by="ann@host", despite_gate="must be", accept_contract=True)
    assert aliases(registry) == {CHAMPION: "1", CHALLENGER: broken.version}
    assert told(registry) == [("1", "promote", "ann@host")]


def test_another_promotion_during_the_load_is_seen(registry: Registry, three: list[Version], monkeypatch) -> None:
    promote(registry, "1", by="ann@host")
    registry.judged(three[1], PASSED | {"gate_against": "1"})
    whole = Registry.load

    def slow(self: Registry, version: Version):
        self.move(three[2], by="bob@host", how=history.PROMOTE)
        return whole(self, version)

    monkeypatch.setattr(Registry, "load", slow)
    with pytest.raises(Refused, match="version 3 is in service"):
        promote(registry, "2", by="ann@host")


@both_kinds
def test_rollbacks_go_back_one_promotion_each_and_a_new_one_starts_from_there(serving: Registry) -> None:
    assert rollback(serving, by="ann@host", reason="3 is off").version == "2"
    assert serving.history()[0].reason == "3 is off"
    assert rollback(serving, by="ann@host").version == "1"
    with pytest.raises(Refused, match=f"nothing was in service before {serving.name} version 1"):
        rollback(serving, by="ann@host")
    assert serving.champion().version == "1"
    promote(serving, "3", by="ann@host")
    assert rollback(serving, by="ann@host").version == "1"
    assert [term.version for term in serving.history()] == ["1", "3", "1", "2", "3", "2", "1"]
    starts = [term.since for term in serving.history()]
    assert starts == sorted(starts, reverse=True)
    assert [term.until for term in serving.history()] == [None, *starts[:-1]]


def test_since_is_the_newest_term_s_start(serving: Registry) -> None:
    version = rollback(serving, by="ann@host")
    newest, _, older, _ = serving.history()
    assert version.since == newest.since == serving.champion().since > older.since
    assert serving.version("1").since == serving.history()[-1].since


def test_without_a_champion_there_is_nothing_to_roll_back(registry: Registry, three: list[Version]) -> None:
    with pytest.raises(NoChampion):
        rollback(registry, by="ann@host")


@both_kinds
def test_a_deleted_version_is_not_gone_back_to(serving: Registry) -> None:
    serving.client.delete_model_version(serving.name, "2")
    with pytest.raises(UnknownVersion, match="'2'"):
        rollback(serving, by="ann@host")
    assert serving.champion().version == "3"
    assert [term.version for term in serving.history()] == ["3", "2", "1"]
    assert [version.version for version in serving.versions()] == ["3", "1"]


@both_kinds
def test_an_alias_moved_by_hand_shows_as_such_and_can_be_undone(serving: Registry) -> None:
    serving.client.set_registered_model_alias(serving.name, CHAMPION, "1")
    first = serving.champion()
    assert abs(first.since - datetime.now(UTC)) < timedelta(seconds=10)
    assert serving.history()[0].reason == "changed outside of churn"
    assert told(serving)[0] == ("1", "outside", "unknown")
    assert serving.champion() == first, "seen once, it keeps its time"
    assert rollback(serving, by="ann@host").version == "3"


def test_an_alias_taken_away_by_hand_ends_the_service(serving: Registry) -> None:
    serving.client.delete_registered_model_alias(CLASSIFIER.name, CHAMPION)
    with pytest.raises(NoChampion):
        serving.champion()
    assert serving.history()[0].until is not None
    promote(serving, "3", by="ann@host")
    assert [term.version for term in serving.history()] == ["3", "3", "2", "1"]


def test_a_registry_from_before_the_history_tells_what_it_knows(registry: Registry, three: list[Version]) -> None:
    registry.client.set_model_version_tag(CLASSIFIER.name, "1", "promoted_at", "2026-01-02T03:04:05+00:00")
    registry.client.set_registered_model_alias(CLASSIFIER.name, CHAMPION, "1")
    since = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert registry.champion().since == since
    promote(registry, "2", by="ann@host", despite_gate="a test")
    newest, oldest = registry.history()
    assert (oldest.version, oldest.since, oldest.until, oldest.by) == ("1", since, newest.since, "unknown")
    assert rollback(registry, by="ann@host").version == "1"


class _Killed(BaseException):
    """No handler of ours catches it, as none catches SIGKILL."""


def _killed(*_: object, **__: object) -> None:
    raise _Killed


def test_killed_before_the_alias_moved_nothing_has_happened(serving: Registry, monkeypatch) -> None:
    before = told(serving)
    monkeypatch.setattr(serving.client, "set_registered_model_alias", _killed)
    with pytest.raises(_Killed):
        rollback(serving, by="bob@host")
    monkeypatch.undo()
    assert serving.champion().version == "3"
    assert told(serving) == before
    promote(serving, "1", by="ann@host")
    assert told(serving) == [("1", "promote", "ann@host"), *before]


def test_killed_after_the_alias_moved_it_is_known_who_did_it(serving: Registry, monkeypatch) -> None:
    before = told(serving)
    whole = serving.client.set_registered_model_alias

    def last_deed(*given: str) -> None:
        whole(*given)
        raise _Killed

    monkeypatch.setattr(serving.client, "set_registered_model_alias", last_deed)
    with pytest.raises(_Killed):
        promote(serving, "1", by="bob@host")
    monkeypatch.undo()
    assert serving.champion().version == "1"
    assert told(serving) == [("1", "promote", "bob@host"), *before]
    promote(serving, "2", by="ann@host")
    assert told(serving) == [("2", "promote", "ann@host"), ("1", "promote", "bob@host"), *before]


def test_of_many_promoters_at_once_none_is_lost(home: Settings, serving: Registry) -> None:
    def back_and_forth(number: str) -> None:
        mine = Registry(home)
        for turn in range(4):
            mine.move(mine.version(number), by=f"{number}-{turn}", how=history.PROMOTE)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(back_and_forth, "123"))
    tags = serving.client.get_registered_model(CLASSIFIER.name).tags
    moves = [change for change in history.read(tags) if "-" in change.by]
    assert all(change.done for change in moves)
    terms = serving.history()
    assert not [term for term in terms if term.how == "outside"]
    assert terms[0].version == aliases(serving)[CHAMPION]
    assert {"1", "2"} <= {term.version for term in terms if "-" in term.by}
    assert all(term.until and term.until >= term.since for term in terms[1:])


def test_who_is_overtaken_came_before_the_one_who_overtook(home: Settings, serving: Registry, monkeypatch) -> None:
    other, whole = Registry(home), serving.client.set_registered_model_alias

    def overtaken(*given: str) -> None:
        whole(*given)
        other.move(other.version("2"), by="bob@host", how=history.PROMOTE)

    monkeypatch.setattr(serving.client, "set_registered_model_alias", overtaken)
    serving.move(serving.version("1"), by="ann@host", how=history.PROMOTE)
    assert serving.champion().version == "2"
    assert told(serving)[:3] == [
        ("2", "promote", "bob@host"),
        ("1", "promote", "ann@host"),
        ("3", "promote", "ann@host"),
    ]


def test_a_move_during_a_look_is_not_taken_for_one_by_hand(home: Settings, serving: Registry, monkeypatch) -> None:
    """MLflow reads the tags first, and the aliases a moment later."""
    reader = Registry(home)
    tags, whole = serving.client.get_registered_model(CLASSIFIER.name).tags, reader.client.get_registered_model
    promote(serving, "1", by="ann@host")
    looks = iter([SimpleNamespace(tags=tags, aliases={CHAMPION: 1})])
    monkeypatch.setattr(reader.client, "get_registered_model", lambda name: next(looks, None) or whole(name))
    assert reader.champion().version == "1"
    assert told(serving)[0] == ("1", "promote", "ann@host")
    assert not [change for change in history.read(whole(CLASSIFIER.name).tags) if change.how == history.OUTSIDE]


def test_a_broken_tag_does_not_hide_the_history(serving: Registry) -> None:
    before = serving.history()
    serving.client.set_registered_model_tag(CLASSIFIER.name, f"{history.PREFIX}zzz", "no JSON")
    assert serving.history() == before


def test_a_download_appears_whole_or_not_at_all(serving: Registry, tmp_path: Path, monkeypatch) -> None:
    target = tmp_path / "models" / "3"

    def half(artifact_uri: str, dst_path: str, tracking_uri: str) -> None:
        (Path(dst_path) / "model.skops").write_bytes(b"half")
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("mlflow.artifacts.download_artifacts", half)
        with pytest.raises(RefusedModel, match="no space left"):
            serving.download(serving.champion(), target)
    assert list(target.parent.iterdir()) == []
    assert serving.download(serving.champion(), target) == target
    assert list(target.rglob("contract.yaml"))
    assert list(target.parent.iterdir()) == [target]
    (target / "mark").touch()
    serving.download(serving.champion(), target)
    assert (target / "mark").exists(), "what is there is not fetched again"


def test_two_downloads_at_once_leave_one_whole_folder(serving: Registry, tmp_path: Path) -> None:
    version, target = serving.champion(), tmp_path / "model"
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: serving.download(version, target), range(4))) == {target}
    assert list(target.rglob("contract.yaml"))
    assert list(tmp_path.glob(".churn-model-*")) == []


def test_a_person_without_a_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "@" in audit.person()

    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert audit.person().startswith("uid ")


@pytest.mark.parametrize("kind", [RECOMMENDER], indirect=True)
def test_promotions_of_the_recommender_leave_the_personas_alone(registry: Registry, three: list[Version]) -> None:
    client, personas = registry.client, persona_models.NAME
    client.create_registered_model(personas)
    client.create_model_version(personas, source="file:///nowhere")
    client.set_registered_model_alias(personas, CHAMPION, "1")
    written: list[audit.Entry] = []
    promoter = Promoter(registry, written.append, by="ann@host", source="a test")
    for number in ("1", "2"):
        promoter.promote(number, despite_gate="a test")
    promoter.rollback()
    assert str(client.get_registered_model(personas).aliases[CHAMPION]) == "1"
    assert [entry.subject for entry in written] == [f"offer-recommender version {number}" for number in "121"]


@pytest.fixture
def run(home: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Runs `churn …`; returns exit code, standard output and standard error."""
    monkeypatch.setenv("CHURN_HOME", str(home.home))
    monkeypatch.setattr("churn.audit.person", lambda: "ann@host")

    def call(*arguments: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(main, list(arguments))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.stdout, result.stderr

    return call


@both_kinds
def test_the_command_line_promotes_rolls_back_and_tells(run, home, registry: Registry, three: list[Version]) -> None:
    name, of = registry.name, () if registry.kind is CLASSIFIER else ("--model", registry.name)
    assert run("history", *of)[1].strip() == "No version has been in service yet."
    registry.judged(three[2], REFUSED | {"gate_against": "1"})
    if of:
        assert "the gate has not judged it" in run("promote", "1", *of)[2]
    registry.judged(three[0], PASSED | {"gate_against": ""})
    assert run("promote", "1", *of) == (0, f"{name} version 1 is in service\n", "")
    assert "already" in run("promote", "1", *of)[1]
    code, _, error = run("promote", "2", *of)
    assert code == 1
    assert "--despite-gate" in error
    assert run("promote", "2", "--despite-gate", "a new tariff", *of)[0] == 0
    assert run("rollback", "--reason", "too many alarms", *of)[1] == f"{name} version 1 is in service again\n"
    assert run("rollback", *of)[0] == 1
    lines = run("history", *of)[1].splitlines()
    assert lines[0].split() == ["version", "candidate", "from", "(UTC)", "to", "(UTC)", "for", "by", "how", "reason"]
    assert [line.split()[0] for line in lines[1:4]] == ["1", "2", "1"]
    assert lines[1].endswith("too many alarms")
    assert lines[2].endswith("a new tariff")
    assert lines[-1].split(maxsplit=2) == ["3", f"{three[2].provenance['candidate']}:", "it loses 0.1 in log loss"]
    store = Store(home)
    assert {entry.subject.split()[0] for entry in audit.entries(store)} == {name}
    store.close()
    others = "churn-classifier" if of else "offer-recommender"
    assert run("history", "--model", others)[1].strip() == "No version has been in service yet."


def test_the_history_as_json(run, serving: Registry) -> None:
    told = json.loads(run("history", "--json")[1])
    assert [term["version"] for term in told["terms"]] == ["3", "2", "1"]
    assert told["terms"][0]["until"] is None
    assert told["terms"][1]["until"] == told["terms"][0]["since"]
    assert told["terms"][0]["candidate"] == "logistic_regression"
    assert told["refused"] == []


@pytest.fixture
def server(home: Settings, runs, tmp_path: Path) -> Iterator[Settings]:
    """A real MLflow server over the same database."""
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", home.tracking_uri, "--workers", "1"]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen([*command, "--host", "127.0.0.1", "--port", str(port)], stdout=log, stderr=log)
    try:
        for _ in range(600):
            try:
                if httpx.get(f"{uri}/health", trust_env=False).is_success:
                    break
            except httpx.HTTPError:
                time.sleep(0.1)
        else:
            raise AssertionError((tmp_path / "server.log").read_text())
        yield home.model_copy(update={"mlflow_tracking_uri": uri})
    finally:
        process.terminate()
        process.wait(30)


def test_the_whole_life_of_a_version_over_http(server: Settings, runs) -> None:
    registry = Registry(server, patient=False)
    with pytest.raises(NoChampion):
        registry.champion()
    with pytest.raises(UnknownVersion):
        registry.version("1")
    assert registry.versions() == registry.history() == []
    first, second = (registry.register(uri, {"fingerprint": "f00d"}) for uri in runs[1][:2])
    assert peek.champion(server) is None
    promote(registry, first.version, by="ann@host")
    assert peek.champion(server) == Named(CLASSIFIER.name, "1", first.run_id)
    registry.judged(second, REFUSED | {"gate_against": "1"})
    assert registry.trained_on("f00d", first)
    with pytest.raises(Refused, match="log loss"):
        promote(registry, "2", by="ann@host")
    promote(registry, "2", by="änn@host", despite_gate="a “new” tariff: 5 €")
    assert aliases(registry) == {CHAMPION: "2"}
    assert rollback(registry, by="ann@host").version == "1"
    assert told(registry) == [
        ("1", "rollback", "ann@host"),
        ("2", "promote", "änn@host"),
        ("1", "promote", "ann@host"),
    ]
    assert registry.history()[1].reason.endswith("a “new” tariff: 5 €")
    assert [version.version for version in registry.versions()] == ["2", "1"]
    MlflowClient(registry.uri, registry.uri).set_registered_model_alias(CLASSIFIER.name, CHAMPION, "2")
    assert told(registry)[0] == ("2", "outside", "unknown")
    assert peek.champion(server) == Named(CLASSIFIER.name, "2", second.run_id)
    assert Registry(server.model_copy(update={"mlflow_tracking_uri": None})).history() == registry.history()
