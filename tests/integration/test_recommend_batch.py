"""A file with recommendations: whole or not at all, what each may get and nothing else, and as one customer gets it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from churn import advice_jobs, batch, file_jobs, interactions, portfolio
from churn import contract as contracts
from churn.advice import Advice, Wish
from churn.batch_advice import BatchAdvice
from churn.cli import main
from churn.control import in_control
from churn.data import read_rows, validate
from churn.errors import InvalidData, Unavailable
from churn.interaction_reading import Interaction
from churn.interaction_records import record
from churn.kinds import RECOMMENDER
from churn.settings import Settings
from churn.store import Store
from tests.conftest import ROOT

CUSTOMERS = ROOT / "data/telco/customers.csv"
K = 3


@pytest.fixture(scope="module")
def own(settings: Settings, recommender_champion, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The settings of the session's registry, with a store of one's own."""
    folder = tmp_path_factory.mktemp("recommend")
    return settings.model_copy(update={"database_url": f"sqlite:///{folder / 'own.db'}"})


@pytest.fixture(scope="module")
def recommender(own: Settings):
    return file_jobs.champion(own, RECOMMENDER)


@pytest.fixture(scope="module")
def written(own: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All shipped customers with their recommendations."""
    target = tmp_path_factory.mktemp("recommended") / "out.parquet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "CHUNK", 1_000)
        assert list(advice_jobs.recommend_file(own, CUSTOMERS, target, K))[-1] == 7_043
    return target


@pytest.fixture(scope="module")
def told(written: Path) -> pd.DataFrame:
    return pd.read_parquet(written)


def test_the_columns_of_the_file_stay_as_they_were(told: pd.DataFrame) -> None:
    before = pd.read_csv(CUSTOMERS, dtype=str, keep_default_na=False)
    pairs = [f"recommendation_{place}{end}" for place in (1, 2, 3) for end in ("", "_score")]
    assert told.columns.tolist() == [*before.columns, *pairs, "recommendation_control"]
    pd.testing.assert_frame_equal(told[before.columns].astype(str), before, check_dtype=False)


def test_nobody_gets_what_he_owns_may_not_have_or_is_not_eligible_for(told: pd.DataFrame, scorer) -> None:
    contract = scorer.contract
    rows = validate(read_rows(CUSTOMERS, contract.rows.format), contract)
    bands = scorer.bands(scorer.probabilities(scorer.encoder.frame(rows)))
    names = [contracts.BANDS[place] for place in bands]
    columns = [told[f"recommendation_{n}"].tolist() for n in (1, 2, 3)]
    seen = set()
    for customer, band, *items in zip(rows.to_dict("records"), names, *columns, strict=True):
        for item in (one for one in items if isinstance(one, str)):
            seen.add(item)
            if product := contract.products.get(item):
                assert customer[item] not in product.owned
            else:
                assert band in contract.offers[item].bands
            wanted = product.requires if product else contract.offers[item].eligibility
            assert all(customer[name] in values for name, values in wanted.items()), (customer, item)
    assert seen == {*contract.products, *contract.offers}


def test_the_best_come_first_and_none_twice(told: pd.DataFrame) -> None:
    scores = told[[f"recommendation_{n}_score" for n in (1, 2, 3)]].to_numpy()
    items = told[[f"recommendation_{n}" for n in (1, 2, 3)]]
    assert (np.isnan(scores) == items.isna().to_numpy()).all()
    assert not (np.diff(scores, axis=1) > 0).any()
    assert all(row.dropna().is_unique for _, row in items.head(500).iterrows())
    assert np.isfinite(scores).mean() > 0.7


def test_the_control_group_gets_none(told: pd.DataFrame, scorer) -> None:
    contract = scorer.contract
    control = told["recommendation_control"].to_numpy()
    assert control.tolist() == [in_control(contract, one) for one in told[contract.id]]
    assert 0.04 < control.mean() < 0.06
    assert told.loc[control, [f"recommendation_{n}" for n in (1, 2, 3)]].isna().all(axis=None)


def test_many_get_what_one_gets_where_no_model_is_asked_for_the_risk(recommender, scorer, customers) -> None:
    contract = recommender.contract
    weights = contract.recommendation.weights.model_copy(update={"risk": 0})
    recommendation = contract.recommendation.model_copy(update={"weights": weights, "control": 0})
    plain = replace(recommender, contract=contract.model_copy(update={"recommendation": recommendation}))
    advice = Advice(plain, scorer)
    some = [{name: one[name] for name in contract.features} for one in customers[:300]]
    encoded = scorer.encoder.customers(some)
    ids = [str(one[contract.id]) for one in customers[:300]]
    ranked = BatchAdvice(advice).rank(encoded, scorer.probabilities(encoded), ids, 5)
    for customer, places, scores in zip(some, ranked.places, ranked.scores, strict=True):
        one = advice.recommend(customer, Wish(k=5)).items
        assert [item.item for item in one] == [ranked.items[place] for place in places if place >= 0]
        np.testing.assert_allclose([item.score for item in one], scores[places >= 0], rtol=0, atol=1e-12)


def test_the_same_versions_give_the_same_file(own: Settings, told: pd.DataFrame, tmp_path: Path) -> None:
    list(advice_jobs.recommend_file(own, CUSTOMERS, tmp_path / "again.parquet", K))
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "again.parquet"), told)


def test_what_a_customer_has_refused_is_left_out(own: Settings, told: pd.DataFrame, tmp_path: Path, scorer) -> None:
    place = int(told["recommendation_3"].first_valid_index() or 0)
    name, first = told.loc[place, scorer.contract.id], told.loc[place, "recommendation_1"]
    fresh = own.model_copy(update={"database_url": f"sqlite:///{tmp_path / 'refused.db'}"})
    store = Store(fresh)
    record(store, [Interaction(0, name, first, "refused", datetime.now(UTC))], by="a test")
    store.close()
    list(advice_jobs.recommend_file(fresh, CUSTOMERS, tmp_path / "out.parquet", K))
    after = pd.read_parquet(tmp_path / "out.parquet").loc[place]
    kept = [f"recommendation_{n}" for n in (1, 2)]
    assert after[kept].tolist() == told.loc[place, ["recommendation_2", "recommendation_3"]].tolist()


def test_without_the_database_it_goes_on_and_says_so(own: Settings, told, tmp_path: Path, caplog) -> None:
    away = own.model_copy(update={"database_url": "postgresql://churn@127.0.0.1:9/churn"})
    list(advice_jobs.recommend_file(away, CUSTOMERS, tmp_path / "out.parquet", K))
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out.parquet"), told)
    assert "left out of account" in caplog.text
    assert "have refused or accepted is not known" in caplog.text


def test_counts_that_fail_hide_no_refusal(own: Settings, scorer, tmp_path: Path, monkeypatch) -> None:
    fresh = own.model_copy(update={"database_url": f"sqlite:///{tmp_path / 'slow.db'}"})
    store = Store(fresh)
    record(store, [Interaction(0, "C1", "gift", "refused", datetime.now(UTC))], by="a test")

    def fail(*_: object) -> None:
        raise Unavailable("statement timeout")

    monkeypatch.setattr(interactions, "offer_counts", fail)
    advice, (note,) = advice_jobs.advice_in_service(fresh, scorer, store)
    assert advice._held_back == {"C1": {"gift"}}
    assert "statement timeout: what became of offers" in note
    monkeypatch.setattr(interactions, "all_known", fail)
    notes: list[str] = []
    assert portfolio._advice(fresh, scorer, store, notes)
    assert "have refused or accepted is not known" in notes[0]  # of the run
    store.close()


def test_a_file_with_a_fault_gives_no_file(own: Settings, tmp_path: Path) -> None:
    lines = CUSTOMERS.read_text(encoding="utf-8").splitlines()[:30]
    source = tmp_path / "in.csv"
    source.write_text("\n".join([*lines[:-1], lines[-1].replace("Male,", "Nobody,")]) + "\n", encoding="utf-8")
    with pytest.raises(InvalidData):
        list(advice_jobs.recommend_file(own, source, tmp_path / "out.csv", K))
    source.write_text("\n".join([lines[0] + ",recommendation_1", *(f"{line},x" for line in lines[1:])]) + "\n")
    with pytest.raises(InvalidData) as caught:
        list(advice_jobs.recommend_file(own, source, tmp_path / "out.csv", K))
    assert [(fault.row, fault.field) for fault in caught.value.faults] == [(1, "recommendation_1")]
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


Run = Callable[..., str]


@pytest.fixture
def run(own: Settings) -> Run:
    def run(*arguments: str, code: int = 0, **more: str) -> str:
        env = {"CHURN_HOME": str(own.home), "CHURN_DATABASE_URL": own.database_url, **more}
        done = CliRunner().invoke(main, arguments, env=env, catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done.output

    return run


def test_the_command_writes_as_many_as_are_asked_for(run: Run, tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    lines = CUSTOMERS.read_text(encoding="utf-8").splitlines()[:41]
    source.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert "40 rows with recommendations" in run("recommend", str(source), "-o", str(target), "--k", "20")
    told = pd.read_csv(target)
    assert f"recommendation_{20}_score" in told
    assert told["recommendation_20"].isna().all()  # there are only so many
    assert told["recommendation_1"].notna().mean() > 0.5
    assert "write to another" in run("recommend", str(source), "-o", str(source), code=1)


def test_without_a_recommender_the_command_says_what_to_do(run: Run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(advice_jobs, "RECOMMENDER", replace(RECOMMENDER, name="nobody-knows"))
    said = run("recommend", str(CUSTOMERS), "-o", str(tmp_path / "out.csv"), code=1)
    assert "nobody-knows" in said
    assert "train" in said
    assert not list(tmp_path.iterdir())
