"""Segments in a whole training: what a version carries, who is told of it, and the registered personas."""

import itertools
import json
import logging
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from churn import audit, jobs, persona_models, personas, segmentation, segments
from churn.contract import BANDS
from churn.errors import RefusedModel
from churn.promoter import Promoter
from churn.registry import CHALLENGER, CHAMPION, Registry
from churn.scoring import DECISION_FILE, Scorer
from churn.settings import Settings
from churn.versions import Version
from tests import versions

NAME = persona_models.NAME


@pytest.fixture(scope="module")
def mlflow_client(settings: Settings) -> MlflowClient:
    return MlflowClient(settings.tracking_uri, settings.tracking_uri)


def alias(client: MlflowClient, name: str = CHAMPION) -> str | None:
    found = client.get_registered_model(NAME).aliases.get(name)
    return found and str(found)


# --- bands


def test_the_bands_observed_rates_are_ordered_with_intervals_that_do_not_overlap(
    settings: Settings, champion, scorer: Scorer
) -> None:
    """On the report set, which no training has seen, and on out-of-fold predictions."""
    from churn import preparation

    rows = preparation.load(jobs.prepare(settings, "bands"))
    features, target = rows.rows("report")
    seen = segmentation.observed(
        np.asarray(target), scorer.probabilities(scorer.encoder.frame(features)), rows.contract
    )
    reported = segmentation.of_metrics(champion.metrics, segmentation.REPORTED)
    assert [reported[band] for band in BANDS] == [one.observed for one in seen]
    assert scorer.segments is not None
    for bands in (seen, scorer.segments.bands):
        assert segmentation.stand_apart(bands)
        for higher, lower in itertools.pairwise(one.observed for one in bands):
            assert higher.churn_rate > higher.low > lower.high > lower.churn_rate


def test_thresholds_are_proposed_beside_the_contracts(champion, scorer: Scorer) -> None:
    told = scorer.segments.proposed
    assert told.source == "profit curve"
    assert 0.1 < told.medium < 0.25  # contacting pays from 0.164 on
    assert 0.5 < told.high < 0.7
    assert (champion.metrics["proposed_high"], champion.metrics["proposed_medium"]) == (told.high, told.medium)


def test_rules_tell_the_high_band(scorer: Scorer) -> None:
    told = scorer.segments.rules
    assert told.rules
    assert told.fidelity.accuracy > 0.9
    assert told.fidelity.f1 > 0.65
    labels = {column.title for column in scorer.contract.features.values()}
    for rule in told.rules:
        assert all(any(condition.words.startswith(label) for label in labels) for condition in rule.conditions)
        assert rule.churn_rate > 0.45
        assert rule.text.endswith("% leave")


def test_the_model_card_tells_of_bands_rules_and_personas(settings: Settings, champion, tmp_path: Path) -> None:
    card = Registry(settings).run_file(champion.run_id, "model_card.md", tmp_path).read_text(encoding="utf-8")
    for said in ("## Risk bands", "do not overlap", "proposes 0.", "## The high band in rules", "## Personas"):
        assert said in card


# --- personas


def test_the_registered_personas_are_those_that_the_classifier_carries(
    settings: Settings, champion, scorer: Scorer, mlflow_client: MlflowClient, tmp_path: Path
) -> None:
    import mlflow
    import skops.io

    from churn.clustering import TYPES

    number = persona_models.number_of(champion)
    assert alias(mlflow_client) == number
    version = mlflow_client.get_model_version(NAME, number)
    assert version.tags["classifier_version"] == champion.version
    source = mlflow_client.get_model_version_download_uri(NAME, number)
    folder = Path(
        mlflow.artifacts.download_artifacts(source, dst_path=str(tmp_path), tracking_uri=settings.tracking_uri)
    )
    assert personas.load(folder, scorer.contract, expected=version.tags["sha256"]).told == scorer.personas.told
    (pipeline_file,) = folder.rglob("*.skops")
    pipeline = skops.io.load(pipeline_file, trusted=list(TYPES))
    from churn.data import features_and_target, read_rows, validate

    contract = scorer.contract
    path = settings.contract.parent / contract.rows.training
    features, _ = features_and_target(
        validate(read_rows(path, contract.rows.format), contract, target="required"), contract
    )
    assert (pipeline.predict(features) == scorer.personas.assign(scorer.encoder.frame(features))).all()
    assert not list(folder.rglob("*.pkl"))


