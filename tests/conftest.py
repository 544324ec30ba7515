"""What the tests share: one trained registry, and the API over it."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from churn import settings as settings_of
from churn.settings import Settings

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test may depend on, or write into, the stack of whoever runs it; and none trains for long."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("CHURN_", "MLFLOW_", "AIRFLOW"))]:
            patch.delenv(name)
        patch.setitem(Settings.model_config, "env_file", None)
        patch.setenv("CHURN_HOME", str(tmp_path_factory.mktemp("nothing-here")))
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("CHURN_TUNING_SECONDS", "0")
        patch.setenv("CHURN_REPEATS", "1")
        yield


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The settings of a home in which the shipped data has been trained on, without a search."""
    return settings_of.load().model_copy(update={"home": tmp_path_factory.mktemp("home")})


@pytest.fixture(scope="session")
def champion(settings: Settings):
    """The version in service after one whole training on the shipped data."""
    from churn import jobs

    return jobs.train(settings)


@pytest.fixture(scope="session")
def recommender_champion(settings: Settings, champion):
    """The recommender in service after a whole training beside that classifier."""
    from churn import recommender_jobs

    return recommender_jobs.train_recommender(settings, folds=2)


@pytest.fixture(scope="session")
def scorer(settings: Settings, champion):
    from churn.registry import Registry

    return Registry(settings).load(champion)


@pytest.fixture(scope="session")
def app(settings: Settings, champion):
    from api.app import create_app
    from api.serving import Serving
    from churn.registry import Registry

    serving = Serving(settings, Registry(settings))
    serving.refresh()
    return create_app(settings, serving=serving)


@pytest.fixture(scope="session")
def client(app):
    return app.test_client()


@pytest.fixture(scope="session")
def customers(scorer) -> list[dict[str, object]]:
    """Every shipped customer as the API takes one."""
    import pandas as pd

    from churn.data import read_rows, validate

    contract = scorer.contract
    rows = read_rows(ROOT / "data/telco/customers.csv", contract.rows.format)
    frame = validate(rows, contract)
    columns = [contract.id, *contract.features]
    plain = pd.DataFrame(frame[columns]).to_dict("records")
    return [{name: getattr(v, "item", lambda v=v: v)() for name, v in row.items()} for row in plain]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
