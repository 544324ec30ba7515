"""What is at stake with a customer, and what contacting him is expected to bring, in the contract's currency."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from churn.economics import Economics


def revenue_at_risk(
    probability: "ArrayLike", monthly_value: "ArrayLike", economics: "Economics"
) -> "NDArray[np.float64]":
    """The revenue that is expected to be lost over the economics' ``months``, (n,): p × monthly value × months.

    Where a customer's monthly value is unknown (NaN), so is this.
    """
    chance, monthly = np.asarray(probability, dtype=np.float64), np.asarray(monthly_value, dtype=np.float64)
    return chance * monthly * economics.months


def expected_profit(
    probability: "ArrayLike",
    economics: "Economics",
    *,
    offer_cost: "ArrayLike | None" = None,
    acceptance: "ArrayLike | None" = None,
    customer_value: "ArrayLike | None" = None,
) -> "NDArray[np.float64]":
    """What contacting customers with these probabilities is expected to bring, (n,); below 0 it does not pay.

    p·(γ(CLV − d) − f) − (1 − p)(d + f): a churner accepts at rate γ and stays, and a customer who
    would have stayed takes the offer as well (Verbraken, Verbeke & Baesens 2013,
    doi:10.1109/TKDE.2012.50). It is 0 at the economics' threshold.

    Args:
        offer_cost: d, of all or of each; the economics' where not given, as with the next two.
        acceptance: γ.
        customer_value: CLV.
    """
    chance = np.asarray(probability, dtype=np.float64)
    cost = np.asarray(economics.offer_cost if offer_cost is None else offer_cost, dtype=np.float64)
    rate = np.asarray(economics.acceptance_rate if acceptance is None else acceptance, dtype=np.float64)
    worth = np.asarray(economics.customer_value if customer_value is None else customer_value, dtype=np.float64)
    churner = rate * (worth - cost) - economics.contact_cost
    return chance * churner - (1 - chance) * (cost + economics.contact_cost)


def customer_value(monthly_value: "ArrayLike", economics: "Economics") -> "NDArray[np.float64] | None":
    """Each customer's own CLV, (n,), where the economics have ``value_months``; else None, for the same for all.

    A customer whose monthly value is unknown (NaN) counts with the economics' ``customer_value``.
    """
    if economics.value_months is None:
        return None
    worth = np.asarray(monthly_value, dtype=np.float64) * economics.value_months
    return np.where(np.isnan(worth), economics.customer_value, worth)
