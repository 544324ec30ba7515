"""How good rankings are, in the field's terms, one figure per customer.

Every figure starts from three arrays of shape (n, p): the scores, which products are relevant (held
out: the customer owns them and the ranker was not told), and which are candidates; others are never
ranked. Products with equal scores stand in no order, so each figure is the expected one over all
orders of them: a ranker that says nothing gets what chance gets, and no order of columns helps.

Herlocker et al. 2004 (doi:10.1145/963770.963772) for precision, recall and coverage; Järvelin &
Kekäläinen 2002 (doi:10.1145/582415.582418) for nDCG; Zhou et al. 2010 (doi:10.1073/pnas.1000488107)
for novelty; Abdollahpouri et al. 2019 (arXiv:1907.13286) for the popularity bias.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Ranking:
    """The candidates of n customers, best first, in groups of equal scores. Arrays of shape (n, p)."""

    order: "Ints"
    """The product at each place; those that are no candidates come last."""
    start: "Ints"
    """At which place the group of each place starts, and where it ends (the first place behind it)."""
    end: "Ints"
    hits: "Ints"
    """How many of the group are relevant; 0 behind the candidates."""
    ranked: "Bools"
    """Whether a candidate stands at the place."""

    @classmethod
    def of(cls, scores: "Floats", relevant: "Bools", candidates: "Bools") -> "Ranking":
        """Rank candidates by their scores, higher being better.

        Raises:
            ValueError: a candidate's score is not finite.
        """
        if not np.isfinite(scores[candidates]).all():
            raise ValueError("the score of a candidate is not finite")
        n, p = scores.shape
        lost = np.where(candidates, -scores, np.inf)
        order = np.argsort(lost, axis=1, kind="stable")
        sorted_ = np.take_along_axis(lost, order, axis=1)
        new = np.ones((n, p), dtype=bool)
        new[:, 1:] = sorted_[:, 1:] != sorted_[:, :-1]
        place = np.broadcast_to(np.arange(p), (n, p))
        start = np.maximum.accumulate(np.where(new, place, 0), axis=1)
        last = np.ones((n, p), dtype=bool)
        last[:, :-1] = new[:, 1:]
        end = np.minimum.accumulate(np.where(last, place + 1, p)[:, ::-1], axis=1)[:, ::-1]
        found = np.zeros((n, p + 1), dtype=np.int64)
        np.cumsum(np.take_along_axis(relevant & candidates, order, axis=1), axis=1, out=found[:, 1:])
        hits = np.take_along_axis(found, end, axis=1) - np.take_along_axis(found, start, axis=1)
        return cls(order, start, end, hits, np.isfinite(sorted_))

    @cached_property
    def expected(self) -> "Floats":
        """The chance that a relevant product stands at each place, (n, p)."""
        chances: Floats = self.hits / (self.end - self.start)
        return chances

    @property
    def relevant(self) -> "Ints":
        """How many relevant candidates each customer has, (n,)."""
        counted: Ints = np.rint(self.expected.sum(axis=1)).astype(np.int64)
        return counted

    def shown(self, k: int) -> "Floats":
        """The chance that each product is among the first k, (n, p) in the products' order."""
        slots = np.clip(k - self.start, 0, self.end - self.start)
        by_place = np.where(self.ranked, slots / (self.end - self.start), 0.0)
        told = np.empty_like(by_place)
        np.put_along_axis(told, self.order, by_place, axis=1)
        return told


def precision(ranking: Ranking, k: int) -> "Floats":
    """The share of the first k places that hold a relevant product, (n,). Places without a candidate count."""
    found: Floats = ranking.expected[:, :k].sum(axis=1) / k
    return found


def recall(ranking: Ranking, k: int) -> "Floats":
    """The share of relevant candidates among the first k, (n,); NaN where there are none."""
    return _over(ranking.expected[:, :k].sum(axis=1), ranking.relevant)


def hit_rate(ranking: Ranking, k: int) -> "Floats":
    """The chance that a relevant product is among the first k, (n,); NaN where none is a candidate."""
    k = min(k, ranking.start.shape[1])
    group = k - 1  # the group that the last of the k places belongs to
    start, end = ranking.start[:, group], ranking.end[:, group]
    sure = ranking.expected[:, :k].cumsum(axis=1)
    before = np.where(start > 0, np.take_along_axis(sure, np.maximum(start - 1, 0)[:, None], axis=1)[:, 0], 0.0)
    missed = np.where(before > 1e-9, 0.0, 1.0)
    others = end - start - ranking.hits[:, group]
    for drawn in range(k):  # of the last group, k - start are drawn without replacement
        chance = (others - drawn) / np.maximum(end - start - drawn, 1)
        missed = np.where(drawn < k - start, missed * np.maximum(chance, 0.0), missed)
    return np.where(ranking.relevant > 0, 1 - missed, np.nan)


def ndcg(ranking: Ranking, k: int) -> "Floats":
    """The normalised discounted cumulative gain at k with gains of 1, (n,); NaN where nothing is relevant."""
    discount = 1 / np.log2(np.arange(2, ranking.start.shape[1] + 2))[:k]
    ideal = np.append(0.0, discount.cumsum())
    return _over(ranking.expected[:, :k] @ discount, ideal[np.minimum(ranking.relevant, len(discount))])


def reciprocal_rank(ranking: Ranking) -> "Floats":
    """1 over the place of the first relevant product, (n,); its mean is the MRR. NaN where there is none."""
    n, p = ranking.hits.shape
    rows, first = np.arange(n), (ranking.hits > 0).argmax(axis=1)  # the first place of its group
    size, hits = (ranking.end - ranking.start)[rows, first], ranking.hits[rows, first]
    told, none_yet = np.zeros(n), np.ones(n)
    for drawn in range(p):  # the group's products in a random order
        left = np.maximum(size - drawn, 1)
        told += none_yet * np.minimum(hits / left, 1.0) / (first + drawn + 1)
        none_yet *= np.maximum(1 - hits / left, 0.0)
    return np.where(hits > 0, told, np.nan)


def coverage(shown: "Floats") -> float:
    """The share of products that are shown to at least one customer.

    Args:
        shown: as :meth:`Ranking.shown` gives it, here and below.
    """
    return float((1 - np.prod(1 - shown, axis=0)).mean())


def novelty(shown: "Floats", popularity: "Floats") -> "Floats":
    """The mean self-information, −log2 of the popularity, of what each customer is shown, (n,); NaN where
    that is nothing.

    Args:
        popularity: the share of customers who own each product, (p,), above 0.
    """
    return _over(shown @ -np.log2(popularity), shown.sum(axis=1))


def popularity_bias(shown: "Floats", popularity: "Floats", owned: "Bools") -> float:
    """By which share the mean popularity of what customers are shown is above that of what they own.

    Both are means over customers who own something and are shown something. What a customer owns is never
    recommended to him, so a table where most own what is popular lies below 0: compare models by it, not
    tables. NaN where there is no such customer.

    Args:
        owned: what each customer owns, the relevant products among it, (n, p).
    """
    theirs = _over(shown @ popularity, shown.sum(axis=1))
    profile = _over(owned @ popularity, owned.sum(axis=1))
    there = np.isfinite(theirs) & np.isfinite(profile)
    if not there.any():
        return float("nan")
    return float(theirs[there].mean() / profile[there].mean() - 1)


def _over(parts: "Floats", wholes: "NDArray[np.generic]") -> "Floats":
    whole = np.asarray(wholes, dtype=np.float64)
    shares = np.full(len(parts), np.nan)
    np.divide(parts, whole, out=shares, where=whole > 0)
    return shares
