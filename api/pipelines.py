"""``GET /pipelines``: what Airflow is doing."""

from dataclasses import asdict
from typing import Any

from flask import current_app
from flask_openapi import APIBlueprint, Tag

from api.document import PROBLEMS
from api.replies import PipelinesReply
from churn.pipelines import Pipelines

blueprint = APIBlueprint("pipelines", __name__, abp_tags=[Tag(name="pipelines")])


@blueprint.get(
    "/pipelines",
    operation_id="pipelines",
    summary="The pipelines and their newest runs",
    responses={200: PipelinesReply, 503: PROBLEMS[503]},
)
def pipelines() -> dict[str, Any]:
    """State and progress of each pipeline's newest run, with links into Airflow."""
    airflow: Pipelines = current_app.extensions["churn.pipelines"]
    return {"pipelines": [asdict(pipeline) for pipeline in airflow.list()]}
