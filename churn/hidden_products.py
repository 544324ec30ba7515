"""Owned products that a recommender is not told of, so that its ranking can be judged by them.

Leave-one-out, as the field does it: of every customer who owns two or more, one product at random is
hidden (Rendle et al. 2020, doi:10.1145/3394486.3403226, on why all products are ranked and not a
sample). For the recommender the product's column is missing then, and what requires it is impossible.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from churn.encoding import MISSING, Encoded, Encoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.contract import Contract
    from churn.ownership import Ownership

    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

SMALLEST_PROFILE = 2


@dataclass(frozen=True)
class Hidden:
    """Customers with hidden products. Products stand in the contract's order."""

    rows: "Ints"
    """Which of the given customers these are, (m,)."""
    encoded: Encoded
    """As the recommender is to see them, (m)."""
    known: "Bools"
    """What they own as far as it is told, (m, p)."""
    relevant: "Bools"
    """What is hidden, (m, p)."""
    possible: "Bools"
    """What they could be served: not known to be owned, and what it requires is known to be there, (m, p)."""

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, places: "Ints | Bools") -> "Hidden":
        """Some of these customers."""
        arrays = (self.known[places], self.relevant[places], self.possible[places])
        return Hidden(self.rows[places], self.encoded.at(places), *arrays)


def one_each(ownership: "Ownership", contract: "Contract", encoded: Encoded, seed: int) -> Hidden:
    """One product of every customer with two or more, the same ones for the same seed and customers."""
    owned = ownership.owned(encoded)
    rows = np.flatnonzero(owned.sum(axis=1) >= SMALLEST_PROFILE)
    lots = np.random.default_rng(seed).random(owned.shape)[rows]
    product = np.where(owned[rows], lots, -1.0).argmax(axis=1)
    relevant = np.zeros((len(rows), owned.shape[1]), dtype=bool)
    relevant[np.arange(len(rows)), product] = True
    return _hidden(ownership, contract, encoded, rows, relevant)


def everything(ownership: "Ownership", contract: "Contract", encoded: Encoded) -> Hidden:
    """All products of every customer who owns one: cold customers, of whom only the features are known."""
    owned = ownership.owned(encoded)
    rows = np.flatnonzero(owned.any(axis=1))
    told = np.ones((len(rows), owned.shape[1]), dtype=bool)
    return _hidden(ownership, contract, encoded, rows, told)


def _hidden(ownership: "Ownership", contract: "Contract", encoded: Encoded, rows: "Ints", hide: "Bools") -> Hidden:
    shown = without(contract, encoded.at(rows), ownership.products, hide)
    owned = ownership.owned(encoded)[rows]
    return Hidden(rows, shown, owned & ~hide, owned & hide, ownership.possible(shown))


def without(contract: "Contract", encoded: Encoded, products: list[str], hide: "Bools") -> Encoded:
    """The customers with the columns of hidden products missing.

    Args:
        hide: what to hide, (n, products).
    """
    encoder = Encoder(contract)
    numeric = [column.name for column in encoder.numeric]
    coded = [column.name for column in encoder.categorical]
    numbers, codes = encoded.numbers.copy(), encoded.codes.copy()
    for place, product in enumerate(products):
        if product in coded:
            codes[hide[:, place], coded.index(product)] = MISSING
        else:
            numbers[hide[:, place], numeric.index(product)] = np.nan
    return Encoded(numbers, codes)
