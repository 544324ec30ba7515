"""What `churn doctor` and the start of the embedded stack look at on a machine."""

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from churn.errors import ChurnError, NoChampion
from churn.settings import Settings, load

LEAST_DISK = 2 * 1024**3
State = Literal["ok", "off", "broken"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at: fine, not running, or broken; the detail says how to mend it."""

    subject: str
    state: State
    detail: str


def examine() -> Iterator[Finding]:
    """Look at everything, each thing as it is found."""
    yield _python()
    try:
        settings = load()
    except ChurnError as error:
        yield Finding("settings", "broken", str(error))
        return
    yield _home(settings)
    yield _contract(settings)
    yield _champion(settings)
    yield from _services(settings)


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    fits = sys.version_info >= (3, 11)
    return Finding("python", "ok" if fits else "broken", version if fits else f"{version}; 3.11 or newer is needed")


def _home(settings: Settings) -> Finding:
    existing = next(path for path in (settings.home, *settings.home.absolute().parents) if path.exists())
    if not os.access(existing, os.W_OK):
        return Finding("home", "broken", f"{settings.home} cannot be written; set CHURN_HOME to a folder that can")
    free = shutil.disk_usage(existing).free
    if free < LEAST_DISK:
        return Finding("home", "broken", f"{settings.home}: {free / 1024**3:.1f} GiB free, 2 are needed")
    return Finding("home", "ok", f"{settings.home}, {free / 1024**3:.0f} GiB free")


def _contract(settings: Settings) -> Finding:
    from churn import contract as contracts

    try:
        contract = contracts.load(settings.contract)
    except ChurnError as error:
        return Finding("contract", "broken", str(error))
    rows = settings.contract.parent / contract.rows.training
    if not rows.is_file():
        return Finding("contract", "broken", f"{settings.contract} names {rows}, which is not there")
    return Finding("contract", "ok", f"{contract.name}: {len(contract.features)} features, rows in {rows}")


def _champion(settings: Settings) -> Finding:
    if settings.mlflow_tracking_uri is None and not (settings.mlflow_home / "mlflow.db").exists():
        return Finding("champion", "off", "nothing is registered yet; `churn train` or `make up` trains a model")
    from churn.registry import Registry

    try:
        champion = Registry(settings, patient=False).champion()
    except NoChampion:
        return Finding("champion", "off", "none is in service yet; `churn train` or `make up` trains one")
    except ChurnError as error:
        return Finding("champion", "broken", str(error))
    return Finding(
        "champion",
        "ok",
        f"{champion.name} version {champion.version} since {champion.since:%Y-%m-%d %H:%M} UTC",
    )


def _services(settings: Settings) -> Iterator[Finding]:
    for variable, name, port in ports(settings):
        answers = not is_free(port, settings.bind)
        detail = f"something listens on port {port}" if answers else f"nothing listens on port {port} ({variable})"
        yield Finding(name, "ok" if answers else "off", detail)


def ports(settings: Settings) -> list[tuple[str, str, int]]:
    """The variable, the service and the port of each service that listens."""
    return [
        ("CHURN_AIRFLOW_PORT", "Airflow", settings.airflow_port),
        ("CHURN_MLFLOW_PORT", "MLflow", settings.mlflow_port),
        ("CHURN_API_PORT", "API", settings.api_port),
        ("CHURN_UI_PORT", "web app", settings.ui_port),
    ]


def is_free(port: int, bind: str) -> bool:
    """Whether a service could listen on the port."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except OSError:
            return False
    return True
