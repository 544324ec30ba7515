"""What MLflow's own tools are told of a version."""

from pathlib import Path

import numpy as np

from churn import item_features, recommendation
from churn.encoding import Encoder
from churn.liking import Scaling
from churn.recommendation import Plan
from churn.recommender_files import write_parts
from churn.recommender_pyfunc import _load_pyfunc
from churn.user_features import UserFeatures
from tests import recommenders, tastes


def test_it_tells_of_products_alone_since_how_offers_are_accepted_is_no_part_of_a_version(tmp_path: Path) -> None:
    contract, people = tastes.contract(), tastes.people()
    items = [*contract.products, "all"]
    features = UserFeatures.fit(contract, people)
    owned = features.owned(people)
    taken = np.column_stack([owned, np.arange(len(owned)) < item_features.MIN_ACCEPTED]).astype(np.float32)
    matrix = item_features.matrix(contract, items)
    fitted = recommendation.fit(features, features.traits(people), taken, owned, matrix, Plan(epochs=1, seed=1))
    write_parts(tmp_path, fitted, contract, items, people, taken, scaling=Scaling(2.0, -1.0), told={}, seed=1)
    recommender = recommenders.read(tmp_path)
    assert recommender.items == tuple(items)
    told = _load_pyfunc(str(tmp_path)).predict(Encoder(contract).rows(people))
    assert list(told) == list(contract.products)
    served = recommender.propensity(recommender.liking(people))[:, : owned.shape[1]]
    assert np.array_equal(told.to_numpy(), np.where(owned, 0.0, served))
