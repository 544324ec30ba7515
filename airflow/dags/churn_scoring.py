"""DAG `churn_scoring`: the whole customer base scored into the store by the version in service.

It runs after each promotion and when the file of customers has changed (an asset that a trigger
watches), daily, and by hand. The step is that of ``churn.portfolio``.
"""

import logging
from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, AssetOrTimeSchedule, AssetWatcher, CronTriggerTimetable, Param, task
from airflow.sdk.exceptions import AirflowSkipException
from churn_pipeline import pipeline, told
from churn_triggers import ScoringIsDue

from churn import portfolio, settings
from churn.errors import Refused, UnreadableFile

log = logging.getLogger(__name__)
SETTINGS = settings.load()
CUSTOMERS = Asset(
    "churn_customers",
    watchers=[AssetWatcher(name="scoring_is_due", trigger=ScoringIsDue(SETTINGS.watch_seconds))],
)
SCORES = Asset("churn_scores")


@task(outlets=[SCORES])
def score(params: dict[str, Any], run_id: str, dag_run: Any) -> int:
    """Score every customer, whole or not at all; how many rows the file has. The run's id names the
    scoring: a second try of one that has come to its end does nothing."""
    done = 0
    with told(passing=(Refused, UnreadableFile)):  # another process scores just now, or a file is being copied
        wanted = params["force"] or dag_run.run_type == "scheduled"
        if not wanted and not portfolio.find(SETTINGS, run_id) and not portfolio.due(SETTINGS):
            raise AirflowSkipException("the store has the scores of this version and of these customers")
        for done in portfolio.score_base(SETTINGS, run_id):
            log.info("%d rows", done)
    return done


@pipeline(
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable(SETTINGS.scoring_schedule, timezone="UTC"), assets=[CUSTOMERS]
    ),
    description="Score the whole customer base into the store with the version in service",
    default_args={"retries": 3, "retry_delay": timedelta(seconds=30), "retry_exponential_backoff": True},
    doc_md=__doc__,
    params={"force": Param(False, type="boolean", description="Also if nothing has changed since the last scoring")},
)
def churn_scoring() -> None:
    score()  # type: ignore[call-arg]


churn_scoring()
