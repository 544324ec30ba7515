"""Rankings: each figure against cases worked out by hand, and against all orders of what is equal."""

from itertools import permutations
from math import log2

import numpy as np
import pytest

from churn import ranking_metrics as metrics
from churn.ranking_metrics import Ranking

EVERY = np.ones((1, 4), dtype=bool)
NAN = float("nan")


def ranking(scores: list[float], relevant: list[int], candidates: list[int] | None = None) -> Ranking:
    """One customer's four products."""
    wanted, offered = np.zeros((1, 4), dtype=bool), EVERY
    wanted[0, relevant] = True
    if candidates is not None:
        offered = np.zeros((1, 4), dtype=bool)
        offered[0, candidates] = True
    return Ranking.of(np.array([scores]), wanted, offered)


# scores, relevant, candidates: precision, recall, hit rate and nDCG at 2, reciprocal rank
BY_HAND = {
    "first": ([4, 3, 2, 1], [0], None, (0.5, 1, 1, 1, 1)),
    "second": ([4, 3, 2, 1], [1], None, (0.5, 1, 1, 1 / log2(3), 1 / 2)),
    "third": ([4, 3, 2, 1], [2], None, (0, 0, 0, 0, 1 / 3)),
    "two, one found": ([4, 3, 2, 1], [1, 3], None, (0.5, 0.5, 1, (1 / log2(3)) / (1 + 1 / log2(3)), 1 / 2)),
    "what is no candidate is not ranked": ([4, 3, 2, 1], [2], [2, 3], (0.5, 1, 1, 1, 1)),
    "a relevant one that is no candidate does not count": ([4, 3, 2, 1], [0, 1], [1, 2, 3], (0.5, 1, 1, 1, 1)),
    "nothing relevant": ([4, 3, 2, 1], [], None, (0, NAN, NAN, NAN, NAN)),
    "all equal": ([0, 0, 0, 0], [2], None, (1 / 4, 1 / 2, 1 / 2, (1 + 1 / log2(3)) / 4, 25 / 12 / 4)),
    "a tie on the border": ([4, 3, 3, 1], [2], None, (1 / 4, 1 / 2, 1 / 2, 1 / log2(3) / 2, (1 / 2 + 1 / 3) / 2)),
    "fewer candidates than places": ([4, 3, 2, 1], [3], [3], (0.5, 1, 1, 1, 1)),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_HAND)
def test_each_figure_is_the_one_worked_out_by_hand(case: str) -> None:
    scores, relevant, candidates, expected = BY_HAND[case]
    ranked = ranking(scores, relevant, candidates)
    found = [each(ranked, 2)[0] for each in (metrics.precision, metrics.recall, metrics.hit_rate, metrics.ndcg)]
    assert [*found, metrics.reciprocal_rank(ranked)[0]] == pytest.approx(list(expected), nan_ok=True)


def test_ties_are_the_mean_of_all_orders() -> None:
    random = np.random.default_rng(0)
    for _ in range(12):
        scores, relevant = random.integers(0, 3, (1, 5)).astype(float), random.random((1, 5)) < 0.4
        candidates = random.random((1, 5)) < 0.8
        if not (relevant & candidates).any():
            continue
        told = _figures(scores, relevant, candidates)
        orders = [np.array(order)[None] * 1e-3 for order in permutations(range(5))]
        apart = [_figures(scores + order, relevant, candidates) for order in orders]
        assert told == pytest.approx(np.mean(apart, axis=0))


def _figures(scores: np.ndarray, relevant: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    ranked = Ranking.of(scores, relevant, candidates)
    at = (metrics.precision, metrics.recall, metrics.hit_rate, metrics.ndcg)
    figures = [each(ranked, k)[0] for each in at for k in (1, 3, 9)]
    return np.array([*figures, metrics.reciprocal_rank(ranked)[0], *ranked.shown(2)[0]])


def test_many_customers_get_what_each_gets_alone() -> None:
    random = np.random.default_rng(1)
    scores, relevant = random.integers(0, 4, (50, 6)).astype(float), random.random((50, 6)) < 0.4
    candidates = random.random((50, 6)) < 0.7
    together = metrics.ndcg(Ranking.of(scores, relevant, candidates), 3)
    for row in range(50):
        one = slice(row, row + 1)
        alone = metrics.ndcg(Ranking.of(scores[one], relevant[one], candidates[one]), 3)
        assert together[row] == pytest.approx(alone[0], nan_ok=True)


def test_coverage_is_the_share_of_products_that_anybody_is_shown() -> None:
    scores = np.array([[4.0, 3, 2, 1], [3, 4, 2, 1]])
    ranked = Ranking.of(scores, np.zeros((2, 4), dtype=bool), np.ones((2, 4), dtype=bool))
    assert metrics.coverage(ranked.shown(1)) == pytest.approx(2 / 4)
    assert metrics.coverage(ranked.shown(2)) == pytest.approx(2 / 4)
    assert metrics.coverage(ranked.shown(4)) == pytest.approx(1)
    says_nothing = Ranking.of(np.zeros((2, 4)), np.zeros((2, 4), dtype=bool), np.ones((2, 4), dtype=bool))
    assert metrics.coverage(says_nothing.shown(1)) == pytest.approx(1 - (3 / 4) ** 2)


def test_novelty_is_of_what_is_shown() -> None:
    popularity = np.array([0.5, 0.25, 0.125, 0.125])
    ranked = ranking([4, 3, 2, 1], [0], [1, 2, 3])
    assert metrics.novelty(ranked.shown(2), popularity)[0] == pytest.approx((2 + 3) / 2)
    nothing = ranking([4, 3, 2, 1], [0], [])
    assert np.isnan(metrics.novelty(nothing.shown(2), popularity)[0])
    assert not nothing.shown(2).any()


def test_the_popularity_bias_holds_what_is_shown_against_what_is_owned() -> None:
    popularity = np.array([0.5, 0.25, 0.125, 0.125])
    owned = np.array([[True, True, False, False]])
    ranked = ranking([1, 2, 4, 3], [1], [1, 2, 3])
    assert metrics.popularity_bias(ranked.shown(2), popularity, owned) == pytest.approx(0.125 / 0.375 - 1)
    assert np.isnan(metrics.popularity_bias(ranked.shown(2), popularity, np.zeros((1, 4), dtype=bool)))


def test_a_candidate_s_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        ranking([NAN, 3, 2, 1], [0])
    assert ranking([NAN, 3, 2, 1], [1], [1, 2, 3]).hits[0, 0] == 1
