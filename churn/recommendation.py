"""LightFM over the features of customers and items (Kula 2015, arXiv:1507.08439).

A customer is the sum of his features, the products that he owns among them. For each product that he
owns there is a training row in which that one is masked, so that the model learns to tell it from
the rest, and so serves customers that it has never seen.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from churn.errors import NotReady
from churn.liking import Vectors
from churn.user_features import UserFeatures

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FEWEST_EPOCHS = 4
_ROWS_SCALED = 10_000
USUAL_SCORE = 0.4
"""The root mean square that scores are scaled to. It leaves every order as it is, and makes those of
several models, such as a fold's and the last one's, compare."""


@dataclass(frozen=True)
class Plan:
    """How to fit. The same plan over the same rows gives the same model."""

    components: int = 16
    epochs: int = 20
    """At most; see ``steps``."""
    learning_rate: float = 0.05
    cold: float = 0.15
    """The share of training rows that show no owned product, so that those of whom none is known are
    served well, too."""
    steps: int = 1_200_000
    """At most so many rows are learned from, counting each epoch's: large data need fewer epochs."""
    seed: int = 0

    def epochs_of(self, rows: int) -> int:
        """How often so many training rows are gone through."""
        return min(self.epochs, max(_FEWEST_EPOCHS, self.steps // max(rows, 1)))


@dataclass(frozen=True)
class Fitted:
    """A fitted model, and the same as serving computes it."""

    model: Any
    """The :class:`lightfm.LightFM`."""
    features: UserFeatures
    item_features: sparse.csr_matrix
    vectors: Vectors
    plan: Plan
    """With the epochs that it took."""

    def liking(self, traits: "NDArray[np.int64]", owned: "NDArray[np.bool_]") -> "NDArray[np.float64]":
        """The score of each item for each customer, (n, items); see :meth:`churn.liking.Vectors.liking`."""
        return self.vectors.liking(traits, owned)

    def predict(self, traits: "NDArray[np.int64]", owned: "NDArray[np.bool_]") -> "NDArray[np.float32]":
        """The same as LightFM's own ``predict`` says it, (n, items)."""
        users = _user_matrix(traits, owned, len(self.features))
        n, items = len(traits), self.item_features.shape[0]
        pairs = np.repeat(np.arange(n, dtype=np.int32), items), np.tile(np.arange(items, dtype=np.int32), n)
        told = self.model.predict(*pairs, item_features=self.item_features, user_features=users)
        scores: NDArray[np.float32] = told.reshape(n, items)
        return scores


def fit(
    features: UserFeatures,
    traits: "NDArray[np.int64]",
    positives: "NDArray[np.float32]",
    owned: "NDArray[np.bool_]",
    item_features: sparse.csr_matrix,
    plan: Plan,
) -> Fitted:
    """Fit a model by WARP (Weston, Bengio & Usunier 2011).

    Args:
        features: fitted to these customers.
        traits: (n, columns)
        positives: how much each item counts as taken, (n, items) from 0 to 1: what is owned, and
            offers that were accepted. The products come first.
        owned: (n, products)
        item_features: (items, features), as :func:`churn.item_features.matrix` tells them.

    Raises:
        NotReady: nobody has taken anything.
    """
    from lightfm import LightFM

    random = np.random.default_rng(plan.seed)
    customers, taken = training_rows(positives, plan.steps // _FEWEST_EPOCHS, random)
    if not len(taken):
        raise NotReady("no training customer owns any of the products: there is nothing to learn from")
    shown = _shown(owned, customers, taken, plan.cold, random)
    users = _user_matrix(traits[customers], shown, len(features))
    model = LightFM(
        no_components=plan.components, loss="warp", learning_rate=plan.learning_rate, random_state=plan.seed
    )
    interactions, weights = _interactions(positives, customers, taken)
    epochs = plan.epochs_of(len(taken))
    model.fit(
        interactions,
        user_features=users,
        item_features=item_features,
        sample_weight=weights,
        epochs=epochs,
        num_threads=1,  # several would write over each other's steps, each time anew
    )
    _settle(model, users, item_features)
    return Fitted(model, features, item_features, _vectors(model, item_features), replace(plan, epochs=epochs))


def training_rows(
    positives: "NDArray[np.float32]", most: int, random: np.random.Generator
) -> tuple["NDArray[np.intp]", "NDArray[np.intp]"]:
    """The training rows: whose they are and which item they ask for, (rows,) each; a sample of at most so many."""
    customers, taken = np.nonzero(positives)
    if len(taken) > most:
        kept = np.sort(random.permutation(len(taken))[:most])
        customers, taken = customers[kept], taken[kept]
    return customers, taken


def _shown(
    owned: "NDArray[np.bool_]",
    customers: "NDArray[np.intp]",
    taken: "NDArray[np.intp]",
    cold: float,
    random: np.random.Generator,
) -> "NDArray[np.bool_]":
    """What each training row shows of what its customer owns, (rows, products): all but the product taken."""
    shown = owned[customers]
    products = taken < owned.shape[1]
    shown[products, taken[products]] = False
    shown[random.random(len(shown)) < cold] = False
    return shown


def _user_matrix(traits: "NDArray[np.int64]", owned: "NDArray[np.bool_]", width: int) -> sparse.csr_matrix:
    """Features as LightFM takes them, (n, features) in float32."""
    rows, products = np.nonzero(owned)
    first = width - owned.shape[1]
    lines = np.concatenate([np.repeat(np.arange(len(traits)), traits.shape[1]), rows])
    columns = np.concatenate([traits.ravel(), products + first])
    ones = np.ones(len(lines), dtype=np.float32)
    return sparse.csr_matrix((ones, (lines, columns)), shape=(len(traits), width))


def _interactions(
    positives: "NDArray[np.float32]", customers: "NDArray[np.intp]", taken: "NDArray[np.intp]"
) -> tuple[sparse.coo_matrix, sparse.coo_matrix]:
    """Interactions and their weights, (rows, items).

    A row holds all that its customer has taken. What it does not ask for stands there as 0: LightFM
    learns nothing from such an entry, and does not draw it as an item that he has not taken.
    """
    everything = positives[customers]
    rows, items = np.nonzero(everything)
    asked = (items == taken[rows]).astype(np.float32)
    shape = everything.shape
    weights = everything[rows, items]
    return (
        sparse.coo_matrix((asked, (rows, items)), shape=shape),
        sparse.coo_matrix((weights, (rows, items)), shape=shape),
    )


def _settle(model: Any, users: sparse.csr_matrix, item_features: sparse.csr_matrix) -> None:
    """Leave what no ranking hangs on in a plain state: features that no training row had say nothing;
    users have no bias, which WARP moves with each step though it is the same for every item; and scores
    are small numbers, which the float32 of LightFM's ``predict`` tells to seven digits."""
    unknown = np.asarray(users.sum(axis=0)).ravel() == 0
    model.user_embeddings[unknown] = 0
    model.user_biases[:] = 0
    some = users[:: max(1, users.shape[0] // _ROWS_SCALED)]
    biases, items = model.get_item_representations(item_features)
    scores = model.get_user_representations(some)[1] @ items.T + biases
    size = float(np.sqrt(np.mean(scores**2)) / USUAL_SCORE) or 1.0
    model.item_biases /= size
    model.item_embeddings /= np.sqrt(size)
    model.user_embeddings /= np.sqrt(size)


def _vectors(model: Any, item_features: sparse.csr_matrix) -> Vectors:
    biases, items = model.get_item_representations(item_features)
    users = np.array(model.user_embeddings, dtype=np.float32)
    return Vectors(users, np.asarray(items, dtype=np.float32), np.asarray(biases, dtype=np.float32))
