"""What the services of `make up` are started with: every setting, resolved, and Airflow's own."""

import json
import os
import shlex
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from zlib import crc32

from churn import credentials
from churn.services import address, services
from churn.settings import ROOT, Settings

BIN = Path(sys.executable).parent
CONF = ROOT / "embedded" / "supervisord.conf"

MARK = "CHURN_SOCKET"
"""A variable that only these services have, with a value that only this home's have: by it they
are known for ours."""

NOT_PASSED_ON = ("CHURN_API_KEY", "CHURN_API_KEY_FILE")
"""The key of whoever starts the services is for none of them; the web app has its own."""


def environment(settings: Settings) -> dict[str, str]:
    """What supervisord is started with, and so all that it starts."""
    home, secrets = settings.home.absolute(), settings.home.absolute() / "secrets"
    at = {service.name: service for service in services(settings)}
    mine = {
        "CHURN_ROOT": ROOT,
        "CHURN_HOME": home,
        "CHURN_CONTRACT": settings.contract.absolute(),
        MARK: socket_of(settings),
        "CHURN_BIND": settings.bind,
        "CHURN_MLFLOW_BIND": at["MLflow"].bind,
        "CHURN_UI_BIND": at["web app"].bind,
        "CHURN_API_ADDRESS": address(at["API"].bind, settings.api_port),
        "CHURN_API_URL": at["API"].url,
        "CHURN_AIRFLOW_URL": at["Airflow"].url,
        "CHURN_AIRFLOW_PUBLIC_URL": public_url(settings),
        "CHURN_MLFLOW_PUBLIC_URL": mlflow_public_url(settings),
        "CHURN_API_PORT": settings.api_port,
        "CHURN_UI_PORT": settings.ui_port,
        "CHURN_MLFLOW_PORT": settings.mlflow_port,
        "CHURN_AIRFLOW_PORT": settings.airflow_port,
        "CHURN_API_WORKERS": settings.api_workers,
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{home / 'mlflow' / 'mlflow.db'}",
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": (home / "mlflow" / "artifacts").as_uri(),
        "MLFLOW_TRACKING_URI": at["MLflow"].url,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "1",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "GIT_PYTHON_REFRESH": "quiet",
        # skops looks for a function in every loaded module, and Airflow's old names complain of being looked at
        "PYTHONWARNINGS": "ignore::FutureWarning:skops.io._utils",
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONUNBUFFERED": "1",
        # a process that gives itself a title would write it over its environment, and with that over the mark
        "SPT_NOENV": "1",
    }
    theirs = airflow_environment(settings, home, secrets, at["Airflow"].url) | own_dags(settings)
    given = {name: value for name, value in os.environ.items() if name not in NOT_PASSED_ON}
    given |= without_proxy(settings, os.environ)
    return {**given, **{name: str(value) for name, value in (mine | theirs).items()}}


def airflow_environment(settings: Settings, home: Path, secrets: Path, url: str) -> dict[str, object]:
    def read(name: str) -> str:
        return f"cat {shlex.quote(str(secrets / name))}"

    return {
        "AIRFLOW_HOME": home / "airflow",
        # its own defaults for these three fail where the path has a percent sign
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow' / 'airflow.db'}",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": home / "airflow" / "logs",
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": home / "airflow" / "logs" / "dag_processor",
        "AIRFLOW__CORE__DAGS_FOLDER": ROOT / "airflow" / "dags",
        "AIRFLOW__CORE__PLUGINS_FOLDER": ROOT / "airflow" / "plugins",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        # tasks report to the API server; left out, they would look for it on port 8080
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__PARALLELISM": 4,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": credentials.airflow_users(),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": secrets / credentials.AIRFLOW_PASSWORDS,
        "AIRFLOW__CORE__FERNET_KEY_CMD": read("airflow_fernet"),
        "AIRFLOW__API__SECRET_KEY_CMD": read("airflow_api"),
        "AIRFLOW__API_AUTH__JWT_SECRET_CMD": read("airflow_jwt"),
        "AIRFLOW__API__HOST": settings.bind,
        "AIRFLOW__API__PORT": settings.airflow_port,
        "AIRFLOW__API__BASE_URL": public_url(settings),
        "AIRFLOW__API__WORKERS": 1,
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": 30,
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 60,
        "AIRFLOW__TRIGGERER__DEFAULT_CAPACITY": 20,
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


def own_dags(settings: Settings) -> dict[str, object]:
    """The user's folder beside ours, which keeps the name that it has where it is the only one."""
    if settings.dags is None:
        return {}
    local = "airflow.dag_processing.bundles.local.LocalDagBundle"
    bundles = [
        {"name": "dags-folder", "classpath": local, "kwargs": {}},
        {"name": "own", "classpath": local, "kwargs": {"path": str(settings.dags.absolute())}},
    ]
    return {"AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles)}


def public_url(settings: Settings) -> str:
    """Where a person's browser finds Airflow: as it was set, or else where it listens."""
    if "airflow_public_url" in settings.model_fields_set:
        return settings.airflow_public_url.rstrip("/")
    (airflow,) = (service for service in services(settings) if service.name == "Airflow")
    return airflow.url


def mlflow_public_url(settings: Settings) -> str:
    """The same of MLflow."""
    if "mlflow_public_url" in settings.model_fields_set:
        return settings.mlflow_public_url.rstrip("/")
    (mlflow,) = (service for service in services(settings) if service.name == "MLflow")
    return mlflow.url


def without_proxy(settings: Settings, given: Mapping[str, str]) -> dict[str, str]:
    """The services ask each other directly, whatever proxy leads out of this machine."""
    names = [name for spelling in ("no_proxy", "NO_PROXY") for name in given.get(spelling, "").split(",")]
    if "*" in names:  # no proxy at all; beside other names the asterisk means nothing
        return {"NO_PROXY": "*", "no_proxy": "*"}
    direct = ",".join(dict.fromkeys(filter(None, (*names, "127.0.0.1", "localhost", "::1", settings.bind))))
    return {"NO_PROXY": direct, "no_proxy": direct}


def socket_of(settings: Settings) -> Path:
    """supervisord's control socket; a socket's path may have no more than about 100 characters."""
    inside = settings.home.absolute() / "supervisor.sock"
    if len(bytes(inside)) < 90:
        return inside
    return Path(tempfile.gettempdir()) / f"churn-{os.getuid()}-{crc32(bytes(inside))}.sock"
