"""LIME: a linear model of what the scorer says around one customer (Ribeiro et al. 2016,
doi:10.1145/2939672.2939778), on the raw columns.

A category is one column, and is drawn as a whole: one-hot columns drawn apart would be customers
that there cannot be. A number counts as the same where it lies in the same quarter of the
background. What is drawn does not depend on the customer, so that one customer has one answer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from churn.encoding import Encoded
from churn.explanation import TOP, Explained

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.encoding import Encoder
    from churn.explanation import Explainer

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

SAMPLES = 1_000
_KEPT = 0.5
"""How often a made-up neighbour keeps a column of the customer."""
_WIDTH = 0.75
"""Of the kernel, in square roots of the number of columns, as in the authors' own package."""
_RIDGE = 1.0
_SEED = 20
_FLAT = 1e-20
"""Variance of an output that is the same for everybody, but for rounding."""


@dataclass(frozen=True, slots=True)
class Local:
    """One customer explained by a model of its neighbourhood."""

    explained: Explained
    """Of one row; its output is what the local model says of it."""
    fidelity: float
    """Share of the outputs' variance around the customer that the local model explains (weighted R²)."""


class Lime:
    """The neighbourhoods of one version's explainer."""

    def __init__(self, explainer: "Explainer", encoder: "Encoder") -> None:
        self._explainer = explainer
        self._background = explainer.background
        order = {name: place for place, name in enumerate(encoder.names)}
        self._numbers = np.array([order[column.name] for column in encoder.numeric], dtype=np.int64)
        self._codes = np.array([order[column.name] for column in encoder.categorical], dtype=np.int64)

    @cached_property
    def _drawn(self) -> tuple["Bools", Encoded]:
        """Which columns each neighbour keeps, (samples, columns), and what it has in their stead."""
        random = np.random.default_rng(_SEED)
        columns = len(self._numbers) + len(self._codes)
        kept = random.random((SAMPLES, columns)) < _KEPT
        kept[0] = True  # the customer
        lines = random.integers(len(self._background), size=(SAMPLES, columns))
        numbers = np.take_along_axis(self._background.numbers, lines[:, self._numbers], axis=0)
        codes = np.take_along_axis(self._background.codes, lines[:, self._codes], axis=0)
        return kept, Encoded(numbers, codes)

    @cached_property
    def _quarters(self) -> "Floats":
        """(3, numbers); NaN where a column has no value at all."""
        numbers = self._background.numbers
        empty = np.isnan(numbers).all(axis=0)
        return np.nanquantile(np.where(empty, 0.0, numbers), (0.25, 0.5, 0.75), axis=0)

    def _bins(self, numbers: "Floats") -> "Ints":
        """The quarter of each number, 0 to 3, and -1 for a missing one."""
        found = (numbers[:, None, :] > self._quarters).sum(axis=1)
        return np.where(np.isnan(numbers), -1, found)

    @cached_property
    def _drawn_bins(self) -> "Ints":
        return self._bins(self._drawn[1].numbers)

    def explain(self, row: Encoded, probabilities: "Callable[[Encoded], Floats]") -> Local:
        """Explain one customer, (1, …), in the space in which SHAP does.

        Args:
            probabilities: what the scorer says of encoded rows.
        """
        neighbours, same = self._neighbours(row)
        link = self._explainer.link
        output = link.output(probabilities(neighbours))
        # what the model cannot see cannot be a reason; what never differs, nobody can tell from the rest
        used = self._explainer.seen & ~same.all(axis=0)
        far = (~same[:, self._explainer.seen]).sum(axis=1)
        width = _WIDTH * np.sqrt(same.shape[1])
        weight = np.sqrt(np.exp(-far / width**2))
        contributions = np.zeros((1, same.shape[1]))
        intercept, contributions[0, used], fidelity = _ridge(same[:, used].astype(np.float64), output, weight)
        return Local(Explained.of(contributions, intercept, link), fidelity)

    def _neighbours(self, row: Encoded) -> tuple[Encoded, "Bools"]:
        """Made-up rows around one, and in which columns each is the same, (samples, columns)."""
        kept, drawn = self._drawn
        numbers = np.where(kept[:, self._numbers], row.numbers, drawn.numbers)
        codes = np.where(kept[:, self._codes], row.codes, drawn.codes)
        same = kept.copy()
        same[:, self._numbers] |= self._drawn_bins == self._bins(row.numbers)
        same[:, self._codes] |= drawn.codes == row.codes
        return Encoded(numbers, codes), same


def _ridge(x: "Floats", y: "Floats", weight: "Floats") -> tuple[float, "Floats", float]:
    """Intercept, coefficients and weighted R² of a weighted ridge regression."""
    share = weight / weight.sum()
    x_mean, y_mean = share @ x, float(share @ y)
    x, centred = x - x_mean, y - y_mean
    weighted = x * weight[:, None]
    found = np.linalg.solve(weighted.T @ x + _RIDGE * np.eye(x.shape[1]), weighted.T @ centred)
    spread, left = float(share @ centred**2), float(share @ (centred - x @ found) ** 2)
    return (
        y_mean - float(x_mean @ found),
        np.asarray(found, dtype=np.float64),
        1 - left / spread if spread > _FLAT else 1.0,
    )


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two explanations of one customer agree."""

    rank_correlation: float | None
    """Spearman's, of the contributions; None where one of them tells all columns alike."""
    top_3_overlap: int
    """How many of the three largest contributions, by size, they share."""


def agreement(one: Explained, other: Explained) -> Agreement:
    """Compare the explanations of one row."""
    first, second = one.contributions[0], other.contributions[0]
    ranks = _ranks(first), _ranks(second)
    flat = any(np.ptp(some) == 0 for some in ranks)
    shared = set(_largest(first)) & set(_largest(second))
    return Agreement(None if flat else float(np.corrcoef(*ranks)[0, 1]), len(shared))


def _largest(contributions: "Floats") -> list[int]:
    found: list[int] = np.argsort(-np.abs(contributions), kind="stable")[:TOP].tolist()
    return found


def _ranks(numbers: "Floats") -> "Floats":
    """Ranks, equal numbers sharing their mean."""
    _, inverse, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[inverse], dtype=np.float64)
