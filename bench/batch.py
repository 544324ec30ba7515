"""A million customers: `churn score` beside reading, `predict_proba` and writing with pandas."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench import champions
from bench.processes import Measured, environment, measured
from bench.report import Bar, Section, at_least, at_most
from churn.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

Say = Callable[[str], None]
WANTED = {"logistic_regression": 3.0, "lightgbm": 1.2, "random_forest": 1.0}
"""How many times as fast as pandas, by champion."""
PEAK_GB = 1.5
GROWTH = 1.2
"""The peak at five times the rows against the peak at the rows: what counts as flat."""
GROUP = 100_000
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    rounds: int = 3
    rows: int = 1_000_000
    many: int = 5_000_000
    """Rows of the file that memory must not grow with."""


QUICK = Effort(1, 20_000, 100_000)


@dataclass
class Ways:
    """What was seen of one champion."""

    ours: list[Measured] = field(default_factory=list)
    pandas: list[Measured] = field(default_factory=list)
    many: list[Measured] = field(default_factory=list)
    """Ours, on the larger file."""


def run(scratch: Path, effort: Effort, say: Say) -> Section:
    """Measure everything; the section of the report."""
    settings = {kind: champions.settings_for(scratch / kind) for kind in WANTED}
    folders = {}
    for kind, home in settings.items():
        say(f"batch: a {kind} goes into service")
        champions.put_into_service(kind, home)
        folders[kind] = champions.champion_folder(home, home.home / "artefacts")
    say("batch: making the rows")
    rows = make_rows(scratch / "rows.parquet", effort.rows)
    many = make_rows(scratch / "many.parquet", effort.many)
    seen = {kind: Ways() for kind in WANTED}
    for number in range(effort.rounds):
        for kind, ways in seen.items():
            say(f"batch, round {number + 1} of {effort.rounds}: {kind}")
            _round(number, ways, settings[kind], folders[kind], rows)
            if number == 0:
                _compare(*_targets(settings[kind]))
    for kind, ways in seen.items():
        say(f"batch, {effort.many:,} rows: {kind}")
        ways.many.append(_ours(settings[kind], many))
    return _section(seen, effort)


def make_rows(target: Path, rows: int) -> Path:
    """The shipped customers, drawn again and again with ids of their own, as Parquet."""
    from pyarrow import parquet

    pieces = _pieces(rows)
    first = next(pieces)
    with parquet.ParquetWriter(target, first.schema) as writer:
        writer.write_table(first)
        for piece in pieces:
            writer.write_table(piece)
    return target


def _pieces(rows: int) -> "Iterator[pa.Table]":
    import numpy as np
    import pyarrow as pa

    from churn import contract as contracts

    contract = contracts.load(champions.settings_for(Path()).contract)
    shipped = pa.Table.from_pandas(champions.shipped_rows(contract)[list(contract.features)], preserve_index=False)
    draw = np.random.default_rng(champions.SEED)
    for start in range(0, rows, GROUP):
        count = min(GROUP, rows - start)
        piece = shipped.take(pa.array(draw.integers(len(shipped), size=count)))
        if contract.id:
            piece = piece.add_column(0, contract.id, pa.array([f"B{start + place:09d}" for place in range(count)]))
        yield piece


def _targets(settings: Settings) -> tuple[Path, Path]:
    return settings.home / "ours.parquet", settings.home / "pandas.parquet"


def _round(number: int, ways: Ways, settings: Settings, folder: Path, rows: Path) -> None:
    """Each side once; which of them comes first alternates."""
    sides: list[Callable[[], None]] = [
        lambda: ways.ours.append(_ours(settings, rows)),
        lambda: ways.pandas.append(_pandas(settings, folder, rows)),
    ]
    for side in sides if number % 2 == 0 else reversed(sides):
        side()


def _ours(settings: Settings, rows: Path) -> Measured:
    command = ["churn", "score", str(rows), "--output", str(_targets(settings)[0])]
    return measured(command, environment(settings.home), settings.home)


def _pandas(settings: Settings, folder: Path, rows: Path) -> Measured:
    command = [sys.executable, "-m", "bench.with_pandas", str(folder), str(rows), str(_targets(settings)[1])]
    return measured(command, environment(settings.home), settings.home)


def _compare(ours: Path, pandas: Path) -> None:
    """RuntimeError where the two sides wrote different scores: then their times say nothing."""
    import numpy as np
    from pyarrow import parquet

    from churn.scoring import ADDED_COLUMNS

    score, decided, risk = ADDED_COLUMNS
    one, other = (parquet.read_table(path, columns=list(ADDED_COLUMNS)) for path in (ours, pandas))
    if len(one) != len(other):
        raise RuntimeError(f"`churn score` wrote {len(one):,} rows, pandas {len(other):,}")
    off = float(np.abs(one[score].to_numpy() - other[score].to_numpy()).max())
    # a score at a threshold may fall on either side by its last bits
    differ = sum(int((one[name].to_numpy() != other[name].to_numpy()).sum()) for name in (decided, risk))
    if not off <= TOLERANCE or differ > len(one) / 1_000:
        raise RuntimeError(f"`churn score` and pandas differ: by {off:g}, and in {differ:,} decisions")


def _section(seen: dict[str, Ways], effort: Effort) -> Section:
    text = (
        f"Whole processes: medians of {effort.rounds} interleaved rounds over {effort.rows:,} rows of Parquet, the "
        f"shipped customers resampled; once over {effort.many:,}. `churn score` checks every cell and id; the other "
        "side reads 50,000 rows at a time, calls `predict_proba` of the same version's pipeline and writes, without "
        "a check. Both wrote the same scores. `work` is reading, scoring and writing; `whole` is the process from "
        "start to end, importing and loading included; the bars hold for both. `churn score` finds the champion's "
        "copy on this machine, but for the first time. Memory is the peak of the process in MB."
    )
    section = Section(
        "A million customers", text, ("Champion", "Way", "rows", "work s", "rows/s", "whole s", "peak MB")
    )
    for kind, ways in seen.items():
        section.rows += [
            _row(kind, "`churn score`", effort.rows, ways.ours),
            _row(kind, "pandas and the pipeline", effort.rows, ways.pandas),
            _row(kind, "`churn score`", effort.many, ways.many),
        ]
        section.bars += _bars(kind, ways)
    return section


def _row(kind: str, way: str, rows: int, runs: list[Measured]) -> tuple[str, ...]:
    work, whole = _work(runs), _whole(runs)
    return kind, way, f"{rows:,}", f"{work:.1f}", f"{rows / work:,.0f}", f"{whole:.1f}", f"{_peak(runs) / 1e6:.0f}"


def _bars(kind: str, ways: Ways) -> Iterator[Bar]:
    work, whole = _work(ways.pandas) / _work(ways.ours), _whole(ways.pandas) / _whole(ways.ours)
    yield at_least(f"{kind}: speed of `churn score` against pandas, the work", WANTED[kind], work)
    yield at_least(f"{kind}: speed of `churn score` against pandas, the whole process", WANTED[kind], whole)
    yield at_most(f"{kind}: peak memory of `churn score`", PEAK_GB, max(_peak(ways.ours), _peak(ways.many)) / 1e9, "GB")
    yield at_most(f"{kind}: peak memory with five times the rows", GROWTH, _peak(ways.many) / _peak(ways.ours))


def _work(runs: list[Measured]) -> float:
    """Seconds between the model's being loaded and the end, as each side says."""
    return median(float(run.said.rsplit("scored in ", 1)[1].split()[0]) for run in runs)


def _whole(runs: list[Measured]) -> float:
    return median(run.seconds for run in runs)


def _peak(runs: list[Measured]) -> int:
    return max(run.peak for run in runs)
