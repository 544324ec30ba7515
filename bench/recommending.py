"""What to offer whom: `/recommend` beside an echo, and `churn recommend` over a million customers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from bench import champions
from bench.answers import CONNECTIONS, Answers, Asked, asked
from bench.batch import make_rows
from bench.load import Result
from bench.processes import Measured, ended, environment, measured
from bench.report import Bar, Section, at_least, at_most
from bench.subjects import ECHO, api_server
from churn.settings import Settings

Say = Callable[[str], None]
KIND = "lightgbm"
"""The kind that `churn train` chooses on the shipped data."""
RECOMMEND, BATCH = "`POST /recommend`, k = 3", "`churn recommend`"
K = 3
RATE, P99 = 0.25, 4.0
"""Of `/recommend` against the echo."""
SECONDS = 120.0
GROWTH, PEAK_GB = 1.1, 1.5
"""The peak at twice the rows against the peak at the rows: what counts as flat; and at most."""


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    rounds: int = 5
    seconds: float = 5.0
    """For each way, each round."""
    rows: int = 500_000
    many: int = 1_000_000


QUICK = Effort(1, 0.5, 20_000, 40_000)


def run(scratch: Path, effort: Effort, say: Say) -> Section:
    """Measure everything; the section of the report."""
    settings = champions.settings_for(scratch / KIND)
    say(f"recommending: a {KIND} and a recommender go into service")
    champions.put_into_service(KIND, settings)
    champions.put_recommender_into_service(settings)
    served = _served(settings, effort, say)
    batches = {}
    for rows in (effort.rows, effort.many):
        say(f"recommending: to {rows:,} customers")
        batches[rows] = _batch(settings, rows)
    return _section(served, batches, effort)


def _served(settings: Settings, effort: Effort, say: Say) -> dict[str, list[Result]]:
    """What was seen of the route and of the echo, in turn."""
    who = _whom_something_is_recommended(settings, asked(settings, settings.home))
    right = who.bodies(lambda customer: {"customer": customer, "k": K})
    with ended() as servers:
        server, address = api_server(settings, settings.home)
        servers.append(server)
        ways = {
            RECOMMEND: Answers(f"{address}/recommend", right, _before),
            ECHO: Answers(f"{address}/echo", right, None),
        }
        for answers in ways.values():
            answers.learn(server)
        seen: dict[str, list[Result]] = {way: [] for way in ways}
        for number in range(effort.rounds):
            say(f"recommending, round {number + 1} of {effort.rounds}")
            for way in ways if number % 2 == 0 else reversed(ways):
                ways[way].measure(seconds=effort.seconds / 5)  # warm
                seen[way].append(ways[way].measure(seconds=effort.seconds))
    return seen


def _before(reply: Any) -> float:
    return float(reply["recommendations"][0]["churn_probability"]["before"])


def _whom_something_is_recommended(settings: Settings, who: Asked) -> Asked:
    """Those of them whose reply has a probability to hold against the pipeline's."""
    from churn.advice import Advice
    from churn.control import in_control
    from churn.file_jobs import champion, champion_scorer
    from churn.kinds import RECOMMENDER

    advice = Advice(champion(settings, RECOMMENDER), champion_scorer(settings))
    contract = advice.contract
    kept = [
        place
        for place, one in enumerate(who.customers)
        if not in_control(contract, one.get(contract.id or "")) and advice.recommend(contract.read(one)[0]).items
    ]
    return replace(
        who,
        features=who.features.iloc[kept],
        customers=[who.customers[place] for place in kept],
        probabilities=[who.probabilities[place] for place in kept],
    )


def _batch(settings: Settings, rows: int) -> Measured:
    """`churn recommend` over so many customers."""
    source, target = settings.home / f"{rows}.parquet", settings.home / "out.parquet"
    make_rows(source, rows)
    found = measured(["churn", "recommend", str(source), "-o", str(target)], environment(settings.home), settings.home)
    if f"{rows:,} rows" not in found.said:
        raise RuntimeError(f"`churn recommend` did not tell of {rows:,} customers:\n{found.said}")
    source.unlink()
    return found


def _section(served: Mapping[str, list[Result]], batches: Mapping[int, Measured], effort: Effort) -> Section:
    text = (
        f"The route: medians of {effort.rounds} rounds in turn with an echo of the same bodies in the same gunicorn; "
        f"{CONNECTIONS} connections, each with one request under way, each with a customer's row and id; the "
        "probabilities after included, and each reply held against the pipeline's probability. Latencies in "
        "milliseconds. The batch: `churn recommend` as a whole process, once for each size, over the shipped customers "
        "resampled, Parquet to Parquet, without the probabilities after. Memory is the peak of the process in MB."
    )
    head = ("What", "Way", "requests or rows/s", "p50", "p99", "failed", "s", "peak MB")
    section = Section("What to offer", text, head)
    for way, results in served.items():
        failed = sum(result.failures for result in results)
        cells = (f"{_rate(results):,.0f}", *(f"{_percentile(results, q):.2f}" for q in (50, 99)), f"{failed:,}")
        section.rows.append(("one customer", way, *cells, "–", "–"))
    for rows, found in batches.items():
        cells = (f"{rows / found.seconds:,.0f}", "–", "–", "–", f"{found.seconds:.1f}", f"{found.peak / 1e6:.0f}")
        section.rows.append((f"{rows:,} customers", BATCH, *cells))
    section.bars = [*_served_bars(served), *_batch_bars(batches, effort)]
    return section


def _served_bars(served: Mapping[str, list[Result]]) -> list[Bar]:
    ours, echo = served[RECOMMEND], served[ECHO]
    failed, sent = (sum(getattr(result, name) for result in ours) for name in ("failures", "requests"))
    return [
        at_least("requests/s of `/recommend` against the echo", RATE, _rate(ours) / _rate(echo)),
        at_most("p99 of `/recommend` against the echo's", P99, _percentile(ours, 99) / _percentile(echo, 99)),
        Bar("failed requests to `/recommend`", "0", f"{failed:,} of {sent:,}", failed == 0),
    ]


def _batch_bars(batches: Mapping[int, Measured], effort: Effort) -> list[Bar]:
    few, many = batches[effort.rows], batches[effort.many]
    return [
        at_most(f"{effort.many:,} customers in batch", SECONDS, many.seconds, "s"),
        at_most("peak memory of the batch with twice the rows", GROWTH, many.peak / few.peak),
        at_most("peak memory of the batch", PEAK_GB, max(few.peak, many.peak) / 1e9, "GB"),
    ]


def _rate(results: list[Result]) -> float:
    return median(result.rate for result in results)


def _percentile(results: list[Result], percent: float) -> float:
    return median(result.percentile(percent) for result in results)
