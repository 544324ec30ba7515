"""What Prometheus is told, summed over the workers.

Under gunicorn each worker keeps its numbers in a file of its own, as ``api/gunicorn_conf.py`` sets
up; anywhere else they stand in memory.
"""

import time
from collections import Counter as Count
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

from flask import Flask, Response, g, request
from flask_openapi import APIBlueprint, Tag
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.values import ValueClass

if TYPE_CHECKING:
    from churn.scoring import Prediction
    from churn.shelf import Served

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_REGISTRY = CollectorRegistry()

_requests = Counter("churn_requests", "Requests answered", ["route", "method", "status"], registry=_REGISTRY)
_seconds = Histogram(
    "churn_request_seconds", "Time from a request to its reply", ["route"], buckets=_SECONDS, registry=_REGISTRY
)
_predictions = Counter("churn_predictions", "Customers scored, by risk band", ["risk"], registry=_REGISTRY)
_workers = Gauge(
    "churn_model_workers",
    "Workers that serve a version",
    ["name", "version"],
    multiprocess_mode="livesum",
    registry=_REGISTRY,
)
_refused = Counter(
    "churn_models_refused", "Versions that were refused when the alias named them", ["name"], registry=_REGISTRY
)
_reloaded = Gauge(
    "churn_last_reload_timestamp_seconds",
    "When a worker last took a version into service",
    ["name"],
    multiprocess_mode="max",
    registry=_REGISTRY,
)
_reachable = Gauge(
    "churn_registry_reachable",
    "Whether MLflow answered when it was last asked",
    multiprocess_mode="livemostrecent",
    registry=_REGISTRY,
)

_dropped = Counter(
    "churn_predictions_dropped", "Predictions that the store could not take, and that are not kept", registry=_REGISTRY
)

# looking a child up by its labels takes longer than counting
_requests_of = cache(_requests.labels)
_seconds_of = cache(_seconds.labels)

blueprint = APIBlueprint("metrics", __name__, abp_tags=[Tag(name="health")])


@blueprint.get(
    "/metrics",
    operation_id="metrics",
    summary="Counters and gauges for Prometheus",
    responses={200: {"description": "Prometheus's text format", "content": {"text/plain": {}}}},
)
def metrics() -> Response:
    """Requests, their times, predictions and versions, summed over the workers."""
    collect = _REGISTRY.collect
    if ValueClass._multiprocess:
        collect = MultiProcessCollector(None).collect  # type: ignore[no-untyped-call]
    return Response(generate_latest(_InUse(collect)), content_type=CONTENT_TYPE_LATEST)


class _InUse(CollectorRegistry):
    """Leaves out the versions that no worker serves any more: they would stay at 0 for ever."""

    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        super().__init__()
        self._inner = collect

    def collect(self) -> Iterator[Metric]:
        for metric in self._inner():
            if metric.name == "churn_model_workers":
                metric.samples = [sample for sample in metric.samples if sample.value]
            yield metric


def register(app: Flask) -> None:
    """Count and time every request of an application."""
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    g.began = time.perf_counter()


def _end(reply: Response) -> Response:
    asked = request
    # a path or a method that somebody made up would be a label of its own, each
    route = asked.url_rule.rule if asked.url_rule else "unknown"
    method = asked.method if asked.method in _METHODS else "other"
    _requests_of(route, method, reply.status_code).inc()
    _seconds_of(route).observe(time.perf_counter() - g.began)
    return reply


def predicted(predictions: "Sequence[Prediction]") -> None:
    """Count customers by their risk bands."""
    if len(predictions) == 1:
        _predictions_of(predictions[0].risk).inc()
        return
    for risk, count in Count(prediction.risk for prediction in predictions).items():
        _predictions_of(risk).inc(count)


_predictions_of = cache(_predictions.labels)


def serves(now: "Served", before: "Served | None") -> None:
    """This worker serves a version now, and another one no more."""
    if before:
        _workers.labels(before.name, before.version).set(0)
    _workers.labels(now.name, now.version).set(1)
    _reloaded.labels(now.name).set_to_current_time()
    _refused.labels(now.name)  # so that it stands at 0, and is not missing, before the first


def refused(name: str) -> None:
    """A version of a model was refused."""
    _refused.labels(name).inc()


def dropped(predictions: int) -> None:
    """Predictions are not kept: too many wait for the database."""
    _dropped.inc(predictions)


def registry_reachable(answers: bool) -> None:
    _reachable.set(answers)
