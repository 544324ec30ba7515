"""Airflow's REST API as a connection: logged in as our user there, its errors told as ours."""

import json
import threading
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx

from churn.errors import NotReady, Unavailable
from churn.settings import Settings

USER = "api"
_ANSWERS = {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY}
"""What says something about the question, and nothing against Airflow."""


class AirflowSaid(Exception):
    """Airflow's answer to a question that it will not grant. Whoever asked knows what it means."""

    def __init__(self, status: int, detail: str) -> None:
        self.status = status
        self.detail = detail
        super().__init__(f"{status}: {detail}")


class AirflowRest:
    """A connection to Airflow. Every call raises, beside what it says itself:

    Unavailable: Airflow does not answer, or does not know us.
    NotReady: our user there may not do this.
    """

    def __init__(self, settings: Settings, transport: httpx.BaseTransport | None = None) -> None:
        self._passwords = settings.passwords_file
        self._http = httpx.Client(base_url=settings.airflow_url, timeout=5, transport=transport)
        self._token: str | None = None
        self._lock = threading.Lock()

    @property
    def url(self) -> httpx.URL:
        return self._http.base_url

    def get(self, path: str, **query: str | int) -> dict[str, Any]:
        """What stands under a path of ``/api/v2``.

        Raises:
            AirflowSaid: there is nothing.
        """
        return self._ask("GET", path, params=query)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Have something made.

        Raises:
            AirflowSaid: it is refused, or is there already.
        """
        return self._ask("POST", path, json=body)

    def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        path = f"/api/v2{path}"
        try:
            reply = self._http.request(method, path, headers=self._authorisation(), **options)
            if reply.status_code == HTTPStatus.UNAUTHORIZED:  # the token has run out
                self._token = None
                reply = self._http.request(method, path, headers=self._authorisation(), **options)
            if reply.status_code in _ANSWERS:
                raise AirflowSaid(reply.status_code, _detail(reply))
            if reply.status_code == HTTPStatus.FORBIDDEN:
                raise NotReady(f"Airflow's user {USER!r} may not do this: {_detail(reply)}")
            reply.raise_for_status()
            found: dict[str, Any] = reply.json()
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable(f"Airflow does not answer: {error}") from error
        return found

    def _authorisation(self) -> dict[str, str]:
        with self._lock:
            if self._token is None:
                login = {"username": USER, "password": _password(self._passwords)}
                reply = self._http.post("/auth/token", json=login)
                reply.raise_for_status()
                self._token = str(reply.json()["access_token"])
            return {"Authorization": f"Bearer {self._token}"}


def _detail(reply: httpx.Response) -> str:
    try:
        told = reply.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return reply.reason_phrase
    return told if isinstance(told, str) else json.dumps(told)


def _password(path: Path) -> str:
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))[USER])
    except (OSError, ValueError, KeyError) as error:
        raise Unavailable(f"no password for Airflow's user {USER!r} in {path}") from error
