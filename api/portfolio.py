"""``GET /portfolio``: what the scored customer base adds up to, now and in the scorings before."""

from typing import TYPE_CHECKING, Any, Literal

from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field

from api.access import needs
from api.customer_list import model_of, scored_at
from api.document import PROBLEMS, said
from api.keeper import keeper
from api.replies import Model
from api.serving import serving
from churn.catalogue import BANDS
from churn.errors import NotReady

if TYPE_CHECKING:
    from churn.customer_scores import Portfolio

blueprint = APIBlueprint("portfolio", __name__, abp_tags=[Tag(name="customers")])


class PortfolioQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    runs: int = Field(30, ge=1, le=1_000, description="How many scorings the history goes back")


class Sums(BaseModel):
    customers: int
    monthly_revenue: float | None = Field(description="Null where the contract names no monthly value")
    revenue_at_risk: float | None = Field(description="Expected to be lost within `months`")
    expected_profit: float = Field(description="Of contacting those with whom it pays")
    expected_churners: float = Field(description="The sum of the probabilities")


class BandSums(Sums):
    risk: Literal["high", "medium", "low"]
    action: str


class PersonaSums(Sums):
    persona: str | None


class PastSums(Sums):
    scored: str = Field(description="When, ISO 8601")
    model: Model
    left: int
    by_risk: dict[str, int] = Field(description="Customers of each band")


class PortfolioReply(Sums):
    left: int = Field(description="Customers of the file who have left; they are in no other figure")
    by_risk: list[BandSums]
    by_persona: list[PersonaSums]
    history: list[PastSums] = Field(description="Newest first, this one among them")
    currency: str
    months: int = Field(description="Over which revenue at risk is counted")
    notes: list[str] = Field(description="What is to be known of this scoring")
    model: Model
    scored: str


@blueprint.get(
    "/portfolio",
    operation_id="portfolio",
    summary="What the customer base adds up to",
    responses={200: PortfolioReply, 422: said("No such parameter, or not such a value"), 503: PROBLEMS[503]},
)
@needs("read")
def portfolio(query: PortfolioQuery) -> dict[str, Any]:
    """Customers, revenue, revenue at risk and expected churners, by band and by persona, and how they
    have come about over the scorings. What a scoring adds up to is kept for ever."""
    from churn.customer_scores import NOTHING_SCORED, CustomerScores

    kept = CustomerScores(keeper().store).portfolio(query.runs)
    if not kept:
        raise NotReady(NOTHING_SCORED)
    now, run = kept[0], kept[0].run
    actions = serving().contract.risk
    return {
        **_sums(now),
        "left": run.left,
        "by_risk": [{"risk": band, "action": actions[band].action, **_sums(now, risk=band)} for band in BANDS],
        "by_persona": [{"persona": name or None, **_sums(now, persona=name)} for name in now.values("persona")],
        "history": [_past(one) for one in kept],
        "currency": run.facts["currency"],
        "months": run.facts["months"],
        "notes": run.facts["notes"],
        "model": model_of(run),
        "scored": scored_at(run),
    }


def _past(one: "Portfolio") -> dict[str, Any]:
    return {
        "scored": scored_at(one.run),
        "model": model_of(one.run),
        **_sums(one),
        "left": one.run.left,
        "by_risk": {band: one.sums(risk=band)["customers"] for band in BANDS},
    }


def _sums(one: "Portfolio", **wanted: str) -> dict[str, Any]:
    found = one.sums(**wanted)
    known = one.run.facts["monthly_value"] is not None
    return {
        "customers": found["customers"],
        "monthly_revenue": found["monthly_value"] if known else None,
        "revenue_at_risk": found["revenue_at_risk"] if known else None,
        "expected_profit": found["expected_profit"],
        "expected_churners": found["expected_churners"],
    }
