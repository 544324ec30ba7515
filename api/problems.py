"""The one error handler: every error leaves as ``application/problem+json`` (RFC 9457)."""

import logging
from collections.abc import Mapping
from http import HTTPStatus

from flask import Flask, Response, jsonify
from werkzeug.exceptions import HTTPException

from churn.errors import (
    ChurnError,
    ContractError,
    InvalidData,
    NoChampion,
    NotReady,
    Refused,
    RefusedModel,
    Unavailable,
    UnknownName,
    UnknownVersion,
)

log = logging.getLogger(__name__)


class Denied(ChurnError):
    """A request that may not pass: no key, a wrong one, too small a scope, too many of them."""

    def __init__(self, status: HTTPStatus, detail: str, headers: Mapping[str, str]) -> None:
        self.status = status
        self.headers = headers
        super().__init__(detail)


class BadBody(ChurnError):
    """A body that is no JSON at all (400) or of another media type (415)."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        self.status = status
        super().__init__(detail)


def register(app: Flask) -> None:
    app.register_error_handler(ChurnError, _told)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unforeseen)


def _told(error: ChurnError) -> Response:
    if isinstance(error, InvalidData):
        more = error.total - len(error.faults)
        detail = error.report().splitlines()[1].strip() if error.total == 1 else error.summary
        detail += f"; the first {len(error.faults)} are listed" if more else ""
        return _problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, [fault.as_dict() for fault in error.faults])
    if isinstance(error, BadBody):
        return _problem(error.status, str(error))
    if isinstance(error, Denied):
        reply = _problem(error.status, str(error))
        reply.headers.update(error.headers)
        return reply
    if isinstance(error, UnknownName | UnknownVersion):
        return _problem(HTTPStatus.NOT_FOUND, str(error))
    if isinstance(error, Refused | RefusedModel):
        return _problem(HTTPStatus.CONFLICT, str(error))
    if isinstance(error, NoChampion | Unavailable | ContractError | NotReady):
        return _problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
    return _unforeseen(error)


def _http(error: HTTPException) -> Response:
    code = error.code or 500
    if code < 400:  # a redirect is no problem
        return Response(error.get_response().get_data(), code, error.get_response().headers)
    reply = _problem(HTTPStatus(code), error.description or "")
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            reply.headers[name] = value
    return reply


def _unforeseen(error: Exception) -> Response:
    log.error("an unforeseen error", exc_info=error)
    return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the service failed; its log says why")


def _problem(status: HTTPStatus, detail: str, errors: list[dict[str, object]] | None = None) -> Response:
    body: dict[str, object] = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
    }
    if errors is not None:
        body["errors"] = errors
    reply = jsonify(body)
    reply.status_code = status.value
    reply.mimetype = "application/problem+json"
    return reply
