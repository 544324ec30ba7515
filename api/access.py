"""Who may ask for what: the key of a request, and the scope that a route asks of it.

A key is asked for as soon as the API is reached from beyond this machine. On this machine alone
everyone may ask who is no page of another site, and a key that is given is checked all the same.
"""

import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from flask import Flask, g, request

from api.problems import Denied
from churn.keys import hash_of
from churn.services import is_private, keys_required
from churn.settings import Settings

if TYPE_CHECKING:
    from api.keeper import Keeper
    from churn.keys import Key

START_SECONDS = 3.0
"""How long a request waits for the keys to be read, in a worker that has just been started."""
_SCOPE = "scope"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110, 9.2.1)."""
_PRIVATE_NAMES = (".localhost", ".internal")
"""Under these no name can be bought: nobody's page has such a one."""

View = TypeVar("View", bound=Callable[..., Any])


def needs(scope: str | None) -> Callable[[View], View]:
    """Declare beside a view which scope it needs; None opens it to everyone.

    A view that declares nothing needs ``read`` for what changes nothing, and else ``admin``: a
    route that was forgotten is closed.
    """

    def declare(view: View) -> View:
        vars(view)[_SCOPE] = scope
        return view

    return declare


def scope_of(view: Callable[..., Any], method: str) -> str | None:
    """The scope that a view needs for a method."""
    scope: str | None = getattr(view, _SCOPE, "read" if method in _SAFE else "admin")
    return scope


def register(app: Flask, settings: Settings) -> None:
    """Let nobody pass who may not. ``flask.g.key`` is the request's key, or None.

    Raises:
        NotReady: the settings open to everyone what listens beyond this machine.
    """
    required = keys_required(settings)
    views = app.view_functions

    def check() -> None:
        g.key = None
        asked = request
        rule = asked.url_rule
        # who has a key learns that there is no such route, and nobody else
        scope = scope_of(views[rule.endpoint], asked.method) if rule else "read"
        if scope is None:
            return
        sent = request.environ  # a tenth of what its view as headers costs
        scheme, _, secret = sent.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() == "bearer":
            g.key = key = _known(app.extensions["churn.keeper"], secret.strip())
            if not key.may(scope):
                raise _too_small(key, scope)
        elif required:
            raise Denied(
                HTTPStatus.UNAUTHORIZED,
                "this service asks for an API key: send it as `Authorization: Bearer <key>`",
                {"WWW-Authenticate": "Bearer"},
            )
        else:
            _only_from_here(sent, scope)

    app.before_request(check)


def _known(keeper: "Keeper", secret: str) -> "Key":
    patience = time.monotonic() + START_SECONDS
    while not keeper.knows_keys and time.monotonic() < patience:
        time.sleep(0.05)  # this worker has just been started
    known = keeper.knows_keys  # asked first: they may become known meanwhile
    key = keeper.keys.get(hash_of(secret))
    if key is not None:
        keeper.used(key.id)
        return key
    if not known:
        raise Denied(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "the API keys are not known yet: the database has not answered",
            {"Retry-After": "5"},
        )
    raise Denied(
        HTTPStatus.UNAUTHORIZED,
        "this API key is not known, or has been revoked",
        {"WWW-Authenticate": 'Bearer error="invalid_token"'},
    )


def _too_small(key: "Key", scope: str) -> Denied:
    return Denied(
        HTTPStatus.FORBIDDEN,
        f"this needs a key of scope {scope}; the key {key.name!r} is of scope {key.scope}",
        {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
    )


def _only_from_here(sent: Mapping[str, Any], scope: str) -> None:
    """A page of another site cannot post JSON here. One whose name has come to mean this machine
    (DNS rebinding) could, and could read what it likes: its name, which the browser sends, tells.
    """
    host = sent.get("HTTP_HOST", "")
    if not _is_near(host):
        raise Denied(
            HTTPStatus.FORBIDDEN,
            f"nobody may ask for this as {host!r} without a key; where a proxy publishes the service under "
            "that name, set CHURN_REQUIRE_KEYS=true",
            {},
        )
    origin = sent.get("HTTP_ORIGIN")
    if origin and scope != "read" and not _is_local(origin):
        raise Denied(HTTPStatus.FORBIDDEN, "a page of another site may not ask for this", {})


@lru_cache(maxsize=64)
def _is_near(host: str) -> bool:
    """Whether a page's name could not be this host: an address, or a name that only machines nearby
    give each other, such as those of a compose file."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if "." not in name or name.endswith(_PRIVATE_NAMES):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_local(origin: str) -> bool:
    try:
        return is_private(urlsplit(origin).hostname or "")
    except ValueError:
        return False
