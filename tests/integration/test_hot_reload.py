"""A new champion without a restart: swapped, refused, remembered; over a real SQLite registry."""

import json
import logging
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import skops.io

from api.app import create_app
from api.serving import Serving
from churn import settings as settings_of
from churn.errors import Unavailable
from churn.promotion import promote, rollback
from churn.registry import Registry
from churn.scoring import load_pipeline
from churn.settings import Settings
from churn.shelf import Shelf
from tests import versions
from tests.conftest import ROOT
from tests.versions import NOBODY

ONE, TWO, THREE, SHORT, CUT, RENAMED, FOREIGN = "1234567"
"""The versions: three good ones, one of a contract that lacks a feature, three broken ones."""


class Payload:
    """Leaves a trace when it is made from a file."""

    def __init__(self, trace: str) -> None:
        self.trace = trace

    def __getstate__(self) -> dict[str, str]:
        return {"trace": self.trace}

    def __setstate__(self, state: dict[str, str]) -> None:
        Path(state["trace"]).write_text("made")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose registry holds the seven versions; none is in service."""
    folder = tmp_path_factory.mktemp("versions")
    settings = settings_of.load().model_copy(update={"home": folder / "home"})
    good = [versions.write(folder / name, start=start) for name, start in (("a", 0), ("b", 900), ("c", 1800))]
    short = versions.write(folder / "short", without_last=True)
    whole = (good[0] / "scorer.onnx").read_bytes()
    cut = versions.tampered(good[0], folder / "cut", "scorer.onnx", whole[: len(whole) // 2])
    contract = versions.read(good[0]).contract
    text = (good[0] / "contract.yaml").read_text()
    name = next(iter(contract.features))
    renamed = versions.tampered(good[0], folder / "renamed", "contract.yaml", text.replace(name, "other").encode())
    pipeline = load_pipeline(good[0])
    pipeline.steps[-1][1].extra = Payload(str(folder / "trace"))
    foreign = versions.tampered(good[0], folder / "foreign", "model.skops", skops.io.dumps(pipeline))
    Registry(settings)
    numbers = [versions.register(settings, one) for one in (*good, short, cut, renamed, foreign)]
    assert numbers == [ONE, TWO, THREE, SHORT, CUT, RENAMED, FOREIGN]
    return folder


@pytest.fixture
def settings(made: Path, tmp_path: Path) -> Settings:
    home = tmp_path / "home"
    (home / "mlflow").mkdir(parents=True)
    shutil.copy(made / "home/mlflow/mlflow.db", home / "mlflow")
    return settings_of.load().model_copy(update={"home": home})


@pytest.fixture
def registry(settings: Settings) -> Registry:
    return Registry(settings)


def put(registry: Registry, number: str) -> None:
    """Move the alias as MLflow's page would: nobody asks whether the version is any good."""
    registry.client.set_registered_model_alias("churn-classifier", "champion", number)


@pytest.fixture
def serving(settings: Settings, registry: Registry) -> Serving:
    """A worker that serves version 1."""
    put(registry, ONE)
    worker = Serving(settings, registry)
    worker.refresh()
    return worker


def number_of(worker: Serving) -> str:
    return worker.scorer().model.version


