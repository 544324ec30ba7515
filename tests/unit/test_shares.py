"""The figures of the reasons are counts of the training customers, and of no small group."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from churn import shares
from churn.encoding import Encoded
from churn.recommendation import Plan
from churn.recommender import TELLING, Recommender
from tests import tastes
from tests.recommenders import read, shipped, write, write_of
from tests.tastes import CINEMA, CONSOLE, FILMS, GAMES

ROWS = 1200


@pytest.fixture(scope="module")
def recommender(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    return read(write(tmp_path_factory.mktemp("shares") / "version", rows=ROWS, plan=Plan(epochs=5)))


@pytest.fixture(scope="module")
def trained() -> Encoded:
    _, rows = shipped()
    return Encoded(rows.numbers[:ROWS], rows.codes[:ROWS])


def one(rows: Encoded, place: int) -> Encoded:
    return Encoded(rows.numbers[place : place + 1], rows.codes[place : place + 1])


def labels_of(recommender: Recommender, rows: Encoded) -> list[set[str]]:
    """What each customer is, in words."""
    traits, owned = recommender.features.traits(rows), recommender.ownership.owned(rows)
    labels = recommender.features.labels
    products = labels[recommender.features.traits_count :]
    return [
        {labels[trait] for trait in row} | {label for label, has in zip(products, mine, strict=True) if has}
        for row, mine in zip(traits, owned, strict=True)
    ]


def test_what_is_told_is_true_of_the_training_rows(recommender: Recommender, trained: Encoded) -> None:
    everybody = labels_of(recommender, trained)
    owned, allowed = recommender.ownership.owned(trained), recommender.ownership.allowed(trained)
    checked = 0
    for place in range(0, ROWS, 40):
        customer = one(trained, place)
        items = np.flatnonzero(recommender.ownership.possible(customer)[0]).tolist()
        for item, told in zip(items, recommender.shares(customer, items), strict=True):
            if told is None:
                continue
            like = np.array([set(told.labels) <= labels for labels in everybody]) & allowed[:, item]
            assert like.sum() == told.customers >= shares.MIN_CUSTOMERS
            assert owned[like, item].mean() == pytest.approx(told.share, abs=1e-12)
            assert told.share > TELLING * recommender.popularity[item]
            assert set(told.labels) <= everybody[place]
            checked += 1
    assert checked > 30


def test_popularity_is_counted_among_those_who_could(recommender: Recommender, trained: Encoded) -> None:
    owned, allowed = recommender.ownership.owned(trained), recommender.ownership.allowed(trained)
    counted = [owned[allowed[:, item], item].mean() for item in range(owned.shape[1])]
    assert recommender.popularity.tolist() == pytest.approx(counted)


def test_no_reason_names_the_product_itself_or_a_sensitive_column(recommender: Recommender) -> None:
    counts, features = recommender.counts, recommender.features
    product, pair = np.divmod(counts.keys, len(features) ** 2)
    lower, higher = np.divmod(pair, len(features))
    itself = features.traits_count + product
    assert (counts.customers >= shares.MIN_CUSTOMERS).all()
    assert not ((lower == itself) | (higher == itself)).any()
    assert features.nameable[lower].all()
    assert features.nameable[higher].all()
    assert len(counts.keys) > 1000


def test_what_is_named_adds_most_to_the_score() -> None:
    """Three features, of which the second and third together say most, but too few customers have both."""
    keys = np.array([f * 3 + g for f, g in ((0, 0), (0, 1), (0, 2), (1, 1), (2, 2))])
    counts = shares.Shares(keys, np.full(5, 40), np.array([30, 30, 30, 30, 8]), 3)
    asked = np.array([0]), np.array([0, 1, 2]), np.array([[0.1, 0.5, 0.4]])
    assert counts.best(*asked, np.array([0.5])) == [(1, 0, 1)]
    assert counts.best(*asked, np.array([0.8])) == [None]  # nobody owns it as often as that
    opposed = np.array([0]), np.array([0, 1, 2]), np.array([[-0.1, 0.5, 0.4]])
    assert counts.best(*opposed, np.array([0.5])) == [(3, 1, 1)]  # one alone says more than with the first
    against = np.array([0]), np.array([0, 1, 2]), np.array([[-0.1, -0.5, -0.4]])
    assert counts.best(*against, np.array([0.5])) == [None]


def test_the_reason_is_what_the_customers_were_made_to_take_it_for(tmp_path: Path) -> None:
    plan = Plan(components=8, epochs=10)
    recommender = read(write_of(tmp_path / "version", tastes.contract(), tastes.people(), plan))
    nothing = [0, 0, 0, 0]
    films, games = (Encoded(np.empty((1, 0)), np.array([[taste, *nothing]])) for taste in (FILMS, GAMES))
    for customer, item, label in ((films, CINEMA, "Films taste"), (games, CONSOLE, "Games taste")):
        (told,) = recommender.shares(customer, [item])
        assert told is not None
        assert told.labels == (label,)
        assert told.share == pytest.approx(0.8, abs=0.06)
    assert recommender.shares(games, [CINEMA]) == [None]


def test_where_no_group_is_large_enough_nothing_is_told(recommender: Recommender, trained: Encoded) -> None:
    none = np.empty(0, dtype=np.int64)
    silent = replace(recommender, counts=shares.Shares(none, none, none, len(recommender.features)))
    assert silent.shares(one(trained, 0), [0, 1, 2]) == [None] * 3
    assert recommender.shares(one(trained, 0), []) == []


def made_up(customers: int, sizes: list[int], products: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Customers by chance, as :func:`churn.shares.count` takes them; the second column is not nameable."""
    random = np.random.default_rng(6)
    starts = np.cumsum([0, *sizes])
    traits = np.column_stack([random.integers(0, s, customers) + at for s, at in zip(sizes, starts, strict=False)])
    owned, allowed = random.random((2, customers, products)) < np.array([0.3, 0.8])[:, None, None]
    nameable = np.ones(starts[-1] + products, dtype=bool)
    nameable[starts[1] : starts[2]] = False
    return traits, owned, allowed, nameable


