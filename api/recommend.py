"""``POST /recommend``: what to offer a customer, and what it does to his risk."""

import json
from typing import TYPE_CHECKING, Any, Literal

from flask import Response
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, Field

from api.access import needs
from api.adviser import adviser
from api.bodies import Body, read_as
from api.customers import Customer, read_customer, read_id
from api.document import CUSTOMER, PROBLEMS, body_of, said
from api.keeper import keeper
from api.replies import Model
from api.serving import recommender_serving, serving
from churn.advice import MOST, Advised, Recommended, Wish
from churn.columns import CustomerId
from churn.control import in_control
from churn.errors import Fault, InvalidData, NotReady, UnknownName
from churn.ranking import ItemKind

if TYPE_CHECKING:
    from churn.advice import Advice
    from churn.contract import Contract
    from churn.interactions import Known

blueprint = APIBlueprint("recommend", __name__, abp_tags=[Tag(name="recommend")])

_MOST_NAMES = 1_000
_CONTROL = "the customer is of the control group, to whom nothing is recommended, so that an effect can be measured"
_UNHEARD = "the database does not answer: what the customer has refused is not known, and may be among these"


class RecommendWanted(Body):
    """For whom, and which."""

    customer: dict[str, Any] | None = None
    customer_id: CustomerId = Field(None, description="Of a customer who has been scored, instead of the row")
    k: int = Field(3, ge=1, le=MOST)
    kinds: list[ItemKind] | None = Field(None, min_length=1, max_length=2)
    items: list[str] | None = Field(None, min_length=1, max_length=_MOST_NAMES, description="Only these")
    exclude: list[str] = Field([], max_length=_MOST_NAMES, description="Not these")
    max_cost: float | None = Field(None, ge=0, allow_inf_nan=False, description="The most that an item may cost")


class BeforeAfter(BaseModel):
    before: float | None = Field(description="Null where nothing is known of the customer")
    after: float | None = Field(description="With the item; null where the model cannot see it")


class Rank(BaseModel):
    """What adds up to the score."""

    liking: float
    risk: float
    margin: float


class ReasonReply(BaseModel):
    kind: Literal["alike", "bundle", "popularity", "acceptance"]
    text: str
    share: float | None
    customers: int | None = Field(description="Of how many customers the share is")


class RecommendationReply(BaseModel):
    """One product or offer."""

    item: str
    label: str
    kind: ItemKind
    score: float
    rank: Rank
    liking: float | None = Field(description="The recommender's own score; null of what it was not trained on")
    propensity: float = Field(description="How probable it is that the customer takes it")
    churn_probability: BeforeAfter
    risk_basis: Literal["model", "acceptance"] | None = Field(description="What `rank.risk` rests on")
    monthly_price: float | None = Field(description="Of a product")
    cost: float = Field(description="To the company; of a product over the economics' months")
    margin: float = Field(description="What it brings over these months, less its cost")
    reason: str = Field(description="The most telling reason, in words")
    reasons: list[ReasonReply] = Field(description="All of them, with the figures that their texts round")


class RecommendReply(BaseModel):
    customer_id: str | int | None
    basis: Literal["model", "popularity"] = Field(description="popularity: nothing is known of the customer")
    risk: Literal["high", "medium", "low"] | None
    control: bool = Field(description="Whether the customer is of the control group, to whom nothing is recommended")
    reason: str = Field(description="Why nothing is recommended; else empty")
    recommendations: list[RecommendationReply]
    refused: list[str] = Field(description="Left out since the customer refused it lately")
    accepted: list[str] = Field(description="Left out since the customer accepted it lately")
    weights: Rank = Field(description="How the contract weighs the parts of the score")
    currency: str
    model: Model
    risk_model: Model
    warnings: list[str]


def _body() -> dict[str, Any]:
    body = body_of(RecommendWanted)
    properties = body["content"]["application/json"]["schema"]["properties"]
    properties["customer"] = {
        "anyOf": [CUSTOMER, {"type": "object", "maxProperties": 0}, {"type": "null"}],
        "description": "Left out or empty, with no `customer_id` either: what most customers own",
    }
    return body


