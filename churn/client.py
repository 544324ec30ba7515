"""A typed client of the API, for the web app and for scripts."""

from dataclasses import dataclass
from typing import Any

import httpx

from churn.client_connection import NOT_LET_IN, Bearer, Refused
from churn.client_customers import (
    CustomersPart,
    Explanation,
    GlobalExplanation,
    Plan,
    Portfolio,
    Recorded,
    ScoredCustomers,
    Segments,
    WhatIf,
)
from churn.client_models import ModelsPart, RefusedVersion, Term
from churn.client_pipelines import Pipeline, PipelinesPart, Run, Task, TrainingProgress
from churn.client_recommend import Interactions, Recommendations, RecommendPart
from churn.client_score import ScoreJob, ScorePart
from churn.contract import Contract, parse


@dataclass(frozen=True)
class Prediction:
    """The API's answer for one customer."""

    customer_id: str | int | None
    churn_probability: float
    prediction: int
    threshold: float
    risk: str
    action: str
    persona: str | None
    imputed: list[str]
    model_name: str
    model_version: str


@dataclass(frozen=True)
class Readiness:
    """Whether a champion serves; the reason where none does."""

    ready: bool
    detail: str


class Client(ModelsPart, PipelinesPart, ScorePart, CustomersPart, RecommendPart):
    """Calls the API. Every method raises :class:`~churn.errors.Unavailable` when it does not
    answer and :class:`Refused` when it refuses; :class:`~churn.client_connection.Connection` says
    what a client is made with.
    """

    @classmethod
    def from_settings(cls) -> "Client":
        """A client of the API that the settings name, with their key."""
        from churn.settings import load

        settings = load()
        key = settings.api_key.get_secret_value() if settings.api_key else None
        return cls(settings.api_url, key, key_file=settings.api_key_file)

    def predict(self, customer: dict[str, Any]) -> Prediction:
        """Score one customer, given in the contract's columns."""
        return _prediction(self._ask("POST", "/predict", json=customer))

    def predict_many(self, customers: list[dict[str, Any]]) -> list[Prediction]:
        """Score up to 1,000 customers, in order."""
        told = self._ask("POST", "/predict", json={"customers": customers})
        return [_prediction({**one, "model": told["model"]}) for one in told["predictions"]]

    def contract(self) -> Contract:
        """The contract that the API holds customers against."""
        return parse(self._part("/schema", "x-contract"), f"{self.url}/schema")

    def metrics(self) -> str:
        """The counters and gauges in Prometheus's text format."""
        reply = self._reply("GET", "/metrics")
        if not reply.is_success:
            raise Refused(reply.status_code, reply.reason_phrase, "", [])
        return reply.text

    def readiness(self) -> Readiness:
        """Whether the API can score."""
        try:
            self._ask("GET", "/health/ready")
        except Refused as refusal:
            if refusal.status != httpx.codes.SERVICE_UNAVAILABLE:
                raise
            return Readiness(False, str(refusal))
        return Readiness(True, "")


def _prediction(told: dict[str, Any]) -> Prediction:
    model = told["model"]
    fields = {name: told[name] for name in Prediction.__dataclass_fields__ if not name.startswith("model_")}
    return Prediction(**fields, model_name=model["name"], model_version=model["version"])


__all__ = [
    "NOT_LET_IN",
    "Bearer",
    "Client",
    "Explanation",
    "GlobalExplanation",
    "Interactions",
    "Pipeline",
    "Plan",
    "Portfolio",
    "Prediction",
    "Readiness",
    "Recommendations",
    "Recorded",
    "Refused",
    "RefusedVersion",
    "Run",
    "ScoreJob",
    "ScoredCustomers",
    "Segments",
    "Task",
    "Term",
    "TrainingProgress",
    "WhatIf",
]
