"""Bodies that schemathesis makes from the API's own document: none may end in a 500."""

from collections import Counter

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

BODIES = 2_000


def test_2000_generated_bodies_give_no_500(app) -> None:
    schema = schemathesis.openapi.from_wsgi("/openapi.json", app)
    operation = schema["/predict"]["POST"]
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

    send(GenerationMode.POSITIVE, BODIES // 2)
    send(GenerationMode.NEGATIVE, BODIES // 2)
    assert seen.total() >= BODIES
    assert not [status for status in seen if status >= 500]
    assert seen[200] > BODIES / 4
    assert seen[422] > BODIES / 4
