"""``POST /whatif``: a customer after changes that the company can make, and the cheapest that leave the high band."""

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
from churn import whatif

blueprint = APIBlueprint("whatif", __name__, abp_tags=[Tag(name="whatif")])

Scalar = str | int | float | bool
Band = Literal["high", "medium", "low"]


class WhatIfWanted(Body):
    """Whom to change, and how; without changes the cheapest are looked for."""

    customer: dict[str, Any]
    changes: dict[str, Any] | None = None


class ChangeAlone(BaseModel):
    """One of the changes, and the probability after it alone."""

    feature: str
    from_: Scalar | None = Field(alias="from")
    to: Scalar
    churn_probability: float


class ProposedChange(BaseModel):
    feature: str
    from_: Scalar | None = Field(alias="from")
    to: Scalar
    cost: float = Field(description="By the contract's `change_cost`")


class Proposal(BaseModel):
    """The cheapest set of changes found that leaves the high band."""

    changes: list[ProposedChange]
    cost: float
    churn_probability: float = Field(description="As `/predict` says it of the changed customer")
    risk: Band
    complete: bool = Field(description="Whether every cheaper set of up to three changes was tried")


class RiskChange(BaseModel):
    before: Band
    after: Band | None


class WhatIfReply(BaseModel):
    customer_id: str | int | None
    before: float = Field(description="The churn probability as it is")
    after: float | None = Field(description="After all changes, or the proposed ones; null where none were found")
    risk: RiskChange
    each: list[ChangeAlone]
    proposal: Proposal | None = Field(description="Null where changes were given")
    reason: str = Field(description="Why there is no proposal, where one was asked for")
    warnings: list[str] = Field(description="What of the given changes makes a customer that nobody has seen")
    model: Model


WHATIF_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "title": "WhatIfWanted",
                "type": "object",
                "additionalProperties": False,
                "required": ["customer"],
                "properties": {
                    "customer": CUSTOMER,
                    "changes": {
                        "anyOf": [{"type": "object"}, {"type": "null"}],
                        "description": "New values of actionable columns; without any, the cheapest are looked for",
                    },
                },
            }
        }
    },
}


@blueprint.post(
    "/whatif",
    operation_id="whatif",
    summary="What if this were changed, or what would have to be",
    request_body=WHATIF_BODY,
    responses={200: WhatIfReply, **PROBLEMS},
)
@needs("read")
def what_if() -> dict[str, Any]:
    """The probability before and after changes of columns that the contract calls actionable, each alone and
    all together; without changes, the cheapest set of them that leaves the high band."""
    wanted = read_as(WhatIfWanted)
    scorer = serving().scorer()
    contract = scorer.contract
    customer = read_customer(wanted.customer, contract)
    if wanted.changes:
        answer = whatif.changed(scorer, customer, wanted.changes)
    else:
        answer = whatif.proposed(scorer, customer)
    return {
        "customer_id": customer[contract.id] if contract.id else None,
        "before": answer.before,
        "after": answer.after,
        "risk": {
            "before": contract.band_of(answer.before),
            "after": None if answer.after is None else contract.band_of(answer.after),
        },
        "each": answer.each,
        "proposal": answer.proposal,
        "reason": answer.reason,
        "warnings": answer.warnings,
        "model": asdict(scorer.model),
    }
