"""One customer's explanation: `POST /explain` by both methods beside ``shap.TreeExplainer`` called plainly."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from bench import champions, load
from bench.answers import TOLERANCE, Asked, asked
from bench.load import Result
from bench.processes import START_SECONDS, Server, ended, environment
from bench.report import Bar, Section, at_most
from bench.subjects import api_server
from churn.settings import Settings

Say = Callable[[str], None]
KINDS = ("lightgbm", "random_forest")
SHAP, LIME, PLAIN = "`POST /explain`, shap", "`POST /explain`, lime", "`shap.TreeExplainer`"
QUIET = 1.5
"""The load up to which the machine counts as quiet."""
SHIPPED = "lightgbm"
"""The kind that `churn train` chooses on the shipped data."""
WANTED = {SHAP: 25.0, LIME: 400.0}
"""Milliseconds at the median, of one caller, of that kind."""


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    rounds: int = 3
    seconds: float = 5.0
    """For each way, each round."""
    many: int = 400
    """Rows that are explained in one call."""


QUICK = Effort(1, 0.5, 50)


@dataclass
class Seen:
    """What was seen of one champion, by way."""

    ways: dict[str, list[Result]] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    many: list[dict[str, Any]] = field(default_factory=list)

    def percentile(self, way: str, percent: float) -> float:
        return median(result.percentile(percent) for result in self.ways[way])


def run(scratch: Path, effort: Effort, say: Say) -> Section:
    """Measure everything; the section of the report."""
    seen, busy = {}, os.getloadavg()[0]
    for kind in KINDS:
        say(f"explaining: a {kind} goes into service")
        settings = champions.settings_for(scratch / kind)
        champions.put_into_service(kind, settings)
        seen[kind] = _measure(asked(settings, settings.home), settings, effort, say)
    return _section(seen, effort, busy)


def _measure(who: Asked, settings: Settings, effort: Effort, say: Say) -> Seen:
    found = Seen()
    customers = settings.home / "customers.parquet"
    contract_rows = champions.shipped_rows(_contract(settings)).sample(effort.many, random_state=champions.SEED)
    contract_rows[list(who.features)].to_parquet(customers, index=False)
    with ended() as servers:
        server, address = api_server(settings, settings.home)
        servers.append(server)
        bodies = {way: who.bodies(partial(_body, way.split()[-1])) for way in (SHAP, LIME)}
        for number in range(effort.rounds):
            say(f"explaining, round {number + 1} of {effort.rounds}")
            for way, right in bodies.items():
                _learn(f"{address}/explain", right, server)
                seen = load.run(f"{address}/explain", list(right), connections=1, seconds=effort.seconds)
                found.ways.setdefault(way, []).append(seen)
                found.memory[way] = server.memory()
            server.pause()
            _plain(who.folder, customers, settings.home, effort, found)
            server.resume()
    return found


def _body(method: str, customer: dict[str, Any]) -> dict[str, Any]:
    return {"customer": customer, "method": method}


def _contract(settings: Settings) -> Any:
    from churn import contract as contracts

    return contracts.load(settings.contract)


def _learn(url: str, right: dict[bytes, float], server: Server) -> None:
    """Ask for each customer once: the reply must add up to, and tell, the pipeline's probability."""
    until = time.monotonic() + START_SECONDS
    while True:
        server.check()
        seen = load.run(url, list(right), connections=1, requests=len(right), check=lambda b, r: _fault(right[b], r))
        if not seen.failures:
            return
        if seen.wrong or time.monotonic() > until:
            raise RuntimeError(f"{server.name}: {seen}; {dict(seen.statuses)}, {seen.complaints}\n{server.log()}")
        time.sleep(0.2)


def _fault(wanted: float, received: bytes) -> str | None:
    told = json.loads(received)
    total = told["base_value"] + sum(one["contribution"] for one in told["contributions"])
    if abs(total - told["output_value"]) > TOLERANCE:
        return "its contributions do not add up"
    return None if abs(told["churn_probability"] - wanted) <= TOLERANCE else "another probability than the pipeline's"


def _plain(folder: Path, customers: Path, scratch: Path, effort: Effort, found: Seen) -> None:
    command = [sys.executable, "-m", "bench.plain_shap", str(folder), str(customers), str(effort.seconds)]
    done = subprocess.run(command, env=environment(scratch), cwd=scratch, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"shap failed:\n{done.stderr[-3000:]}")
    told = json.loads(done.stdout)
    latencies = told["latencies"]
    took = sum(latencies) / 1000
    found.ways.setdefault(PLAIN, []).append(Result(took, latencies, Counter({200: len(latencies)})))
    found.memory[PLAIN] = told["memory"]
    found.many.append(told)


def _section(seen: dict[str, Seen], effort: Effort, busy: float) -> Section:
    text = (
        f"One caller; medians of {effort.rounds} rounds. `/explain` is asked over HTTP, reads and checks the customer, "
        "and answers by either method with the agreement of both, so that each reply costs one of each. "
        "`shap.TreeExplainer` is made once in a process of its own and is called with a frame of one row, "
        f"preprocessed, without HTTP. `many` is one call for {effort.many} rows in a process, in rows/s: ours by "
        "`Scorer.explain`. Latencies in milliseconds, memory of all processes of a server, or of SHAP's process, in MB "
        "(PSS)."
    )
    if busy > QUIET:
        text += f" Measured beside other work (a load of {busy:.1f}): the latencies are no better than upper bounds."
    section = Section("Explaining a customer", text, ("Champion", "Way", "p50", "p95", "p99", "MB", "many", "requests"))
    section.rows = [row for kind, found in seen.items() for row in _rows(kind, found)]
    section.bars = list(_bars(seen))
    return section


def _rows(kind: str, found: Seen) -> Iterator[tuple[str, ...]]:
    for way, results in found.ways.items():
        spread = [f"{found.percentile(way, percent):.2f}" for percent in (50, 95, 99)]
        many = {SHAP: "ours", PLAIN: "shap"}.get(way)
        rate = f"{median(one[many] for one in found.many):,.0f}" if many else ""
        requests = f"{sum(result.requests for result in results):,}"
        yield kind, way, *spread, f"{found.memory[way] / 1e6:.0f}", rate, requests


def _bars(seen: dict[str, Seen]) -> Iterator[Bar]:
    for kind, found in seen.items():
        for way, wanted in WANTED.items() if kind == SHIPPED else ():
            yield at_most(f"{kind}: p50 of {way}", wanted, found.percentile(way, 50), "ms")
        off = max(one["off"] for one in found.many)
        yield Bar(f"{kind}: largest difference from SHAP's own values", "at most 1e-06", f"{off:.1e}", off <= TOLERANCE)
    failed = sum(result.failures for found in seen.values() for results in found.ways.values() for result in results)
    yield Bar("failed requests to `/explain`", "0", str(failed), not failed)
