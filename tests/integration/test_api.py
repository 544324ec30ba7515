"""The API over a trained registry, held against the pipeline in memory."""

import json
from typing import Any

import numpy as np
import pytest

from api.customers import MOST_CUSTOMERS
from churn.scoring import load_pipeline
from tests.frames import to_frame

PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def in_memory(settings, champion, scorer, customers, tmp_path_factory) -> np.ndarray:
    """What the pipeline itself says of the first 500 customers."""
    from churn.registry import Registry

    pipeline = load_pipeline(Registry(settings).download(champion, tmp_path_factory.mktemp("champion") / "copy"))
    return pipeline.predict_proba(to_frame(customers[:500], scorer.contract))[:, 1]


def test_500_rows_one_by_one_equal_the_pipeline(client, customers, in_memory) -> None:
    served = [client.post("/predict", json=one).get_json()["churn_probability"] for one in customers[:500]]
    assert np.abs(np.array(served) - in_memory).max() < 1e-6


def test_500_rows_in_one_call_equal_the_pipeline_in_their_order(client, customers, in_memory) -> None:
    reply = client.post("/predict", json={"customers": customers[:500]}).get_json()
    served = [one["churn_probability"] for one in reply["predictions"]]
    assert np.abs(np.array(served) - in_memory).max() < 1e-6
    assert [one["customer_id"] for one in reply["predictions"]] == [one["customerID"] for one in customers[:500]]


def test_a_prediction_says_all_that_the_design_promises(client, scorer, customers) -> None:
    reply = client.post("/predict", json=customers[0]).get_json()
    assert list(reply) == [
        "customer_id", "churn_probability", "prediction", "threshold", "risk", "action", "persona", "imputed", "model",
    ]  # fmt: skip
    assert reply["model"] == {"name": "churn-classifier", "version": scorer.model.version}
    assert reply["prediction"] == int(reply["churn_probability"] >= reply["threshold"])
    assert reply["action"] == scorer.contract.risk[reply["risk"]].action


def test_the_id_may_be_left_out(client, scorer) -> None:
    assert client.post("/predict", json=scorer.contract.example).get_json()["customer_id"] is None


def test_every_allowed_value_and_no_other_is_accepted(client, scorer) -> None:
    example = scorer.contract.example
    for name, column in scorer.contract.features.items():
        for value in column.values:
            assert client.post("/predict", json={**example, name: value}).status_code == 200, (name, value)
            for other in [f"{value} ", str(value).upper() + "x", [value], {"v": value}]:
                assert client.post("/predict", json={**example, name: other}).status_code == 422, (
                    name,
                    other,
                )


def _wrong(column: Any) -> list[Any]:
    """Values that no column of this kind may have."""
    if column.type == "category":
        return ["Maybe", True, 3.5, None, 17, ""]
    high = [column.max + 1] if column.max is not None else []
    low = [column.min - 1] if column.min is not None else []
    return [*high, *low, "12", True, None, [1], 10**400, "", *([1.5] if column.type == "integer" else [])]


def test_each_column_refuses_what_it_cannot_be_and_is_named(client, scorer) -> None:
    example = scorer.contract.example
    for name, column in scorer.contract.features.items():
        bodies = [{**example, name: value} for value in _wrong(column)]
        bodies.append({other: value for other, value in example.items() if other != name})
        for body in bodies:
            reply = client.post("/predict", json=body)
            assert reply.status_code == 422, (name, body.get(name))
            assert reply.content_type == PROBLEM
            (fault,) = reply.get_json()["errors"]
            assert (fault["row"], fault["field"]) == (0, name)
            assert column.expectation in fault["message"]


def test_a_whole_number_may_be_written_with_a_point(client, scorer) -> None:
    name = next(name for name, column in scorer.contract.features.items() if column.type == "integer")
    example = {**scorer.contract.example, name: 27}
    pointed = client.post("/predict", json={**example, name: 27.0}).get_json()
    assert pointed == client.post("/predict", json=example).get_json()


def test_faults_of_several_customers_are_told_at_once(client, customers) -> None:
    bad = [
        dict(customers[0]),
        {**customers[1], "tenure": -1},
        {**customers[2], "Contract": "Weekly", "what": 1},
    ]
    reply = client.post("/predict", json={"customers": bad})
    assert [(f["row"], f["field"]) for f in reply.get_json()["errors"]] == [
        (1, "tenure"), (2, "Contract"), (2, "what"),
    ]  # fmt: skip


def test_only_a_hundred_faults_are_listed_and_the_rest_counted(client, customers) -> None:
    bad = [{**one, "tenure": -1} for one in customers[:150]]
    problem = client.post("/predict", json={"customers": bad}).get_json()
    assert len(problem["errors"]) == 100
    assert problem["detail"].startswith("150 faults")


