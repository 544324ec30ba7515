"""A typed client of the API, for the web app and for scripts."""

import logging
from collections.abc import Generator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from churn.contract import Contract, parse
from churn.errors import ChurnError, Fault, NotReady, Unavailable

log = logging.getLogger(__name__)

PROMOTION_SECONDS = 60.0
NOT_LET_IN = {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN, httpx.codes.TOO_MANY_REQUESTS}
"""What the API answers on account of the key."""


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
class Term:
    """A version's time in service; ``until`` is None while it lasts. Both are in UTC."""

    version: str
    since: datetime
    until: datetime | None
    by: str
    how: str
    reason: str


@dataclass(frozen=True)
class RefusedVersion:
    """A version that the registry names and the API does not serve."""

    name: str
    version: str
    reason: str


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


class Bearer(httpx.Auth):
    """Sends the API key. One that comes from a file is read again when the API takes it no more: who
    makes a new key needs to start nothing anew."""

    def __init__(self, key: str | None = None, file: Path | None = None) -> None:
        self._file = file
        self._key = _read(file, logging.WARNING) if file else _checked(key)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        sent = self._key
        reply = yield _signed(request, sent)
        if self._file and reply.status_code == httpx.codes.UNAUTHORIZED:
            fresh = _read(self._file, logging.DEBUG)  # told once is enough
            if fresh and fresh != sent:
                self._key = fresh
                yield _signed(request, fresh)


def _signed(request: httpx.Request, key: str | None) -> httpx.Request:
    if key:
        request.headers["Authorization"] = f"Bearer {key}"
    return request


def _read(file: Path, level: int) -> str | None:
    try:
        return _checked(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, NotReady) as error:  # perhaps it is there later
        log.log(level, "no API key in %s: %s", file, error)
        return None


def _checked(key: str | None) -> str | None:
    """httpx tells of what cannot be a header in an error that holds all of it."""
    if key and not (key.strip().isascii() and key.strip().isprintable()):
        raise NotReady("what is given as the API key (CHURN_API_KEY) is none")
    return key and key.strip()


class Client:
    """Calls the API. Every method raises :class:`~churn.errors.Unavailable` when it does not
    answer and :class:`Refused` when it refuses.

    Args:
        key: an API key, where the API asks for one.
        key_file: the file that holds it; goes before ``key``.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        key_file: Path | None = None,
        timeout: float = 10,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=timeout, transport=transport, auth=Bearer(key, key_file))

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

    def models(self) -> list[dict[str, Any]]:
        """The versions in service."""
        found: list[dict[str, Any]] = self._part("/models", "models")
        return found

    def refused(self) -> list[RefusedVersion]:
        """The versions that the registry names and the API does not serve."""
        return [RefusedVersion(**one) for one in self._part("/models", "refused")]

    def history(self) -> list[Term]:
        """Which version was in service when, newest first."""
        told = self._part("/models/history", "history")
        return [Term(**{**one, "since": _moment(one["since"]), "until": _moment(one["until"])}) for one in told]

    def promote(
        self, name: str, version: str, *, reason: str = "", despite_gate: str = "", accept_contract: bool = False
    ) -> list[dict[str, Any]]:
        """Put a version into service; returns the versions in service.

        Args:
            reason: goes into the history, as do the other words.
            despite_gate: the reason to overrule the gate.
            accept_contract: whether the rows that callers send may change with it.
        """
        body = {
            "version": version,
            "reason": reason,
            "despite_gate": despite_gate,
            "accept_contract": accept_contract,
        }
        return self._changed(name, "promote", body)

    def rollback(self, name: str, *, reason: str = "") -> list[dict[str, Any]]:
        """Go back to the version before; returns the versions in service."""
        return self._changed(name, "rollback", {"reason": reason})

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

    def training(self) -> TrainingProgress | None:
        """The newest training run; None before there is one, or while Airflow does not answer."""
        try:
            pipelines = self._part("/pipelines", "pipelines")
        except Refused as refusal:
            if refusal.status in NOT_LET_IN:
                raise
            return None
        run = next((one["run"] for one in pipelines if one["dag"] == "churn_training"), None)
        return run and TrainingProgress(run["state"], run["done"], run["total"], run["url"])

    def _changed(self, name: str, how: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        # the version is loaded for a trial before anything changes
        options = {"json": body, "timeout": max(self._http.timeout.read or 0, PROMOTION_SECONDS)}
        found: list[dict[str, Any]] = self._part(f"/models/{quote(name, safe='')}/{how}", "models", "POST", **options)
        return found

    def _part(self, path: str, name: str, method: str = "GET", **options: Any) -> Any:
        told = self._ask(method, path, **options)
        if name not in told:
            raise Unavailable(f"what answers at {self.url} is not this version of the API")
        return told[name]

    def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        reply = self._reply(method, path, **options)
        try:
            told = reply.json()
        except ValueError as error:
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

    def _reply(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **options)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise Unavailable(f"the API at {self.url} does not answer") from error


def _moment(told: str | None) -> datetime | None:
    return datetime.fromisoformat(told) if told else None


def _prediction(told: dict[str, Any]) -> Prediction:
    model = told["model"]
    fields = {name: told[name] for name in Prediction.__dataclass_fields__ if not name.startswith("model_")}
    return Prediction(**fields, model_name=model["name"], model_version=model["version"])
