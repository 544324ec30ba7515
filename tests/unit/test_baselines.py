"""The rivals: that each learns what it says, and that EASE is the published closed form."""

import numpy as np
import pytest

from churn.baselines import Ease, Popularity

OWNED = np.array([[1, 1, 0], [1, 1, 0], [1, 0, 1], [0, 0, 1]], dtype=bool)


def planted(n: int = 2_000, seed: int = 0) -> np.ndarray:
    """Six products: whoever owns one of a pair mostly owns the other."""
    random = np.random.default_rng(seed)
    pairs = random.random((n, 3)) < np.array([0.6, 0.4, 0.2])
    return np.repeat(pairs, 2, axis=1) ^ (random.random((n, 6)) < 0.1)


def test_popularity_is_the_share_of_owners_for_everyone() -> None:
    scores = Popularity().fit(OWNED).liking(OWNED[:2])
    assert scores == pytest.approx(np.array([[3 / 4, 2 / 4, 2 / 4]] * 2))


def test_ease_minimises_the_ridge_with_a_diagonal_of_0() -> None:
    """The published problem, solved one column at a time: a ridge regression on the other products."""
    owned = planted()
    ease = Ease((50.0,)).fit(owned)
    table = owned.astype(float)
    for product in range(6):
        others = np.delete(table, product, axis=1)
        weights = np.linalg.solve(others.T @ others + 50 * np.eye(5), others.T @ table[:, product])
        assert np.delete(ease.weights[:, product], product) == pytest.approx(weights)
    assert np.diag(ease.weights).tolist() == [0] * 6
    assert ease.liking(owned) == pytest.approx(table @ ease.weights)


def test_ease_likes_the_partner_of_what_is_owned() -> None:
    ease = Ease().fit(planted())
    for product in range(6):
        partner = product ^ 1
        assert ease.liking(np.eye(6, dtype=bool)[[product]])[0].argmax() == partner


def test_the_lambda_is_chosen_by_customers_it_was_not_fitted_on() -> None:
    """By brute force: each hidden product ranked among those not owned, the product taken off the sum."""
    owned = planted(400, seed=3)
    strengths = (1.0, 1e5)
    chosen = Ease(strengths).fit(owned).strength
    judging = np.arange(400) % 5 == 0
    ranks = []
    for strength in strengths:
        weights = Ease((strength,)).fit(owned[~judging]).weights
        told = []
        for row, product in zip(*np.nonzero(owned[judging]), strict=True):
            known = owned[judging][row].copy()
            known[product] = False
            scores = known @ weights
            better = (scores > scores[product]) & ~owned[judging][row]
            ties = (scores == scores[product]) & ~owned[judging][row]
            told.append(1 / (1 + better.sum() + ties.sum() / 2))
        ranks.append(np.mean(told))
    assert chosen == strengths[int(np.argmax(ranks))]
    assert ranks[0] != pytest.approx(ranks[1])


def test_of_who_owns_nothing_ease_says_nothing() -> None:
    assert not Ease().fit(planted()).liking(np.zeros((1, 6), dtype=bool)).any()
