"""The connection under :mod:`churn.client`: keys, refusals, and replies as objects."""

import logging
from collections.abc import Generator, Mapping
from dataclasses import MISSING, fields
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx

from churn.errors import ChurnError, Fault, NotReady, Unavailable

log = logging.getLogger(__name__)

NOT_LET_IN = {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN, httpx.codes.TOO_MANY_REQUESTS}
"""What the API answers on account of the key."""

Reply = TypeVar("Reply")


class Refused(ChurnError):
    """The API said no: its problem's title and detail, and a fault for each field."""

    def __init__(self, status: int, title: str, detail: str, faults: list[Fault]) -> None:
        self.status = status
        self.title = title
        self.faults = faults
        super().__init__(detail or title)


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


class Connection:
    """Asks the API. Every method raises :class:`~churn.errors.Unavailable` when it does not
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
        raise Refused(reply.status_code, told.get("title", ""), told.get("detail", ""), faults_of(told))

    def _one(self, kind: type[Reply], told: Any) -> Reply:
        """A part of a reply as an object; of what this version does not know yet nothing is taken over."""
        names = {one.name: one.default is MISSING and one.default_factory is MISSING for one in fields(kind)}  # type: ignore[arg-type]
        if not isinstance(told, Mapping) or any(needed and name not in told for name, needed in names.items()):
            raise Unavailable(f"what answers at {self.url} is not this version of the API")
        return kind(**{name: told[name] for name in names if name in told})

    def _reply(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **options)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise Unavailable(f"the API at {self.url} does not answer") from error


def faults_of(told: Mapping[str, Any]) -> list[Fault]:
    """The faults that a problem lists."""
    return [
        Fault(one.get("row"), one.get("field", ""), one.get("value"), one.get("message", ""))
        for one in told.get("errors") or []
    ]


def moment(told: str | None) -> datetime | None:
    """A time of a reply; None where it says none."""
    return datetime.fromisoformat(told) if told else None
