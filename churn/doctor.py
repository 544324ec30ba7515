"""What `churn doctor` looks at: the machine, the data set, the registry, the services."""

import os
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from churn.errors import ChurnError, NoChampion
from churn.services import Service, named_services
from churn.settings import Settings, load

if TYPE_CHECKING:
    import httpx

LEAST_DISK = 2 * 1024**3
ANSWER_SECONDS = 2.0
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
    yield _store(settings)
    with ThreadPoolExecutor() as pool:
        yield from pool.map(_service, named_services(settings))


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    fits = sys.version_info >= (3, 11)
    return Finding("python", "ok" if fits else "broken", version if fits else f"{version}; 3.11 or newer is needed")


def _home(settings: Settings) -> Finding:
    existing = next(path for path in (settings.home.absolute(), *settings.home.absolute().parents) if _exists(path))
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return Finding("home", "broken", f"{settings.home} cannot be written; set CHURN_HOME to a folder that can")
    free = shutil.disk_usage(existing).free
    if free < LEAST_DISK:
        return Finding("home", "broken", f"{settings.home}: {free / 1024**3:.1f} GiB free, 2 are needed")
    return Finding("home", "ok", f"{settings.home}, {free / 1024**3:.0f} GiB free")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a folder on the way that this user may not look into
        return False


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


def _store(settings: Settings) -> Finding:
    from churn.store import REVISION, Store

    store = Store(settings)
    try:
        revision = store.revision()
        store.check(revision)
    except ChurnError as error:
        return Finding("store", "broken", str(error))
    finally:
        store.close()
    if revision != REVISION:
        has = f"of revision {revision}" if revision else "no tables yet"
        return Finding("store", "off", f"{store.name}: {has}; the API or `churn migrate` brings it to {REVISION}")
    return Finding("store", "ok", f"{store.name}, revision {revision}")


def _service(service: Service) -> Finding:
    """Off where nothing listens; broken where something else listens, or the service is ill."""
    import httpx

    path = "/health/ready" if service.name == "API" else service.health
    try:
        # a proxy knows nothing of this machine's ports
        reply = httpx.get(f"{service.url}{path}", timeout=ANSWER_SECONDS, trust_env=False)
    except (httpx.ConnectError, httpx.ConnectTimeout):
        return Finding(service.name, "off", f"nothing listens on {service.place}")
    except httpx.HTTPError as error:
        return _stranger(service, str(error) or type(error).__name__)
    return _judge(service, reply)


def _judge(service: Service, reply: "httpx.Response") -> Finding:
    told = _json(reply)
    match service.name:
        case "API" if reply.is_success and told.get("status") == "ok":
            detail = told.get("detail")
            return Finding("API", "ok", f"{service.url} serves{f': {detail}' if detail else ''}")
        case "API" if reply.status_code == HTTPStatus.SERVICE_UNAVAILABLE and "detail" in told:
            return Finding("API", "off", f"{service.url} answers, and serves no model yet: {told['detail']}")
        case "Airflow" if "metadatabase" in told:
            ill = [f"{part}: {state.get('status')}" for part, state in told.items() if state.get("status") != "healthy"]
            return Finding(
                "Airflow", "broken" if ill else "ok", f"{service.url} answers{''.join(f'; {i}' for i in ill)}"
            )
        case "MLflow" | "web app" if reply.is_success and reply.text.strip().lower() == "ok":
            return Finding(service.name, "ok", f"{service.url} answers")
    return _stranger(service, f"status {reply.status_code} from {reply.url.path}")


def _json(reply: "httpx.Response") -> dict[str, Any]:
    try:
        told = reply.json()
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _stranger(service: Service, why: str) -> Finding:
    detail = f"what listens on {service.place} does not answer as {service.name} does: {why}"
    return Finding(service.name, "broken", detail)
