"""How well LightFM recommends on customers that it was not fitted on, and its rivals beside it.

The customers are split into folds. In each, LightFM, EASE and popularity are fitted on the same other
customers and rank the same hidden products (:mod:`churn.hidden_products`). What they said of all folds
together is judged by :class:`churn.judged.Judged`.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from churn import hidden_products, item_features, recommendation
from churn.baselines import Ease, Popularity
from churn.catalogue import BANDS
from churn.judged import EASE, LIGHTFM, POPULARITY, HeldOut, Judged, View
from churn.ownership import Ownership
from churn.user_features import UserFeatures

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.contract import Contract
    from churn.encoding import Encoded
    from churn.hidden_products import Hidden
    from churn.recommendation import Plan

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]
    Scores = dict[str, Floats]

FOLDS = ((10_000, 5), (50_000, 3))
"""Up to so many customers, so many folds; above, two. More customers make the intervals narrower by
themselves, and each fold is another training."""

MOST_JUDGED = 50_000
"""So many customers, drawn at random, are ranked for; all are trained on. More would change no interval
that anybody reads."""


@dataclass(frozen=True)
class Taken:
    """Customers, and what they took."""

    contract: "Contract"
    encoded: "Encoded"
    items: tuple[str, ...]
    """The products in the contract's order, then the offers that are learned."""
    positives: "NDArray[np.float32]"
    """How much each item counts as taken, (n, items) from 0 to 1."""

    @classmethod
    def owned(cls, contract: "Contract", encoded: "Encoded") -> "Taken":
        """Customers who took what they own, and of whom no more is known."""
        ownership = Ownership(contract)
        return cls(contract, encoded, tuple(ownership.products), ownership.owned(encoded).astype(np.float32))

    def __len__(self) -> int:
        return len(self.encoded)

    def fit(self, plan: "Plan", rows: "Ints | None" = None) -> recommendation.Fitted:
        """LightFM over these customers, or some of them."""
        picked = np.arange(len(self)) if rows is None else rows
        encoded = self.encoded.at(picked)
        features = UserFeatures.fit(self.contract, encoded)
        traits, owned = features.traits(encoded), features.owned(encoded)
        matrix = item_features.matrix(self.contract, list(self.items))
        return recommendation.fit(features, traits, self.positives[picked], owned, matrix, plan)


def folds_for(customers: int) -> int:
    """How many folds are worth their time."""
    return next((folds for most, folds in FOLDS if customers <= most), 2)


def evaluate(
    taken: Taken,
    plan: "Plan",
    *,
    probability: "Floats | None" = None,
    folds: int | None = None,
    workers: int = 1,
    seed: int = 0,
) -> Judged:
    """Judge LightFM as ``plan`` fits it.

    Args:
        probability: every customer's churn probability, (n,), where the risk bands are to be told apart.
        folds: None: :func:`folds_for`.
        workers: fits so many folds at a time, in threads; it changes no figure.
        seed: draws the folds and what is hidden.
    """
    count = folds or folds_for(len(taken))
    ownership = Ownership(taken.contract)
    fold = np.random.default_rng(seed).permutation(len(taken)) % count
    judging = _judging(len(taken), seed)
    encoded, left_out = taken.encoded.at(judging), fold[judging]
    warm = hidden_products.one_each(ownership, taken.contract, encoded, seed)
    cold = hidden_products.everything(ownership, taken.contract, encoded)
    owned = ownership.owned(taken.encoded)
    said = [_Said.nothing(len(rows), owned.shape[1]) for rows in (warm, cold)]
    held_out = np.zeros((len(judging), owned.shape[1]))

    def judge(number: int) -> None:
        models = _Models.fit(taken, owned, np.flatnonzero(fold != number), plan)
        for hidden, what in zip((warm, cold), said, strict=True):
            there = left_out[hidden.rows] == number
            what.note(there, models.scores(hidden.at(there)))
        there = left_out == number
        held_out[there] = models.each_hidden(encoded.at(there))

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(judge, range(count)))
    bands = _bands(taken.contract, None if probability is None else probability[judging])
    views = _warm_views(warm, said[0].scores, left_out, bands) + _cold_views(cold, said[1].scores, left_out)
    share = (owned.sum(axis=0) + 1) / (len(owned) + 2)
    kept = HeldOut(held_out, owned[judging], ownership.allowed(encoded))
    return Judged.of(views, share, kept, folds=count, seed=seed)


def _judging(customers: int, seed: int) -> "Ints":
    """Which customers are ranked for, in order."""
    if customers <= MOST_JUDGED:
        return np.arange(customers)
    return np.sort(np.random.default_rng(seed).choice(customers, MOST_JUDGED, replace=False))


@dataclass(frozen=True)
class _Models:
    """What one fold is fitted with."""

    lightfm: recommendation.Fitted
    ease: Ease
    popularity: Popularity

    @classmethod
    def fit(cls, taken: Taken, owned: "Bools", rows: "Ints", plan: "Plan") -> "_Models":
        return cls(taken.fit(plan, rows), Ease().fit(owned[rows]), Popularity().fit(owned[rows]))

    def scores(self, hidden: "Hidden") -> "Scores":
        """Every product's score, (m, p), by each model."""
        traits = self.lightfm.features.traits(hidden.encoded)
        products = hidden.known.shape[1]
        return {
            LIGHTFM: self.lightfm.liking(traits, hidden.known)[:, :products],
            EASE: self.ease.liking(hidden.known),
            POPULARITY: self.popularity.liking(hidden.known),
        }

    def each_hidden(self, encoded: "Encoded") -> "Floats":
        """LightFM's score of each product when that one is hidden and all others are known, (n, p)."""
        features = self.lightfm.features
        traits, owned = features.traits(encoded), features.owned(encoded)
        told = np.empty(owned.shape)
        for product in range(owned.shape[1]):
            known = owned.copy()
            known[:, product] = False
            told[:, product] = self.lightfm.liking(traits, known)[:, product]
        return told


@dataclass(frozen=True)
class _Said:
    """What the models of all folds say of the customers that each was not fitted on."""

    scores: "Scores"

    @classmethod
    def nothing(cls, customers: int, products: int) -> "_Said":
        return cls({model: np.zeros((customers, products)) for model in (LIGHTFM, EASE, POPULARITY)})

    def note(self, there: "Bools", scores: "Scores") -> None:
        for model, found in scores.items():
            self.scores[model][there] = found


def _bands(contract: "Contract", probability: "Floats | None") -> "dict[str, Bools]":
    if probability is None:
        return {}
    band = np.array([contract.band_of(each) for each in probability.tolist()])
    return {name: band == name for name in BANDS}


def _warm_views(hidden: "Hidden", scores: "Scores", fold: "Ints", bands: "dict[str, Bools]") -> list[View]:
    fold = fold[hidden.rows]
    served = View.of("served", "As served", hidden, hidden.possible, scores, fold)
    told = [served, View.of("all", "All that is not owned", hidden, ~hidden.known, scores, fold)]
    for band, members in bands.items():
        kept = members[hidden.rows]
        some = {model: each[kept] for model, each in scores.items()}
        picked = hidden.at(kept)
        told.append(View.of(band, f"{band.capitalize()} risk", picked, picked.possible, some, fold[kept]))
    return told


def _cold_views(hidden: "Hidden", scores: "Scores", fold: "Ints") -> list[View]:
    fold = fold[hidden.rows]
    return [
        View.of("cold", "Cold, as served", hidden, hidden.possible, scores, fold),
        View.of("cold_all", "Cold, all products", hidden, ~hidden.known, scores, fold),
    ]
