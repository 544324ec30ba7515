"""The judgement of a recommender: what is hidden from it, and what its figures are of."""

import json

import numpy as np
import pytest

from churn import contract as contracts
from churn import hidden_products, ranking_metrics, recommender_plots
from churn.data import read_rows, validate
from churn.encoding import MISSING, Encoder
from churn.judged import EASE, LIGHTFM, POPULARITY, Figure, HeldOut, Judged, View
from churn.ownership import Ownership
from churn.ranking_metrics import Ranking
from churn.recommendation import Plan
from churn.recommender_evaluation import Taken, evaluate, folds_for
from tests import product_table

CUSTOMERS = 900
PLAN = Plan(epochs=4, components=8)


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Taken:
    path = product_table.write(tmp_path_factory.mktemp("bank"), customers=CUSTOMERS)
    contract = contracts.load(path)
    rows = validate(read_rows(path.with_name("clients.csv"), contract.rows.format), contract, target="required")
    return Taken.owned(contract, Encoder(contract).frame(rows[list(contract.features)]))


@pytest.fixture(scope="module")
def judged(taken: Taken) -> Judged:
    probability = np.random.default_rng(0).random(CUSTOMERS)
    return evaluate(taken, PLAN, probability=probability, folds=3, workers=2)


def test_one_product_of_each_customer_is_hidden_and_shows_nowhere(taken: Taken) -> None:
    contract, ownership = taken.contract, Ownership(taken.contract)
    owned = ownership.owned(taken.encoded)
    hidden = hidden_products.one_each(ownership, contract, taken.encoded, seed=3)
    assert hidden.rows.tolist() == np.flatnonzero(owned.sum(axis=1) >= 2).tolist()
    assert (hidden.relevant.sum(axis=1) == 1).all()
    assert (hidden.known ^ hidden.relevant == owned[hidden.rows]).all()
    assert (ownership.owned(hidden.encoded) == hidden.known).all()
    assert (hidden.possible >= hidden.relevant).all()
    assert not (hidden.possible & hidden.known).any()
    others = hidden_products.one_each(ownership, contract, taken.encoded, seed=4)
    assert 0.5 < (others.relevant != hidden.relevant).any(axis=1).mean() < 1


def test_what_requires_a_hidden_product_cannot_be_served(taken: Taken) -> None:
    ownership, products = Ownership(taken.contract), list(taken.contract.products)
    hidden = hidden_products.one_each(ownership, taken.contract, taken.encoded, seed=3)
    parent, child = products.index("depot"), products.index("share_trading")
    without_parent = hidden.relevant[:, parent] & ~hidden.known[:, child]
    assert without_parent.any()
    assert not hidden.possible[without_parent, child].any()
    assert ownership.possible(taken.encoded)[hidden.rows[without_parent], child].all()


def test_of_cold_customers_no_product_is_known(taken: Taken) -> None:
    hidden = hidden_products.everything(Ownership(taken.contract), taken.contract, taken.encoded)
    assert not hidden.known.any()
    assert hidden.relevant.any(axis=1).all()
    encoder = Encoder(taken.contract)
    for place, column in enumerate(encoder.categorical):
        gone = (hidden.encoded.codes[:, place] == MISSING).all()
        assert gone == (column.name in taken.contract.products)
    for place, column in enumerate(encoder.numeric):
        gone = np.isnan(hidden.encoded.numbers[:, place]).all()
        assert gone == (column.name in taken.contract.products)


def test_the_views_are_of_the_customers_they_name(judged: Judged) -> None:
    assert list(judged.views) == ["served", "all", "high", "medium", "low", "cold", "cold_all"]
    customers = {name: view.customers for name, view in judged.views.items()}
    assert customers["served"] == customers["all"] == sum(customers[band] for band in ("high", "medium", "low"))
    assert customers["cold"] >= customers["served"]
    for view in judged.views.values():
        assert set(view.models) == {LIGHTFM, EASE, POPULARITY}
        for figure in view.models[LIGHTFM].values():
            assert np.isnan(figure.low) or figure.low <= figure.mean <= figure.high