def test_registering_twice_makes_one_version(settings: Settings, champion, mlflow_client: MlflowClient) -> None:
    prepared = next((settings.home / "prepared").glob("command-line-*"))
    before = len(mlflow_client.search_model_versions(f"name='{NAME}'"))
    assert jobs.register(settings, f"runs:/{champion.run_id}", prepared) == champion.version
    assert len(mlflow_client.search_model_versions(f"name='{NAME}'")) == before


def test_a_training_finds_the_same_personas_again(settings: Settings, scorer: Scorer) -> None:
    prepared = jobs.segment(settings, jobs.prepare(settings, "again"))
    assert personas.read(prepared / personas.FILE) == scorer.personas.told


# --- replies


def test_a_prediction_says_band_and_persona(client, customers, scorer: Scorer) -> None:
    told = client.post("/predict", json={"customers": customers[:200]}).get_json()["predictions"]
    names = scorer.persona_names(scorer.encoder.customers(customers[:200]))
    assert [one["persona"] for one in told] == names
    assert len(set(names)) > 1
    one = client.post("/predict", json=customers[0]).get_json()
    assert (one["persona"], one["risk"]) == (names[0], told[0]["risk"])


def test_segments_are_told(client, champion, scorer: Scorer) -> None:
    told = client.get("/segments").get_json()
    assert told["model"] == {"name": champion.name, "version": champion.version}
    assert [(one["band"], one["threshold"]) for one in told["bands"]] == [("high", 0.6), ("medium", 0.3), ("low", 0.0)]
    assert [one["action"] for one in told["bands"]] == [scorer.contract.risk[band].action for band in BANDS]
    for one in told["bands"]:
        for figures in (one["out_of_fold"], one["report"]):
            assert figures["low"] < figures["churn_rate"] < figures["high"]
    assert told["bands"][0]["out_of_fold"]["customers"] > told["bands"][0]["report"]["customers"]
    assert told["proposed"] == scorer.segments.proposed.model_dump()
    assert [one["name"] for one in told["personas"]] == scorer.personas.names
    assert sum(one["share"] for one in told["personas"]) == pytest.approx(1)
    assert len(told["personas"][0]["profile"]) == len(scorer.contract.features)
    assert told["personas_fit"]["stable"] is True
    assert (told["personas_note"], told["ranked_by"]) == ("", "revenue_at_risk")
    assert told["rules"]["fidelity"]["accuracy"] > 0.9
    assert told["rules"]["rules"][0]["conditions"]


