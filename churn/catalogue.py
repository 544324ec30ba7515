"""Risk bands, products and offers: what a company tells its customers apart by, and what it has for them."""

from collections.abc import Sized
from typing import Annotated, Literal

from pydantic import Field

from churn.columns import Part, Scalar

Band = Literal["high", "medium", "low"]
BANDS: tuple[Band, ...] = ("high", "medium", "low")
Values = Annotated[list[str | int | bool], Field(min_length=1)]
Conditions = dict[str, Values]
LEAST_PRODUCTS = 2
"""With fewer there is nothing that a recommender could choose from."""


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
    monthly_cost: float = Field(default=0, ge=0)
    """What it costs the company a month; its margin is the price less this."""
    bundle: str = ""
    """Products that belong together name the same one."""
    label: str = ""


class Offer(Part):
    """A retention offer: what it costs, who is eligible, for which bands of risk."""

    label: str
    cost: float = Field(ge=0)
    acceptance: float | None = Field(default=None, ge=0, le=1)
    """The share of contacted churners who accept it and stay; None: the economics' mean."""
    eligibility: Conditions = {}
    bands: list[Band] = Field(default=["high"], min_length=1)
    changes: dict[str, Scalar] = {}
    """What the customer's columns are once he has accepted it, as far as a model can see that."""
    discount: float = Field(default=0, ge=0, le=1)
    """The share that it takes off the customer's monthly value."""


class RankWeights(Part):
    """How much each part counts where recommendations are ranked (:mod:`churn.advice`); 0: not at all."""

    liking: float = Field(default=1, ge=0)
    """For the probability that the customer takes it."""
    risk: float = Field(default=1, ge=0)
    """For what it takes off the churn probability."""
    margin: float = Field(default=1, ge=0)
    """For what it brings, less what it costs, as a share of what a customer is worth."""


class Recommendation(Part):
    """What is recommended to whom, beside the products and the offers themselves."""

    weights: RankWeights = RankWeights()
    unseen: list[str] = []
    """Features that the recommender must not see, since they tell what a customer owns or is charged; the
    monthly value and the products' own columns are left out by themselves."""
    control: float = Field(default=0.05, ge=0, lt=1)
    """The share of customers, fixed by a hash of their ids, to whom nothing is recommended."""


def nothing_to_recommend(products: Sized) -> str:
    """Why a contract of these products has no use for a recommender; empty where it has."""
    if len(products) >= LEAST_PRODUCTS:
        return ""
    return (
        f"the contract names {len(products)} products, and a recommender needs {LEAST_PRODUCTS}: "
        "say under `products:` which columns tell what a customer owns"
    )
