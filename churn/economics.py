"""What a churner is worth and what keeping one costs: the money behind a decision."""

from functools import cached_property
from typing import Self

from pydantic import Field, model_validator

from churn.columns import Part


class Acceptance(Part):
    """How likely a churner who is contacted accepts the offer and stays: Beta(alpha, beta)."""

    alpha: float = Field(default=6, gt=0)
    beta: float = Field(default=14, gt=0)


class Economics(Part):
    """The costs and benefits of a retention campaign, per customer, in the contract's currency.

    Source of the model and of its usual defaults: Verbraken, Verbeke & Baesens 2013, "A novel
    profit maximizing metric for measuring classification performance of customer churn
    prediction models", doi:10.1109/TKDE.2012.50.
    """

    customer_value: float = Field(default=200, gt=0)
    """What a customer who stays brings in over the rest of his time (CLV)."""
    offer_cost: float = Field(default=10, ge=0)
    """What the offer costs when it is accepted (d). A customer who would have stayed accepts it always."""
    contact_cost: float = Field(default=1, ge=0)
    """What contacting costs, accepted or not (f)."""
    acceptance: Acceptance = Acceptance()
    months: int = Field(default=12, ge=1, le=1200)
    """Over which revenue at risk is counted."""
    value_months: float | None = Field(default=None, gt=0, le=1200)
    """How many monthly values a customer who stays brings in: then campaigns are planned with each
    customer's own CLV, this times his monthly value. None: ``customer_value`` for all."""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.offer_cost >= self.customer_value:
            raise ValueError(f"offer_cost {self.offer_cost:g} is not below customer_value {self.customer_value:g}")
        return self

    @property
    def acceptance_rate(self) -> float:
        """The mean of the acceptance distribution (γ)."""
        return self.acceptance.alpha / (self.acceptance.alpha + self.acceptance.beta)

    @cached_property
    def threshold(self) -> float:
        """The churn probability from which contacting a customer pays.

        Contacting a churner brings γ(CLV − d) − f and a customer who stays costs d + f, so the
        expected profit p·(γ(CLV − d) − f) − (1 − p)(d + f) is positive above
        (d + f) / (γ(CLV − d) + d), and deciding by it maximises the expected profit of calibrated
        probabilities (Elkan 2001, "The foundations of cost-sensitive learning"). 1, which means
        nobody, where contacting never pays.
        """
        gain = self.acceptance_rate * (self.customer_value - self.offer_cost)
        cost = self.offer_cost + self.contact_cost
        return min(1.0, cost / (gain + self.offer_cost))
