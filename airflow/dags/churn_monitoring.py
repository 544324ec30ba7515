"""DAG `churn_monitoring`: have the customers moved from what the model was trained on, and has it proved right?

It runs daily, after the scoring, and by hand. Past the thresholds in the settings it starts `churn_training`.
The steps are those of ``churn.monitoring``.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import CronTriggerTimetable, dag, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from churn import monitoring, settings
from churn.errors import ChurnError, InvalidData, NoChampion, NotReady, Unavailable, UnreadableFile

log = logging.getLogger(__name__)
SETTINGS = settings.load()


@contextmanager
def told() -> Iterator[None]:
    """Wrong rows stay wrong however often one tries; an outage passes; without a champion that can be looked
    at, of the present contract, nothing is to do: somebody has yet to train or promote one."""
    try:
        yield
    except (Unavailable, UnreadableFile):  # an outage, or a file that is being copied
        raise
    except (NoChampion, NotReady) as error:
        raise AirflowSkipException(str(error)) from error
    except InvalidData as error:
        raise AirflowFailException(error.report()) from error
    except ChurnError as error:
        raise AirflowFailException(str(error)) from error


@task
def look(run_id: str) -> dict[str, Any]:
    """Measure and write down; whether a training is called for, and why."""
    with told():
        found = monitoring.look(SETTINGS, f"churn_monitoring {run_id}")
        return {"retrain": found.retrain, "reason": found.reason}


@task.short_circuit
def decide(found: dict[str, Any]) -> bool:
    """Go on to a training only where one is called for."""
    log.info("%s", found["reason"])
    return bool(found["retrain"])


@dag(
    schedule=CronTriggerTimetable(SETTINGS.monitoring_schedule, timezone="UTC"),
    description="Look for drift and at outcomes; a training is started where they are past the thresholds",
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=20)},
    tags=["churn"],
    doc_md=__doc__,
)
def churn_monitoring() -> None:
    train = TriggerDagRunOperator(
        task_id="train",
        trigger_dag_id="churn_training",
        # a second try of this task starts no second training
        trigger_run_id="drift__{{ run_id }}",
        skip_when_already_exists=True,
    )
    decide(look()) >> train  # type: ignore[call-arg]


churn_monitoring()
