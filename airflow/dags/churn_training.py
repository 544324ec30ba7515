"""DAG `churn_training`: from the contract's rows to a challenger, and past the gate into service.

It runs when no champion exists or the rows or the contract change (an asset that a trigger
watches), on a schedule, and by hand with parameters. The steps are those of ``churn.jobs``.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import (
    Asset,
    AssetOrTimeSchedule,
    AssetWatcher,
    CronTriggerTimetable,
    Param,
    TriggerRule,
    task,
)
from airflow.sdk.exceptions import AirflowSkipException
from churn_pipeline import pipeline, told
from churn_triggers import TrainingIsDue

from churn import jobs, settings
from churn.errors import Refused

SETTINGS = settings.load()
TRAINING_ROWS = Asset(
    "churn_training_rows",
    watchers=[AssetWatcher(name="training_is_due", trigger=TrainingIsDue(SETTINGS.watch_seconds))],
)
CHAMPION = Asset("churn_champion")


@task
def prepare(params: dict[str, Any], run_id: str, dag_run: Any) -> str:
    """Read and validate the rows; the folder that holds them."""
    rows = Path(params["rows"]) if params["rows"] else None
    with told():
        if dag_run.run_type == "asset_triggered" and not jobs.training_is_due(SETTINGS):
            raise AirflowSkipException("the champion was trained on these very rows")
        return str(jobs.prepare(SETTINGS, run_id, rows))


@task
def segment(prepared: str, params: dict[str, Any]) -> str:
    """Find the personas, which all candidates carry; the folder of the rows, for the tasks to come."""
    with told():
        return str(jobs.segment(SETTINGS, Path(prepared), params["seed"]))


@task(map_index_template="{{ candidate }}")
def train(prepared: str, candidate: str, params: dict[str, Any]) -> str:
    """Search, cross-validate, fit and log one candidate; the URI of its run."""
    if candidate not in params["candidates"]:
        raise AirflowSkipException(f"{candidate} was not asked for")
    with told():
        plan = jobs.plan_of(SETTINGS, **{name: params[name] for name in ("folds", "repeats", "seconds", "seed")})
        return jobs.train_candidate(SETTINGS, Path(prepared), candidate, plan)


@task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
def compare(runs: list[str]) -> str:
    """The URI of the better run."""
    with told():
        return jobs.compare(SETTINGS, list(runs))


@task
def register(run: str, prepared: str) -> str:
    """Register the better run as the challenger; its version."""
    with told():
        return jobs.register(SETTINGS, run, Path(prepared))


@task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
def judge(version: str, prepared: str, runs: list[str]) -> str:
    """Hold the challenger against the champion and report on it; its version."""
    with told():
        return jobs.judge(SETTINGS, version, Path(prepared), list(runs)).version


@task(outlets=[CHAMPION])
def promote(version: str, params: dict[str, Any], run_id: str) -> str:
    """Put the challenger into service, if the gate lets it pass; the URI of the version."""
    with told(idle=(Refused,)):  # a training that does not better the model has not failed
        done = jobs.promote(
            SETTINGS, version, by=f"Airflow: churn_training {run_id}", accept_contract=params["accept_contract"]
        )
        return f"models:/{done.name}/{done.version}"


@pipeline(
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable(SETTINGS.training_schedule, timezone="UTC"), assets=[TRAINING_ROWS]
    ),
    description="Train the candidates on the contract's rows; the better one goes into service if the gate passes it",
    default_args={"retries": 2, "retry_delay": timedelta(seconds=20)},
    doc_md=__doc__,
    params={
        "rows": Param(None, type=["null", "string"], description="A file of rows; empty: the contract's own"),
        "candidates": Param(
            SETTINGS.candidates,
            type="array",
            items={"enum": SETTINGS.candidates},
            minItems=1,
            uniqueItems=True,
        ),
        "folds": Param(SETTINGS.folds, type="integer", minimum=2, maximum=50),
        "repeats": Param(SETTINGS.repeats, type="integer", minimum=1, maximum=100),
        "seconds": Param(
            SETTINGS.tuning_seconds, type="number", minimum=0, description="Budget of each candidate's search"
        ),
        "seed": Param(SETTINGS.seed, type="integer", minimum=0, maximum=2**32 - 1),
        "accept_contract": Param(
            False, type="boolean", description="Also promote a model that asks for other rows than the one in service"
        ),
    },
)
def churn_training() -> None:
    prepared = segment(prepare())  # type: ignore[call-arg]
    runs = train.partial(prepared=prepared).expand(candidate=SETTINGS.candidates)
    challenger = register(compare(runs), prepared)
    promote(judge(challenger, prepared, runs))  # type: ignore[call-arg]


churn_training()