def test_the_planted_structure_is_found(judged: Judged) -> None:
    served = {model: figures["ndcg_at_5"].mean for model, figures in judged.views["served"].models.items()}
    assert served[LIGHTFM] > served[POPULARITY] + 0.05
    assert served[EASE] > served[POPULARITY] + 0.05
    cold = {model: figures["ndcg_at_5"].mean for model, figures in judged.views["cold"].models.items()}
    assert cold[LIGHTFM] > cold[POPULARITY]
    assert cold[EASE] < cold[POPULARITY]


def test_the_popularity_s_figures_are_those_of_a_computation_by_hand(taken: Taken, judged: Judged) -> None:
    """Of the same hidden products, by the shares of owners among the customers of the other folds."""
    ownership = Ownership(taken.contract)
    owned = ownership.owned(taken.encoded)
    fold = np.random.default_rng(0).permutation(CUSTOMERS) % 3
    hidden = hidden_products.one_each(ownership, taken.contract, taken.encoded, 0)
    shares = np.stack([owned[fold != number].mean(axis=0) for number in range(3)])
    ranking = Ranking.of(shares[fold[hidden.rows]], hidden.relevant, hidden.possible)
    told = judged.views["served"].models[POPULARITY]
    assert told["ndcg_at_5"].mean == pytest.approx(ranking_metrics.ndcg(ranking, 5).mean())
    assert told["mrr"].mean == pytest.approx(ranking_metrics.reciprocal_rank(ranking).mean())
    assert told["coverage_at_3"].mean == pytest.approx(ranking_metrics.coverage(ranking.shown(3)))
    metrics = judged.metrics()
    assert metrics["ndcg_at_5_popularity"] == told["ndcg_at_5"].mean
    by_fold = [fold_metrics["ndcg_at_5_popularity"] for fold_metrics in judged.per_fold]
    sizes = np.bincount(fold[hidden.rows])
    assert np.average(by_fold, weights=sizes) == pytest.approx(told["ndcg_at_5"].mean)


def test_held_out_scores_are_of_models_that_saw_neither_the_customer_nor_the_product(
    taken: Taken, judged: Judged
) -> None:
    fold = np.random.default_rng(0).permutation(CUSTOMERS) % 3
    fitted = taken.fit(PLAN, np.flatnonzero(fold != 1))
    ownership = Ownership(taken.contract)
    owned = ownership.owned(taken.encoded)
    assert (judged.held_out.owned == owned).all()
    assert (judged.held_out.allowed == ownership.allowed(taken.encoded)).all()
    there = np.flatnonzero(fold == 1)[:5]
    traits = fitted.features.traits(taken.encoded.at(there))
    for product in range(owned.shape[1]):
        known = owned[there]
        known[:, product] = False
        expected = fitted.liking(traits, known)[:, product]
        assert judged.held_out.score[there, product] == pytest.approx(expected)


def test_another_number_of_workers_changes_no_figure(taken: Taken, judged: Judged) -> None:
    probability = np.random.default_rng(0).random(CUSTOMERS)
    alone = evaluate(taken, PLAN, probability=probability, folds=3, workers=1)
    assert alone.as_json() == judged.as_json()
    assert alone.per_fold == judged.per_fold
    assert (alone.held_out.score == judged.held_out.score).all()


def made_up(better: float, customers: int = 400) -> Judged:
    """LightFM puts the relevant one of four products first by so much more often than its rivals."""
    random = np.random.default_rng(0)
    relevant = np.zeros((customers, 4), dtype=bool)
    relevant[np.arange(customers), random.integers(4, size=customers)] = True
    scores = {model: random.random((customers, 4)) for model in (LIGHTFM, EASE, POPULARITY)}
    scores[LIGHTFM] = scores[EASE] + np.where(relevant, better, 0)
    none, every = np.zeros_like(relevant), np.ones_like(relevant)
    view = View("served", "As served", relevant, every, relevant, scores, np.arange(customers) % 2)
    held_out = HeldOut(scores[LIGHTFM], none, every)
    return Judged.of([view], np.full(4, 0.25), held_out, folds=2, seed=0)