@blueprint.post(
    "/recommend",
    operation_id="recommend",
    summary="What to offer a customer",
    request_body=_body(),
    responses={200: RecommendReply, **PROBLEMS, 404: said("Nobody of that id has been scored")},
)
@needs("read")
def recommend() -> Response:
    """The products and offers that he may have, the best first: by what he would take, what that does to his
    churn probability, and what it brings. Nothing is changed and nobody contacted."""
    wanted = read_as(RecommendWanted)
    advice = adviser().advice(recommender_serving().loaded(), serving().scorer())
    given, customer = _customer(wanted, advice.contract)
    customer_id = None if given is None else str(given).strip()
    control = in_control(advice.contract, customer_id)
    if control:
        found, known, reason = Advised("model" if customer else "popularity", []), None, _CONTROL
    else:
        known = adviser().known(customer_id)
        found = _advised(advice, customer, wanted, known)
        reason = "" if found.items else _why_nothing(found)
    refused = [name for name in found.held_back if known and name in known.refused]
    reply = {
        "customer_id": given,
        **_told(found),
        "control": control,
        "reason": reason,
        "refused": refused,
        "accepted": [name for name in found.held_back if name not in refused],
        **_by(advice),
        "warnings": [] if control or known else [_UNHEARD],
    }
    # Flask's jsonify would build an encoder for each reply, and look its settings up
    return Response(_ENCODER.encode(reply), mimetype="application/json")


_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def _advised(advice: "Advice", customer: Customer | None, wanted: RecommendWanted, known: "Known | None") -> Advised:
    wish = Wish(wanted.k, wanted.kinds, wanted.items, wanted.exclude, wanted.max_cost)
    back = known.refused | known.accepted if known else ()
    return advice.popular(wish, back) if customer is None else advice.recommend(customer, wish, back)


def _customer(wanted: RecommendWanted, contract: "Contract") -> tuple[str | int | None, Customer | None]:
    """The customer's id and typed values; no values where nothing is known of him."""
    if wanted.customer_id is not None:
        if wanted.customer:
            raise InvalidData([Fault(None, "customer_id", wanted.customer_id, "give a customer or an id, not both")])
        return wanted.customer_id, _scored(str(wanted.customer_id).strip(), contract)
    given = wanted.customer or {}
    if not given.keys() - {contract.id}:  # of whom at most the id is known
        return read_id(given.get(contract.id) if contract.id else None, contract), None
    customer = read_customer(given, contract)
    return (customer[contract.id] if contract.id else None), customer


def _scored(customer_id: str, contract: "Contract") -> Customer:
    """The row of a customer as he was scored last."""
    from churn.customer_scores import CustomerScores  # SQLAlchemy takes longer to import than the API to start

    scores = CustomerScores(keeper().store)
    run = scores.shown()
    row = scores.past(customer_id, [run.id]).get(run.id)
    if row is None:
        raise UnknownName(f"no customer {customer_id[:250]!r} is in the newest scoring")
    values, faults = contract.read(dict(zip(run.columns, row.features, strict=True)))
    if faults:
        column, message = faults[0]
        raise NotReady(f"the customers were scored in other columns than the model takes now: {column}: {message}")
    return values


def _why_nothing(found: Advised) -> str:
    if found.held_back:
        return "what could be recommended was refused or accepted lately"
    return "there is nothing that the customer does not own, may have and is eligible for, and that was asked for"


def _told(found: Advised) -> dict[str, Any]:
    return {"basis": found.basis, "risk": found.band, "recommendations": [_item(one) for one in found.items]}


def _item(one: Recommended) -> dict[str, Any]:
    # by hand, as a prediction: dataclasses.asdict copies deeply
    return {
        "item": one.item,
        "label": one.label,
        "kind": one.kind,
        "score": one.score,
        "rank": one.rank,
        "liking": one.liking,
        "propensity": one.propensity,
        "churn_probability": {"before": one.before, "after": one.after},
        "risk_basis": one.risk_basis,
        "monthly_price": one.monthly_price,
        "cost": one.cost,
        "margin": one.margin,
        "reason": one.reasons[0].text,
        "reasons": [reason.as_dict() for reason in one.reasons],
    }


def _by(advice: "Advice") -> dict[str, Any]:
    """By what and which versions it was ranked."""
    weights, ranker, scorer = advice.ranking.weights, advice.recommender.model, advice.scorer.model
    return {
        "weights": {"liking": weights.liking, "risk": weights.risk, "margin": weights.margin},
        "currency": advice.contract.currency,
        "model": {"name": ranker.name, "version": ranker.version},
        "risk_model": {"name": scorer.name, "version": scorer.version},
    }
