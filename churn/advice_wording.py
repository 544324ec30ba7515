"""Why an item is recommended, in words that are true of the training's customers or of the contract."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from churn.wording import inside, is_statement

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.encoding import Encoded
    from churn.ranking import Ranking
    from churn.recommender import Recommender
    from churn.shares import Share

_FEW, _MOST = 0.05, 0.95
"""Below and above these a share is no number of tenths."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason, and the figures that its text rounds."""

    kind: Literal["alike", "bundle", "popularity", "acceptance"]
    text: str
    share: float | None = None
    customers: int | None = None
    """Of how many the share is."""

    def as_dict(self) -> dict[str, object]:
        # by hand, as a prediction: dataclasses.asdict copies deeply
        return {"kind": self.kind, "text": self.text, "share": self.share, "customers": self.customers}


class Reasons:
    """The reasons for each of a ranking's items."""

    def __init__(self, recommender: "Recommender", ranking: "Ranking") -> None:
        self._recommender, self._ranking = recommender, ranking
        entries = recommender.contract.products.values()
        self._bundles = [one.bundle for one in entries]
        features = recommender.contract.features
        plain = [place for place, name in enumerate(recommender.contract.products) if not features[name].sensitive]
        self._same = [
            [other for other in plain if mine and self._bundles[other] == mine and other != place]
            for place, mine in enumerate(self._bundles)
        ]
        """For each product the others of its bundle that may be named to people."""
        self._required = [bool(one.requires) for one in entries]
        self._offers = [self._accepted(place) for place in range(self._ranking.products, len(self._ranking.names))]

    def of(self, places: list[int], encoded: "Encoded", owned: "NDArray[np.bool_]") -> list[list[Reason]]:
        """What speaks for each of some items with one customer, (1, …), the most telling first.

        Args:
            places: of the items in the ranking.
            owned: his products, (1, products).
        """
        products = [place for place in places if place < self._ranking.products]
        shares = dict(zip(products, self._recommender.shares(encoded, products), strict=True))
        return [
            self._of_product(place, shares[place], owned)
            if place in shares
            else [self._offers[place - self._ranking.products]]
            for place in places
        ]

    def popular(self, place: int) -> list[Reason]:
        """What speaks for a product with a customer of whom nothing is known."""
        return [self._popularity(place)]

    def _of_product(self, place: int, like: "Share | None", owned: "NDArray[np.bool_]") -> list[Reason]:
        if like is None:
            first = self._popularity(place)
        else:
            text = _alike_text(like.share, like.labels, self._required[place])
            first = Reason("alike", text, like.share, like.customers)
        return [first, *self._of_bundle(place, owned)]

    def _of_bundle(self, place: int, owned: "NDArray[np.bool_]") -> list[Reason]:
        others = [self._ranking.labels[other] for other in self._same[place] if owned[0, other]]
        if not others:
            return []
        return [Reason("bundle", f"Of the same bundle ({self._bundles[place]}) as {inside(others[0])}")]

    def _popularity(self, place: int) -> Reason:
        share = float(self._recommender.popularity[place])
        return Reason("popularity", f"Owned by {_tenths(share)} customers{_can(self._required[place])}", share)

    def _accepted(self, place: int) -> Reason:
        ranking = self._ranking
        counted = ranking.counts.get(ranking.names[place])
        share = float(ranking.acceptance[place - ranking.products])
        if counted is None or not counted.shown:
            return Reason("acceptance", f"By the contract {_tenths(share)} churners who are contacted accept it", share)
        text = f"Accepted by {counted.accepted:,} of the {counted.shown:,} customers who were shown it"
        return Reason("acceptance", text, counted.accepted / counted.shown, counted.shown)


@lru_cache(maxsize=10_000)
def _alike_text(share: float, labels: tuple[str, ...], requires: bool) -> str:
    traits = " and ".join(_named(label) for label in labels)
    return f"Owned by {_tenths(share)} customers with {traits}{_can(requires)}"


def _named(label: str) -> str:
    """A trait within a sentence. What is no noun ("Has a partner", "Payment method: mailed check") is quoted."""
    return f"“{label}”" if ": " in label or is_statement(label) else inside(label)


def _can(requires: bool) -> str:
    """Of what not everybody can have, a share is of those who can."""
    return " who can have it" if requires else ""


def _tenths(share: float) -> str:
    """A share as people say it: "about 7 in 10"."""
    if share < _FEW:
        return "fewer than 1 in 10"
    return f"about {round(10 * share)} in 10" if share <= _MOST else "more than 9 in 10"