# --- versions that carry none, or damaged ones


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version as it was made before there were segments."""
    return versions.write(tmp_path_factory.mktemp("bare") / "version")


def test_an_older_version_serves_without(bare: Path, customers) -> None:
    scorer = versions.read(bare)
    assert (scorer.personas, scorer.segments) == (None, None)
    read, faults = scorer.contract.read({n: v for n, v in customers[0].items() if n != scorer.contract.id})
    assert not faults
    assert scorer.predict([read])[0].as_dict()["persona"] is None


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory, bare: Path):
    """A registry with two versions whose personas are registered, and a third that carries none."""
    own = Settings(home=tmp_path_factory.mktemp("moved"))
    registry = Registry(own)
    client = MlflowClient(own.tracking_uri, own.tracking_uri)
    client.create_registered_model(NAME)
    for number in ("1", "2"):
        client.create_model_version(NAME, source=bare.as_uri())
        versions.register(own, bare)
        registry.tag(registry.version(number), {"personas_version": number})
    versions.register(own, bare)
    return own, client, Promoter(registry, audit.writer(own), by="a test", source="a test")


def test_an_older_version_tells_its_bands_alone(moved) -> None:
    from api.app import create_app
    from api.serving import Serving

    own, _, promoter = moved
    promoter.promote("3", despite_gate="a test")
    serving = Serving(own, Registry(own))
    serving.refresh()
    told = create_app(own, serving=serving).test_client().get("/segments").get_json()
    assert [one["out_of_fold"] for one in told["bands"]] == [None] * 3
    assert (told["personas"], told["rules"], told["proposed"]) == ([], None, None)
    assert told["personas_note"] == "this version tells of no personas"


@pytest.mark.parametrize(
    ("part", "content"),
    [(personas.FILE, b""), (personas.FILE, b"{}"), (segments.FILE, b"[]"), (segments.FILE, b'{"bands": []}')],
)
def test_a_version_whose_segments_are_damaged_is_refused(part: str, content: bytes, bare: Path, tmp_path: Path) -> None:
    with pytest.raises(RefusedModel):
        versions.read(versions.tampered(bare, tmp_path / "copy", part, content))


def test_a_version_that_has_lost_its_personas_is_refused(bare: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bare, copy)
    decision = json.loads((copy / DECISION_FILE).read_text(encoding="utf-8"))
    (copy / DECISION_FILE).write_text(json.dumps(decision | {"personas": "a hash"}), encoding="utf-8")
    with pytest.raises(RefusedModel, match=r"personas\.json is missing"):
        versions.read(copy)


# --- the alias


def test_the_alias_of_the_personas_follows_promotions_and_rollbacks(moved) -> None:
    _, client, promoter = moved
    promoter.promote("1", despite_gate="a test")
    assert alias(client) == "1"
    promoter.promote("2", despite_gate="a test")
    assert alias(client) == "2"
    promoter.rollback()
    assert alias(client) == "1"
    promoter.promote("3", despite_gate="a test")
    assert alias(client) is None


def test_the_personas_of_the_challenger_are_the_challenger_until_they_are_promoted(
    moved, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, client, promoter = moved
    registry = Registry(own)

    def create(*_: object) -> str:
        return str(client.create_model_version(NAME, source="file:///nowhere").version)

    monkeypatch.setattr(persona_models, "_create", create)
    older, newer = (versions.register(own, bare) for _ in range(2))
    client.set_registered_model_alias("churn-classifier", CHALLENGER, newer)
    told = {}
    for number in (newer, older):
        found = persona_models.register(registry, None, registry.version(number))  # type: ignore[arg-type]
        told[number] = persona_models.number_of(found)
        assert alias(client, CHALLENGER) == told[newer]
    promoter.promote(older, despite_gate="a test")
    assert (alias(client), alias(client, CHALLENGER)) == (told[older], told[newer])
    promoter.promote(newer, despite_gate="a test")
    assert (alias(client), alias(client, CHALLENGER)) == (told[newer], None)


def test_an_alias_that_cannot_be_moved_holds_no_promotion_back(
    moved, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client, promoter = moved
    promoter.promote("1", despite_gate="a test")
    client.delete_model_version(NAME, "2")
    with caplog.at_level(logging.WARNING):
        assert promoter.promote("2", despite_gate="a test").version.version == "2"
    assert "was not moved" in caplog.text
    assert alias(client) == "1"

    def down(*_: object) -> None:
        raise MlflowException("the database is away")

    monkeypatch.setattr(promoter._registry.client, "get_registered_model", down)
    caplog.clear()
    nothing = Version("churn-classifier", "9", "", datetime.now(UTC), {}, {}, {})
    persona_models.follow(promoter._registry, nothing)
    assert "the database is away" in caplog.text
