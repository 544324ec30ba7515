"""DAG `recommender_training`: from the contract's rows and what customers did with offers to a recommender.

It runs once a classifier serves and the rows or the contract have changed (an asset that a trigger
watches), on a schedule, so that new interactions join, and by hand with parameters. A version goes into
service if the gate lets it pass. The steps are those of ``churn.recommender_jobs``.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Asset, AssetOrTimeSchedule, AssetWatcher, CronTriggerTimetable, Param, task
from airflow.sdk.exceptions import AirflowSkipException
from churn_pipeline import pipeline, told
from churn_triggers import RecommenderTrainingIsDue

from churn import recommender_jobs as jobs
from churn import settings
from churn.errors import Refused

SETTINGS = settings.load()
PRODUCT_ROWS = Asset(
    "churn_product_rows",
    watchers=[
        AssetWatcher(name="recommender_training_is_due", trigger=RecommenderTrainingIsDue(SETTINGS.watch_seconds))
    ],
)
RECOMMENDER = Asset("churn_recommender")


@task
def prepare(params: dict[str, Any], run_id: str, dag_run: Any) -> str:
    """Read and validate the rows; the folder that holds them. Skipped where there is nothing to recommend."""
    rows = Path(params["rows"]) if params["rows"] else None
    with told(idle=(Refused,)):
        if dag_run.run_type == "asset_triggered" and not jobs.training_is_due(SETTINGS):
            raise AirflowSkipException("there is a recommender of these very rows")
        if dag_run.run_type == "scheduled" and (why := jobs.why_not_yet(SETTINGS)):
            raise AirflowSkipException(why)
        return str(jobs.prepare(SETTINGS, run_id, rows))


@task
def train(prepared: str, params: dict[str, Any]) -> str:
    """Judge the recommender beside its baselines, fit and log it; the URI of its run."""
    with told():
        plan = jobs.plan_of(SETTINGS, **{name: params[name] for name in ("components", "epochs", "seed")})
        return jobs.train(SETTINGS, Path(prepared), plan, params["folds"])


@task
def register(run: str, prepared: str) -> str:
    """Register the run as the challenger; its version."""
    with told():
        return jobs.register(SETTINGS, run, Path(prepared))


@task
def judge(version: str, prepared: str) -> str:
    """Hold the challenger against its baselines and the champion; its version."""
    with told():
        return jobs.judge(SETTINGS, version, Path(prepared)).version


@task(outlets=[RECOMMENDER])
def promote(version: str, run_id: str) -> str:
    """Put the challenger into service, if the gate lets it pass; the URI of the version."""
    with told(idle=(Refused,)):  # a recommender that beats nothing has not failed
        done = jobs.promote(SETTINGS, version, by=f"Airflow: recommender_training {run_id}")
        return f"models:/{done.name}/{done.version}"


@pipeline(
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable(SETTINGS.recommender_schedule, timezone="UTC"), assets=[PRODUCT_ROWS]
    ),
    description="Train the recommender; it goes into service if it beats its baselines and the gate passes it",
    default_args={"retries": 2, "retry_delay": timedelta(seconds=20)},
    doc_md=__doc__,
    params={
        "rows": Param(None, type=["null", "string"], description="A file of rows; empty: the contract's own"),
        "components": Param(
            None, type=["null", "integer"], minimum=1, maximum=256, description="Length of a vector; empty: 16"
        ),
        "epochs": Param(None, type=["null", "integer"], minimum=1, maximum=1000, description="At most; empty: 20"),
        "folds": Param(
            None, type=["null", "integer"], minimum=2, maximum=50, description="Empty: by the number of customers"
        ),
        "seed": Param(SETTINGS.seed, type="integer", minimum=0, maximum=2**32 - 1),
    },
)
def recommender_training() -> None:
    prepared = prepare()  # type: ignore[call-arg]
    challenger = register(train(prepared), prepared)  # type: ignore[call-arg]
    promote(judge(challenger, prepared))  # type: ignore[call-arg]


recommender_training()
