"""``GET /monitoring``: what the monitoring has seen."""

from typing import Any

from flask import current_app
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, Field

from api.access import needs
from api.document import PROBLEMS
from api.keeper import keeper
from churn.monitoring_log import Look, latest

blueprint = APIBlueprint("monitoring", __name__, abp_tags=[Tag(name="monitoring")])

MOST = 20


class MovedReply(BaseModel):
    label: str
    distance: float = Field(
        description="Of a number Wasserstein's, in standard deviations of the training rows; of a category "
        "Jensen and Shannon's"
    )
    threshold: float
    drifted: bool


class PerformanceReply(BaseModel):
    """How the scores have proved on outcomes."""

    outcomes: int
    churned: int
    version: str = Field(description="That gave the scores; `any` where the one looked at has too few outcomes")
    figures: dict[str, float]
    intervals: dict[str, list[float]] = Field(description="95 %")
    calibration_error: float
    calibration_by_chance: float = Field(description="What true probabilities may show by chance")
    report: dict[str, float] = Field(description="The same figures of the version's report set")


class LookReply(BaseModel):
    at: str
    version: str
    retrain: bool = Field(description="Whether a training was called for")
    reason: str
    report: str = Field(description="The page in MLflow")
    current_hash: str = Field(description="SHA-256 of the customers' file")
    rows: int = Field(description="Customers that were looked at, a sample of the file")
    against: str = Field(description="What they were held against")
    columns: dict[str, MovedReply]
    score: MovedReply
    performance: PerformanceReply | None = Field(description="Null while too few outcomes are known")


class LooksReply(BaseModel):
    looks: list[LookReply]


@blueprint.get(
    "/monitoring",
    operation_id="monitoring",
    summary="Drift, and how the scores have proved",
    responses={200: LooksReply, 503: PROBLEMS[503]},
)
@needs("read")
def monitoring() -> dict[str, Any]:
    """The newest looks at the customers, up to 20, newest first: how far each column and the scores have
    moved from the training rows, the performance on outcomes, and whether that called for a training.
    Empty before the first."""
    mlflow: str = current_app.extensions["churn.mlflow"]
    return {"looks": [_told(look, mlflow) for look in latest(keeper().store, MOST)]}


def _told(look: Look, mlflow: str) -> dict[str, Any]:
    shown = ("rows", "against", "columns", "score", "performance")
    return {
        "at": look.at.isoformat(),
        "version": look.version,
        "retrain": look.retrain,
        "reason": look.reason,
        "report": f"{mlflow}{look.report}",
        "current_hash": look.current_hash,
        **{name: look.figures.get(name) for name in shown},
    }
