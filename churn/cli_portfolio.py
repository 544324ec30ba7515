"""The commands over the scored customer base: ``churn score-base`` and ``churn portfolio``."""

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click

from churn.cli_progress import follow, hush_mlflow

if TYPE_CHECKING:
    from churn.customer_scores import Portfolio
    from churn.settings import Settings


@click.command("score-base", short_help="Score every current customer into the store.")
@click.option("--key", metavar="NAME", help="Names the run: a second one of the same name does nothing.")
def score_base(key: str | None) -> None:
    """Score every current customer into the store, with the version in service.

    The customers are those of the file that the contract names (rows.customers, else rows.training);
    who has left is counted and not listed. The new scores are seen once all are there; until then, and
    if this ends before, the scoring before stays. The pipeline churn_scoring does the same by itself
    after each promotion, when the file changes, and daily.

    \b
    churn score-base
    """
    from churn import jobs, portfolio

    settings = _settings()
    key = key or f"command line {datetime.now(UTC):%Y-%m-%d %H:%M:%S} {uuid4().hex[:8]}"
    known = portfolio.find(settings, key)
    if known:
        click.echo(f"the run {key!r} is whole already, since {known.ended:%Y-%m-%d %H:%M} UTC: nothing is done")
        return
    hush_mlflow()
    began = time.monotonic()
    length = jobs.count_rows(portfolio.customers_file(settings))
    follow("Scoring", length, portfolio.score_base(settings, key))
    click.echo(f"{_told(portfolio.summary(settings)[0])}\nin {time.monotonic() - began:.1f} s")


@click.command("portfolio", short_help="What the scored customers add up to.")
@click.option("--runs", type=click.IntRange(1, 1_000), default=10, show_default=True, help="How many scorings back.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def portfolio_(runs: int, as_json: bool) -> None:
    """What the newest scoring of the customer base adds up to, and the scorings before it (UTC).

    \b
    churn portfolio
    churn portfolio --json
    """
    from churn import portfolio
    from churn.customer_scores import NOTHING_SCORED
    from churn.errors import NotReady

    found = portfolio.summary(_settings(), runs)
    if not found:
        raise NotReady(NOTHING_SCORED)
    if as_json:
        click.echo(json.dumps([_plain(one) for one in found], ensure_ascii=False, indent=2))
        return
    click.echo(_told(found[0]))
    if len(found) > 1:
        click.echo("\nbefore:")
    for one in found[1:]:
        sums = one.sums()
        click.echo(
            f"  {_when(one)}  {one.run.model} version {one.run.version}: {sums['customers']:,} customers, "
            f"{sums['expected_churners']:,.0f} expected to leave"
        )


def _told(one: "Portfolio") -> str:
    from churn.catalogue import BANDS

    run, total = one.run, one.sums()
    lines = [
        f"{_when(one)} UTC, {run.model} version {run.version}, of {run.source}",
        f"{total['customers']:,} customers, {run.left:,} more have left; {total['expected_churners']:,.0f} are "
        "expected to leave" + _money(one, total),
    ]
    for band in BANDS:
        sums = one.sums(risk=band)
        lines.append(f"  {band:<7} {sums['customers']:>10,} customers" + _money(one, sums))
    for name in filter(None, one.values("persona")):
        sums = one.sums(persona=name)
        lines.append(f"  {name}: {sums['customers']:,} customers" + _money(one, sums))
    return "\n".join([*lines, *(f"note: {note}" for note in run.facts["notes"])])


def _money(one: "Portfolio", sums: dict[str, float]) -> str:
    facts = one.run.facts
    if facts["monthly_value"] is None:
        return ""
    currency = f" {facts['currency']}" if facts["currency"] else ""
    return (
        f", {sums['monthly_value']:,.0f}{currency} a month, {sums['revenue_at_risk']:,.0f}{currency} at risk "
        f"in {facts['months']} months"
    )


def _when(one: "Portfolio") -> str:
    return f"{one.run.ended or one.run.started:%Y-%m-%d %H:%M}"


def _plain(one: "Portfolio") -> dict[str, Any]:
    run = one.run
    told = {"key": run.key, "model": run.model, "version": run.version, "source": run.source, "left": run.left}
    times = {"started": run.started.isoformat(), "ended": run.ended and run.ended.isoformat()}
    cells = [{name: value for name, value in cell.items() if name != "run_id"} for cell in one.cells]
    return {**told, **times, "facts": dict(run.facts), **one.sums(), "cells": cells}


def _settings() -> "Settings":
    from churn.settings import load

    return load()


COMMANDS = (score_base, portfolio_)
