"""``POST /campaigns/plan``: under a budget, whom to contact with what."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Literal

from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, Field

from api.access import needs
from api.bodies import Body, read_as
from api.document import PROBLEMS, body_of
from api.keeper import keeper
from api.problems import Denied
from api.replies import Model
from api.serving import serving
from churn import campaigns
from churn.catalogue import Band

blueprint = APIBlueprint("campaigns", __name__, abp_tags=[Tag(name="campaigns")])

MOST_ROWS = 10_000
_PLANNING = threading.BoundedSemaphore()
"""One plan at a time for each worker: over a large base it takes a thread and much memory for seconds."""


class PlanWanted(Body):
    """What may be spent, and on what."""

    budget: float = Field(
        ge=0, le=campaigns.BUDGET_LIMIT, description="In the contract's currency; spent if everybody accepts"
    )
    offers: list[str] | None = Field(None, min_length=1, max_length=1_000, description="Of the contract's; all if none")
    risk: list[Band] | None = Field(None, min_length=1, max_length=3, description="Only customers of these bands")
    limit: int = Field(1_000, ge=0, le=MOST_ROWS, description="How many customers of the plan the reply lists")


class Contact(BaseModel):
    """One customer who is to be contacted."""

    customer_id: str
    offer: str
    label: str
    cost: float = Field(description="Of the contact and the offer, if he accepts")
    churn_probability: float
    risk: Literal["high", "medium", "low"]
    expected_profit: float
    revenue_at_risk: float | None = Field(description="Null where the contract has no monthly value")


class OfferSum(BaseModel):
    offer: str
    label: str
    cost: float
    customers: int
    spent: float
    expected_profit: float


class BestBaseline(BaseModel):
    how: str
    expected_profit: float


class Baseline(BaseModel):
    """What the same budget brings who contacts in order of probability."""

    how: str
    spent: float
    customers: int
    expected_profit: float
    best: BestBaseline = Field(description="The best that any rule for the offers makes of that order")


class PlanReply(BaseModel):
    budget: float
    spent: float = Field(description="If everybody accepts; never above the budget")
    customers: int
    expected_profit: float
    expected_churners_kept: float
    baseline: Baseline
    upper_bound: float = Field(description="No plan is worth more")
    exact: bool = Field(description="Whether it is proven that no plan is better")
    by_offer: list[OfferSum]
    note: str = Field(description="Why nobody is contacted; else empty")
    plan: list[Contact] = Field(description="The highest expected profit first, as many as `limit` says")
    model: Model = Field(description="Which scored the customers")
    scored_at: str
    currency: str


@blueprint.post(
    "/campaigns/plan",
    operation_id="plan_campaign",
    summary="Whom to contact with what under a budget",
    request_body=body_of(PlanWanted),
    responses={200: PlanReply, **{status: PROBLEMS[status] for status in (400, 413, 415, 422, 503)}},
)
@needs("read")
def plan() -> dict[str, Any]:
    """The list with the highest expected profit, of the customers scored last: at most one offer each, of
    those for his band and that he is eligible for. Nothing is changed and nobody contacted."""
    wanted = read_as(PlanWanted)
    contract = serving().contract
    offers = campaigns.Offers(contract, wanted.offers)
    from churn.campaign_base import CampaignBase  # SQLAlchemy takes longer to import than the API to start

    base = CampaignBase(keeper().store)
    with _one_at_a_time():
        run = base.newest()
        found = campaigns.plan(base.candidates(run, offers, wanted.risk), offers, wanted.budget)
    return {
        **found.summary,
        "plan": list(found.rows(wanted.limit)),
        "model": {"name": run.model, "version": run.version},
        "scored_at": (run.ended or run.started).isoformat(),
        "currency": contract.currency,
    }


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    if not _PLANNING.acquire(blocking=False):
        detail = "another campaign is being planned here; try again in a moment"
        raise Denied(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": "2"})
    try:
        yield
    finally:
        _PLANNING.release()
