"""Risk bands, products and offers: what a company tells its customers apart by, and what it has for them."""

from typing import Annotated, Literal

from pydantic import Field

from churn.columns import Part

Band = Literal["high", "medium", "low"]
BANDS: tuple[Band, ...] = ("high", "medium", "low")
Values = Annotated[list[str | int | bool], Field(min_length=1)]
Conditions = dict[str, Values]


class RiskBand(Part):
    """A band of churn probability and what the company does about its customers."""

    threshold: float = Field(ge=0, le=1)
    """The lowest probability that belongs to the band."""
    action: str
    """The strategy, in a few words."""


class Product(Part):
    """A thing that a customer can own, told by one column."""

    owned: Values
    """The values of the column that mean "owns it"."""
    requires: Conditions = {}
    monthly_price: float = Field(default=0, ge=0)
    label: str = ""


class Offer(Part):
    """A retention offer: what it costs, who is eligible, for which bands of risk."""

    label: str
    cost: float = Field(ge=0)
    acceptance: float | None = Field(default=None, ge=0, le=1)
    """The share of contacted churners who accept it and stay; None: the economics' mean."""
    eligibility: Conditions = {}
    bands: list[Band] = Field(default=["high"], min_length=1)
