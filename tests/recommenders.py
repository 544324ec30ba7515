"""A recommender's version that is quick to make, as tests/versions.py makes the classifier's."""

from functools import cache
from pathlib import Path

import numpy as np

from churn import contract as contracts
from churn import item_features, recommendation
from churn import settings as settings_of
from churn.contract import Contract
from churn.data import read_rows, validate
from churn.encoding import Encoded, Encoder
from churn.liking import Scaling
from churn.recommendation import Fitted, Plan
from churn.recommender import Recommender, load_recommender
from churn.recommender_files import write_parts
from churn.scoring import ModelVersion
from churn.user_features import UserFeatures
from tests import versions


@cache
def shipped() -> tuple[Contract, Encoded]:
    """The shipped contract and all of its rows."""
    path = settings_of.load().contract
    contract = contracts.load(path)
    rows = validate(read_rows(path.parent / contract.rows.training, contract.rows.format), contract)
    return contract, Encoder(contract).frame(rows)


def fit(contract: Contract, rows: Encoded, plan: Plan) -> Fitted:
    """A model of what these customers own."""
    features = UserFeatures.fit(contract, rows)
    traits, owned = features.traits(rows), features.owned(rows)
    matrix = item_features.matrix(contract, list(contract.products))
    return recommendation.fit(features, traits, owned.astype(np.float32), owned, matrix, plan)


def write(
    folder: Path, *, start: int = 0, rows: int = 300, plan: Plan | None = None, without_last: bool = False
) -> Path:
    """A version's folder: a model of some of the shipped customers.

    Args:
        start: the first of these rows; other rows make another model.
        without_last: whether its contract lacks the last feature.
    """
    contract, everybody = shipped()
    some = Encoded(everybody.numbers[start : start + rows], everybody.codes[start : start + rows])
    if without_last:
        contract, frame = versions.rows_of(start, without_last, count=rows)
        some = Encoder(contract).frame(frame)
    return write_of(folder, contract, some, plan or Plan(epochs=2, seed=1))


def write_of(folder: Path, contract: Contract, some: Encoded, plan: Plan) -> Path:
    """The folder of a version that is trained on these customers."""
    fitted = fit(contract, some, plan)
    owned = fitted.features.owned(some)
    allowed = fitted.features.ownership.allowed(some)
    liking = fitted.liking(fitted.features.traits(some), owned)
    folder.mkdir(parents=True)
    write_parts(
        folder,
        fitted,
        contract,
        list(contract.products),
        some,
        owned.astype(np.float32),
        scaling=Scaling.fit(liking[allowed], owned[allowed]),
        told={},
        seed=1,
    )
    return folder


def read(folder: Path, number: str = "1") -> Recommender:
    return load_recommender(folder, ModelVersion("offer-recommender", number))
