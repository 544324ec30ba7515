"""``POST /predict``: one customer, or up to a thousand."""

import json
from typing import Any

from flask import Response
from flask_openapi import APIBlueprint, Tag

from api import metrics
from api.access import needs
from api.customers import read_customers
from api.document import CUSTOMERS_BODY, PREDICTED, PROBLEMS
from api.keeper import keeper
from api.serving import serving

blueprint = APIBlueprint("predict", __name__, abp_tags=[Tag(name="predict")])


@blueprint.post(
    "/predict",
    operation_id="predict",
    summary="Churn probability and risk band",
    request_body=CUSTOMERS_BODY,
    responses={200: PREDICTED, **PROBLEMS},
)
@needs("read")
def predict() -> Response:
    """Score one customer, given in the contract's columns (`GET /schema`), or up to 1,000 of them
    under `customers`."""
    scorer = serving().scorer()
    customers, many = read_customers(scorer.contract)
    predictions = scorer.predict(customers)
    metrics.predicted(predictions)
    name = scorer.contract.id
    told: list[dict[str, Any]] = [
        {"customer_id": customer[name] if name else None, **prediction.as_dict()}
        for customer, prediction in zip(customers, predictions, strict=True)
    ]
    model = {"name": scorer.model.name, "version": scorer.model.version}
    reply = {"predictions": told, "model": model} if many else {**told[0], "model": model}
    # Flask's jsonify would build an encoder for each reply, and look its settings up
    response = Response(_ENCODER.encode(reply), mimetype="application/json")
    keeper().record(scorer, customers, predictions)
    return response


_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
