"""The customer base scored into the store: that it streams, and how fast."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import champions
from bench.batch import make_rows
from bench.processes import Measured, environment, measured
from bench.report import Section, at_most
from churn.settings import ROOT, Settings

Say = Callable[[str], None]
KIND = "lightgbm"
"""The kind that `churn train` chooses on the shipped data."""
GROWTH = 1.1
"""The peak at twice the rows against the peak at the rows: what counts as flat."""
PEAK_GB = 1.5


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    rows: int = 500_000
    many: int = 1_000_000


QUICK = Effort(20_000, 40_000)


def run(scratch: Path, effort: Effort, say: Say) -> Section:
    """Measure everything; the section of the report."""
    settings = champions.settings_for(scratch / KIND)
    say(f"base: a {KIND} and a recommender go into service")
    champions.put_into_service(KIND, settings)
    champions.put_recommender_into_service(settings)
    seen = {}
    for rows in (effort.rows, effort.many):
        say(f"base: {rows:,} customers into the store")
        seen[rows] = _scored(settings, rows, scratch / f"of-{rows}")
    return _section(seen, effort)


def _scored(settings: Settings, rows: int, folder: Path) -> Measured:
    """`churn score-base` over so many customers, into a store that holds nothing yet."""
    shutil.copytree(ROOT / "data/telco", folder)
    contract = folder / "contract.yaml"
    text = contract.read_text(encoding="utf-8")
    contract.write_text(text.replace("rows:\n", "rows:\n  customers: base.parquet\n", 1), encoding="utf-8")
    make_rows(folder / "base.parquet", rows)
    store = folder / "churn.db"
    env = environment(settings.home, CHURN_CONTRACT=str(contract), CHURN_DATABASE_URL=f"sqlite:///{store}")
    found = measured(["churn", "score-base"], env, settings.home)
    if f"{rows:,}" not in found.said:
        raise RuntimeError(f"`churn score-base` did not tell of {rows:,} customers:\n{found.said}")
    shutil.rmtree(folder)
    return found


def _section(seen: dict[int, Measured], effort: Effort) -> Section:
    text = (
        "`churn score-base` as a whole process, once for each size: the shipped customers resampled, as Parquet, into "
        "an empty SQLite store, each with probability, band, value, the three strongest reasons and the three best "
        "recommendations. Memory is the peak of the process in MB."
    )
    section = Section("A million customers into the store", text, ("Champion", "Way", "rows", "s", "rows/s", "peak MB"))
    for rows, found in seen.items():
        rate = f"{rows / found.seconds:,.0f}"
        cells = (f"{rows:,}", f"{found.seconds:.0f}", rate, f"{found.peak / 1e6:.0f}")
        section.rows.append((KIND, "`churn score-base`", *cells))
    few, many = seen[effort.rows].peak, seen[effort.many].peak
    section.bars = [
        at_most("peak memory with twice the rows", GROWTH, many / few),
        at_most("peak memory", PEAK_GB, max(few, many) / 1e9, "GB"),
    ]
    return section
