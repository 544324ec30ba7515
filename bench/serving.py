"""One customer at a time: `/predict` beside an echo, `mlflow models serve` and the bare pipeline.

All servers are started first and stand still; in each round each has the machine for itself in
turn, and the order moves on by one from round to round.
"""

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench import champions
from bench.answers import CONNECTIONS
from bench.processes import ended, environment
from bench.report import Bar, Section, at_least, at_most
from bench.subjects import ECHO, PREDICT, SERVE, Subject, subjects
from churn.settings import Settings

Say = Callable[[str], None]
CHAMPION, LARGE_FOREST = "champion", champions.LARGE_FOREST
WANTED_REQUESTS = 100_000


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    rounds: int = 5
    requests: int = 20_000
    """To `/predict` of the champion, each round."""
    seconds: float = 5.0
    """For everything else, each round."""
    warm_up: float = 1.0
    training: Mapping[str, str] = field(default_factory=dict)
    """Settings of the training."""


QUICK = Effort(1, 500, 0.5, 0.1, {"CHURN_CANDIDATES": "logistic_regression", "CHURN_FOLDS": "2"})
Table = Mapping[str, list[Subject]]


def run(scratch: Path, effort: Effort, say: Say) -> Section:
    """Measure everything; the section of the report."""
    homes = {name: champions.settings_for(scratch / str(place)) for place, name in enumerate((CHAMPION, LARGE_FOREST))}
    say("training")
    kind = _train(homes[CHAMPION], effort)
    champions.put_into_service(LARGE_FOREST, homes[LARGE_FOREST])
    with ended() as servers:
        table: dict[str, list[Subject]] = {}
        for name, settings in homes.items():
            say(f"starting the servers of the {name}")
            table[name] = subjects(settings, settings.home, servers)
        for number in range(effort.rounds):
            say(f"serving, round {number + 1} of {effort.rounds}")
            _round(number, table, effort)
    return _section(table, effort, kind)


def _train(settings: Settings, effort: Effort) -> str:
    """`churn train` as anybody runs it; which candidate it chose."""
    from churn.registry import Registry

    settings.home.mkdir()
    env = environment(settings.home, **effort.training)
    done = subprocess.run(["churn", "train"], env=env, cwd=settings.home, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"churn train failed:\n{done.stderr[-3000:]}")
    return Registry(settings).champion().provenance["candidate"]


def _round(number: int, table: Table, effort: Effort) -> None:
    pairs = [(name, subject) for name, ways in table.items() for subject in ways]
    start = number % len(pairs)
    for name, subject in pairs[start:] + pairs[:start]:
        counted = name == CHAMPION and subject.way == PREDICT
        until = {"requests": effort.requests} if counted else {"seconds": effort.seconds}
        if subject.server is None:
            subject.seen.append(subject.measure(seconds=effort.seconds))
            continue
        subject.server.resume()
        subject.measure(seconds=effort.warm_up)
        subject.seen.append(subject.measure(**until))
        subject.memory.append(subject.server.memory())
        subject.server.pause()


def _section(table: Table, effort: Effort, kind: str) -> Section:
    text = (
        f"Medians of {effort.rounds} interleaved rounds; {CONNECTIONS} connections, each with one request under way; "
        f"all other servers stopped. The champion is what `churn train` chose, `{kind}`. Each reply is held against "
        "the pipeline's probability. Latencies in milliseconds, memory of all processes of a server in MB (PSS)."
    )
    section = Section(
        "One customer at a time", text,
        ("Model", "Way", "requests/s", "p50", "p95", "p99", "MB", "requests", "failed"),
    )  # fmt: skip
    section.rows = [_row(name, subject) for name, ways in table.items() for subject in ways]
    section.bars = _bars(table)
    return section


def _row(name: str, subject: Subject) -> tuple[str, ...]:
    spread = [f"{subject.percentile(percent):.2f}" for percent in (50, 95, 99)]
    memory = f"{median(subject.memory) / 1e6:.0f}"
    return name, subject.way, f"{subject.rate:,.0f}", *spread, memory, f"{subject.requests:,}", f"{subject.failures:,}"


def _bars(table: Table) -> list[Bar]:
    by_way = {name: {subject.way: subject for subject in ways} for name, ways in table.items()}
    bars = []
    for name, wanted in ((LARGE_FOREST, 100), (CHAMPION, 15)):
        ways = by_way[name]
        times = ways[PREDICT].rate / ways[SERVE].rate if ways[SERVE].rate else float("nan")
        bars.append(at_least(f"{name}: requests/s of `/predict` against `mlflow models serve`", wanted, times))
    for name, ways in by_way.items():
        predict, echo = ways[PREDICT], ways[ECHO]
        bars.append(at_least(f"{name}: requests/s of `/predict` against the echo", 0.4, predict.rate / echo.rate))
        bars.append(
            at_most(f"{name}: p99 of `/predict` against the echo's", 3, predict.percentile(99) / echo.percentile(99))
        )
    asked = sum(ways[PREDICT].requests for ways in by_way.values())
    failed = sum(ways[PREDICT].failures for ways in by_way.values())
    told = f"{failed:,} of {asked:,}"
    bars.append(
        Bar(
            f"failed requests to `/predict`, of {WANTED_REQUESTS:,}", "0", told, not failed and asked >= WANTED_REQUESTS
        )
    )
    return bars
