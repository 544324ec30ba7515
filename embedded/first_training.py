"""The first training, followed until a champion serves."""

import time
from dataclasses import dataclass

import httpx
from environment import public_url
from supervision import Supervisor

from churn.errors import Unavailable
from churn.pipelines import Pipelines
from churn.services import services
from churn.settings import Settings

PATIENCE_SECONDS = 90
LOOK_SECONDS = 2


@dataclass(frozen=True)
class Progress:
    """How far it is, and, where it may stand still for ever, where to look for the reason."""

    line: str
    look: str = ""


def wait_for_champion(settings: Settings, supervisor: Supervisor) -> None:
    """Where a champion is there already, this is over at once."""
    at = {service.name: service.url for service in services(settings)}
    urls = {"airflow_url": at["Airflow"], "airflow_public_url": public_url(settings)}
    airflow = Pipelines(settings.model_copy(update=urls))
    said, since, warned = "", time.monotonic(), False
    while not _serves(f"{at['API']}/health/ready"):
        supervisor.check()
        now = training(airflow, settings)
        if now.line != said:
            print(f"churn: {now.line}", flush=True)
            said, since, warned = now.line, time.monotonic(), False
        elif now.look and not warned and time.monotonic() - since > PATIENCE_SECONDS:
            print(f"churn: still {now.line}; {now.look}. Ctrl-C ends the services", flush=True)
            warned = True
        time.sleep(LOOK_SECONDS)


def training(airflow: Pipelines, settings: Settings) -> Progress:
    """What the first training is at."""
    logs = settings.home / "logs"
    try:
        run = next((found.run for found in airflow.list() if found.dag == "churn_training"), None)
    except Unavailable:
        return Progress("waiting for Airflow", f"{logs / 'airflow-api-server.log'} may say why")
    if run is None:
        look = f"{logs / 'airflow-dag-processor.log'} and {logs / 'airflow-triggerer.log'} may say why"
        return Progress("waiting for Airflow to start the first training", look)
    if run.state == "failed":
        return Progress(f"the first training failed; its log: {run.url}. The services go on; Ctrl-C ends them")
    if run.state == "success":
        return Progress("loading the champion", f"{logs / 'api.log'} may say why")
    return Progress(f"first training: {run.done} of {run.total} tasks done")


def _serves(ready: str) -> bool:
    try:
        return httpx.get(ready, timeout=30, trust_env=False).is_success
    except httpx.HTTPError:  # the API starts anew
        return False
