"""What customers own, could own and are eligible for, held against the contract read row by row."""

from typing import Any

import numpy as np
import pytest

from churn import contract as contracts
from churn.contract import Contract
from churn.encoding import Encoded, Encoder, customers
from churn.ownership import Ownership
from tests.club import CLUB
from tests.recommenders import shipped


@pytest.fixture(scope="module")
def club() -> Contract:
    return contracts.parse(CLUB)


@pytest.fixture(scope="module")
def members(club: Contract) -> Encoded:
    """Members of every kind, gaps among them."""
    random = np.random.default_rng(3)
    encoder = Encoder(club)
    numbers = random.integers(0, [10, 4], size=(500, 2)).astype(float)
    numbers[random.random(numbers.shape) < 0.1] = np.nan
    codes = np.column_stack([random.integers(-1, high, 500) for high in (3, 2, 3)])
    assert [column.name for column in encoder.categorical] == ["plan", "locker", "towel"]
    return Encoded(numbers, codes)


def holds(row: dict[str, Any], conditions: dict[str, list[Any]]) -> bool:
    """The rule in plain words: each named column has one of the values, and the same kind of value."""
    return all(
        row[name] is not None and any(type(row[name]) is type(value) and row[name] == value for value in allowed)
        for name, allowed in conditions.items()
    )


def test_rows_are_read_as_the_contract_says_one_by_one(club: Contract, members: Encoded) -> None:
    ownership = Ownership(club)
    rows = customers(members, Encoder(club))
    owned = [[holds(row, {name: p.owned}) for name, p in club.products.items()] for row in rows]
    allowed = [[holds(row, p.requires) for p in club.products.values()] for row in rows]
    eligible = [[holds(row, offer.eligibility) for offer in club.offers.values()] for row in rows]
    assert ownership.owned(members).tolist() == owned
    assert ownership.allowed(members).tolist() == allowed
    assert ownership.possible(members).tolist() == (np.array(allowed) & ~np.array(owned)).tolist()
    assert ownership.eligible(members).tolist() == eligible
    assert 0 < np.mean(eligible, axis=0)[1] < 0.1 < np.mean(owned, axis=0).min()


def test_a_member_of_whom_nothing_is_known_owns_nothing_and_may_have_what_requires_nothing(club: Contract) -> None:
    ownership = Ownership(club)
    nobody = Encoded(np.full((1, 2), np.nan), np.full((1, 3), -1))
    assert not ownership.owned(nobody).any()
    assert ownership.possible(nobody).tolist() == [[True, False, False]]
    assert ownership.eligible(nobody).tolist() == [[True, False]]


def test_a_contract_without_products_and_offers_has_none(club: Contract, members: Encoded) -> None:
    bare = Ownership(club.model_copy(update={"products": {}, "offers": {}}))
    assert bare.owned(members).shape == bare.possible(members).shape == bare.eligible(members).shape == (500, 0)


def test_the_shipped_customers_own_what_their_columns_say() -> None:
    contract, rows = shipped()
    ownership = Ownership(contract)
    frame = Encoder(contract).rows(rows)
    for place, (name, product) in enumerate(contract.products.items()):
        owned = frame[name].isin(product.owned)
        possible = ~owned
        for column, allowed in product.requires.items():
            possible &= frame[column].isin(allowed)
        assert (ownership.owned(rows)[:, place] == owned).all()
        assert (ownership.possible(rows)[:, place] == possible).all()
    assert ownership.products == list(contract.products)