def test_every_pair_of_enough_customers_is_counted() -> None:
    traits, owned, allowed, nameable = made_up(900, [12, 2, 5], 3)
    counts = shares.count(traits, owned, allowed, nameable)
    has = np.zeros((900, len(nameable)), dtype=bool)
    np.put_along_axis(has, traits, True, axis=1)
    has[:, -3:] = owned
    told, short = [], 0
    for product in range(3):
        for one, other in zip(*np.triu_indices(len(nameable)), strict=True):
            both = has[:, one] & has[:, other] & allowed[:, product]
            short += 0 < both.sum() < shares.MIN_CUSTOMERS
            if nameable[one] and nameable[other] and len(nameable) - 3 + product not in (one, other):
                key = (product * len(nameable) + one) * len(nameable) + other
                told.append((key, both.sum(), (both & owned[:, product]).sum()))
    found = zip(counts.keys, counts.customers, counts.owners, strict=True)
    assert list(found) == [each for each in told if each[1] >= shares.MIN_CUSTOMERS]
    assert short > 30


def test_a_column_of_many_values_takes_little_memory() -> None:
    """A table of all pairs of features would be 86 MB for each product."""
    told = made_up(90_000, [2_300, 2, 8], 6)
    tracemalloc.start()
    counts = shares.count(*told)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(counts.keys) > 3_000
    assert most < 80e6


def test_where_nobody_can_be_named_nothing_is_counted() -> None:
    traits, owned, allowed, nameable = made_up(20, [3, 2], 2)
    for told in ((traits, owned, allowed, nameable), (traits[:0], owned[:0], allowed[:0], nameable)):
        assert len(shares.count(*told).keys) == 0