def test_the_target_is_not_taken(client, scorer) -> None:
    body = {**scorer.contract.example, scorer.contract.target.column: "No"}
    (fault,) = client.post("/predict", json=body).get_json()["errors"]
    assert fault["message"] == "this is what is predicted; leave it out"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b'{"tenure": NaN}', "application/json", 400),
        (b'{"tenure": 1, "tenure": 2}', "application/json", 400),
        (b'{"a": ' + b"9" * 5000 + b"}", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"tenure": 1e400}', "application/json", 400),
        *((b'{"tenure": ' + b"[" * deep + b"]" * deep + b"}", "application/json", 422) for deep in (1, 300, 600, 900)),
        *((b"[" * deep + b"]" * deep, "application/json", 422) for deep in (1, 300, 600, 900)),
        (b"\xff\xfe{", "application/json", 400),
        (b"{}", "text/plain", 415),
        (b"tenure=1", "application/x-www-form-urlencoded", 415),
        (b"[]", "application/json", 422),
        (b'"text"', "application/json", 422),
        (b"null", "application/json", 422),
        (b"{}", "application/json", 422),
        (b'{"customers": []}', "application/json", 422),
        (b'{"customers": {}}', "application/json", 422),
        (b'{"customers": [1]}', "application/json", 422),
        (b'{"customers": [{}], "k": 1}', "application/json", 422),
        (b" " * (4 * 1024 * 1024 + 1), "application/json", 413),
    ],
)
def test_what_is_no_customer_is_told_so(client, body: bytes, kind: str, status: int) -> None:
    reply = client.post("/predict", data=body, content_type=kind)
    assert (reply.status_code, reply.content_type) == (status, PROBLEM)
    assert reply.get_json()["status"] == status
    assert "Traceback" not in reply.text


def test_a_thousand_customers_and_not_one_more(client, customers) -> None:
    assert client.post("/predict", json={"customers": customers[:MOST_CUSTOMERS]}).status_code == 200
    assert client.post("/predict", json={"customers": customers[: MOST_CUSTOMERS + 1]}).status_code == 422


@pytest.mark.parametrize(("method", "path", "status"), [("get", "/predict", 405), ("get", "/nothing", 404)])
def test_wrong_routes_are_problems_too(client, method: str, path: str, status: int) -> None:
    reply = getattr(client, method)(path)
    assert (reply.status_code, reply.content_type) == (status, PROBLEM)


def test_what_is_in_service_is_told(client, champion) -> None:
    model = client.get("/models").get_json()["models"][0]
    assert (model["name"], model["version"]) == (champion.name, champion.version)
    assert 0.83 < model["metrics"]["roc_auc"] < 0.87
    assert len(model["data_hash"]) == 64
    assert model["compiled"] is True
    assert client.get("/models").get_json()["refused"] == []


def test_the_schema_describes_a_customer_that_is_accepted(client) -> None:
    schema = client.get("/schema").get_json()
    (example,) = schema["examples"]
    assert set(schema["required"]) == set(example)
    assert client.post("/predict", json=example).status_code == 200


def test_the_document_holds_the_contract(client, scorer) -> None:
    document = client.get("/openapi.json").get_json()
    columns = document["components"]["schemas"]["Customer"]["properties"]
    assert list(columns) == [scorer.contract.id, *scorer.contract.features]
    assert "#/components/schemas/PredictionReply" in json.dumps(document)
    assert client.get("/docs", follow_redirects=True).status_code == 200


def test_health(client) -> None:
    assert client.get("/health/live").status_code == 200
    ready = client.get("/health/ready").get_json()
    assert ready["status"] == "ok"
    assert ready["detail"].partition(":")[0] in ("", "offer-recommender")  # the classifier has nothing to tell


def test_without_airflow_the_pipelines_say_so(client) -> None:
    reply = client.get("/pipelines")
    assert (reply.status_code, reply.content_type) == (503, PROBLEM)
    assert "no password for Airflow's user" in reply.get_json()["detail"]


def test_every_fault_is_counted(client, scorer) -> None:
    strangers = {f"stranger {number}": 1 for number in range(150)}
    problem = client.post("/predict", json={**scorer.contract.example, **strangers}).get_json()
    assert len(problem["errors"]) == 100
    assert problem["detail"].startswith("150 faults")


def test_a_worker_that_has_not_looked_yet_looks_when_it_is_asked(settings, champion) -> None:
    """Ready must mean that any worker answers, not only the one that was asked."""
    from api.app import create_app
    from api.serving import Serving
    from churn.registry import Registry

    late = create_app(settings, serving=Serving(settings, Registry(settings))).test_client()
    reply = late.post("/predict", json=late.get("/schema").get_json()["examples"][0])
    assert reply.get_json()["model"]["version"] == champion.version


def test_a_contract_that_is_broken_meanwhile_stops_nobody(settings, champion, tmp_path) -> None:
    from api.app import create_app
    from api.serving import Serving
    from churn.registry import Registry

    broken = tmp_path / "contract.yaml"
    broken.write_text("name: [")
    changed = settings.model_copy(update={"contract": broken})
    served = create_app(changed, serving=Serving(changed, Registry(changed))).test_client()
    assert served.get("/health/ready").status_code == 200
    assert served.get("/schema").get_json()["examples"]
    empty = changed.model_copy(update={"home": tmp_path})
    unserved = create_app(empty, serving=Serving(empty, Registry(empty))).test_client()
    assert unserved.get("/schema").status_code == 503
    assert unserved.get("/health/live").status_code == 200


def test_without_a_champion_nothing_is_served_and_the_reason_told(settings, tmp_path) -> None:
    from api.app import create_app
    from api.serving import Serving
    from churn.registry import Registry

    empty = settings.model_copy(update={"home": tmp_path})
    serving = Serving(empty, Registry(empty))
    serving.refresh()
    client = create_app(empty, serving=serving).test_client()
    for reply in (client.get("/health/ready"), client.post("/predict", json=serving.contract.example)):
        assert (reply.status_code, reply.content_type) == (503, PROBLEM)
        assert "train one first" in reply.get_json()["detail"]
    assert client.get("/health/live").status_code == 200
    assert client.get("/schema").get_json()["examples"]
    assert client.get("/models").get_json()["models"] == []
