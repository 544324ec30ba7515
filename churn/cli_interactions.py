"""The command over what customers did with recommendations: ``churn interactions``."""

from pathlib import Path

import click


@click.command(short_help="Tell what customers did with recommendations.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Check FILE, and keep nothing.")
def interactions(file: Path, dry_run: bool) -> None:
    """Tell what customers did with recommendations: the rows of FILE (CSV or Parquet).

    Its columns are customer_id (or the contract's id), item (a product's column or an offer's name),
    event (shown, clicked, accepted or refused), at (a day or a time, in UTC where it names no zone) or
    idempotency_key, and, if you like, version. All of FILE is checked before any of it is kept, so that
    nothing is kept of a file with a fault. The same row told twice is kept once: where the database fails
    halfway, tell FILE again.

    \b
    churn interactions answers-of-march.csv --dry-run
    churn interactions answers-of-march.csv
    """
    from churn import interaction_files
    from churn.audit import person
    from churn.contract import load as load_contract
    from churn.settings import load
    from churn.store import Store

    settings = load()
    contract = load_contract(settings.contract)
    store = Store(settings)
    try:
        done = interaction_files.keep(store, file, contract, by=person(), dry_run=dry_run)
    finally:
        store.close()
    said = f"{file}: {done.new:,} interactions are new, {done.known:,} were known"
    click.echo(said + (" (nothing is kept: --dry-run)" if dry_run else ""))


COMMANDS = (interactions,)
