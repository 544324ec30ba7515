"""`churn score` reads this machine's copy of the champion, and never another version's."""

import subprocess
import sys

import pytest

from churn import file_jobs, jobs, peek
from churn.errors import NoChampion, Unavailable
from churn.kinds import RECOMMENDER
from churn.registry import Registry
from churn.settings import Settings
from churn.shelf import Shelf


@pytest.fixture
def own(settings: Settings, champion, tmp_path) -> Settings:
    """The trained registry, and a home for copies that is this test's own."""
    (tmp_path / "mlflow").symlink_to(settings.mlflow_home)
    return settings.model_copy(update={"home": tmp_path})


def test_the_first_call_fetches_a_copy_and_the_next_needs_no_mlflow(own: Settings, champion) -> None:
    assert peek.champion(own) == peek.Named(champion.name, champion.version, champion.run_id)
    assert jobs.champion_scorer(own).model == champion.model
    assert Shelf(own.home).place(champion).is_dir()
    code = (
        "import sys; from pathlib import Path; from churn import jobs, settings\n"
        f"s = settings.load().model_copy(update={{'home': Path({str(own.home)!r})}})\n"
        "print(jobs.champion_scorer(s).model.version, 'mlflow' in sys.modules, 'sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [champion.version, "False", "False"]


def test_the_recommender_has_a_copy_of_its_own_beside_it(own: Settings, champion, recommender_champion) -> None:
    jobs.champion_scorer(own)
    found = recommender_champion
    assert peek.champion(own, RECOMMENDER) == peek.Named(found.name, found.version, found.run_id)
    for _ in range(2):
        assert file_jobs.champion(own, RECOMMENDER).model == found.model
    assert Shelf(own.home, RECOMMENDER).place(found).is_dir()
    assert Shelf(own.home).place(champion).is_dir()


def test_a_broken_copy_is_fetched_anew(own: Settings, champion) -> None:
    jobs.champion_scorer(own)
    part = next(Shelf(own.home).place(champion).rglob("scorer.onnx"))
    whole = part.read_bytes()
    part.write_bytes(whole[:100])
    assert jobs.champion_scorer(own).is_compiled
    assert next(Shelf(own.home).place(champion).rglob("scorer.onnx")).read_bytes() == whole


def test_a_copy_is_of_no_use_once_another_version_is_in_service(own: Settings, champion, monkeypatch) -> None:
    jobs.champion_scorer(own)
    monkeypatch.setattr(peek, "champion", lambda *_: peek.Named(champion.name, "99", "another run"))
    monkeypatch.setattr(Registry, "champion", lambda _: (_ for _ in ()).throw(Unavailable("asked")))
    with pytest.raises(Unavailable, match="asked"):
        jobs.champion_scorer(own)


def test_without_a_champion_the_registry_says_so(settings: Settings, tmp_path) -> None:
    empty = settings.model_copy(update={"home": tmp_path})
    assert peek.champion(empty) is None
    with pytest.raises(NoChampion, match="train one first"):
        jobs.champion_scorer(empty)


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "postgresql://nobody@127.0.0.1:9/x", "http://["])
def test_where_peeking_does_not_tell_it_says_nothing(settings: Settings, uri: str) -> None:
    assert peek.champion(settings.model_copy(update={"mlflow_tracking_uri": uri})) is None


def test_a_database_of_another_shape_is_left_to_the_registry(settings: Settings, tmp_path) -> None:
    home = settings.model_copy(update={"home": tmp_path})
    home.mlflow_home.mkdir()
    (home.mlflow_home / "mlflow.db").write_bytes(b"no database" * 1000)
    assert peek.champion(home) is None