def test_a_lead_that_is_sure_beats_the_rivals_and_one_that_is_not_does_not() -> None:
    assert made_up(0.5).not_beaten == []
    equal = made_up(0.0)
    assert len(equal.not_beaten) == 2
    assert equal.not_beaten[0].startswith("nDCG at 5 0.")
    assert "does not beat EASE 0." in equal.not_beaten[0]
    assert "with a lower 95 % bound of +0.0000, not above 0, on 400 customers" in equal.not_beaten[0]
    assert "does not beat popularity 0." in equal.not_beaten[1]


def test_the_interval_of_a_lead_is_of_paired_differences() -> None:
    """Its width is that of the differences' standard error: far less than that of either mean."""
    served = made_up(0.05).views["served"]
    lead, mean = served.leads[EASE]["ndcg_at_5"], served.models[EASE]["ndcg_at_5"]
    assert lead.mean == pytest.approx(served.models[LIGHTFM]["ndcg_at_5"].mean - mean.mean)
    assert 0 < lead.low < lead.mean < lead.high
    assert lead.high - lead.low < 0.8 * (mean.high - mean.low)


def test_where_nobody_owns_two_products_nothing_is_shown() -> None:
    held_out = HeldOut(np.zeros((0, 4)), np.zeros((0, 4), dtype=bool), np.zeros((0, 4), dtype=bool))
    judged = Judged.of([], np.full(4, 0.25), held_out, folds=2, seed=0)
    assert judged.not_beaten == ["no customer owns two products or more, so there is nothing to judge a recommender by"]
    assert judged.metrics() == {}
    assert set(recommender_plots.all_plots(judged)) == {"recommender_comparison", "recommender_views"}


def test_the_comparison_can_be_kept_and_drawn(judged: Judged) -> None:
    told = json.loads(json.dumps(judged.as_json(), allow_nan=False))
    served = told["views"]["served"]
    assert served["models"][LIGHTFM]["coverage_at_3"]["low"] is None
    assert set(served["leads"]) == {EASE, POPULARITY}
    assert {(row["view"], row["model"]) for row in judged.rows()} >= {("As served", "LightFM"), ("As served", "EASE")}
    for figure in recommender_plots.all_plots(judged).values():
        axes = figure.axes[0]
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["LightFM", "EASE", "Popularity"]
    drawn = recommender_plots.comparison(judged).axes[0]
    heights = [bar.get_height() for bar in drawn.containers[0]]
    assert heights[0] == judged.views["served"].models[LIGHTFM]["ndcg_at_5"].mean


def test_metrics_are_numbers_under_names_that_a_run_takes(judged: Judged) -> None:
    metrics = judged.metrics()
    assert all(np.isfinite(value) for value in metrics.values())
    assert all(name.replace("_", "").isalnum() for name in metrics)
    named = {"ndcg_at_5", "ndcg_at_5_low", "ndcg_at_5_ease", "ndcg_at_5_over_popularity_low", "cold_ndcg_at_5"}
    assert named | {"high_ndcg_at_5", "hit_rate_at_1", "mrr", "popularity_bias_at_5", "customers"} <= set(metrics)
    assert Figure(1.0, float("nan"), 2.0).as_json() == {"mean": 1.0, "low": None, "high": 2.0}


def test_more_customers_are_judged_in_fewer_folds() -> None:
    assert [folds_for(customers) for customers in (500, 10_000, 10_001, 50_000, 50_001)] == [5, 5, 3, 3, 2]


def test_of_very_many_customers_some_are_ranked_for(taken: Taken, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("churn.recommender_evaluation.MOST_JUDGED", 300)
    judged = evaluate(taken, Plan(epochs=1, components=2), probability=np.linspace(0, 1, CUSTOMERS), folds=2)
    assert 250 < judged.views["served"].customers <= 300
    assert judged.held_out.score.shape == judged.held_out.owned.shape == (300, len(taken.items))
    assert 60 < judged.views["high"].customers < 240
