"""The services that listen: where each is, and whether it could listen there."""

import errno
import socket
from dataclasses import dataclass, replace
from ipaddress import ip_address

from churn.errors import NotReady
from churn.settings import Settings

MOST_PORT = 65535
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Service:
    """One service that listens; ``variable`` is the setting of its port."""

    name: str
    variable: str
    bind: str
    port: int
    health: str
    """The path that says whether the process answers."""
    elsewhere: str = ""
    """Its address, where the settings name another than this machine's port."""

    @property
    def url(self) -> str:
        return self.elsewhere.rstrip("/") or url(self.bind, self.port)

    @property
    def place(self) -> str:
        """Where nothing listens when it does not run, in words."""
        return self.elsewhere or f"port {self.port} ({self.variable})"


def services(settings: Settings) -> list[Service]:
    """All services that listen, as the settings place them: what asks for no log-in stays on this machine."""
    bind = settings.bind
    near = bind if is_private(bind) else LOOPBACK
    return [
        Service("Airflow", "CHURN_AIRFLOW_PORT", bind, settings.airflow_port, "/api/v2/monitor/health"),
        Service("MLflow", "CHURN_MLFLOW_PORT", near, settings.mlflow_port, "/health"),
        Service("API", "CHURN_API_PORT", bind, settings.api_port, "/health/live"),
        Service("web app", "CHURN_UI_PORT", near, settings.ui_port, "/_stcore/health"),
    ]


def named_services(settings: Settings) -> list[Service]:
    """The same, each at the address that the settings name for it, if they do: in a container, all are elsewhere."""
    given = settings.model_fields_set
    tracking = settings.mlflow_tracking_uri or ""
    elsewhere = {
        "Airflow": settings.airflow_url if "airflow_url" in given else "",
        "MLflow": tracking if tracking.startswith(("http://", "https://")) else "",
        "API": settings.api_url if "api_url" in given else "",
        "web app": settings.ui_url if "ui_url" in given else "",
    }
    return [replace(service, elsewhere=elsewhere[service.name]) for service in services(settings)]


def keys_required(settings: Settings) -> bool:
    """Whether the API answers only those who have a key.

    Raises:
        NotReady: it listens beyond this machine, and is told to let everyone in.
    """
    private = is_private(settings.bind)
    if settings.require_keys is False and not private:
        raise NotReady(
            f"CHURN_REQUIRE_KEYS=false would let everyone in who reaches CHURN_BIND={settings.bind}; leave it out"
        )
    return settings.require_keys or not private


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
    return LOOPBACK if given.version == 4 else "::1"
