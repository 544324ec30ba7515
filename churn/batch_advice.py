"""What to recommend to many customers at once: ranked as :mod:`churn.advice` ranks for one, but that no
model is asked what an item would do to the risk: of a product the score then lacks that part, and an offer's
is as if no model saw the offer."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from churn.control import control_mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.advice import Advice
    from churn.encoding import Encoded

NONE = -1
_DIGITS = 6


@dataclass(frozen=True)
class Ranked:
    """The best items of n customers."""

    items: Sequence[str]
    """The names of all products and offers."""
    places: "NDArray[np.int64]"
    """(n, k): which of the items, the best first; :data:`NONE` where none is left."""
    scores: "NDArray[np.float64]"
    """(n, k); NaN where none is left."""
    control: "NDArray[np.bool_]"
    """(n,): who is of the control group, and so has none."""

    def part(self, chosen: slice) -> "Ranked":
        """Some of the customers."""
        return Ranked(self.items, self.places[chosen], self.scores[chosen], self.control[chosen])

    def as_json(self) -> list[str]:
        """Of each customer a list of ``item`` and ``score``, the best first."""
        begun = [f'{{"item":{json.dumps(name, ensure_ascii=False)},"score":' for name in self.items]
        told = zip(self.places.tolist(), np.round(self.scores, _DIGITS).tolist(), strict=True)
        return [
            f"[{','.join(f'{begun[place]}{score}}}' for place, score in zip(*one, strict=True) if place != NONE)}]"
            for one in told
        ]


class BatchAdvice:
    """Ranks for many customers at once.

    Args:
        advice: by whose versions and figures.
        held_back: the items that a customer is not to be offered, by his id: those that he has answered.
    """

    def __init__(self, advice: "Advice", held_back: Mapping[str, Collection[str]] | None = None) -> None:
        self._advice, self._ranking = advice, advice.ranking
        self._held_back = held_back or {}

    @property
    def labels(self) -> dict[str, str]:
        """What each product and offer is called, by its name."""
        return dict(zip(self._ranking.names, self._ranking.labels, strict=True))

    def rank(self, rows: "Encoded", probability: "NDArray[np.float64]", ids: Sequence[str] | None, k: int) -> Ranked:
        """The best ``k`` items of each customer, ties in the contract's order.

        Args:
            rows: of n customers, as the classifier's encoder gives them.
            probability: their churn probabilities, (n,).
            ids: (n,); None where they are not known: then nobody is of the control group.
        """
        control = np.zeros(len(rows), dtype=bool) if ids is None else control_mask(self._advice.contract, ids)
        may = self._advice.open(rows) & self._advice.bands[self._advice.scorer.bands(probability)]
        may[control] = False
        if ids is not None:
            self._hold_back(may, ids)
        scores = np.where(may, self._scores(rows, probability), -np.inf)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        places, found = np.full((len(rows), k), NONE), np.full((len(rows), k), np.nan)
        places[:, : best.shape[1]] = best
        found[:, : best.shape[1]] = np.take_along_axis(scores, best, axis=1)
        none = ~np.isfinite(found)
        places[none], found[none] = NONE, np.nan
        return Ranked(self._ranking.names, places, found, control)

    def _hold_back(self, may: "NDArray[np.bool_]", ids: Sequence[str]) -> None:
        if not self._held_back:
            return
        for row, one in enumerate(ids):
            if answered := self._held_back.get(one):
                may[row, list(self._ranking.places(answered))] = False

    def _scores(self, rows: "Encoded", probability: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """(n, items)"""
        ranking, recommender = self._ranking, self._advice.recommender
        propensity = self._advice.propensity(recommender.liking(rows))
        drop = ranking.accepted_drop(probability, propensity)
        points = ranking.points(propensity, drop, ranking.worth(rows.numbers))
        found: NDArray[np.float64] = points.sum(axis=0)
        return found


__all__ = ["NONE", "BatchAdvice", "Ranked"]
