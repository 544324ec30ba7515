"""The command ``churn``. Heavy libraries are imported by the commands that use them."""

import logging
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from churn import __version__, cli_campaigns, cli_interactions, cli_outcomes, cli_portfolio, cli_recommend, cli_store
from churn.cli_progress import follow, hush_mlflow, progress
from churn.errors import ChurnError, InvalidData
from churn.kinds import CLASSIFIER, KINDS, Loaded, kind_of

if TYPE_CHECKING:
    from churn.promoter import Promoter
    from churn.registry import Registry


class Commands(click.Group):
    """Turns the platform's own errors into one message and exit code 1, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except InvalidData as error:
            raise SystemExit(_say(error.report())) from error
        except ChurnError as error:
            raise SystemExit(_say(str(error))) from error


def _say(message: str) -> int:
    click.echo(f"churn: {message}", err=True)
    return 1


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
A walk through all of it:
  churn validate data/telco/customers.csv       does every cell fit the contract?
  churn train                                   compare the candidates, put the better into service
  churn score data/telco/customers.csv -o scored.csv
  churn history                                 which version was in service when, and why
  churn doctor                                  is this machine ready, does everything answer?

\b
With data of your own:
  churn init customers.csv --target left --id customer_id --out data/mine
  export CHURN_CONTRACT=data/mine/contract.yaml

Settings come from the environment or a .env file; .env.example lists them.""",
)
@click.version_option(__version__)
def main() -> None:
    """Who is about to leave, and why: train, register and use churn models."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")


for part in (cli_store, cli_campaigns, cli_outcomes, cli_interactions, cli_portfolio, cli_recommend):
    for command in part.COMMANDS:
        main.add_command(command)


@main.command(short_help="Draft a contract by looking at a file.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--target", required=True, metavar="COLUMN", help="The column that says who left.")
@click.option("--id", "id_column", metavar="COLUMN", help="The column that identifies a customer.")
@click.option("--positive", metavar="VALUE", help="The target's value that means: has left.")
@click.option("--ignore", multiple=True, metavar="COLUMN", help="Leave a column out; may be repeated.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The new data set's folder.")
def init(
    file: Path, target: str, id_column: str | None, positive: str | None, ignore: tuple[str, ...], out: Path
) -> None:
    """Draft a contract by looking at FILE (CSV or Parquet).

    The draft says what each column seems to be: type, allowed values, range, blanks. Read it
    through: the ranges are guesses, and only you know what a company can act on.

    \b
    churn init customers.csv --target Churn --id customerID --out data/mine
    """
    notes: list[str] = []
    with progress("Looking", 100) as advance:
        from churn.drafting import draft  # the import is most of the wait

        contract = draft(
            file,
            target=target,
            id_column=id_column,
            positive=positive,
            ignore=ignore,
            out=out,
            note=notes.append,
            advance=advance,
        )
    for remark in notes:
        click.echo(f"note: {remark}", err=True)
    path = out / "contract.yaml"
    click.echo(f"{path}: {len(contract.features)} features, target {contract.target.column!r}")
    rows = shlex.quote(str(out / contract.rows.training))
    click.echo(f"Read it through, then: export CHURN_CONTRACT={shlex.quote(str(path))} && churn validate {rows}")


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
def validate(file: Path) -> None:
    """Hold every cell of FILE (CSV or Parquet) against the contract.

    Each fault is told with its row (as a spreadsheet counts: the header is row 1), column,
    value, and what was expected; the first 100 in full. Exit code 1 if there are any.
    """
    from churn import jobs
    from churn.settings import load

    settings = load()
    done = follow("Validating", jobs.count_rows(file), jobs.validate_file(settings, file))
    click.echo(f"{file}: all {done:,} rows fit the contract {settings.contract}")


@main.command(short_help="Compare the candidates; the better one goes into service past the gate.")
@click.option("--rows", type=click.Path(path_type=Path), help="Train on this file, not the contract's.")
@click.option("--accept-contract", is_flag=True, help="Also if it asks for other rows than the one in service.")
def train(rows: Path | None, accept_contract: bool) -> None:
    """Compare the candidates by repeated cross-validation, and register the better one.

    It goes into service if it is no worse than the one there, on customers that neither was trained
    on. Runs, models and metrics go to the MLflow server in MLFLOW_TRACKING_URI, or, when that is
    unset, to the SQLite registry in CHURN_HOME.
    """
    from churn import jobs
    from churn.evaluation import HEADLINES
    from churn.settings import load

    settings = load()
    hush_mlflow()
    with progress("Training", jobs.steps(settings)) as advance:
        version = jobs.train(settings, rows, advance, accept_contract=accept_contract)
    click.echo(f"{version.name} version {version.version} is in service: {version.provenance['candidate']}")
    for name in HEADLINES:
        low, high = (version.metrics.get(f"{name}_{end}", float("nan")) for end in ("low", "high"))
        click.echo(f"  {name:<15} {version.metrics[name]:.4f} (95 % interval {low:.4f} to {high:.4f})")


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="A .csv or .parquet file.")
def score(file: Path, output: Path) -> None:
    """Score FILE (CSV or Parquet) with the champion.

    The output carries every column of FILE, in order, and adds churn_probability, prediction
    (0 or 1) and risk (high, medium, low). It appears whole or not at all.
    """
    from churn import jobs
    from churn.settings import load

    settings = load()
    hush_mlflow()
    scored = jobs.score_file(settings, file, output)  # the champion is loaded by now
    began = time.monotonic()
    done = follow("Scoring", jobs.count_rows(file), scored)
    click.echo(f"{output}: {done:,} rows scored in {time.monotonic() - began:.1f} s")


_of_model = click.option(
    "--model",
    type=click.Choice([kind.name for kind in KINDS]),
    default=CLASSIFIER.name,
    show_default=True,
    help="Which of the registered models.",
)


@main.command(short_help="Put a version into service.")
@click.argument("version")
@_of_model
@click.option("--reason", default="", metavar="TEXT", help="Goes into the history.")
@click.option("--despite-gate", default="", metavar="REASON", help="Overrule the gate; REASON goes into the history.")
@click.option("--accept-contract", is_flag=True, help="Also if it asks for other rows than the one in service.")
def promote(version: str, model: str, reason: str, despite_gate: str, accept_contract: bool) -> None:
    """Put VERSION, the number of a registered version, into service.

    Refused are a version that the gate has refused or not judged against the one in service, one
    that asks for other rows, and one that does not load. What has been in service before needs
    no new verdict.

    \b
    churn promote 3
    churn promote 4 --despite-gate "the new tariff is in none of the older rows"
    churn promote 2 --model offer-recommender
    """
    done, changed = _promoter(model).promote(
        version, reason=reason, despite_gate=despite_gate, accept_contract=accept_contract
    )
    already = "" if changed else " already: nothing has changed"
    click.echo(f"{done.name} version {done.version} is in service{already}")


@main.command(short_help="Go back to the version before.")
@_of_model
@click.option("--reason", default="", metavar="TEXT", help="Goes into the history.")
def rollback(model: str, reason: str) -> None:
    """Put the version back into service that the present one has replaced.

    After versions 1, 2 and 3 this goes back to 2, and the next time to 1.

    \b
    churn rollback --reason "version 3 scores every new customer high"
    """
    done, _ = _promoter(model).rollback(reason=reason)
    click.echo(f"{done.name} version {done.version} is in service again")


@main.command(short_help="Which version was in service when, and who changed it.")
@_of_model
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def history(model: str, as_json: bool) -> None:
    """Which version was in service from when to when (UTC), and who or what changed it.

    Below that, the versions that the gate has refused, with its reasons.

    \b
    churn history
    churn history --json
    """
    from churn import logbook

    registry = _registry(model)
    terms, versions = registry.history(), registry.versions()
    click.echo(logbook.as_json(terms, versions) if as_json else logbook.as_text(terms, versions))


def _registry(model: str) -> "Registry[Loaded]":
    from churn.settings import load

    hush_mlflow()
    from churn.registry import Registry

    return Registry(load(), patient=False, kind=kind_of(model))


def _promoter(model: str) -> "Promoter":
    registry = _registry(model)
    from churn import audit
    from churn.promoter import Promoter
    from churn.settings import load

    return Promoter(registry, audit.writer(load()), by=audit.person(), source="command line")


@main.command(short_help="Look at this machine and at the services.")
def doctor() -> None:
    """Look at this machine and at the services: what is ready, what is not, and how to mend it.

    Exit code 1 if something that the command line needs is broken. Services that do not run are
    told, and are no fault.
    """
    from churn.doctor import examine

    broken = False
    for finding in examine():
        mark, colour = {"ok": ("✓", "green"), "off": ("–", "yellow"), "broken": ("✗", "red")}[finding.state]
        click.echo(f"{click.style(mark, fg=colour)} {finding.subject:<10} {finding.detail}")
        broken = broken or finding.state == "broken"
    if broken:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
