"""What the recommender sees of an item: itself, its bundle, and whether it is a product or an offer."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from churn.contract import Contract

MIN_ACCEPTED = 20
"""An offer is learned from so many customers who accepted it; before, there is only its acceptance rate."""


def items(contract: "Contract", accepted: Mapping[str, int]) -> list[str]:
    """What is learned: the products in the contract's order, then the offers that enough customers accepted.

    Args:
        accepted: how many customers accepted each offer.
    """
    return [*contract.products, *(name for name in contract.offers if accepted.get(name, 0) >= MIN_ACCEPTED)]


def matrix(contract: "Contract", names: list[str]) -> sparse.csr_matrix:
    """The features of these items, (items, features) in float32."""
    told = [[f"item {name}", *_shared(contract, name)] for name in names]
    places = {feature: place for place, feature in enumerate(dict.fromkeys(f for some in told for f in some))}
    rows = [line for line, some in enumerate(told) for _ in some]
    columns = [places[feature] for some in told for feature in some]
    ones = np.ones(len(rows), dtype=np.float32)
    return sparse.csr_matrix((ones, (rows, columns)), shape=(len(names), len(places)))


def _shared(contract: "Contract", name: str) -> list[str]:
    product = contract.products.get(name)
    if product is None:
        return ["kind offer"]
    return ["kind product", *([f"bundle {product.bundle}"] if product.bundle else [])]
