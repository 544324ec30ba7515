"""The ways to a score, one customer at a time, for one version in service."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.answers import Answers, Asked, asked
from bench.load import Result
from bench.processes import Server, environment, free_port
from churn.settings import ROOT, Settings

PREDICT = "`POST /predict`"
ECHO = "a route that echoes, in the same gunicorn"
SERVE = "`mlflow models serve`"
SERVE_TWO = "`mlflow models serve --workers 2`"
BARE = "`pipeline.predict_proba`, one caller"


@dataclass
class Subject:
    """One way to a score, and what was seen of it in each round."""

    way: str
    measure: Callable[..., Result]
    """For so many ``seconds``, or so many ``requests``."""
    server: Server | None = None
    seen: list[Result] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    """Bytes at the end of each round."""

    @property
    def rate(self) -> float:
        """Requests per second, the median of the rounds."""
        return median(result.rate for result in self.seen)

    def percentile(self, percent: float) -> float:
        """Milliseconds, the median of the rounds."""
        return median(result.percentile(percent) for result in self.seen)

    @property
    def requests(self) -> int:
        return sum(result.requests for result in self.seen)

    @property
    def failures(self) -> int:
        return sum(result.failures for result in self.seen)


def subjects(settings: Settings, scratch: Path, servers: list[Server]) -> list[Subject]:
    """Every way to a score of the version in service.

    Args:
        servers: takes what is started; each has answered for every customer, and is paused.
    """
    who = asked(settings, scratch)
    api, address = api_server(settings, scratch)
    servers.append(api)
    flat = who.bodies(lambda customer: customer)
    found = [
        _served(PREDICT, api, Answers(f"{address}/predict", flat, lambda reply: float(reply["churn_probability"]))),
        _served(ECHO, api, Answers(f"{address}/echo", flat, None)),
    ]
    api.pause()
    names = [str(name) for name in who.features]
    records = who.bodies(lambda customer: {"dataframe_records": [{name: customer[name] for name in names}]})
    for way, more in ((SERVE, ()), (SERVE_TWO, ("--workers", "2"))):
        server, address = _mlflow(settings, scratch, *more)
        servers.append(server)
        answers = Answers(f"{address}/invocations", records, lambda reply: float(reply["predictions"][0][1]))
        found.append(_served(way, server, answers))
        server.pause()
    return [*found, _bare(who, scratch)]


def _served(way: str, server: Server, answers: Answers) -> Subject:
    answers.learn(server)
    return Subject(way, answers.measure, server)


def api_server(settings: Settings, scratch: Path) -> tuple[Server, str]:
    """The API as it is run, with the echo beside it."""
    port = free_port()
    command = ["gunicorn", "--config", str(ROOT / "api/gunicorn_conf.py"), "bench.echo:create_app()"]
    env = environment(settings.home, CHURN_API_PORT=str(port), CHURN_BIND="127.0.0.1")
    return Server(command, env, scratch, "api"), f"http://127.0.0.1:{port}"


def _mlflow(settings: Settings, scratch: Path, *more: str) -> tuple[Server, str]:
    from churn.registry import CHAMPION, CLASSIFIER

    port = free_port()
    command = ["mlflow", "models", "serve", "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--model-uri", f"models:/{CLASSIFIER}@{CHAMPION}", *more]
    env = environment(settings.home, MLFLOW_TRACKING_URI=settings.tracking_uri, MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    return Server(command, env, scratch, "".join(["mlflow", *more])), f"http://127.0.0.1:{port}"


def _bare(who: Asked, scratch: Path) -> Subject:
    rows = scratch / "customers.parquet"
    who.features.to_parquet(rows, index=False)

    def measure(*, seconds: float) -> Result:
        command = [sys.executable, "-m", "bench.one_row", str(who.folder), str(rows), str(seconds)]
        done = subprocess.run(command, env=environment(scratch), cwd=scratch, capture_output=True, check=True)
        told = json.loads(done.stdout)
        subject.memory.append(told["memory"])
        latencies = sorted(told["latencies"])
        return Result(told["seconds"], latencies, Counter({200: len(latencies)}))

    subject = Subject(BARE, measure)
    return subject
