"""The commands over what became of customers: ``churn outcomes``, ``churn monitor``."""

import json
import os
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import click

if TYPE_CHECKING:
    from churn.outcomes import Recorded


@click.command(short_help="Tell who left and who stayed.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Check FILE, and keep nothing.")
def outcomes(file: Path, dry_run: bool) -> None:
    """Tell who left and who stayed: the rows of FILE (CSV or Parquet), all or none.

    Its columns are customer_id (or the contract's id), churned (true or false; or the contract's target,
    with its values) and, if you like, at: a day or a time, in UTC where it names no zone; blank is now.
    Each outcome is joined with the customer as he was scored last before it, judges the version that
    scored him, and joins the next training. The same file told twice is kept once.

    \b
    churn outcomes left-in-march.csv --dry-run
    churn outcomes left-in-march.csv
    """
    from churn import outcome_files
    from churn import outcomes as kept
    from churn.audit import person
    from churn.contract import load as load_contract
    from churn.settings import load
    from churn.store import Store

    settings = load()
    contract = load_contract(settings.contract)
    store = Store(settings)
    try:
        pieces = outcome_files.read(file, contract)
        done = kept.record(store, pieces, contract, by=person(), source=str(file), dry_run=dry_run)
    finally:
        store.close()
    click.echo(f"{file}: {_told(done)}" + (" (nothing is kept: --dry-run)" if dry_run else ""))


def _told(done: "Recorded") -> str:
    told = f"{done.new:,} outcomes are new, {done.known:,} were known"
    return told + (f"; {done.unscored:,} of customers who were not scored before it" if done.unscored else "")


@click.command(short_help="Look for drift, and at what became of customers.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, all figures in it.")
def monitor(as_json: bool) -> None:
    """Hold the current customers, and the scores, against the rows that the version in service was
    trained on; and its scores against what became of customers.

    What is seen is kept, with a page in MLflow. Where it calls for a training this says so and starts
    none: `churn train` does, and in Airflow the DAG `churn_monitoring`.

    \b
    churn monitor
    churn monitor --json
    """
    # as `churn train` does
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from churn import monitoring
    from churn.settings import load

    settings = load()
    found = monitoring.look(settings, f"command-line-{uuid4().hex[:8]}", starts=False)
    if as_json:
        click.echo(json.dumps(asdict(found), default=datetime.isoformat, ensure_ascii=False, indent=2))
        return
    click.echo(
        f"version {found.version}: {'a training is called for' if found.retrain else 'no training is called for'}"
    )
    click.echo(found.reason)
    click.echo(f"the page: {settings.mlflow_public_url.rstrip('/')}{found.report}")


COMMANDS = (outcomes, monitor)
