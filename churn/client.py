"""A typed client of the API, for the web app and for scripts."""

from dataclasses import dataclass
from typing import Any

import httpx

from churn.contract import Contract, parse
from churn.errors import ChurnError, Fault, Unavailable


class Refused(ChurnError):
    """The API said no: its problem's title and detail, and a fault for each field."""

    def __init__(self, status: int, title: str, detail: str, faults: list[Fault]) -> None:
        self.status = status
        self.title = title
        self.faults = faults
        super().__init__(detail or title)


@dataclass(frozen=True)
class Prediction:
    """The API's answer for one customer."""

    customer_id: str | int | None
    churn_probability: float
    prediction: int
    threshold: float
    risk: str
    action: str
    imputed: list[str]
    model_name: str
    model_version: str


@dataclass(frozen=True)
class Readiness:
    """Whether a champion serves; the reason where none does."""

    ready: bool
    detail: str


@dataclass(frozen=True)
class TrainingProgress:
    """The newest training: its state in Airflow's words, and how many of its tasks are done."""

    state: str
    done: int
    total: int
    url: str


class Client:
    """Calls the API. Every method raises :class:`~churn.errors.Unavailable` when it does not
    answer and :class:`Refused` when it refuses."""

    def __init__(self, url: str, timeout: float = 10, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=timeout, transport=transport)

    @classmethod
    def from_settings(cls) -> "Client":
        """A client of the API that the settings name."""
        from churn.settings import load

        return cls(load().api_url)

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

    def models(self) -> list[dict[str, Any]]:
        """The versions in service."""
        found: list[dict[str, Any]] = self._part("/models", "models")
        return found

    def readiness(self) -> Readiness:
        """Whether the API can score."""
        try:
            self._ask("GET", "/health/ready")
        except Refused as refusal:
            if refusal.status != httpx.codes.SERVICE_UNAVAILABLE:
                raise
            return Readiness(False, str(refusal))
        return Readiness(True, "")

    def training(self) -> TrainingProgress | None:
        """The newest training run; None before there is one, or while Airflow does not answer."""
        try:
            pipelines = self._part("/pipelines", "pipelines")
        except Refused:
            return None
        run = next((one["run"] for one in pipelines if one["dag"] == "churn_training"), None)
        return run and TrainingProgress(run["state"], run["done"], run["total"], run["url"])

    def _part(self, path: str, name: str) -> Any:
        told = self._ask("GET", path)
        if name not in told:
            raise Unavailable(f"what answers at {self.url} is not this version of the API")
        return told[name]

    def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        try:
            reply = self._http.request(method, path, **options)
            told = reply.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise Unavailable(f"the API at {self.url} does not answer") from error
        if not isinstance(told, dict):
            raise Unavailable(f"what answers at {self.url} is not this version of the API")
        if reply.is_success:
            return told
        faults = [
            Fault(one.get("row"), one.get("field", ""), one.get("value"), one.get("message", ""))
            for one in told.get("errors", [])
        ]
        raise Refused(reply.status_code, told.get("title", ""), told.get("detail", ""), faults)


def _prediction(told: dict[str, Any]) -> Prediction:
    model = told["model"]
    fields = {name: told[name] for name in Prediction.__dataclass_fields__ if not name.startswith("model_")}
    return Prediction(**fields, model_name=model["name"], model_version=model["version"])
