"""A new champion without a restart: swapped, refused, remembered; over a real SQLite registry."""

import json
import logging
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import skops.io

from api.app import create_app
from api.serving import Serving
from churn import contract as contracts
from churn import settings as settings_of
from churn.errors import NoChampion, Unavailable
from churn.kinds import CLASSIFIER, KINDS, RECOMMENDER
from churn.promotion import promote, rollback
from churn.registry import CHALLENGER, Registry
from churn.scoring import ModelVersion
from churn.settings import Settings
from churn.shelf import Shelf
from tests import versions
from tests.conftest import ROOT
from tests.versions import NOBODY, WAYS, Way, both_ways

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
    """A home whose registry holds the seven versions of each kind; none is in service."""
    folder = tmp_path_factory.mktemp("versions")
    settings = settings_of.load().model_copy(update={"home": folder / "home"})
    Registry(settings)
    for way in WAYS:
        numbers = [versions.register(settings, one, way.kind) for one in seven(way, folder / way.kind.name)]
        assert numbers == [ONE, TWO, THREE, SHORT, CUT, RENAMED, FOREIGN]
    return folder


def seven(way: Way, folder: Path) -> list[Path]:
    good = [way.write(folder / name, start=start) for name, start in (("a", 0), ("b", 900), ("c", 1800))]
    short = way.write(folder / "short", without_last=True)
    whole = (good[0] / way.part).read_bytes()
    cut = versions.tampered(good[0], folder / "cut", way.part, whole[: len(whole) // 2])
    text = (good[0] / "contract.yaml").read_text()
    name = next(iter(contracts.load(good[0] / "contract.yaml").features))
    renamed = versions.tampered(good[0], folder / "renamed", "contract.yaml", text.replace(name, "other").encode())
    foreign = way.foreign(good[0], folder / "foreign", Payload(str(folder / "trace")))
    return [*good, short, cut, renamed, foreign]


@pytest.fixture
def settings(made: Path, tmp_path: Path) -> Settings:
    return versions.beside(made / "home", tmp_path / "home")


@pytest.fixture
def way(request: pytest.FixtureRequest) -> Way:
    """The kind that a test is about: the classifier, unless it is for both."""
    kind = getattr(request, "param", CLASSIFIER)
    return next(way for way in WAYS if way.kind is kind)


@pytest.fixture
def registry(settings: Settings, way: Way) -> Registry:
    return Registry(settings, kind=way.kind)


def put(registry: Registry, number: str) -> None:
    """Move the alias as MLflow's page would: nobody asks whether the version is any good."""
    registry.client.set_registered_model_alias(registry.name, "champion", number)


@pytest.fixture
def serving(settings: Settings, registry: Registry) -> Serving:
    """A worker that serves version 1."""
    put(registry, ONE)
    worker = Serving(settings, registry, kind=registry.kind)
    worker.refresh()
    return worker


def api(settings: Settings, serving: Serving):
    """An API around a worker's part, which serves version 1 of the other kinds."""
    parts = {serving.kind.name: serving}
    for kind in (CLASSIFIER, RECOMMENDER):
        if kind is not serving.kind:
            other = parts[kind.name] = serving.beside(kind)
            other.catch_up()
            if other.live is None:
                put(other.registry, ONE)
                other.refresh()
    return create_app(settings, serving=parts[CLASSIFIER.name], recommender=parts[RECOMMENDER.name]).test_client()


def number_of(worker: Serving) -> str:
    return worker.loaded().model.version


def expected(way: Way, made: Path, name: str = "a") -> object:
    """What one of the made versions says of the example."""
    model = way.kind.load(made / way.kind.name / name, ModelVersion(way.kind.name, ONE))
    return way.ask(model, model.contract.example)


@both_ways
def test_a_new_champion_is_served_and_a_request_keeps_what_it_began_with(serving, registry, made, way: Way) -> None:
    before = serving.loaded()
    put(registry, TWO)
    serving.refresh()
    for model, folder, number in ((before, "a", ONE), (serving.loaded(), "b", TWO)):
        assert model.model.version == number
        assert way.ask(model, before.contract.example) == expected(way, made, folder)
    assert expected(way, made, "a") != expected(way, made, "b")


@pytest.mark.parametrize(
    ("way", "broken", "reason"),
    [
        (CLASSIFIER, CUT, "does not load"),
        (CLASSIFIER, RENAMED, "scorer.onnx was made for other columns"),
        (CLASSIFIER, FOREIGN, "untrusted types: .*Payload"),
        (RECOMMENDER, CUT, "does not load"),
        (RECOMMENDER, RENAMED, "other columns"),
        (RECOMMENDER, FOREIGN, "allow_pickle=False"),
    ],
    indirect=["way"],
    ids=lambda told: getattr(told, "name", None),
)
def test_a_broken_version_is_refused_and_the_old_one_goes_on(
    serving, registry, settings, made, caplog, way: Way, broken: str, reason: str
) -> None:
    client = api(settings, serving)
    before = sum(refused_count(client))
    put(registry, broken)
    with caplog.at_level(logging.WARNING, "api"):
        for _ in range(3):
            serving.refresh()
    assert number_of(serving) == ONE
    assert client.post("/predict", json=serving.contract.example).get_json()["model"]["version"] == ONE
    told = client.get("/models").get_json()
    assert [(model["name"], model["version"]) for model in told["models"]] == [(kind.name, ONE) for kind in KINDS]
    (refused,) = told["refused"]
    assert (refused["name"], refused["version"]) == (way.kind.name, broken)
    ready = client.get("/health/ready")
    assert ready.status_code == 200
    for text in (refused["reason"], ready.get_json()["detail"], caplog.text):
        assert re.search(reason, text), text
    assert len(caplog.records) == 1
    assert sum(refused_count(client)) == before + 1
    assert not (made / way.kind.name / "trace").exists()
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


@both_ways
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


@both_ways
def test_with_the_registry_down_the_last_good_version_serves_from_the_start(serving, settings, made, way: Way) -> None:
    api(settings, serving)
    down = settings.model_copy(update={"mlflow_tracking_uri": NOBODY})
    worker = Serving(down, kind=way.kind)
    client = api(down, worker)
    worker.catch_up()
    worker.look()
    assert (number_of(worker), way.ask(worker.loaded(), worker.contract.example)) == (ONE, expected(way, made))
    assert client.post("/predict", json=worker.contract.example).get_json()["model"]["version"] == ONE
    told = client.get("/models").get_json()
    assert [model["name"] for model in told["models"] if model["since"]] == [kind.name for kind in KINDS]
    ready = client.get("/health/ready")
    assert (ready.status_code, NOBODY in ready.get_json()["detail"]) == (200, True)


def test_without_a_recommender_the_api_is_ready_and_says_why_there_is_none(serving, settings, registry) -> None:
    recommender = serving.beside(RECOMMENDER)
    client = create_app(settings, serving=serving, recommender=recommender).test_client()
    recommender.look()
    ready = client.get("/health/ready")
    told = "offer-recommender: no version of offer-recommender is in service yet: train one first"
    assert (ready.status_code, ready.get_json()["detail"]) == (200, told)
    assert client.get("/models").get_json()["warning"] == told
    put(recommender.registry, CUT)
    recommender.look(every=0)
    assert client.get("/health/ready").status_code == 200
    assert [one["name"] for one in client.get("/models").get_json()["refused"]] == ["offer-recommender"]


def test_a_first_recommender_that_the_gate_has_refused_is_told_with_its_reason(serving, settings, registry) -> None:
    recommender = serving.beside(RECOMMENDER)
    own = recommender.registry
    own.client.set_registered_model_alias(RECOMMENDER.name, CHALLENGER, ONE)
    own.judged(own.version(ONE), {"gate": "refused", "gate_reason": "it does not beat popularity"})
    client = create_app(settings, serving=serving, recommender=recommender).test_client()
    recommender.look()
    told = "is in service yet: the gate has refused version 1: it does not beat popularity"
    assert client.get("/models").get_json()["warning"].endswith(told)
    assert client.get("/health/ready").get_json()["detail"].endswith(told)


def test_under_a_contract_without_products_nobody_is_told_to_train_a_recommender(serving, settings, registry) -> None:
    recommender = serving.beside(RECOMMENDER)
    client = create_app(settings, serving=serving, recommender=recommender).test_client()
    recommender.look()
    served, scorer = serving.live
    serving._live = served, replace(scorer, contract=scorer.contract.model_copy(update={"products": {}}))
    told = "offer-recommender: the contract names 0 products, and a recommender needs 2"
    assert client.get("/models").get_json()["warning"].startswith(told)
    put(recommender.registry, CUT)  # somebody has put one into service all the same: why it is refused is told
    recommender.look(every=0)
    assert "names 0 products" not in client.get("/models").get_json()["warning"]


def test_one_worker_asks_for_all_kinds(settings, serving, registry) -> None:
    leader, other = serving, Serving(settings, Silent(settings))
    beside = other.beside(RECOMMENDER)
    put(leader.beside(RECOMMENDER).registry, ONE)
    leader.look(every=0)
    beside.look(every=0)
    assert beside.live is None
    leader.beside(RECOMMENDER).look(every=0)
    assert number_of(beside) == ONE


def test_a_state_of_before_there_were_kinds_is_still_read(serving, settings, registry) -> None:
    folder = settings.home / "serving"
    (folder / "churn-classifier/state.json").rename(folder / "state.json")
    down = settings.model_copy(update={"mlflow_tracking_uri": NOBODY})
    classifier = Serving(down)
    classifier.catch_up()
    recommender = classifier.beside(RECOMMENDER)
    recommender.catch_up()
    assert (number_of(classifier), recommender.live) == (ONE, None)
    put(registry, TWO)
    serving.refresh()
    classifier.catch_up()
    assert number_of(classifier) == TWO
    assert json.loads((folder / "state.json").read_bytes())["live"]["version"] == ONE  # nobody reads it any more


def test_a_start_imports_neither_mlflow_nor_scikit_learn(serving, settings) -> None:
    api(settings, serving)
    code = (
        "import sys\nfrom churn.settings import load\nfrom api.serving import Serving\nfrom api.app import create_app\n"
        "from churn.kinds import RECOMMENDER\n"
        "worker = Serving(load())\nbeside = worker.beside(RECOMMENDER)\n"
        "create_app(load(), serving=worker, recommender=beside)\nworker.catch_up()\nbeside.catch_up()\n"
        "worker.scorer().predict([worker.contract.example])\nmodel = beside.loaded()\n"
        "model.liking(model.encoder.customers([worker.contract.example]))\n"
        "print({'mlflow', 'sklearn', 'pandas', 'pyarrow', 'scipy', 'lightfm'} & set(sys.modules))"
    )
    env = {"CHURN_HOME": str(settings.home), "PATH": ""}
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert told.stdout.strip() == "set()", told.stderr


@both_ways
def test_a_copy_that_was_cut_off_is_fetched_anew_and_never_served(serving, settings, registry, way: Way) -> None:
    (contract,) = (settings.home / "serving").rglob("contract.yaml")
    whole = contract.read_bytes()
    contract.write_bytes(whole[: whole.index(b"products:")])  # reads as a contract, and is another
    alone = Serving(settings.model_copy(update={"mlflow_tracking_uri": NOBODY}), kind=way.kind)
    alone.catch_up()
    assert alone.live is None
    worker = Serving(settings, registry, kind=way.kind)
    worker.refresh()
    assert number_of(worker) == ONE
    assert contract.read_bytes() == whole


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"live": 1}', b"\xff"])
def test_a_broken_state_is_written_anew(serving, settings, registry, content: bytes) -> None:
    (settings.home / "serving/churn-classifier/state.json").write_bytes(content)
    worker = Serving(settings, registry)
    worker.refresh()
    assert number_of(worker) == ONE
    assert json.loads((settings.home / "serving/churn-classifier/state.json").read_bytes())["live"]["version"] == ONE


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


@both_ways
def test_only_the_leader_asks_and_the_others_follow(settings, registry, way: Way) -> None:
    put(registry, ONE)
    leader = Serving(settings, registry, kind=way.kind)
    other = Serving(settings, Silent(settings, kind=way.kind), kind=way.kind)
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


@both_ways
def test_only_the_live_version_and_the_one_before_are_kept(serving, settings, registry, way: Way) -> None:
    api(settings, serving)
    for number in (TWO, THREE):
        put(registry, number)
        serving.refresh()
    kept = {str(path.relative_to(settings.home / "serving")) for path in (settings.home / "serving").glob("*/[0-9]*")}
    others = {f"{kind.name}/{ONE}" for kind in KINDS if kind is not way.kind}
    assert kept == {f"{way.kind.name}/{TWO}", f"{way.kind.name}/{THREE}", *others}
    assert not list((settings.home / "serving").glob("*/.*"))


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


def test_no_request_waits_for_a_recommender(serving, settings, monkeypatch) -> None:
    entered, leave = threading.Event(), threading.Event()
    recommender = serving.beside(RECOMMENDER)

    def slow():
        entered.set()
        leave.wait(20)
        raise Unavailable("too late")

    monkeypatch.setattr(recommender.registry, "champion", slow)
    thread = threading.Thread(target=recommender.refresh)
    thread.start()
    assert entered.wait(5)
    began = time.monotonic()
    with pytest.raises(NoChampion):
        recommender.loaded()
    assert number_of(serving) == ONE
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
