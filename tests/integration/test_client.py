"""The typed client, against the real application."""

import httpx
import pytest

from churn.client import Client, Refused
from churn.errors import Unavailable


@pytest.fixture(scope="module")
def api(app) -> Client:
    return Client("http://api", transport=httpx.WSGITransport(app=app))


def test_one_and_many(api: Client, customers, scorer) -> None:
    one = api.predict(customers[0])
    first, second = api.predict_many(customers[:2])
    assert first == one
    assert second.customer_id == customers[1]["customerID"]
    assert (one.model_name, one.model_version) == (scorer.model.name, scorer.model.version)


def test_the_contract_comes_whole(api: Client, scorer) -> None:
    assert api.contract() == scorer.contract


def test_faults_come_back_as_faults(api: Client, customers) -> None:
    with pytest.raises(Refused) as refusal:
        api.predict({**customers[0], "tenure": -1, "Contract": None})
    assert refusal.value.status == 422
    assert [fault.field for fault in refusal.value.faults] == ["tenure", "Contract"]


def test_readiness_and_models(api: Client, champion) -> None:
    assert api.readiness().ready
    assert api.models()[0]["version"] == champion.version
    assert api.training() is None
    assert api.refused() == []
    assert [term.version for term in api.history()] == [champion.version]
    assert "churn_requests_total" in api.metrics()


def test_every_capability_over_customers_is_reached(api: Client, customers, champion) -> None:
    """What needs scored customers says so where none have been scored."""
    customer = customers[0]
    probability = api.predict(customer).churn_probability
    for method in ("shap", "lime"):
        told = api.explain(customer, method)
        assert (told.method, told.churn_probability) == (method, probability)
        assert {one["feature"] for one in told.contributions} == set(api.contract().features)
    assert api.explain_global().model["version"] == champion.version
    assert api.whatif(customer).before == probability
    assert [band["band"] for band in api.segments().bands] == ["high", "medium", "low"]
    assert api.monitoring() == []
    assert api.outcomes()["outcomes"] == 0
    assert api.interactions("nobody").total == 0
    for ask in (api.customers, api.portfolio, lambda: api.plan(100.0), lambda: api.customer("nobody")):
        with pytest.raises(Refused) as refusal:
            ask()
        assert refusal.value.status in (404, 503)
    with pytest.raises(Refused) as refusal:
        api.record_outcomes([{"customer_id": True, "churned": 1}])
    assert {fault.field for fault in refusal.value.faults} == {"customer_id", "churned"}
    with pytest.raises(Refused) as refusal:
        api.record_interactions([{"customer_id": "nobody", "item": "yacht", "event": "shown"}], key="once")
    assert {fault.field for fault in refusal.value.faults} == {"item"}


@pytest.mark.parametrize("told", [[], {}, {"models": 1}])
def test_another_server_is_told_from_the_api(told: object) -> None:
    other = Client("http://other", transport=httpx.MockTransport(lambda _: httpx.Response(404, json=[told])))
    with pytest.raises(Unavailable):
        other.predict({})
    other = Client("http://other", transport=httpx.MockTransport(lambda _: httpx.Response(200, json={"other": told})))
    for ask in (other.contract, other.models, other.refused, other.history, lambda: other.rollback("x")):
        with pytest.raises(Unavailable, match="not this version of the API"):
            ask()


def test_an_api_that_is_down() -> None:
    with pytest.raises(Unavailable, match="127.0.0.1:9"):  # noqa: RUF043
        Client("http://127.0.0.1:9", timeout=1).readiness()
