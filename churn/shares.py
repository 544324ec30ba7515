"""How many customers own what: the figures that a recommendation's reasons are told with.

Counted in training over pairs of features, so that "owned by 7 in 10 customers with this and that"
is a fact about the training rows and no estimate. Pairs of few customers are not told.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

MIN_CUSTOMERS = 30
"""Fewer customers than that are not told of."""


@dataclass(frozen=True, slots=True)
class Share:
    """Of the training customers who have these features and what the product requires, the share who own it."""

    share: float
    customers: int
    """Whom it is a share of."""
    labels: tuple[str, ...]
    """One feature or two, in the contract's words."""


@dataclass(frozen=True)
class Shares:
    """Counts per product and pair of features. A pair of a feature and itself is that one alone."""

    keys: "NDArray[np.int64]"
    """(pairs,), rising: (product · features + lower feature) · features + higher feature."""
    customers: "NDArray[np.int64]"
    """Who have both and could own the product, (pairs,)."""
    owners: "NDArray[np.int64]"
    """Who of them own it, (pairs,)."""
    features: int

    def best(
        self,
        products: "NDArray[np.int64]",
        active: "NDArray[np.int64]",
        points: "NDArray[np.float64]",
        above: "NDArray[np.float64]",
    ) -> list[tuple[int, int, int] | None]:
        """For each product, the pair that says most for it, as (its place here, feature, feature), or None.

        Args:
            products: (k,)
            active: the customer's features, rising, (a,).
            points: what each of them adds to each product's score, (k, a): of the pairs that are told
                of and of whom a larger share own it than ``above``, that of the largest sum is taken.
            above: (k,)
        """
        if not len(self.keys) or not len(active):
            return [None] * len(products)
        one, other, weight = _pairs(len(active))
        pairs = active[one] * self.features + active[other]
        wanted = products[:, None] * self.features**2 + pairs
        places = np.minimum(self.keys.searchsorted(wanted), len(self.keys) - 1)
        told = (self.keys[places] == wanted) & (self.owners[places] > above[:, None] * self.customers[places])
        sums = np.where(told, (points[:, one] + points[:, other]) * weight, 0)
        best = sums.argmax(axis=1)
        return [
            (int(places[line, pair]), int(active[one[pair]]), int(active[other[pair]]))
            if sums[line, pair] > 0
            else None
            for line, pair in enumerate(best.tolist())
        ]


@lru_cache(maxsize=64)
def _pairs(count: int) -> tuple["NDArray[np.int64]", "NDArray[np.int64]", "NDArray[np.float64]"]:
    """All pairs of so many, and 1 for each; a half for one and itself, so that its sum counts it once."""
    one, other = np.triu_indices(count)
    return one, other, np.where(one == other, 0.5, 1.0)


def count(
    traits: "NDArray[np.int64]",
    owned: "NDArray[np.bool_]",
    allowed: "NDArray[np.bool_]",
    nameable: "NDArray[np.bool_]",
) -> Shares:
    """Count the training customers.

    Only pairs that somebody has take memory and time: a column may have thousands of values.

    Args:
        traits, owned: as the recommender sees them, (n, columns) and (n, products).
        allowed: who has what each product requires, (n, products).
        nameable: which features may be told of, (features,); the owned products are the last of them.
    """
    features, products = len(nameable), owned.shape[1]
    first = features - products
    kept = np.flatnonzero(nameable & (_customers(traits, owned, features) >= MIN_CUSTOMERS))
    active = _active(traits, owned, features, kept)
    counted: dict[bytes, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}  # many products require the same
    keys, customers, owners = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for product, could in enumerate(allowed.T):
        mask = could.tobytes()
        if mask not in counted:
            counted[mask] = _told(active[could])
        pairs, both = counted[mask]
        lower, higher = kept[pairs // len(kept)], kept[pairs % len(kept)]
        # who owns a product owns it: that is no reason
        other = (lower != first + product) & (higher != first + product)
        keys.append(((product * features + lower) * features + higher)[other])
        customers.append(both[other])
        owners.append(_owners(active[could & owned[:, product]], pairs)[other])
    return Shares(np.concatenate(keys), np.concatenate(customers), np.concatenate(owners), features)


def _customers(traits: "NDArray[np.int64]", owned: "NDArray[np.bool_]", features: int) -> "NDArray[np.int64]":
    """How many have each feature, (features,)."""
    found = np.bincount(traits.ravel(), minlength=features)
    found[features - owned.shape[1] :] += owned.sum(axis=0)
    return found


def _active(
    traits: "NDArray[np.int64]", owned: "NDArray[np.bool_]", features: int, kept: "NDArray[np.intp]"
) -> "csr_matrix":
    """Who has which of the kept features, (n, kept), as ones."""
    from scipy.sparse import csr_matrix  # training has it; serving reads the counts alone

    place = np.full(features, -1, dtype=np.int32)
    place[kept] = np.arange(len(kept))
    places = np.hstack([place[traits], np.where(owned, place[features - owned.shape[1] :], np.int32(-1))])
    there = places >= 0
    ends = np.concatenate([[0], there.sum(axis=1).cumsum()])
    indices = places[there]
    return csr_matrix((np.ones(len(indices), dtype=np.int32), indices, ends), shape=(len(traits), len(kept)))


def _pairs_of(active: "csr_matrix") -> tuple["NDArray[np.int64]", "NDArray[np.int64]"]:
    """Every pair that some of these customers have, lower feature · features + higher feature, and how many do."""
    found = (active.T @ active).tocoo()
    upper = found.row <= found.col
    pairs = found.row[upper].astype(np.int64) * found.shape[1] + found.col[upper]
    return pairs, found.data[upper].astype(np.int64)


def _told(could: "csr_matrix") -> tuple["NDArray[np.int64]", "NDArray[np.int64]"]:
    """The same of the pairs that enough customers have, rising."""
    pairs, customers = _pairs_of(could)
    enough = np.flatnonzero(customers >= MIN_CUSTOMERS)
    order = enough[pairs[enough].argsort()]
    return pairs[order], customers[order]


def _owners(has: "csr_matrix", pairs: "NDArray[np.int64]") -> "NDArray[np.int64]":
    """How many of these customers have each of some pairs, (pairs,)."""
    owners = np.zeros(len(pairs), dtype=np.int64)
    if len(pairs):
        present, count = _pairs_of(has)
        places = np.minimum(pairs.searchsorted(present), len(pairs) - 1)
        found = pairs[places] == present
        owners[places[found]] = count[found]
    return owners
