"""DAG `churn_monitoring`: have the customers moved from what the model was trained on, and has it proved right?

It runs daily, after the scoring, and by hand. Past the thresholds in the settings it starts `churn_training`.
The steps are those of ``churn.monitoring``.
"""

import logging
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import CronTriggerTimetable, task
from churn_pipeline import pipeline, told

from churn import monitoring, settings
from churn.errors import NoChampion, NotReady, UnreadableFile

log = logging.getLogger(__name__)
SETTINGS = settings.load()


@task
def look(run_id: str) -> dict[str, Any]:
    """Measure and write down; whether a training is called for, and why.

    A file that is being copied is tried again. Without a champion that can be looked at, of the present
    contract, nothing is to do: somebody has yet to train or promote one.
    """
    with told(passing=(UnreadableFile,), idle=(NoChampion, NotReady)):
        found = monitoring.look(SETTINGS, f"churn_monitoring {run_id}")
        return {"retrain": found.retrain, "reason": found.reason}


@task.short_circuit
def decide(found: dict[str, Any]) -> bool:
    """Go on to a training only where one is called for."""
    log.info("%s", found["reason"])
    return bool(found["retrain"])


@pipeline(
    schedule=CronTriggerTimetable(SETTINGS.monitoring_schedule, timezone="UTC"),
    description="Look for drift and at outcomes; a training is started where they are past the thresholds",
    default_args={"retries": 2, "retry_delay": timedelta(seconds=20)},
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
