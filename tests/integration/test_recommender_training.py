"""A recommender's training into the real registry: what its run tells, and what the gate keeps out."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from churn import audit
from churn import contract as contracts
from churn import recommender_jobs as jobs
from churn.cli import main
from churn.encoding import customers as plain
from churn.errors import NoChampion, Refused
from churn.interaction_records import Interaction, record
from churn.item_features import MIN_ACCEPTED
from churn.judged import EASE, POPULARITY, SHORT
from churn.kinds import RECOMMENDER
from churn.preparation import load
from churn.recommender_models import EXPERIMENT
from churn.registry import Registry
from churn.settings import Settings
from churn.store import Store
from churn.versions import CONTRACT_ACCEPTED
from tests import versions

FEW = 2_000
"""Customers are enough to show that there is nothing to learn."""


def registry(settings: Settings) -> Registry:
    return Registry(settings, kind=RECOMMENDER)


def copied_data(settings: Settings, folder: Path, **other: object) -> Path:
    """The contract beside a copy of its rows, changed by ``other``; its path."""
    contract = contracts.load(settings.contract)
    shutil.copytree(settings.contract.parent, folder)
    (folder / "contract.yaml").write_text(contracts.dump(contract.model_copy(update=other)), encoding="utf-8")
    return folder / "contract.yaml"


def trail(settings: Settings) -> list[audit.Entry]:
    """What the audit trail of a home says of the recommender, oldest first."""
    store = Store(settings)
    try:
        return [one for one in audit.entries(store)[::-1] if one.subject.startswith(RECOMMENDER.name)]
    finally:
        store.close()


def registered(settings: Settings, folder: Path, **made: object) -> str:
    """Another version, quickly made, that has passed a gate in which it was held against no champion."""
    number = versions.register(settings, versions.write_recommender(folder, **made), RECOMMENDER)
    own = registry(settings)
    own.judged(own.version(number), {"gate": "passed", "gate_against": ""})
    return number


def commanded(settings: Settings, *arguments: str) -> Result:
    """`churn train-recommender` in a home, with a contract."""
    env = {"CHURN_HOME": str(settings.home), "CHURN_CONTRACT": str(settings.contract)}
    return CliRunner().invoke(main, ["train-recommender", *arguments], env=env)


@pytest.fixture
def own_home(settings: Settings, recommender_champion, tmp_path: Path) -> Settings:
    """A home of the same champions; their artefacts stay where they are."""
    shutil.copytree(settings.home / "mlflow", tmp_path / "home/mlflow", ignore=shutil.ignore_patterns("artifacts"))
    return settings.model_copy(update={"home": tmp_path / "home"})


def test_the_run_tells_how_good_it_is_beside_its_baselines(settings: Settings, recommender_champion) -> None:
    figures = recommender_champion.metrics
    for rival in (EASE, POPULARITY):
        assert figures["ndcg_at_5"] > figures[f"ndcg_at_5_{rival}"] > 0.5
        assert figures[f"ndcg_at_5_over_{rival}_low"] > 0
        assert figures[f"cold_ndcg_at_5_over_{rival}"] > 0
    assert figures["ndcg_at_5_low"] < figures["ndcg_at_5"] < figures["ndcg_at_5_high"]
    bands = sum(figures[f"{band}_customers"] for band in ("high", "medium", "low"))
    assert bands == figures["customers"]
    own = registry(settings)
    run = own.client.get_run(recommender_champion.run_id)
    assert own.client.get_experiment(run.info.experiment_id).name == EXPERIMENT
    told = {"folds": "2", "items": "8", "interactions": "0", "rows": "5607", "seed": str(settings.seed)}
    assert told.items() <= run.data.params.items()
    steps = [each.step for each in own.client.get_metric_history(recommender_champion.run_id, f"fold_{SHORT[0]}")]
    assert steps == [0, 1]


def test_the_run_has_a_plot_and_a_table(settings: Settings, recommender_champion, tmp_path: Path) -> None:
    own = registry(settings)
    names = [Path(one.path).name for one in own.client.list_artifacts(recommender_champion.run_id, "reports")]
    pictures = [name for name in names if name.endswith(".png")]
    assert pictures
    for name in pictures:
        picture = own.run_file(recommender_champion.run_id, name, tmp_path)
        assert picture.read_bytes().startswith(b"\x89PNG")
    with own.run_file(recommender_champion.run_id, "comparison.csv", tmp_path).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    served = {row["model"]: float(row["ndcg_at_5"]) for row in rows if row["view"] == "As served"}
    assert served["LightFM"] == recommender_champion.metrics["ndcg_at_5"]
    assert len(served) == 3


def test_the_version_carries_its_files_and_nothing_pickled(settings: Settings, recommender_champion, tmp_path) -> None:
    folder = registry(settings).download(recommender_champion, tmp_path / "model")
    files = {path.name for path in folder.rglob("*") if path.is_file()}
    assert files >= {"contract.yaml", "recommender.npz", "recommender.json", "check.json", "MLmodel"}
    assert not {name for name in files if name.endswith((".pkl", ".pickle", ".joblib"))}
    recommender = registry(settings).load(recommender_champion)
    assert recommender.told["not_beaten"] == []
    assert recommender.told["data_hash"] == recommender_champion.provenance["data_hash"]


def test_mlflow_reads_the_version_by_itself_and_says_what_serving_says(settings, recommender_champion, customers):
    own = registry(settings)
    recommender = own.load(recommender_champion)
    encoded = recommender.encoder.customers(customers)
    with own.as_default():
        loaded = mlflow.pyfunc.load_model(f"models:/{RECOMMENDER.name}/{recommender_champion.version}")
        told = loaded.predict(pd.DataFrame(plain(encoded, recommender.encoder)))
    assert list(told) == list(recommender.items)
    owned = recommender.ownership.owned(encoded)
    assert not told.to_numpy()[owned].any()
    assert np.array_equal(told.to_numpy()[~owned], recommender.propensity(recommender.liking(encoded))[~owned])


def test_a_training_is_due_when_the_rows_change_and_not_before(own_home: Settings, tmp_path: Path) -> None:
    path = copied_data(own_home, tmp_path / "data")
    moved = own_home.model_copy(update={"contract": path})
    assert not jobs.training_is_due(own_home)
    shutil.copy(own_home.contract, path)
    assert not jobs.training_is_due(moved)
    with (path.parent / "customers.csv").open("a") as rows:
        rows.write("\n")
    assert jobs.training_is_due(moved)


def test_it_waits_for_a_classifier_that_takes_the_contracts_rows(own_home: Settings, tmp_path: Path) -> None:
    features = dict(contracts.load(own_home.contract).features)
    number = next(name for name, column in features.items() if column.type == "integer")
    features[number] = features[number].model_copy(update={"max": 1_000})
    other = own_home.model_copy(update={"contract": copied_data(own_home, tmp_path / "data", features=features)})
    assert "in service, takes other rows than the contract has" in jobs.why_not_yet(other)
    assert not jobs.training_is_due(other)


def test_a_contract_without_products_says_so(own_home: Settings, tmp_path: Path) -> None:
    none = own_home.model_copy(update={"contract": copied_data(own_home, tmp_path / "data", products={})})
    assert not jobs.training_is_due(none)
    done = commanded(none)
    assert done.exit_code == 1
    assert "churn: the contract names 0 products, and a recommender needs 2" in done.stderr
    assert not (none.home / "prepared").exists()


def test_shuffled_ownership_is_kept_out_though_nothing_serves(settings: Settings, tmp_path: Path) -> None:
    path = copied_data(settings, tmp_path / "data")
    rows = pd.read_csv(path.parent / "customers.csv", dtype=str, keep_default_na=False).head(FEW)
    random = np.random.default_rng(1)
    for product in contracts.load(path).products:
        rows[product] = random.permutation(rows[product].to_numpy())
    rows.to_csv(path.parent / "customers.csv", index=False)
    own = settings.model_copy(update={"contract": path, "home": tmp_path / "home"})
    assert "no version of churn-classifier is in service" in jobs.why_not_yet(own)
    assert not jobs.training_is_due(own)
    with pytest.raises(Refused, match=r"the gate has refused it: nDCG at 5 .* does not beat"):
        jobs.train_recommender(own, folds=2)
    version = registry(own).version("1")
    assert "does not beat popularity" in (version.refused or "")
    assert registry(own).history() == []
    with pytest.raises(NoChampion, match=r"the gate has refused version 1: nDCG at 5 .* does not beat"):
        registry(own).champion()


def test_accepted_offers_are_learned_and_the_challenger_is_held_against_the_champion(own_home: Settings) -> None:
    settings = own_home
    contract = contracts.load(settings.contract)
    offer, rare = list(contract.offers)[:2]
    prepared = jobs.prepare(settings, "with offers")
    ids = load(prepared).ids("train")
    told = [Interaction(row=1, customer_id=one, item=offer, event="accepted") for one in ids[:MIN_ACCEPTED]]
    told += [Interaction(row=1, customer_id=ids[0], item=rare, event="accepted")]
    told += [Interaction(row=1, customer_id="nobody", item=offer, event="accepted")]
    store = Store(settings)
    record(store, told, by="a test")
    store.close()
    plan = replace(jobs.plan_of(settings), steps=300_000)  # enough for some of the epochs
    number = jobs.register(settings, jobs.train(settings, prepared, plan, folds=2), prepared)
    version = jobs.judge(settings, number, prepared)
    assert (version.tags["gate"], version.tags["gate_against"]) == ("passed", "1")
    assert float(version.tags["gate_ndcg_loss_upper"]) < settings.gate_ndcg
    assert jobs.promote(settings, number, by="a test").version == number
    assert registry(settings).load(version).items == (*contract.products, offer)
    run = registry(settings).client.get_run(version.run_id)
    assert run.data.params["interactions"] == str(MIN_ACCEPTED)
    assert 10 < int(run.data.params["epochs"]) < plan.epochs


def test_a_recommender_of_other_products_follows_the_contract(own_home: Settings, tmp_path: Path) -> None:
    products = dict(contracts.load(own_home.contract).products)
    products.popitem()
    other = own_home.model_copy(update={"contract": copied_data(own_home, tmp_path / "data", products=products)})
    done = commanded(other, "--folds", "2")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("offer-recommender version 2 is in service\n  nDCG at 5        0.")
    version = registry(other).champion()
    assert version.tags["gate_note"].endswith("version 1, in service, recommends other products")
    assert "recommends other products" in registry(other).history()[0].reason


def test_an_ordinary_promotion_accepts_no_other_rows_and_its_repetition_changes_nothing(
    settings: Settings, own_home: Settings, recommender_champion
) -> None:
    first = trail(settings)[0]
    assert (first.action, first.outcome, first.detail) == ("promote", "done", "")
    jobs.promote(own_home, recommender_champion.version, by="Airflow again")
    again = trail(own_home)[-1]
    assert (again.by, again.outcome, again.detail) == ("Airflow again", "unchanged", "")
    assert not CONTRACT_ACCEPTED.items() & registry(own_home).champion().tags.items()


def test_other_rows_are_accepted_once_the_classifier_takes_them(own_home: Settings, tmp_path: Path) -> None:
    own = registry(own_home)
    short = registered(own_home, tmp_path / "short", without_last=True)
    with pytest.raises(Refused, match="version 1 is in service"):
        jobs.promote(own_home, short, by="a test")  # the classifier takes the rows of before
    own.move(own.version(short), by="a test", how="promote")
    number = registered(own_home, tmp_path / "whole")
    assert jobs.promote(own_home, number, by="a test").contract_accepted
    assert (trail(own_home)[-1].outcome, trail(own_home)[-1].detail) == ("done", "other rows accepted")


@pytest.mark.parametrize("part", ["contract.yaml", "recommender.npz", ""], ids=["contract", "numbers", "everything"])
def test_a_champion_that_cannot_be_read_is_replaced(own_home: Settings, tmp_path: Path, part: str) -> None:
    own, folder = registry(own_home), tmp_path / "broken"
    own.move(own.version(registered(own_home, folder)), by="a test", how="promote")
    (folder / part).unlink() if part else shutil.rmtree(folder)
    number = registered(own_home, tmp_path / "whole", start=900)
    assert jobs.promote(own_home, number, by="a test").version == number
    assert own.champion().version == number
    told = trail(own_home)[-1]
    assert (told.outcome, bool(told.detail)) == ("done", True)


def test_rows_in_which_nobody_owns_anything_are_asked_for_once(own_home: Settings, tmp_path: Path) -> None:
    path = copied_data(own_home, tmp_path / "data")
    products = contracts.load(path).products
    features = contracts.load(path).features
    rows = pd.read_csv(path.parent / "customers.csv", dtype=str, keep_default_na=False).head(FEW)
    for name, product in products.items():
        rows[name] = next(value for value in features[name].values if value not in product.owned)
    rows.to_csv(path.parent / "customers.csv", index=False)
    bare = own_home.model_copy(update={"contract": path})
    assert jobs.training_is_due(bare)
    with pytest.raises(Refused, match="0 training customers own any of the contract's products"):
        jobs.prepare(bare, "bare")
    assert not jobs.training_is_due(bare)
    with (path.parent / "customers.csv").open("a") as file:
        file.write("\n")
    assert jobs.training_is_due(bare)
