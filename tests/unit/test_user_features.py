"""What the recommender sees of a customer, and what it must not see."""

from typing import Any

import numpy as np
import pytest

from churn import contract as contracts
from churn.contract import Contract
from churn.encoding import Encoded, Encoder
from churn.user_features import BINS, Seen, UserFeatures
from tests.club import CLUB
from tests.recommenders import shipped

COLUMNS: dict[str, Any] = {
    "age": {"type": "number", "min": 0, "max": 120, "label": "Age", "unit": "years"},
    "visits": {"type": "integer", "min": 0, "max": 9, "label": "Visits", "blank": "missing"},
    "months": {"type": "integer", "min": 0, "max": 600, "label": "Membership", "unit": "months"},
    "fee": {"type": "number", "min": 0, "max": 200},
    "bill": {"type": "number", "min": 0, "max": 9000},
    "plan": {"type": "category", "values": ["Basic", "Gold", "Black"], "label": "Plan", "blank": "missing"},
    "club": {"type": "category", "values": ["North", "South"], "label": "Club"},
    "gender": {"type": "category", "values": [0, 1, 2], "value_labels": {0: "A", 1: "B", 2: "C"}, "sensitive": True},
    "diet": {"type": "boolean", "sensitive": True},
    "locker": {"type": "boolean", "blank": "missing"},
}
HIDDEN = {
    "products": {"diet": {"owned": [True]}, "locker": {"owned": [True], "label": "A locker"}},
    "offers": {},
    "monthly_value": "fee",
}


@pytest.fixture(scope="module")
def contract() -> Contract:
    return contracts.parse(CLUB | HIDDEN | {"features": COLUMNS, "recommendation": {"unseen": ["bill"]}})


@pytest.fixture(scope="module")
def members() -> Encoded:
    random = np.random.default_rng(5)
    visits = random.choice([0.0, 1, 4, np.nan], 800)
    columns = [random.gamma(4, 10, 800), visits, random.integers(0, 60, 800), *random.random((2, 800))]
    codes = [random.integers(low, high, 800) for low, high in ((-1, 3), (0, 2), (0, 3), (0, 2), (-1, 2))]
    return Encoded(np.column_stack(columns).astype(float), np.column_stack(codes))


@pytest.fixture(scope="module")
def features(contract: Contract, members: Encoded) -> UserFeatures:
    return UserFeatures.fit(contract, members)


def test_what_tells_of_the_products_is_not_seen(features: UserFeatures) -> None:
    assert [one.column for one in features.seen] == ["age", "visits", "months", "plan", "club", "gender"]


def test_a_customer_has_one_feature_of_each_column(features: UserFeatures, members: Encoded) -> None:
    traits = features.traits(members)
    assert traits.shape == (800, 6)
    names = [[features.names[trait] for trait in row] for row in traits[:9]]
    assert all(name.startswith(one.column) for row in names for name, one in zip(row, features.seen, strict=True))
    assert (np.diff(traits, axis=1) > 0).all()
    assert traits.max() < features.traits_count == len(features) - 2


def test_the_bins_of_a_number_hold_about_as_many_customers(features: UserFeatures, members: Encoded) -> None:
    held = np.unique_counts(features.traits(members)[:, 0]).counts
    assert len(held) == BINS
    assert held.max() - held.min() <= 2


def test_a_number_of_few_values_has_a_bin_for_each(features: UserFeatures, members: Encoded) -> None:
    visits, trait = members.numbers[:, 1], features.traits(members)[:, 1]
    known = ~np.isnan(visits)
    assert len(set(zip(visits[known].tolist(), trait[known].tolist(), strict=True))) == 3
    assert {features.labels[place] for place in trait[~known]} == {"Unknown visits"}
    assert {features.labels[place] for place in trait[visits == 1]} == {"Visits 1 to 3"}


def test_a_bin_holds_its_lower_edge(features: UserFeatures, members: Encoded) -> None:
    edge = features.seen[2].edges[0]
    at = Encoded(members.numbers[:3].copy(), members.codes[:3])
    at.numbers[:, 2] = edge - 1, edge, edge + 1
    below, on, above = features.traits(at)[:, 2]
    assert below < on == above


def test_what_is_beyond_the_training_rows_is_in_the_outer_bins(features: UserFeatures, members: Encoded) -> None:
    far = Encoded(members.numbers[:2].copy(), members.codes[:2])
    far.numbers[:, 0] = 0, 120
    low, high = features.traits(far)[:, 0]
    assert features.labels[low].startswith("Age under")
    assert features.labels[high].startswith("Age of at least")


def test_labels_are_in_the_contracts_words(features: UserFeatures) -> None:
    told = dict(zip(features.names, features.labels, strict=True))
    assert told["plan=Gold"] == "Gold plan"  # as reasons speak of it (churn.wording)
    assert told["club=North"] == "North club"
    assert told["plan="] == "Unknown plan"
    assert told["locker+"] == "A locker" == features.labels[-1]
    assert told["months~0"] == f"Membership under {features.seen[2].edges[0]:g} months"


def test_sensitive_columns_are_seen_and_not_named(features: UserFeatures) -> None:
    hidden = [name for name, named in zip(features.names, features.nameable, strict=True) if not named]
    assert hidden == ["gender=", "gender=0", "gender=1", "gender=2", "diet+"]


def test_a_column_that_is_always_missing_is_a_feature(contract: Contract, members: Encoded) -> None:
    empty = Encoded(members.numbers.copy(), members.codes)
    empty.numbers[:, 1] = np.nan
    features = UserFeatures.fit(contract, empty)
    assert {features.labels[place] for place in features.traits(empty)[:, 1]} == {"Unknown visits"}
    assert "Visits known" in {features.labels[place] for place in features.traits(members)[:, 1]}


def test_they_are_the_same_once_written_and_read(contract: Contract, features: UserFeatures, members: Encoded) -> None:
    read = UserFeatures(contract, [Seen.model_validate_json(one.model_dump_json()) for one in features.seen])
    assert (read.traits(members) == features.traits(members)).all()
    assert read.names == features.names


@pytest.mark.parametrize(
    "change",
    [
        lambda seen: seen[1:],
        lambda seen: [*reversed(seen)],
        lambda seen: [seen[0].model_copy(update={"edges": seen[0].edges[::-1]}), *seen[1:]],
        lambda seen: [seen[0].model_copy(update={"edges": [*seen[0].edges[:-1], float("nan")]}), *seen[1:]],
        lambda seen: [*seen[:-1], seen[-1].model_copy(update={"size": 3})],
        lambda seen: [seen[0].model_copy(update={"kind": "category"}), *seen[1:]],
    ],
    ids=["one is missing", "another order", "edges fall", "an edge is none", "another size", "another kind"],
)
def test_features_of_another_contract_are_refused(contract: Contract, features: UserFeatures, change: Any) -> None:
    with pytest.raises(ValueError, match="the features are not the contract's"):
        UserFeatures(contract, change(features.seen))


def test_the_shipped_rows_are_seen_without_what_is_charged() -> None:
    contract, rows = shipped()
    features = UserFeatures.fit(contract, rows)
    seen = {one.column for one in features.seen}
    assert not seen & {*contract.products, contract.monthly_value, *contract.recommendation.unseen}
    assert len(seen) == len(contract.features) - len(contract.products) - 2
    assert features.owned(rows).shape == (7043, 8)
    assert len(Encoder(contract).names) == 19
