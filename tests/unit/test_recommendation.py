"""LightFM over features: what it learns, and that serving's arrays say what it says."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize

from churn import item_features, recommendation
from churn.contract import Contract
from churn.encoding import Encoded
from churn.errors import NotReady
from churn.liking import Scaling
from churn.recommendation import Fitted, Plan
from churn.recommender_files import largest_difference
from churn.user_features import UserFeatures
from tests import tastes
from tests.recommenders import fit, shipped
from tests.tastes import CINEMA, CONSOLE, FILMS, GAMES, NEITHER, PRODUCTS, ROUTER, SNACKS


@pytest.fixture(scope="module")
def contract() -> Contract:
    return tastes.contract()


@pytest.fixture(scope="module")
def people() -> Encoded:
    return tastes.people()


@pytest.fixture(scope="module")
def model(contract: Contract, people: Encoded) -> Fitted:
    return fit(contract, people, Plan(components=8, epochs=10))


def liking(model: Fitted, taste: int, *owned: int) -> NDArray[np.float64]:
    has = np.isin(np.arange(4), owned)
    codes = np.array([[taste, *has]], dtype=np.int64)
    return model.liking(model.features.traits(Encoded(np.empty((1, 0)), codes)), has[None])[0]


def test_a_customers_features_tell_what_he_would_take(model: Fitted) -> None:
    films, games = liking(model, FILMS), liking(model, GAMES)
    assert films[CINEMA] > films[CONSOLE]
    assert games[CONSOLE] > games[CINEMA]


def test_what_he_owns_tells_what_goes_with_it(model: Fitted) -> None:
    without, having = liking(model, NEITHER), liking(model, NEITHER, CINEMA)
    assert having[SNACKS] - having[ROUTER] > without[SNACKS] - without[ROUTER]
    assert having[[CONSOLE, SNACKS, ROUTER]].argmax() == 1


def test_a_product_does_not_vouch_for_itself(contract: Contract) -> None:
    """Were it not masked where it is asked for, owning it would be the best sign of it, here of all four."""
    random = np.random.default_rng(0)
    coins = np.column_stack([random.integers(0, 3, 1500), random.random((1500, 4)) < 0.5])
    tables = fit(contract, Encoded(np.empty((1500, 0)), coins), Plan(components=8, epochs=10)).vectors.tables
    assert (tables[-4:].argmax(axis=1) == np.arange(4)).sum() <= 1


def test_a_value_that_no_training_customer_had_says_nothing(model: Fitted) -> None:
    unknown = model.features.names.index("taste=")
    assert not model.vectors.tables[unknown].any()
    assert (liking(model, -1) == model.vectors.biases).all()


def test_nothing_is_learned_against_what_a_customer_owns(contract: Contract) -> None:
    """Were a product that he owns drawn as one that he did not take, each epoch would move the model."""
    everything = Encoded(np.empty((60, 0)), np.array([[0, 1, 1, 1, 1]] * 60))
    one, four = (fit(contract, everything, Plan(components=4, epochs=epochs)).vectors for epochs in (1, 4))
    assert (one.items == four.items).all()
    nearly = everything.codes.copy()
    nearly[:, 1 + ROUTER] = 0
    one, four = (
        fit(contract, Encoded(everything.numbers, nearly), Plan(components=4, epochs=epochs)).vectors
        for epochs in (1, 4)
    )
    assert not (one.items == four.items).any()


def test_where_nobody_owns_anything_there_is_nothing_to_learn(contract: Contract, people: Encoded) -> None:
    nothing = people.codes.copy()
    nothing[:, 1:] = 0
    with pytest.raises(NotReady, match="nothing to learn from"):
        fit(contract, Encoded(people.numbers, nothing), Plan())


def test_the_same_seed_gives_the_same_model(contract: Contract, people: Encoded, model: Fitted) -> None:
    again = fit(contract, people, model.plan)
    other = fit(contract, people, replace(model.plan, seed=1))
    assert (again.vectors.users == model.vectors.users).all()
    assert (again.vectors.items == model.vectors.items).all()
    assert not (other.vectors.items == model.vectors.items).any()


def test_a_share_of_the_training_rows_shows_nothing_that_is_owned(contract: Contract, people: Encoded) -> None:
    """Those rows teach what to say of customers of whom no product is known."""
    blind, sighted = (
        fit(contract, people, Plan(components=8, epochs=2, cold=cold)).vectors.tables[-4:] for cold in (1.0, 0.5)
    )
    assert not blind.any()
    assert sighted.all()


def test_large_data_are_gone_through_less_often_and_then_in_part() -> None:
    plan = Plan(epochs=20, steps=1_000)
    assert [plan.epochs_of(rows) for rows in (0, 50, 100, 1_000)] == [20, 20, 10, 4]
    assert fit(tastes.contract(), tastes.people(), plan).plan == replace(plan, epochs=4)
    random = np.random.default_rng(0)
    positives = np.ones((100, 3), dtype=np.float32)
    customers, taken = recommendation.training_rows(positives, 250, random)
    assert len(set(zip(customers.tolist(), taken.tolist(), strict=True))) == 250


def test_an_offer_is_learned_once_enough_have_accepted_it(contract: Contract, people: Encoded) -> None:
    assert item_features.items(contract, {"all": 19}) == list(PRODUCTS)
    items = item_features.items(contract, {"all": 20})
    assert items == [*PRODUCTS, "all"]
    features = UserFeatures.fit(contract, people)
    traits, owned = features.traits(people), features.owned(people)
    accepted = np.where(people.codes[:, 0] == GAMES, 1.0, 0.0)
    positives = np.column_stack([owned, accepted]).astype(np.float32)
    matrix = item_features.matrix(contract, items)
    fitted = recommendation.fit(features, traits, positives, owned, matrix, Plan(components=8, epochs=10))
    games, films = liking(fitted, GAMES), liking(fitted, FILMS)
    assert games[-1] - games[ROUTER] > 0 > films[-1] - films[ROUTER]


def test_items_of_a_bundle_and_of_a_kind_share_a_feature(contract: Contract) -> None:
    told = item_features.matrix(contract, [*PRODUCTS, "all"]).toarray()
    shared = told @ told.T
    np.fill_diagonal(shared, 0)
    assert shared[CINEMA].tolist() == [0, 2, 1, 1, 0]
    assert shared[-1].tolist() == [0] * 5


def test_serving_says_what_lightfm_predicts_on_all_shipped_rows() -> None:
    contract, rows = shipped()
    fitted = fit(contract, rows, Plan())
    assert largest_difference(fitted, rows) < 1e-6
    traits, owned = fitted.features.traits(rows), fitted.features.owned(rows)
    together = fitted.liking(traits, owned)
    alone = np.concatenate([fitted.liking(traits[i : i + 1], owned[i : i + 1]) for i in range(0, 7043, 50)])
    assert np.abs(together[::50] - alone).max() < 1e-12


def test_scores_are_scaled_to_probabilities_that_rise_with_them() -> None:
    random = np.random.default_rng(4)
    scores = random.normal(size=20_000)
    taken = random.random(20_000) < 1 / (1 + np.exp(-(1.5 * scores - 0.5)))
    scaling = Scaling.fit(scores, taken)
    assert scaling.slope == pytest.approx(1.5, abs=0.1)
    assert scaling.offset == pytest.approx(-0.5, abs=0.1)
    chance = scaling.probability(np.array([-1e9, -1.0, 0, 1, 1e9]))
    assert (np.diff(chance) > 0).all()
    assert chance.min() >= 0
    assert chance.max() <= 1


@pytest.mark.parametrize(("share", "gap"), [(0.3, 0.8), (0.03, 1.6), (0.01, 2.4), (0.003, 1.2), (0.003, 2.4)])
def test_rare_items_that_scores_tell_well_are_scaled_to_the_likeliest_probabilities(share: float, gap: float) -> None:
    random = np.random.default_rng(0)
    owners = np.arange(20_000) < 20_000 * share
    scores = random.normal(np.where(owners, gap - 0.3, -0.3), 0.25)
    taken = owners ^ (random.random(20_000) < 0.0005)
    scaling = Scaling.fit(scores, taken)
    yes, no = taken.sum(), (~taken).sum()
    target = np.where(taken, (yes + 1) / (yes + 2), 1 / (no + 2))  # Platt's

    def loss(found: NDArray[np.float64]) -> float:
        logits = found[0] * scores + found[1]
        return float((np.logaddexp(0, logits) - target * logits).mean())

    best = optimize.minimize(loss, [1.0, np.log(yes / no)], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 0})
    assert (scaling.slope, scaling.offset) == pytest.approx(best.x, rel=1e-4)
    assert loss(np.array([scaling.slope, scaling.offset])) <= best.fun + 1e-12
    chance = scaling.probability(np.sort(scores))
    assert 0 < chance[0] < chance[-1] < 1
    assert (np.diff(chance) > 0).all()


@pytest.mark.parametrize(
    ("scores", "taken"),
    [([-2, -1, 1, 2], [0, 0, 1, 1]), ([-2, -1, 1, 2], [1, 1, 0, 0]), ([1, 1, 1, 1], [0, 1, 0, 1]), ([1, 2], [0, 0])],
    ids=["told apart without fail", "the wrong way round", "all alike", "never taken"],
)
def test_no_scores_keep_a_scaling_from_being_found(scores: list[float], taken: list[int]) -> None:
    scaling = Scaling.fit(np.array(scores, dtype=float), np.array(taken, dtype=bool))
    assert 0 < scaling.slope < 100
    assert abs(scaling.offset) < 100
    rising = scaling.probability(np.array([0.0, 1.0]))
    assert 0 < rising[0] < rising[1] < 1
