"""The command over campaigns: ``churn plan``."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from churn.campaigns import Plan
    from churn.contract import Contract

SHOWN = 10
_BANDS = ("high", "medium", "low")  # those of churn.catalogue, whose import would make `churn --help` slow
_CHUNK = 50_000
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@click.command(short_help="Under a budget, whom to contact with what.")
@click.option("--budget", type=float, required=True, metavar="AMOUNT", help="What may be spent, if everybody accepts.")
@click.option("--offer", "offers", multiple=True, metavar="NAME", help="Only this offer; may be repeated.")
@click.option("--risk", "bands", multiple=True, type=click.Choice(_BANDS), help="Only this band; may be repeated.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the whole list: a .csv or .parquet file.")
def plan(budget: float, offers: tuple[str, ...], bands: tuple[str, ...], out: Path | None) -> None:
    """The list of customers with the highest expected profit that costs no more than the budget.

    Each customer gets at most one offer, of those that the contract has for his band of risk and that he
    is eligible for. The customers are those of the newest scoring of the base (`churn score-base`). In a
    CSV file a text that a spreadsheet would take for a formula has an apostrophe before it.

    \b
    churn plan --budget 5000
    churn plan --budget 5000 --offer loyalty_gift --risk high --out plan.csv
    """
    from churn import campaigns
    from churn.campaign_base import CampaignBase
    from churn.catalogue import BANDS
    from churn.file_jobs import champion_scorer
    from churn.settings import load
    from churn.store import Store

    settings = load()
    base = CampaignBase(Store(settings))
    run = base.newest()
    contract = champion_scorer(settings).contract
    wanted = campaigns.Offers(contract, offers or None)
    chosen = [band for band in BANDS if band in bands] if bands else None
    found = campaigns.plan(base.candidates(run, wanted, chosen), wanted, budget)
    if out:
        _write(out, found, contract)
    scored = run.ended or run.started
    for line in _told(found, contract.currency):
        click.echo(line)
    click.echo(f"scored {scored:%Y-%m-%d %H:%M} UTC by {run.model} version {run.version}")
    if out:
        click.echo(f"{out}: {len(found.order):,} customers")


def _told(found: "Plan", currency: str) -> Iterator[str]:
    """The plan as a person reads it."""
    summary = found.summary
    baseline = summary["baseline"]
    yield (
        f"{summary['customers']:,} customers for {_money(summary['spent'])} {currency}".rstrip()
        + f" of {_money(found.budget)}: expected profit {_money(summary['expected_profit'])}, "
        + f"about {summary['expected_churners_kept']:.0f} churners kept"
    )
    if summary["note"]:
        yield f"nobody: {summary['note']}"
        return
    yield f"{baseline['how']}: {_money(baseline['expected_profit'])}"
    best = baseline["best"]
    if best["how"] != baseline["how"]:
        yield f"{best['how']}: {_money(best['expected_profit'])}"
    if not summary["exact"]:
        yield f"no plan is worth more than {_money(summary['upper_bound'])}"
    yield ""
    lines = [[one["offer"], *_figures(one)] for one in summary["by_offer"]]
    yield from _table(["offer", "customers", "spent", "expected profit"], lines)
    yield ""
    first = [
        [
            row["customer_id"],
            row["offer"],
            f"{row['churn_probability']:.3f}",
            row["risk"],
            _money(row["expected_profit"]),
        ]
        for row in found.rows(SHOWN)
    ]
    yield from _table(["customer", "offer", "probability", "risk", "expected profit"], first)
    if len(found.order) > SHOWN:
        yield f"… and {len(found.order) - SHOWN:,} more; --out FILE writes all of them"


def _figures(one: Mapping[str, Any]) -> list[str]:
    return [f"{one['customers']:,}", _money(one["spent"]), _money(one["expected_profit"])]


def _money(amount: float) -> str:
    return f"{amount:,.2f}".removesuffix(".00")


def _write(out: Path, found: "Plan", contract: "Contract") -> None:
    """The whole list, whole or not at all."""
    import pyarrow as arrow

    from churn.tables import writer

    texts = ("customer_id", "offer", "label", "risk")
    types = arrow.schema(
        [
            (name, arrow.string() if name in texts else arrow.float64())
            for name in ("customer_id", "offer", "label", "cost", "churn_probability", "risk", "expected_profit")
        ]
        + [("revenue_at_risk", arrow.float64())]
    )
    rows = found.rows()
    with writer(out, contract.rows.format) as write:
        while True:
            piece = list(islice(rows, _CHUNK))
            if out.suffix.lower() == ".csv":
                piece = [_harmless(row, texts) for row in piece]
            write(arrow.Table.from_pylist(piece, schema=types), types)
            if len(piece) < _CHUNK:
                break


def _harmless(row: dict[str, Any], texts: Sequence[str]) -> dict[str, Any]:
    """The row with no text that a spreadsheet would run: such a one gets an apostrophe, a number stays."""
    return row | {
        name: f"'{row[name]}" for name in texts if row[name].startswith(_FORMULA) and not _is_number(row[name])
    }


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _table(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    """Columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for line in [head, *rows]:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()


COMMANDS = (plan,)
