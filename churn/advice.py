"""What to recommend to a customer: which products and offers, in which order, and why.

Only what he does not own, may have (``requires``), is eligible for and is in the band of is recommended. The
classifier is asked once, for him as he is and as he would be with each of them (:mod:`churn.uptake`); the
probability after is that of customers of the changed kind: the model's view, and no measured effect.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from churn.advice_wording import Reason, Reasons
from churn.catalogue import BANDS, Band
from churn.encoding import Encoded
from churn.errors import Fault, InvalidData, NotReady
from churn.ranking import Counted, ItemKind, Ranking
from churn.uptake import Uptake

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.recommender import Recommender
    from churn.scoring import Scorer

MOST = 50
"""Recommendations that one customer may get."""
Basis = Literal["model", "acceptance"]


@dataclass(frozen=True)
class Wish:
    """How many recommendations, and of what."""

    k: int = 3
    kinds: Collection[ItemKind] | None = None
    items: Collection[str] | None = None
    """Only these; None: all."""
    exclude: Collection[str] = ()
    max_cost: float | None = None
    """Of what an item costs the company over the economics' months."""

    @property
    def is_narrow(self) -> bool:
        return bool(self.exclude) or any(one is not None for one in (self.kinds, self.items, self.max_cost))


@dataclass(frozen=True, slots=True)
class Recommended:
    """One item, and what speaks for it."""

    item: str
    label: str
    kind: ItemKind
    score: float
    rank: dict[str, float]
    """What ``liking``, ``risk`` and ``margin`` add to the score."""
    liking: float | None
    """The recommender's own score; None of what it was not trained on."""
    propensity: float
    before: float | None
    """The churn probability; None where nothing is known of the customer."""
    after: float | None
    """With the item; None where no model sees it."""
    risk_basis: Basis | None
    """What ``rank["risk"]`` rests on."""
    monthly_price: float | None
    cost: float
    margin: float
    reasons: list[Reason]


@dataclass(frozen=True)
class Advised:
    """What is recommended, the best first."""

    basis: Literal["model", "popularity"]
    items: list[Recommended]
    band: Band | None = None
    held_back: list[str] = field(default_factory=list)
    """What would have been recommended, had it not been held back."""


