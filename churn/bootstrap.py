"""How sure a mean over customers is: the means of bootstrap draws.

Customers are drawn with replacement (Efron & Tibshirani 1993, "An Introduction to the Bootstrap").
What is measured of the same customers by several models is drawn together, so that what makes some
customers hard for all of them cancels out of a difference (chapter 13).
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


BLOCK = 64
"""So many draws are summed at a time, which one product of two matrices does."""


def means(values: "Floats", draws: int, seed: int) -> "Floats":
    """The mean of each column of (n, m) values in each draw of n customers: (draws, m)."""
    random, customers = np.random.default_rng(seed), len(values)
    told = np.empty((draws, values.shape[1]))
    for start in range(0, draws, BLOCK):
        block = told[start : start + BLOCK]
        counts = np.empty((len(block), customers))
        for row in counts:
            row[:] = np.bincount(random.integers(customers, size=customers), minlength=customers)
        block[:] = counts @ values / customers
    return told
