"""Risk bands: thresholds that a profit curve proposes, and how many customers of each band left.

Inside a band customers are ranked by the revenue at risk (:func:`churn.value.revenue_at_risk`), the
largest first: the band says what is done, the revenue whom it is done for first.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from churn.catalogue import BANDS
from churn.segments import BandSeen, Observed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.contract import Contract
    from churn.economics import Economics

_STEPS = 100
"""Thresholds are proposed in hundredths: more digits would pretend to know more."""
REPORTED = "report_band_"
"""Before the names of the figures that a run keeps of the report set's bands."""
_NORMAL = 1.959963984540054
"""The standard normal distribution's 97.5 % quantile."""


class Thresholds(NamedTuple):
    """The probabilities from which on a customer is in the high and in the medium band."""

    high: float
    medium: float
    source: Literal["profit curve", "contract"]


def propose_thresholds(
    target: "NDArray[np.int64]",
    probability: "NDArray[np.float64]",
    economics: "Economics",
    otherwise: tuple[float, float],
) -> Thresholds:
    """Thresholds of the high and the medium band, by held-out probabilities.

    On the curve of the profit when everybody from a threshold on is contacted, medium begins where
    the profit is largest, which is where one more contact stops paying; high begins at the largest
    threshold that still earns half of it: its customers are the fewest that earn as much.

    Args:
        target, probability: of customers that the model was not fitted to, (n,) both.
        otherwise: high and medium where contacting never pays; the contract's own.

    Returns:
        1 ≥ high > medium > 0.
    """
    from churn import profit

    thresholds = np.arange(1, _STEPS) / _STEPS  # from 0 on everybody is contacted, which is no band
    earned = profit.at(thresholds, target, probability, economics)
    best = int(earned.argmax())
    if not earned[best] > 0:
        return Thresholds(*otherwise, source="contract")
    half = int(np.flatnonzero(earned >= earned[best] / 2)[-1])
    high = (max(half, best + 1) + 1) / _STEPS
    return Thresholds(high, float(thresholds[best]), "profit curve")


def observed(target: "NDArray[np.int64]", probability: "NDArray[np.float64]", contract: "Contract") -> list[BandSeen]:
    """How many customers of each band left, from high to low.

    Args:
        target, probability: of customers that the model was not fitted to, (n,) both; n may be 0.
    """
    starts = {band: contract.risk[band].threshold for band in BANDS}
    found, above = [], np.inf
    for band, start in starts.items():
        inside = (probability >= start) & (probability < above)
        found.append(
            BandSeen(band=band, threshold=start, observed=_observed(int(inside.sum()), int(target[inside].sum())))
        )
        above = start
    return found


def _observed(customers: int, left: int) -> Observed:
    if not customers:
        return Observed(customers=0, left=0, churn_rate=None, low=None, high=None)
    low, high = wilson(left, customers)
    return Observed(customers=customers, left=left, churn_rate=left / customers, low=low, high=high)


def wilson(left: int, customers: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927, doi:10.1080/01621459.1927.10502953); of at least one customer.

    Other than the one of the normal distribution it holds for small bands and for shares near 0 or 1.
    """
    share, z2 = left / customers, _NORMAL**2
    middle = (share + z2 / (2 * customers)) / (1 + z2 / customers)
    half = _NORMAL * np.sqrt(share * (1 - share) / customers + z2 / (4 * customers**2)) / (1 + z2 / customers)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def stand_apart(bands: Sequence[BandSeen]) -> bool:
    """Whether more customers left of a higher band than of a lower one, beyond what chance explains:
    no two intervals overlap."""
    return all(
        upper.observed.low is not None and lower.observed.high is not None and upper.observed.low > lower.observed.high
        for upper, lower in pairwise(bands)
    )


def as_metrics(bands: Sequence[BandSeen], prefix: str) -> dict[str, float]:
    """The figures of bands under ``<prefix><band>_<figure>``, as a run keeps them."""
    return {
        f"{prefix}{seen.band}_{name}": float(value)
        for seen in bands
        for name, value in seen.observed.model_dump().items()
        if value is not None
    }


def of_metrics(metrics: Mapping[str, float | None], prefix: str) -> dict[str, Observed]:
    """The reverse of :func:`as_metrics`: by band, those whose figures are there."""
    found: dict[str, Observed] = {}
    for band in BANDS:
        told = {name: metrics.get(f"{prefix}{band}_{name}") for name in Observed.model_fields}
        customers, left = told["customers"], told["left"]
        if customers is not None and left is not None:
            found[band] = Observed.model_validate(told | {"customers": int(customers), "left": int(left)})
    return found


def ranked(bands: "NDArray[np.int64]", revenue_at_risk: "NDArray[np.float64]") -> "NDArray[np.intp]":
    """The order in which a retention team takes customers, (n,): band by band, and inside a band by
    the revenue at risk, the largest first. Equal ones keep their order.

    Args:
        bands: as :meth:`churn.scoring.Scorer.bands` tells them, (n,).
        revenue_at_risk: (n,)
    """
    return np.lexsort([-revenue_at_risk, bands])
