"""``POST /predict``: one customer, or up to a thousand."""

from dataclasses import asdict
from typing import Any

from flask_openapi import APIBlueprint, Tag

from api.customers import read_customers
from api.document import CUSTOMERS_BODY, PREDICTED, PROBLEMS
from api.serving import serving
from churn.scoring import Scorer

blueprint = APIBlueprint("predict", __name__, abp_tags=[Tag(name="predict")])


@blueprint.post(
    "/predict",
    operation_id="predict",
    summary="Churn probability and risk band",
    request_body=CUSTOMERS_BODY,
    responses={200: PREDICTED, **PROBLEMS},
)
def predict() -> dict[str, Any]:
    """Score one customer, given in the contract's columns (`GET /schema`), or up to 1,000 of them
    under `customers`."""
    scorer = serving().scorer()
    customers, many = read_customers(scorer.contract)
    predictions = _predictions(scorer, customers)
    model = asdict(scorer.model)
    return {"predictions": predictions, "model": model} if many else {**predictions[0], "model": model}


def _predictions(scorer: Scorer, customers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    name = scorer.contract.id
    return [
        {"customer_id": customer[name] if name else None, **prediction.as_dict()}
        for customer, prediction in zip(customers, scorer.predict(customers), strict=True)
    ]