def test_a_new_champion_is_served_and_a_request_keeps_what_it_began_with(serving, registry, made) -> None:
    before = serving.scorer()
    put(registry, TWO)
    serving.refresh()
    customer = before.contract.example
    for scorer, folder, number in ((before, "a", ONE), (serving.scorer(), "b", TWO)):
        assert scorer.model.version == number
        assert scorer.predict([customer]) == versions.read(made / folder).predict([customer])


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (CUT, "does not load"),
        (RENAMED, "scorer.onnx was made for other columns"),
        (FOREIGN, "untrusted types: .*Payload"),
    ],
)
def test_a_broken_version_is_refused_and_the_old_one_goes_on(
    serving, registry, settings, made, caplog, broken: str, reason: str
) -> None:
    client = create_app(settings, serving=serving).test_client()
    before = sum(refused_count(client))
    put(registry, broken)
    with caplog.at_level(logging.WARNING, "api"):
        for _ in range(3):
            serving.refresh()
    assert number_of(serving) == ONE
    assert client.post("/predict", json=serving.contract.example).get_json()["model"]["version"] == ONE
    told = client.get("/models").get_json()
    assert [model["version"] for model in told["models"]] == [ONE]
    (refused,) = told["refused"]
    assert (refused["name"], refused["version"]) == ("churn-classifier", broken)
    ready = client.get("/health/ready")
    assert ready.status_code == 200
    for text in (refused["reason"], ready.get_json()["detail"], caplog.text):
        assert re.search(reason, text), text
    assert len(caplog.records) == 1
    assert sum(refused_count(client)) == before + 1
    assert not (made / "trace").exists()
    put(registry, TWO)
    serving.refresh()
    assert number_of(serving) == TWO
    assert (client.get("/models").get_json()["refused"], serving.reason) == ([], "")


def refused_count(client) -> list[float]:
    lines = client.get("/metrics").text.splitlines()
    return [float(line.split()[1]) for line in lines if line.startswith("churn_models_refused_total")]


def test_the_foreign_type_would_leave_a_trace_where_it_is_trusted(made: Path, tmp_path: Path) -> None:
    """Else its absence would prove nothing."""
    path = tmp_path / "payload.skops"
    skops.io.dump(Payload(str(tmp_path / "trace")), path)
    skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
    assert (tmp_path / "trace").exists()


def test_other_rows_are_served_only_once_somebody_has_agreed(serving, registry) -> None:
    put(registry, SHORT)
    serving.refresh()
    assert number_of(serving) == ONE
    assert serving.refused is not None
    assert "asks for other rows than version 1" in serving.refused.reason
    put(registry, ONE)
    promote(registry, SHORT, by="ann", despite_gate="a test", accept_contract=True)
    serving.refresh()
    assert number_of(serving) == SHORT
    rollback(registry, by="ann")
    serving.refresh()
    assert number_of(serving) == ONE


def test_with_the_registry_down_the_last_good_version_serves_from_the_start(serving, settings, made) -> None:
    down = settings.model_copy(update={"mlflow_tracking_uri": NOBODY})
    worker = Serving(down)
    client = create_app(down, serving=worker).test_client()
    worker.catch_up()
    worker.look()
    reply = client.post("/predict", json=worker.contract.example).get_json()
    (expected,) = versions.read(made / "a").predict([worker.contract.example])
    assert (reply["model"]["version"], reply["churn_probability"]) == (ONE, expected.churn_probability)
    assert client.get("/models").get_json()["models"][0]["since"]
    ready = client.get("/health/ready")
    assert (ready.status_code, NOBODY in ready.get_json()["detail"]) == (200, True)


def test_a_start_imports_neither_mlflow_nor_scikit_learn(serving, settings) -> None:
    code = (
        "import sys\nfrom churn.settings import load\nfrom api.serving import Serving\nfrom api.app import create_app\n"
        "worker = Serving(load())\ncreate_app(load(), serving=worker)\nworker.catch_up()\n"
        "worker.scorer().predict([worker.contract.example])\n"
        "print({'mlflow', 'sklearn', 'pandas', 'pyarrow'} & set(sys.modules))"
    )
    env = {"CHURN_HOME": str(settings.home), "PATH": ""}
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert told.stdout.strip() == "set()", told.stderr


