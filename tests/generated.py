"""Bodies that schemathesis makes from the API's own document, sent to a route."""

from collections import Counter

import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode


def statuses(app: Flask, path: str, *, positive: int, negative: int = 0) -> Counter[int]:
    """How often each status came back from ``POST path``.

    Args:
        positive: so many bodies as the document allows.
        negative: so many that it does not.
    """
    operation = schemathesis.openapi.from_wsgi("/openapi.json", app)[path]["POST"]
    seen: Counter[int] = Counter()

    def send(mode: GenerationMode, count: int) -> None:
        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=count,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        def one(case) -> None:
            seen[case.call().status_code] += 1

        one()

    send(GenerationMode.POSITIVE, positive)
    if negative:
        send(GenerationMode.NEGATIVE, negative)
    return seen
