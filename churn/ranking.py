"""What speaks for recommending a product or an offer: that the customer takes it, what that does to his
risk, and what it brings; weighed by the contract's ``recommendation.weights``.

    score = liking x propensity + risk x (churn probability before - after) + margin x margin / worth

The propensity to own a product is the recommender's (:meth:`churn.recommender.Recommender.propensity`). That to
accept an offer is its smoothed acceptance. Once the recommender has learned the offer, the log-odds of that move
with how much more than most a customer likes it (:meth:`churn.recommender.Recommender.leaning`). The margin is
what an item brings over the economics' ``months``, less what it costs, and ``worth`` what a customer who stays
brings in.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from churn.value import customer_value

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.contract import Contract

ItemKind = Literal["product", "offer"]
PRIOR_CONTACTS = 20
"""How many contacts the contract's word on an offer's acceptance counts for, beside those that were made."""
_FARTHEST = 500.0  # where exp is still a number


class Counted(Protocol):
    """How often an offer was shown, accepted and refused."""

    @property
    def shown(self) -> int: ...

    @property
    def accepted(self) -> int: ...

    @property
    def refused(self) -> int: ...


class Ranking:
    """The products and then the offers of a contract, and what each is worth to the company.

    Args:
        counts: what became of offers, by their names; an offer without any counts by the contract alone.
        learned: which offers the recommender has learned; other names are passed over.
    """

    def __init__(
        self, contract: "Contract", counts: Mapping[str, Counted] | None = None, learned: Collection[str] = ()
    ) -> None:
        products, offers = contract.products, contract.offers
        economics = contract.economics
        self.economics = economics
        self.weights = contract.recommendation.weights
        self.names = [*products, *offers]
        self.place = {name: place for place, name in enumerate(self.names)}
        self.products = len(products)
        self.labels = [one.label or contract.features[name].title for name, one in products.items()]
        self.labels += [one.label for one in offers.values()]
        self.kinds: list[ItemKind] = ["product" for _ in products]
        self.kinds += ["offer" for _ in offers]
        self.monthly_price: list[float | None] = [one.monthly_price for one in products.values()]
        self.monthly_price += [None for _ in offers]
        months = economics.months
        brings = np.array([one.monthly_price * months for one in products.values()] + [0.0] * len(offers))
        costs = [one.monthly_cost * months for one in products.values()] + [one.cost for one in offers.values()]
        self.cost = np.array(costs, dtype=np.float64)
        """(items,): over the economics' months, in the contract's currency."""
        self.margin = brings - self.cost
        self.counts: dict[str, Counted] = {name: one for name, one in (counts or {}).items() if name in offers}
        mean = economics.acceptance_rate
        self.acceptance = np.array(
            [
                smoothed(mean if one.acceptance is None else one.acceptance, self.counts.get(name))
                for name, one in offers.items()
            ],
            dtype=np.float64,
        )
        """(offers,)"""
        self.learned = [name for name in offers if name in learned]
        """Those that the recommender has learned, in order."""
        self._learned = np.array([self.place[name] for name in self.learned], dtype=np.intp)
        self._monthly = None
        if contract.monthly_value is not None:
            numeric = [column.name for column in contract.features.values() if column.is_numeric]
            self._monthly = numeric.index(contract.monthly_value)

    def places(self, names: Iterable[str]) -> set[int]:
        """Where these items stand in :attr:`names`; what another version may have had is passed over."""
        return {self.place[name] for name in names if name in self.place}

    def propensity(self, products: "NDArray[np.float64]", leaning: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """How probably each customer takes each item, (n, items).

        Args:
            products: the same of the products alone, (n, products).
            leaning: how much more than most he likes each of :attr:`learned`, in log-odds, (n, learned).
        """
        found = np.empty((len(products), len(self.names)))
        found[:, : self.products] = products
        found[:, self.products :] = self.acceptance
        if self.learned:
            accepted = found[:, self._learned]
            against = np.exp(-np.clip(leaning, -_FARTHEST, _FARTHEST))
            found[:, self._learned] = accepted / (accepted + (1 - accepted) * against)  # 0 and 1 stay what they are
        return found

    def accepted_drop(self, before: "NDArray[np.float64]", propensity: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """What is taken off the churn probability, (n, items), where no model was asked: of an offer the share
        of churners who accept it and stay; of a product nothing.

        Args:
            before: the churn probabilities, (n,).
            propensity: as :meth:`propensity` tells it, (n, items).
        """
        found = before[:, None] * propensity
        found[:, : self.products] = 0.0
        return found

    def worth(self, numbers: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """What each customer brings in who stays, (n,); where that is nothing or unknown, the economics' value.

        Args:
            numbers: of the encoded rows, (n, numbers).
        """
        found = np.full(len(numbers), self.economics.customer_value)
        if self._monthly is not None:
            own = customer_value(numbers[:, self._monthly], self.economics)
            if own is not None:
                found = np.where(own > 0, own, found)
        return found

    def points(
        self, propensity: "NDArray[np.float64]", drop: "NDArray[np.float64]", worth: "NDArray[np.float64]"
    ) -> "NDArray[np.float64]":
        """What liking, risk and margin add to the score, (3, n, items); the score is their sum.

        Args:
            propensity: (n, items).
            drop: what is taken off the churn probability, (n, items).
            worth: (n,).
        """
        found = np.empty((3, *propensity.shape))
        np.multiply(propensity, self.weights.liking, out=found[0])
        np.multiply(drop, self.weights.risk, out=found[1])
        np.divide(self.weights.margin * self.margin, worth[:, None], out=found[2])
        return found


def smoothed(expected: float, counted: Counted | None) -> float:
    """An offer's acceptance: the mean of a Beta distribution whose prior is the contract's word, as if of
    :data:`PRIOR_CONTACTS` contacts, after the contacts that were made.

    Args:
        expected: the share that the contract says.
    """
    if counted is None:
        return expected
    contacts = max(counted.shown, counted.accepted + counted.refused)  # an answer without a showing is one, too
    return (PRIOR_CONTACTS * expected + counted.accepted) / (PRIOR_CONTACTS + contacts)