def test_a_copy_that_was_cut_off_is_fetched_anew_and_never_served(serving, settings, registry) -> None:
    (contract,) = (settings.home / "serving").rglob("contract.yaml")
    whole = contract.read_bytes()
    contract.write_bytes(whole[: whole.index(b"products:")])  # reads as a contract, and is another
    alone = Serving(settings.model_copy(update={"mlflow_tracking_uri": NOBODY}))
    alone.catch_up()
    assert alone.live is None
    worker = Serving(settings, registry)
    worker.refresh()
    assert number_of(worker) == ONE
    assert contract.read_bytes() == whole


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"live": 1}', b"\xff"])
def test_a_broken_state_is_written_anew(serving, settings, registry, content: bytes) -> None:
    (settings.home / "serving/state.json").write_bytes(content)
    worker = Serving(settings, registry)
    worker.refresh()
    assert number_of(worker) == ONE
    assert json.loads((settings.home / "serving/state.json").read_bytes())["live"]["version"] == ONE


class Asked(Registry):
    """A registry that counts what is asked of it."""

    downloads = 0

    def download(self, version, folder):
        type(self).downloads += 1
        time.sleep(0.2)
        return super().download(version, folder)


def test_workers_that_race_download_a_version_once(settings, registry, monkeypatch) -> None:
    monkeypatch.setattr(Asked, "downloads", 0)
    put(registry, ONE)
    workers = [Serving(settings, Asked(settings)) for _ in range(4)]
    threads = [threading.Thread(target=worker.refresh) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [number_of(worker) for worker in workers] == [ONE] * 4
    assert Asked.downloads == 1


class Silent(Registry):
    """A registry that nobody may ask."""

    def champion(self):
        raise AssertionError("asked")


def test_only_the_leader_asks_and_the_others_follow(settings, registry) -> None:
    put(registry, ONE)
    leader, other = Serving(settings, registry), Serving(settings, Silent(settings))
    for number in (ONE, TWO):
        put(registry, number)
        leader.look(every=0)
        other.look(every=0)
        assert (number_of(leader), number_of(other)) == (number, number)
    put(registry, CUT)
    leader.look(every=0)
    other.look(every=0)
    assert other.refused == leader.refused is not None


def test_once_one_worker_says_ready_every_other_answers_at_once(settings, registry) -> None:
    """Whoever waits for ready may be sent to a worker that looked, in vain, a moment ago."""
    leader, other = Serving(settings, registry), Serving(settings, Silent(settings))
    leader.look()
    other.look()
    assert other.live is None
    put(registry, ONE)
    leader.look(every=0)
    assert number_of(other) == ONE


def test_only_the_live_version_and_the_one_before_are_kept(serving, settings, registry) -> None:
    for number in (TWO, THREE):
        put(registry, number)
        serving.refresh()
    kept = {path.name for path in (settings.home / "serving/churn-classifier").iterdir()}
    assert kept == {TWO, THREE}
    assert not list((settings.home / "serving").glob(".*"))


def test_a_request_never_waits_for_a_refresh(serving, registry, monkeypatch) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow():
        entered.set()
        leave.wait(20)
        raise Unavailable("too late")

    monkeypatch.setattr(registry, "champion", slow)
    thread = threading.Thread(target=serving.refresh)
    thread.start()
    assert entered.wait(5)
    began = time.monotonic()
    assert number_of(serving) == ONE
    assert serving.contract
    assert time.monotonic() - began < 1
    leave.set()
    thread.join()


def test_a_home_that_cannot_be_written_is_told_and_mends_itself(settings, registry) -> None:
    put(registry, ONE)
    (settings.home / "serving").write_text("in the way")
    worker = Serving(settings, registry)
    worker.look()
    assert worker.live is None
    assert "CHURN_HOME must be a folder that can be written" in worker.reason
    (settings.home / "serving").unlink()
    worker.look(every=0)
    assert (number_of(worker), worker.reason) == (ONE, "")


def test_a_registry_made_anew_is_told_from_the_one_before(tmp_path: Path) -> None:
    """Its version 1 is another one."""
    from churn.shelf import Served

    shelf = Shelf(tmp_path)
    first, second = (Served("name", "1", run, "", {}, {}) for run in "ab")
    assert shelf.place(first) != shelf.place(second)
