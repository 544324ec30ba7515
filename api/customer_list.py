"""``GET /customers`` and ``/customers/<customer_id>``: the scored customer base, as the store has it."""

from dataclasses import asdict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

from flask import abort
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field

from api.access import needs
from api.document import PROBLEMS, said
from api.keeper import keeper
from api.replies import Model
from api.serving import serving

if TYPE_CHECKING:
    from churn.customer_scores import CustomerScores, Row, Run

blueprint = APIBlueprint("customers", __name__, abp_tags=[Tag(name="customers")])

MOST_ROWS = 500


class ListQuery(BaseModel):
    """Which customers, in which order, and which page of them."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    risk: Literal["high", "medium", "low"] | None = Field(None, description="Only of this band")
    persona: str | None = Field(None, max_length=200, description="Only of this persona")
    min_probability: float | None = Field(None, ge=0, le=1)
    max_probability: float | None = Field(None, ge=0, le=1)
    min_revenue: float | None = Field(None, ge=0, description="The least revenue at risk")
    search: str = Field("", max_length=250, description="The beginning of the customer's id")
    sort: Literal["value", "probability", "revenue_at_risk", "expected_profit", "customer_id"] = Field(
        "value", description="value: one band after the other, in each by the revenue at risk"
    )
    order: Literal["asc", "desc"] = "desc"
    page: int = Field(1, ge=1, le=10_000_000)
    limit: int = Field(50, ge=1, le=MOST_ROWS, description="Customers of a page")


class CustomerPath(BaseModel):
    customer_id: str = Field(description="The customer's id; where the contract names none, the row in the file")


class Reason(BaseModel):
    feature: str
    value: Any
    contribution: float
    points: float = Field(description="What it adds to the probability; 0.12 is 12 points")
    text: str


class StoredRecommendation(BaseModel):
    item: str
    label: str
    score: float


class ScoredCustomer(BaseModel):
    """A customer as he was scored last."""

    customer_id: str
    churn_probability: float
    prediction: Literal[0, 1]
    risk: Literal["high", "medium", "low"]
    persona: str | None
    monthly_value: float | None
    revenue_at_risk: float | None = Field(description="Null where the monthly value is unknown")
    expected_profit: float = Field(description="Of contacting this customer; below 0 it does not pay")
    held_out: bool = Field(
        description="Whether the model was trained on this row; the probability is then what it said before it had"
    )
    reasons: list[Reason]
    recommendations: list[StoredRecommendation] = Field(
        description="The best of what he could be offered, as `churn recommend` ranks; none where no recommender served"
    )
    control: bool = Field(description="Whether he is of the control group, to whom nothing is recommended")


class CustomersReply(BaseModel):
    customers: list[ScoredCustomer]
    total: int = Field(description="Of all pages")
    page: int
    limit: int
    model: Model
    scored: str = Field(description="When, ISO 8601")


class PastScore(BaseModel):
    scored: str
    model: Model
    churn_probability: float
    risk: Literal["high", "medium", "low"]
    held_out: bool


class CustomerReply(ScoredCustomer):
    action: str = Field(description="The strategy of the risk band")
    features: dict[str, Any] = Field(description="The row in the contract's columns, as it was scored")
    history: list[PastScore] = Field(description="The scorings that are kept, newest first, this one among them")
    model: Model
    scored: str


@blueprint.get(
    "/customers",
    operation_id="customers",
    summary="The scored customers: filtered, sorted, page by page",
    responses={200: CustomersReply, 422: said("No such parameter, or not such a value"), 503: PROBLEMS[503]},
)
@needs("read")
def customers(query: ListQuery) -> dict[str, Any]:
    """Of the newest scoring of the whole base. Customers who have left are not in it."""
    from churn.customer_list import Wish, page

    wish = Wish(**query.model_dump())
    run, (rows, total) = _scores().steady(lambda runs: (runs[0], page(keeper().store, runs[0], wish)), limit=1)
    told = {"customers": [_told(row, run) for row in rows], "total": total, "page": query.page, "limit": query.limit}
    return told | {"model": model_of(run), "scored": scored_at(run)}


@blueprint.get(
    "/customers/<path:customer_id>",
    operation_id="customer",
    summary="One scored customer",
    responses={200: CustomerReply, 404: said("Nobody of that id has been scored"), 503: PROBLEMS[503]},
    merge_slashes=False,
)
@needs("read")
def customer(path: CustomerPath) -> dict[str, Any]:
    """His score, the reasons, the row that was scored, and his scores in the scorings before."""
    scores, name = _scores(), path.customer_id
    kept, past = scores.steady(lambda runs: (runs, scores.past(name, [one.id for one in runs])))
    run = kept[0]
    row = past.get(run.id)
    if row is None:
        abort(
            HTTPStatus.NOT_FOUND,
            f"no customer {name[:250]!r} is in the newest scoring; customers who have left are in none",
        )
    return {
        **_told(row, run),
        "action": serving().contract.risk[row.risk].action,  # type: ignore[index]
        "features": dict(zip(run.columns, row.features, strict=True)),
        "history": [_past(one, past[one.id]) for one in kept if one.id in past],
        "model": model_of(run),
        "scored": scored_at(run),
    }


def _scores() -> "CustomerScores":
    from churn.customer_scores import CustomerScores  # SQLAlchemy takes longer to import than the API to start

    return CustomerScores(keeper().store)


def _told(row: "Row", run: "Run") -> dict[str, Any]:
    found, labels = asdict(row), run.facts.get("items", {})
    del found["features"]
    found["recommendations"] = [
        {"item": one["item"], "label": labels.get(one["item"], one["item"]), "score": one["score"]}
        for one in row.recommendations
    ]
    return {"customer_id": found.pop("customer_id"), "churn_probability": found.pop("probability"), **found}


def _past(run: "Run", row: "Row") -> dict[str, Any]:
    said_then = {"churn_probability": row.probability, "risk": row.risk, "held_out": row.held_out}
    return {"scored": scored_at(run), "model": model_of(run), **said_then}


def model_of(run: "Run") -> dict[str, str]:
    """The version that a run was scored by."""
    return {"name": run.model, "version": run.version}


def scored_at(run: "Run") -> str:
    """When a run was whole, ISO 8601."""
    return (run.ended or run.started).isoformat()
