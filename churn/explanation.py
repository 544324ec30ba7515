"""Why a customer has this probability: SHAP on the raw columns, from the arrays of ``explainer.npz``.

A contribution is told in the space in which the model adds up: log-odds, or the probability itself
for a forest; where a calibrator follows that cannot be folded in, the space is what it is given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from churn.encoding import Encoded
from churn.leaves import Owners
from churn.wording import reason

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.contract import Contract
    from churn.shapley import Game

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

TOP = 3
_LEAST = 1e-12
"""How near to 0 and 1 a probability is taken, where its log-odds are asked for."""


@dataclass(frozen=True)
class Link:
    """From the output that is explained to the probability, and back.

    Args:
        log_odds: whether the output is in log-odds; else it is a probability.
        calibrator: Platt's a and b, the probability being 1 / (1 + exp(a x + b)) of the
            uncalibrated one, x; None where nothing is calibrated, or a linear output holds it.
    """

    log_odds: bool
    calibrator: tuple[float, float] | None = None

    @property
    def space(self) -> str:
        name = "log-odds" if self.log_odds else "probability"
        return f"{name} before calibration" if self.calibrator else name

    def probability(self, output: "Floats") -> "Floats":
        plain = _sigmoid(output) if self.log_odds else np.clip(output, 0, 1)
        if self.calibrator is None:
            return plain
        a, b = self.calibrator
        return _sigmoid(-(a * plain + b))

    def output(self, probability: "Floats") -> "Floats":
        """The reverse of :meth:`probability`, as far as it has one."""
        plain = probability
        if self.calibrator is not None:
            a, b = self.calibrator
            plain = np.clip(-(_logit(plain) + b) / a, 0, 1)
        return _logit(plain) if self.log_odds else plain


def _sigmoid(x: "Floats") -> "Floats":
    found: Floats = (1 + np.tanh(x / 2)) / 2  # which never overflows
    return found


def _logit(p: "Floats") -> "Floats":
    p = np.clip(p, _LEAST, 1 - _LEAST)
    found: Floats = np.log(p / (1 - p))
    return found


@dataclass(frozen=True, slots=True)
class Explained:
    """Customers explained. Columns stand in the order of the contract's features."""

    contributions: "Floats"
    """(n, columns)"""
    base_value: float
    output: "Floats"
    """(n,), the base value and the contributions together."""
    points: "Floats"
    """(n, columns): the probability, less what it would be without this contribution; 0.12 is 12 points."""

    def __len__(self) -> int:
        return len(self.output)

    @classmethod
    def of(cls, contributions: "Floats", base_value: float, link: Link) -> "Explained":
        output = base_value + contributions.sum(axis=1)
        without = link.probability(output[:, None] - contributions)
        points = np.where(contributions == 0, 0.0, link.probability(output)[:, None] - without)
        return cls(contributions, base_value, output, points)


@dataclass(frozen=True)
class Explainer:
    """What a version says of its own scores. :func:`churn.explainer_file.read` makes one."""

    game: "Game"
    link: Link
    owners: Owners
    background: Encoded
    """Training values, each column shuffled on its own, so that no line is a customer."""

    @property
    def space(self) -> str:
        return self.link.space

    @property
    def seen(self) -> "Bools":
        """Which columns of the contract the model's output depends on at all, (columns,)."""
        found = np.zeros(self.owners.count, dtype=bool)
        found[self.owners.of[self.game.seen]] = True
        return found

    def explain(self, features: "Floats") -> Explained:
        """Explain rows of the matrix that the model sees, (n, k).

        Raises:
            ValueError: the matrix is another model's.
        """
        if features.ndim != 2 or features.shape[1] != len(self.owners.of):
            raise ValueError(f"features of the shape {features.shape}, for {len(self.owners.of)} columns")
        return Explained.of(self.game.contributions(features), self.game.base, self.link)


def reasons(
    explained: Explained, row: int, customer: Mapping[str, Any], contract: "Contract", k: int | None = None
) -> list[dict[str, Any]]:
    """The contributions of one row, the largest first: of ``feature``, its ``value``, the
    ``contribution`` and its ``points``, and ``text``, the same in words."""
    contributions, points = explained.contributions[row].tolist(), explained.points[row].tolist()
    columns = list(contract.features.values())
    order = sorted(range(len(columns)), key=lambda place: -abs(contributions[place]))[:k]
    return [
        {
            "feature": columns[place].name,
            "value": customer[columns[place].name],
            "contribution": contributions[place],
            "points": points[place],
            "text": reason(columns[place], customer[columns[place].name], points[place]),
        }
        for place in order
    ]


def top_reasons(
    explained: Explained, customers: Sequence[Mapping[str, Any]], contract: "Contract", k: int = TOP
) -> list[list[dict[str, Any]]]:
    """The ``k`` largest contributions of each customer, as :func:`reasons` tells them; fewer
    where fewer differ from zero.

    Args:
        customers: the rows that were explained, as the contract's columns read them.
    """
    told = (reasons(explained, row, customer, contract, k) for row, customer in enumerate(customers))
    return [[one for one in some if one["contribution"] != 0] for some in told]
