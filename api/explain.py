"""``POST /explain``: why a customer has this probability; ``GET /explain/global``: what moves it as a rule."""

from dataclasses import asdict
from typing import Any, Literal

from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, Field

from api.access import needs
from api.bodies import Body, read_as
from api.customers import read_customer
from api.document import CUSTOMER, PROBLEMS
from api.replies import Model
from api.serving import serving
from churn.errors import NotReady
from churn.explanation import reasons
from churn.lime import agreement

blueprint = APIBlueprint("explain", __name__, abp_tags=[Tag(name="explain")])

Scalar = str | int | float | bool


class ExplainWanted(Body):
    """Whom to explain, and how."""

    customer: dict[str, Any]
    method: Literal["shap", "lime"] = "shap"


class Contribution(BaseModel):
    """What one column adds to the output."""

    feature: str
    value: Scalar | None
    contribution: float = Field(description="In the reply's `space`")
    points: float = Field(description="The probability, less what it would be without this: 0.12 is 12 points")
    text: str


class AgreementReply(BaseModel):
    """How far SHAP and LIME agree on this customer."""

    rank_correlation: float | None = Field(description="Spearman's; null where one of them tells all columns alike")
    top_3_overlap: int = Field(description="How many of the three largest contributions they share")


class ExplainReply(BaseModel):
    """Both methods reply in this shape."""

    customer_id: str | int | None
    churn_probability: float = Field(description="As `/predict` says it")
    risk: Literal["high", "medium", "low"]
    method: Literal["shap", "lime"]
    space: str = Field(description="What adds up: log-odds or probability; `before calibration` where one follows")
    base_value: float
    output_value: float = Field(description="The base value and the contributions together")
    fidelity: float | None = Field(description="Of LIME's model around the customer, weighted R²; null for SHAP")
    contributions: list[Contribution] = Field(description="Each column of the contract once, the largest first")
    agreement: AgreementReply
    model: Model


class FeatureSummary(BaseModel):
    feature: str
    label: str
    unit: str
    type: Literal["integer", "number", "category", "boolean"]
    importance: float = Field(description="Mean size of the contributions")
    importance_points: float = Field(description="The same as probability")
    beeswarm: list[list[Scalar | None]] = Field(description="Pairs of value and contribution, in no order")
    dependence: dict[str, Any] = Field(
        description="`values` of a category or the `curve` over a number: mean contribution, points and count of each"
    )


class GlobalReply(BaseModel):
    space: str
    base_value: float
    rows: int = Field(description="Of the sample of training rows")
    features: list[FeatureSummary] = Field(description="The most important first")
    model: Model


EXPLAIN_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "title": "ExplainWanted",
                "type": "object",
                "additionalProperties": False,
                "required": ["customer"],
                "properties": {
                    "customer": CUSTOMER,
                    "method": {"type": "string", "enum": ["shap", "lime"], "default": "shap"},
                },
            }
        }
    },
}


@blueprint.post(
    "/explain",
    operation_id="explain",
    summary="Why a customer has this probability",
    request_body=EXPLAIN_BODY,
    responses={200: ExplainReply, **PROBLEMS},
)
@needs("read")
def explain() -> dict[str, Any]:
    """What each column adds to the model's output, by SHAP (exact) or by LIME (a linear model of the
    neighbourhood), in numbers and in words."""
    wanted = read_as(ExplainWanted)
    scorer = serving().scorer()
    contract = scorer.contract
    customer = read_customer(wanted.customer, contract)
    encoded = scorer.encoder.customers([customer])
    exact, local = scorer.explain(encoded), scorer.explain_locally(encoded)
    shown = exact if wanted.method == "shap" else local.explained
    probability = float(scorer.probabilities(encoded)[0])
    return {
        "customer_id": customer[contract.id] if contract.id else None,
        "churn_probability": probability,
        "risk": contract.band_of(probability),
        "method": wanted.method,
        "space": scorer.space,
        "base_value": shown.base_value,
        "output_value": float(shown.output[0]),
        "fidelity": None if shown is exact else local.fidelity,
        "contributions": reasons(shown, 0, customer, contract),
        "agreement": asdict(agreement(exact, local.explained)),
        "model": asdict(scorer.model),
    }


@blueprint.get(
    "/explain/global",
    operation_id="explain_global",
    summary="What moves the probability as a rule",
    responses={200: GlobalReply, 503: PROBLEMS[503]},
)
@needs("read")
def explain_global() -> dict[str, Any]:
    """Importance of each feature, points of value and contribution, and how the contribution depends on
    the value: from a sample of the training rows, made when the version was."""
    scorer = serving().scorer()
    if scorer.explanation is None:
        raise NotReady(f"{scorer.model.name} version {scorer.model.version} carries no explanation; train anew")
    return {**scorer.explanation, "model": asdict(scorer.model)}
