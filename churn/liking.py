"""What a customer is likely to take: a score for each item, as a sum of looked-up numbers.

LightFM's score of a customer and an item is the product of two sums of embeddings. It is linear in
the customer's features, so each feature's part of it is known before anybody asks.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FARTHEST = 500.0  # where exp is still a number
_FLATTEST = 1e-6
_STEPS = 100
_RIDGE = 1e-9
_EXACT = 1e-10
_RISING = 1e-4
"""The part of a step's promised gain that it must keep."""


@dataclass(frozen=True)
class Vectors:
    """A fitted LightFM model's representations, (…, components), item features folded into the items."""

    users: "NDArray[np.float32]"
    """Of every user feature, (features, components)."""
    items: "NDArray[np.float32]"
    """(items, components)"""
    biases: "NDArray[np.float32]"
    """Of the items, (items,). Those of users are the same for every item, and are left out."""

    @cached_property
    def tables(self) -> "NDArray[np.float64]":
        """What each feature adds to the score of each item, (features, items)."""
        return self.users.astype(np.float64) @ self.items.astype(np.float64).T

    def liking(self, traits: "NDArray[np.int64]", owned: "NDArray[np.bool_]") -> "NDArray[np.float64]":
        """The score of each item for each customer, (n, items): higher is better, for one customer alone.

        Args:
            traits: as :meth:`churn.user_features.UserFeatures.traits` tells them, (n, columns).
            owned: (n, products)
        """
        tables = self.tables
        own = tables[len(tables) - owned.shape[1] :]
        scores: NDArray[np.float64] = owned.astype(np.float64) @ own
        scores += self.biases
        if len(scores) == 1:
            scores += tables[traits[0]].sum(axis=0)
            return scores
        for column in traits.T:
            scores += tables[column]
        return scores


@dataclass(frozen=True)
class Scaling:
    """Scores as probabilities: 1 / (1 + exp(−slope · score − offset)), the slope above 0 (Platt 1999)."""

    slope: float
    offset: float

    def probability(self, liking: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """In the shape of ``liking``."""
        bounded = np.clip(self.slope * liking + self.offset, -_FARTHEST, _FARTHEST)
        found: NDArray[np.float64] = 1 / (1 + np.exp(-bounded))
        return found

    @classmethod
    def fit(cls, scores: "NDArray[np.float64]", taken: "NDArray[np.bool_]") -> Self:
        """The likeliest one of held-out scores, by Newton's method with shortened steps (Lin, Lin & Weng 2007,
        doi:10.1007/s10994-007-5018-6): whole ones lead away where an item is rare and scores tell it well.

        The targets are Platt's, a little within 0 and 1, so that it exists where scores tell the two
        apart without fail. Scores that do not rise with what is taken get the smallest slope.

        Args:
            scores, taken: (pairs,) of customers and items that the model was not trained on.
        """
        yes = float(taken.sum())
        no = len(taken) - yes
        target = np.where(taken, (yes + 1) / (yes + 2), 1 / (no + 2))
        usual = float(np.log((yes + 1) / (no + 1)))
        slope, offset = _likeliest(np.column_stack([scores, np.ones(len(scores))]), target, [0.0, usual])
        return cls(slope, offset) if slope >= _FLATTEST else cls(_FLATTEST, usual)


def _likeliest(
    columns: "NDArray[np.float64]", target: "NDArray[np.float64]", start: list[float]
) -> tuple[float, float]:
    """The logistic regression of targets within 0 and 1, (pairs,), on two columns, (pairs, 2)."""
    found = np.array(start)
    likelihood = _likelihood(columns @ found, target)
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(columns @ found, -_FARTHEST, _FARTHEST)))
        slopes = columns.T @ (target - chance)
        curvature = (columns * (chance * (1 - chance))[:, None]).T @ columns + _RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, slopes)
        promised = _RISING * float(slopes @ step)
        length = 1.0
        while (reached := _likelihood(columns @ (found + length * step), target)) < likelihood + length * promised:
            length /= 2
            if length < _EXACT:  # no more than rounding is left to gain
                return float(found[0]), float(found[1])
        found, likelihood = found + length * step, reached
        if np.abs(step).max() < _EXACT:
            break
    return float(found[0]), float(found[1])


def _likelihood(logits: "NDArray[np.float64]", target: "NDArray[np.float64]") -> float:
    """The logarithm of it."""
    return float((target * logits - np.logaddexp(0, logits)).sum())