class Advice:
    """Recommendations by one version of each model.

    Args:
        counts: what became of offers so far, by their names (:class:`churn.ranking.Ranking`).

    Raises:
        NotReady: the two versions were trained under contracts with other rows.
    """

    def __init__(
        self, recommender: "Recommender", scorer: "Scorer", counts: Mapping[str, Counted] | None = None
    ) -> None:
        contract = recommender.contract
        if contract.row_hash != scorer.contract.row_hash:
            raise NotReady(
                f"{recommender.model.name} version {recommender.model.version} was trained on other rows than "
                f"{scorer.model.name} version {scorer.model.version} takes; train the recommender anew"
            )
        self.recommender, self.scorer, self.contract = recommender, scorer, contract
        self.ranking = Ranking(contract, counts, recommender.items)
        self._uptake = Uptake(contract, scorer.seen)
        self._reasons = Reasons(recommender, self.ranking)
        everywhere = [True] * self.ranking.products
        self.bands = np.array(
            [[*everywhere, *(band in one.bands for one in contract.offers.values())] for band in BANDS], dtype=bool
        ).reshape(len(BANDS), -1)
        """Which items each band may get, (bands, items)."""
        items = {name: place for place, name in enumerate(recommender.items)}
        self._liked = [items.get(name) for name in self.ranking.names]
        self._learned = [items[name] for name in self.ranking.learned]

    def recommend(self, customer: Mapping[str, Any], wish: Wish = Wish(), held_back: Collection[str] = ()) -> Advised:
        """The best items for a customer.

        Args:
            customer: whose values the contract has read.
            held_back: items that are not to be recommended to him.

        Raises:
            InvalidData: the wish names an item that there is not.
        """
        wanted = self._wanted(wish)
        encoded = self.scorer.encoder.customers([customer])
        owned = self.recommender.ownership.owned(encoded)
        open_ = self._open(encoded, owned)[0] & wanted
        before, after = self._risk(encoded, open_)
        band = self.scorer.contract.band_of(before)
        open_ &= self.bands[BANDS.index(band)]
        liking = self.recommender.liking(encoded)
        propensity = self.propensity(liking)
        drop = self.ranking.accepted_drop(np.array([before]), propensity)
        seen = ~np.isnan(after)
        drop[0, seen] = before - after[seen]
        points = self.ranking.points(propensity, drop, self.ranking.worth(encoded.numbers))
        back = self.ranking.places(held_back)
        chosen, held = self._best(points[:, 0].sum(axis=0), open_, wish.k, back)
        told = _Told(points[:, 0].tolist(), propensity[0].tolist(), liking[0].tolist(), before, after.tolist())
        reasons = self._reasons.of(chosen, encoded, owned)
        found = [self._recommended(place, told, one) for place, one in zip(chosen, reasons, strict=True)]
        return Advised("model", found, band, [self.ranking.names[place] for place in held])

    def popular(self, wish: Wish = Wish(), held_back: Collection[str] = ()) -> Advised:
        """What most customers own of the products that require nothing: for one of whom nothing is known.

        Raises:
            InvalidData: as :meth:`recommend`.
        """
        count = len(self.ranking.names)
        open_ = self._wanted(wish) & self._free
        propensity = np.zeros((1, count))
        propensity[0, : self.ranking.products] = self.recommender.popularity[: self.ranking.products]
        worth = np.full(1, self.ranking.economics.customer_value)
        points = self.ranking.points(propensity, np.zeros((1, count)), worth)
        back = self.ranking.places(held_back)
        chosen, held = self._best(points[:, 0].sum(axis=0), open_, wish.k, back)
        told = _Told(points[:, 0].tolist(), propensity[0].tolist(), None, None, [np.nan] * count)
        found = [self._recommended(place, told, self._reasons.popular(place)) for place in chosen]
        return Advised("popularity", found, None, [self.ranking.names[place] for place in held])

    def propensity(self, liking: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """How probably each customer takes each product and offer, (n, items).

        Args:
            liking: as the recommender tells it, (n, items of the recommender).
        """
        products = self.recommender.propensity(liking)[:, : self.ranking.products]
        leaning = self.recommender.leaning(liking)[:, self._learned]
        return self.ranking.propensity(products, leaning)

    def open(self, encoded: Encoded) -> "NDArray[np.bool_]":
        """What each customer may have and does not own, whatever his band, (n, items)."""
        return self._open(encoded, self.recommender.ownership.owned(encoded))

    def _open(self, encoded: Encoded, owned: "NDArray[np.bool_]") -> "NDArray[np.bool_]":
        ownership = self.recommender.ownership
        return np.concatenate([ownership.allowed(encoded) & ~owned, ownership.eligible(encoded)], axis=1)

    def _risk(self, encoded: Encoded, open_: "NDArray[np.bool_]") -> "tuple[float, NDArray[np.float64]]":
        """The churn probability before, and with each item, (items,): NaN where no model sees it."""
        places = np.flatnonzero(open_)
        rows, there = self._uptake.rows(encoded, places)
        numbers, codes = (encoded.numbers, rows.numbers), (encoded.codes, rows.codes)
        asked = Encoded(np.concatenate(numbers), np.concatenate(codes))
        before, *after = self.scorer.probabilities(asked).tolist()
        found = np.full(len(open_), np.nan)
        found[places[there]] = after
        return before, found

    @staticmethod
    def _best(
        score: "NDArray[np.float64]", open_: "NDArray[np.bool_]", k: int, back: set[int]
    ) -> tuple[list[int], list[int]]:
        """The places of the best items, and of those that are held back and would be among them."""
        places = np.flatnonzero(open_)
        order = places[np.argsort(-score[places], kind="stable")].tolist()
        if not back:
            return order[:k], []
        chosen: list[int] = []
        held: list[int] = []
        for place in order:
            if len(chosen) == k:
                break
            (held if place in back else chosen).append(place)
        return chosen, held

    @cached_property
    def _free(self) -> "NDArray[np.bool_]":
        """Products that require nothing, (items,)."""
        free = [not one.requires for one in self.contract.products.values()]
        return np.array([*free, *(False for _ in self.contract.offers)], dtype=bool)

    @cached_property
    def _all(self) -> "NDArray[np.bool_]":
        return np.ones(len(self.ranking.names), dtype=bool)

    def _wanted(self, wish: Wish) -> "NDArray[np.bool_]":
        """Which items the wish allows, (items,)."""
        if not wish.is_narrow:
            return self._all
        self._check(wish)
        ranking = self.ranking
        found = [
            (wish.kinds is None or ranking.kinds[place] in wish.kinds)
            and (wish.items is None or name in wish.items)
            and name not in wish.exclude
            and (wish.max_cost is None or bool(ranking.cost[place] <= wish.max_cost))
            for place, name in enumerate(ranking.names)
        ]
        return np.array(found, dtype=bool)

    def _check(self, wish: Wish) -> None:
        message = f"there is no such item; the contract's: {', '.join(self.ranking.names) or 'none'}"
        faults = [
            Fault(None, where, name, message)
            for where, given in (("items", wish.items or ()), ("exclude", wish.exclude))
            for name in given
            if name not in self.ranking.place
        ]
        if faults:
            raise InvalidData(faults)

    def _recommended(self, place: int, told: "_Told", reasons: list[Reason]) -> Recommended:
        ranking, liked = self.ranking, self._liked[place]
        liking, risk, margin = (part[place] for part in told.points)
        after = told.after[place]
        is_seen, kind = after == after, ranking.kinds[place]  # NaN is not itself
        basis: Basis | None = "model" if is_seen else "acceptance" if kind == "offer" else None
        return Recommended(
            item=ranking.names[place],
            label=ranking.labels[place],
            kind=kind,
            score=liking + risk + margin,
            rank={"liking": liking, "risk": risk, "margin": margin},
            liking=None if told.liking is None or liked is None else told.liking[liked],
            propensity=told.propensity[place],
            before=told.before,
            after=after if is_seen else None,
            risk_basis=basis,
            monthly_price=ranking.monthly_price[place],
            cost=float(ranking.cost[place]),
            margin=float(ranking.margin[place]),
            reasons=reasons,
        )


@dataclass(frozen=True, slots=True)
class _Told:
    """What has been found of one customer's items."""

    points: list[list[float]]
    """What liking, risk and margin add to the score."""
    propensity: list[float]
    liking: list[float] | None
    """Of the recommender's items."""
    before: float | None
    after: list[float]
    """NaN where no model sees it."""
