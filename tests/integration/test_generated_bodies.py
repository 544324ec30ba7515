"""Bodies that schemathesis makes from the API's own document: none may end in a 500."""

from tests import generated

BODIES = 2_000


def test_2000_generated_bodies_give_no_500(app) -> None:
    seen = generated.statuses(app, "/predict", positive=BODIES // 2, negative=BODIES // 2)
    assert seen.total() >= BODIES
    assert not [status for status in seen if status >= 500]
    assert seen[200] > BODIES / 4
    assert seen[422] > BODIES / 4
