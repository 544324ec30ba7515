"""The arithmetic of Shapley values, held against their definition."""

from itertools import combinations
from math import factorial

import numpy as np
import pytest
from lightgbm import LGBMClassifier
from sklearn.ensemble import RandomForestClassifier

from churn import tree_tables, trees
from churn.leaves import Leaves, Owners
from churn.shapley import Linear, Trees

RANDOM = np.random.default_rng(4)
X = RANDOM.normal(size=(400, 5))
Y = (X[:, 0] + X[:, 1] * X[:, 2] + RANDOM.normal(0, 0.3, 400) > 0).astype(int)
EACH = Owners(np.arange(5), 5)


def forest(**more: object) -> RandomForestClassifier:
    return RandomForestClassifier(**{"n_estimators": 4, "max_depth": 6, "random_state": 1, **more}).fit(X, Y)


def boosted(**more: object) -> LGBMClassifier:
    usual = {"n_estimators": 30, "num_leaves": 6, "subsample": 0.7, "subsample_freq": 1, "random_state": 1}
    return LGBMClassifier(**{**usual, "verbose": -1, "n_jobs": 1, **more}).fit(X, Y)


def by_definition(tree, row: np.ndarray) -> np.ndarray:
    """Shapley values of one of scikit-learn's trees, over all coalitions, walking it node by node."""

    def value(node: int, known: tuple[int, ...]) -> float:
        left, right = tree.children_left[node], tree.children_right[node]
        if left < 0:
            return float(tree.value[node, 0, 1] / tree.value[node, 0].sum())
        feature = tree.feature[node]
        if feature in known:
            return value(left if np.float32(row[feature]) <= tree.threshold[node] else right, known)
        cover = tree.weighted_n_node_samples
        return (cover[left] * value(left, known) + cover[right] * value(right, known)) / cover[node]

    found = np.zeros(len(row))
    for feature in range(len(row)):
        others = [other for other in range(len(row)) if other != feature]
        for size in range(len(row)):
            weight = factorial(size) * factorial(len(row) - size - 1) / factorial(len(row))
            for known in combinations(others, size):
                found[feature] += weight * (value(0, (*known, feature)) - value(0, known))
    return found


def test_a_tree_s_contributions_are_shapley_s_by_their_definition() -> None:
    model = forest(n_estimators=1)
    game = Trees(trees.forest(model).leaves(), EACH, single=True)
    for row in X[:6]:
        wanted = by_definition(model.estimators_[0].tree_, row)
        assert game.contributions(row[None])[0] == pytest.approx(wanted, abs=1e-12)


def test_tables_say_what_the_leaves_say(monkeypatch: pytest.MonkeyPatch) -> None:
    leaves = trees.boosted(boosted()).leaves()
    tabled = Trees(leaves, EACH, single=False)
    monkeypatch.setattr(tree_tables, "NUMBERS", 10)
    by_leaf = Trees(leaves, EACH, single=False)
    assert (tabled.is_tabled, by_leaf.is_tabled) == (True, False)
    assert tabled.contributions(X) == pytest.approx(by_leaf.contributions(X), abs=1e-12)


def test_values_on_a_threshold_go_where_the_tree_sends_them() -> None:
    model = boosted()
    game = Trees(trees.boosted(model).leaves(), EACH, single=False)
    ensemble = trees.boosted(model)
    rows = np.repeat(X[:1], len(ensemble.threshold), axis=0)
    rows[np.arange(len(rows)), ensemble.feature] = ensemble.threshold
    rows = rows[np.abs(ensemble.threshold) > 1e-30]  # what is nearer to 0 than that, its own explanation takes for 0
    wanted = model.booster_.predict(rows, pred_contrib=True)
    assert len(rows) > 100
    assert game.contributions(rows) == pytest.approx(wanted[:, :-1], abs=1e-12)


def test_a_forest_compares_in_float32_as_its_model_does() -> None:
    model = forest(n_estimators=30, max_depth=None)
    game = Trees(trees.forest(model).leaves(), EACH, single=True)
    ensemble = trees.forest(model)
    rows = np.repeat(X[:1], len(ensemble.threshold), axis=0)
    rows[np.arange(len(rows)), ensemble.feature] = np.array(ensemble.threshold) + 1e-10
    output = game.base + game.contributions(rows).sum(axis=1)
    assert output == pytest.approx(model.predict_proba(rows)[:, 1], abs=1e-12)


@pytest.mark.parametrize("rows", [0, 1, 3_000])
def test_any_number_of_rows_is_explained(rows: int) -> None:
    some = RANDOM.normal(size=(rows, 5))
    for model, walk, single in ((forest(), trees.forest, True), (boosted(), trees.boosted, False)):
        game = Trees(walk(model).leaves(), EACH, single=single)
        found = game.contributions(some)
        assert found.shape == (rows, 5)
        told = model.predict_proba(some)[:, 1] if single and rows else found.sum(axis=1) + game.base
        assert found.sum(axis=1) + game.base == pytest.approx(told, abs=1e-12)


def test_a_number_larger_than_any_float32_is_explained() -> None:
    game = Trees(trees.forest(forest()).leaves(), EACH, single=True)
    found, large = game.contributions(np.array([[1e300] * 5])), game.contributions(np.array([[1e30] * 5]))
    assert found.tolist() == large.tolist()


def test_a_tree_of_one_leaf_says_the_same_of_everybody() -> None:
    model = LGBMClassifier(n_estimators=3, min_child_samples=1_000, verbose=-1).fit(X, Y)
    game = Trees(trees.boosted(model).leaves(), EACH, single=False)
    assert not game.contributions(X).any()
    assert not game.seen.any()
    assert game.base == pytest.approx(model.booster_.predict(X[:1], raw_score=True)[0], abs=1e-12)


def test_columns_are_summed_into_their_owners() -> None:
    leaves = trees.boosted(boosted()).leaves()
    apart = Trees(leaves, EACH, single=False).contributions(X)
    owners = Owners(np.array([0, 1, 1, 2, 0]), 3)
    together = Trees(leaves, owners, single=False).contributions(X)
    assert together == pytest.approx(apart @ owners.sums, abs=1e-12)
    linear = Linear(np.arange(5.0), X.mean(axis=0), 1.5, owners)
    assert linear.contributions(X) == pytest.approx(((X - X.mean(axis=0)) * np.arange(5)) @ owners.sums)
    assert linear.base + linear.contributions(X).sum(axis=1) == pytest.approx(X @ np.arange(5) + 1.5)
    assert linear.seen.tolist() == [False, True, True, True, True]


def test_a_column_that_no_tree_asks_for_has_no_part() -> None:
    blank = np.column_stack([X, np.ones(len(X))])
    model = LGBMClassifier(n_estimators=20, verbose=-1).fit(blank, Y)
    game = Trees(trees.boosted(model).leaves(), Owners(np.arange(6), 6), single=False)
    assert not game.contributions(blank + 1)[:, 5].any()
    assert game.seen.tolist() == [True] * 5 + [False]


def test_large_trees_are_not_tabled() -> None:
    assert not Trees(trees.forest(forest(max_depth=None)).leaves(), EACH, single=True).is_tabled


def test_a_leaf_without_a_path_is_a_constant() -> None:
    leaf = Leaves(np.zeros(1, int), *(np.zeros((1, 0), kind) for kind in (int, float, float, float)), np.ones(1))
    game = Trees(leaf, EACH, single=False)
    assert game.base == 1
    assert not game.contributions(X).any()
