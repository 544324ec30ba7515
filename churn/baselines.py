"""What recommends without knowing a customer's features: the rivals that a recommender must beat.

Both have the same door. ``fit`` takes which products each customer owns, (n, p); ``liking`` scores every
product for customers of whom it is told what they own, higher being better.
"""

from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

LAMBDAS = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
HELD_OUT = 5
"""One customer in so many chooses the lambda."""


class Baseline(Protocol):
    """What learns from owned products alone."""

    def fit(self, owned: "Bools") -> Self: ...

    def liking(self, owned: "Bools") -> "Floats": ...


class Popularity:
    """Every product's share of owners, the same for everyone."""

    def __init__(self) -> None:
        self.share: Floats = np.zeros(0)

    def fit(self, owned: "Bools") -> Self:
        self.share = owned.mean(axis=0)
        return self

    def liking(self, owned: "Bools") -> "Floats":
        return np.broadcast_to(self.share, owned.shape).copy()


class Ease:
    """A linear model of each product by all others (Steck 2019, arXiv:1905.03375): EASE.

    Its weights are those of a ridge regression whose diagonal is held at 0, in closed form. How strong the
    ridge is, lambda, is chosen among :data:`LAMBDAS`: fitted on four fifths of the customers, the last
    fifth's products are each hidden from the sum that scores them (the diagonal is 0), and the lambda
    that ranks them highest is taken. Then all customers are fitted.

    Of a customer who owns nothing it knows nothing: all his products score 0.
    """

    def __init__(self, strengths: tuple[float, ...] = LAMBDAS) -> None:
        self.strengths = strengths
        self.strength = strengths[0]
        self.weights: Floats = np.zeros((0, 0))

    def fit(self, owned: "Bools") -> Self:
        table = owned.astype(np.float64)
        judging = np.arange(len(table)) % HELD_OUT == 0
        products = table[~judging].T @ table[~judging]
        ranked = [_mean_reciprocal_rank(table[judging], _weights(products, each)) for each in self.strengths]
        self.strength = self.strengths[int(np.argmax(ranked))]
        self.weights = _weights(table.T @ table, self.strength)
        return self

    def liking(self, owned: "Bools") -> "Floats":
        scores: Floats = owned.astype(np.float64) @ self.weights
        return scores


def _weights(products: "Floats", strength: float) -> "Floats":
    """From how often two products are owned together, (p, p): one column of weights per product."""
    inverse = np.linalg.inv(products + strength * np.eye(len(products)))
    weights: Floats = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return weights


def _mean_reciprocal_rank(owned: "Floats", weights: "Floats") -> float:
    """Over all owned products, each ranked among those that its customer does not own."""
    scores = owned @ weights
    rivals = np.where(owned > 0, np.inf, -scores)
    told = 0.0
    for product in range(owned.shape[1]):
        # scored with the product itself among the owned or not is the same: its own weight is 0. But it
        # does tell on its rivals, so what it adds to them is taken off
        owners = owned[:, product] > 0
        without = rivals[owners] + weights[product]
        better = (without < -scores[owners, product, None]).sum(axis=1)
        ties = (without == -scores[owners, product, None]).sum(axis=1)
        told += float((1 / (1 + better + ties / 2)).sum())
    return told / max(float(owned.sum()), 1.0)
