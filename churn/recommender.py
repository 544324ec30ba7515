"""The one door to a recommendation's score: API, batch and every later shell go through :class:`Recommender`.

Arrays alone: LightFM, scikit-learn and pandas are not asked, and nothing is unpickled.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from churn import recommender_parts
from churn.contract import Contract
from churn.encoding import Encoded, Encoder
from churn.errors import RefusedModel
from churn.liking import Scaling, Vectors
from churn.ownership import Ownership
from churn.scoring import ModelVersion
from churn.shares import Share, Shares
from churn.user_features import UserFeatures

if TYPE_CHECKING:
    from numpy.typing import NDArray

TELLING = 1.1
"""By what a share must be above the item's popularity to be a reason."""


@dataclass(frozen=True)
class Recommender:
    """A version in memory."""

    contract: Contract
    model: ModelVersion
    items: tuple[str, ...]
    """What it scores: the products in the contract's order, then the offers that it has learned."""
    features: UserFeatures
    vectors: Vectors
    scaling: Scaling
    popularity: "NDArray[np.float64]"
    """Of the training customers who could, the share who took each item, (items,)."""
    counts: Shares
    frequency: "NDArray[np.float64]"
    """The share of training customers who have each feature, (features,)."""
    told: dict[str, Any]
    """What else the version says of itself: how it was fitted and judged."""

    @cached_property
    def encoder(self) -> Encoder:
        return Encoder(self.contract)

    @property
    def ownership(self) -> Ownership:
        return self.features.ownership

    def liking(self, encoded: Encoded) -> "NDArray[np.float64]":
        """The score of each item for each customer, (n, items); higher is better, for one customer alone.

        That of a product that he owns says nothing.
        """
        return self.vectors.liking(self.features.traits(encoded), self.ownership.owned(encoded))

    def propensity(self, liking: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """How likely a customer takes what is liked so, as held-out customers show it, 0 to 1, in liking's shape.

        It rises with the score, so that it leaves every order as it is.
        """
        return self.scaling.probability(liking)

    def leaning(self, liking: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """How much more than most he likes each item, in log-odds, in liking's shape: 0 is the average of the
        training customers."""
        return self.scaling.slope * (liking - self._average)

    @cached_property
    def _average(self) -> "NDArray[np.float64]":
        """The training customers' liking on average, (items,)."""
        found: NDArray[np.float64] = self.vectors.biases + self.frequency @ self.vectors.tables
        return found

    def shares(self, encoded: Encoded, items: list[int]) -> list[Share | None]:
        """For one customer, (1, …), and each of these items: how many customers like him own it.

        Of his features, one or two are named: those that add most to the item's score, where at least
        :data:`churn.shares.MIN_CUSTOMERS` training customers have them, and clearly more of these own
        the item than of all who could. Sensitive columns are not named. None where there are no such
        features, and for offers.
        """
        traits, owned = self.features.traits(encoded)[0], self.ownership.owned(encoded)[0]
        active = np.concatenate([traits, self.features.traits_count + np.flatnonzero(owned)])
        active = active[self.features.nameable[active]]  # the others are in no pair
        products = np.array([item for item in items if item < len(owned)], dtype=np.int64)
        above = TELLING * self.popularity[products]
        found = self.counts.best(products, active, self._points[products[:, None], active], above)
        told = dict(zip(products.tolist(), found, strict=True))
        return [self._share(told.get(item)) for item in items]

    def _share(self, found: tuple[int, int, int] | None) -> Share | None:
        if found is None:
            return None
        place, *pair = found
        customers = int(self.counts.customers[place])
        labels = tuple(self.features.labels[feature] for feature in dict.fromkeys(pair))
        return Share(int(self.counts.owners[place]) / customers, customers, labels)

    @cached_property
    def _points(self) -> "NDArray[np.float64]":
        """What each feature says for each item, (items, features): its part of the score, beyond that of
        the other items, and beyond what the column says of the training customers on average."""
        tables = self.vectors.tables - self.vectors.tables.mean(axis=1, keepdims=True)
        usual = self.frequency[:, None] * tables
        points = tables.copy()
        start = 0
        for one in self.features.seen:
            column = slice(start, start + one.size)
            points[column] -= usual[column].sum(axis=0)
            start += one.size
        points[start:] -= usual[start:]
        return np.ascontiguousarray(points.T)


def load_recommender(folder: Path, model: ModelVersion) -> Recommender:
    """Read a version from the folder that its artefacts were downloaded to.

    Raises:
        RefusedModel: a part is missing or broken, the parts do not belong together, or the scores are
            others than LightFM's. Nothing of it has been executed or unpickled.
    """
    try:
        parts = recommender_parts.read(folder)
        recommender = Recommender(model=model, **parts.fields)
        recommender_parts.check(recommender.liking(parts.checked), parts.expected)
        return recommender
    except Exception as error:  # whatever a broken artefact raises, the version is refused
        raise RefusedModel(f"{model.name} version {model.version} does not load: {error}") from error
