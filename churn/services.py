"""The services that listen: where each is, and whether it could listen there."""

import errno
import socket
from dataclasses import dataclass
from ipaddress import ip_address

from churn.errors import NotReady
from churn.settings import Settings

MOST_PORT = 65535


@dataclass(frozen=True)
class Service:
    """One service that listens; ``variable`` is the setting of its port."""

    name: str
    variable: str
    bind: str
    port: int
    health: str
    """The path that says whether the process answers."""

    @property
    def url(self) -> str:
        return url(self.bind, self.port)


def services(settings: Settings) -> list[Service]:
    """All services that listen, as the settings place them."""
    bind = settings.bind
    return [
        Service("Airflow", "CHURN_AIRFLOW_PORT", bind, settings.airflow_port, "/api/v2/monitor/health"),
        Service("MLflow", "CHURN_MLFLOW_PORT", bind, settings.mlflow_port, "/health"),
        Service("API", "CHURN_API_PORT", bind, settings.api_port, "/health/live"),
        Service("web app", "CHURN_UI_PORT", bind, settings.ui_port, "/_stcore/health"),
    ]


def url(bind: str, port: int) -> str:
    """Where a client on this machine finds what listens on ``bind``: a wildcard is no address to ask."""
    return f"http://{address(_loopback(bind), port)}"


def address(host: str, port: int) -> str:
    """``host:port``, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_private(bind: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return ip_address(bind).is_loopback
    except ValueError:
        return bind == "localhost"


def is_free(port: int, bind: str) -> bool:
    """Whether a service could listen on the port.

    Raises:
        NotReady: it never could: that is no address of this machine, or no port for this user.
    """
    if not 0 <= port <= MOST_PORT:
        raise NotReady(f"there is no port {port}; the highest is {MOST_PORT}")
    try:
        family, kind, protocol, _, place = _resolve(port, bind)
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except PermissionError as error:
        raise NotReady(f"port {port}: this user may not listen there; choose one above 1023") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        raise NotReady(f"CHURN_BIND={bind} is no address of this machine; 127.0.0.1 is the usual one") from error
    return True


def _resolve(port: int, bind: str) -> tuple[int, int, int, str, tuple[str | int | bytes, ...]]:
    if not bind:  # getaddrinfo would take it for every address
        raise OSError(errno.EADDRNOTAVAIL, "no address")
    try:
        return socket.getaddrinfo(bind, port, type=socket.SOCK_STREAM)[0]
    except UnicodeError as error:  # a name that no DNS could hold
        raise OSError(errno.EADDRNOTAVAIL, "no address") from error


def _loopback(bind: str) -> str:
    try:
        given = ip_address(bind)
    except ValueError:
        return bind
    if not given.is_unspecified:
        return bind
    return "127.0.0.1" if given.version == 4 else "::1"
