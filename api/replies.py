"""The shapes of the replies, for the OpenAPI document. The routes build them as plain dicts."""

from typing import Any, Literal

from pydantic import BaseModel, Field


class Model(BaseModel):
    name: str
    version: str


class PredictionReply(BaseModel):
    """What is said of one customer."""

    customer_id: str | int | None
    churn_probability: float = Field(ge=0, le=1)
    prediction: Literal[0, 1] = Field(description="Whether it reaches the threshold, from which contacting pays")
    threshold: float
    risk: Literal["high", "medium", "low"]
    action: str = Field(description="The strategy of the risk band")
    persona: str | None = Field(description="The group of like customers; null for a version without personas")
    imputed: list[str] = Field(description="Columns without a value, which the pipeline filled in")
    model: Model


class PredictionsReply(BaseModel):
    """The customers of a list, in their order; each as for one customer, without the model."""

    predictions: list[dict[str, Any]]
    model: Model


class ServedModel(Model):
    label: str
    since: str = Field(description="When it was put into service, ISO 8601")
    run_id: str
    metrics: dict[str, float | None]
    data_hash: str = Field(description="SHA-256 of the training rows' file")
    provenance: dict[str, str]
    compiled: bool | None = Field(
        description="Whether the compiled scorer serves, else the pipeline, slower and right; null of a recommender"
    )


class RefusedModel(Model):
    reason: str


class ModelsReply(BaseModel):
    models: list[ServedModel]
    refused: list[RefusedModel] = Field(description="Named by the alias, and not served")
    warning: str = Field(description="Why a model, or its newest version, is not in service; else empty")


class TermReply(BaseModel):
    version: str
    since: str
    until: str | None = Field(description="Null while it lasts")
    by: str = Field(description="Who or what put it into service")
    how: str = Field(description="promote, rollback, or outside: the alias was moved by other means")
    reason: str


class HistoryReply(BaseModel):
    history: list[TermReply]


class RunReply(BaseModel):
    id: str
    state: str
    started: str | None
    ended: str | None
    done: int = Field(description="Tasks that have ended")
    total: int = Field(description="Tasks that the run has so far")
    url: str


class PipelineReply(BaseModel):
    dag: str
    description: str
    paused: bool
    url: str
    run: RunReply | None = Field(description="The newest run")


class PipelinesReply(BaseModel):
    pipelines: list[PipelineReply]


class HealthReply(BaseModel):
    status: Literal["ok"]
    detail: str = ""


class FaultReply(BaseModel):
    row: int | None = Field(description="Position in the list of customers, from 0")
    field: str
    value: Any
    message: str


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FaultReply] | None = None
