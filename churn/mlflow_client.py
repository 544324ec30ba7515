"""A connection to MLflow: one server, or the SQLite registry of this machine."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mlflow import MlflowClient
from mlflow.environment_variables import (
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    MLFLOW_HTTP_REQUEST_TIMEOUT,
    MLFLOW_TRACKING_URI,
)
from mlflow.exceptions import MlflowException

from churn.errors import RefusedModel, Unavailable
from churn.settings import Settings, make_folder

_WOULD_NOT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "BAD_REQUEST")


class Connection:
    """What runs and registered versions are reached by.

    Args:
        patient: whether to wait through an outage of the server as MLflow does (minutes);
            what must answer quickly is not.
    """

    def __init__(self, settings: Settings, *, patient: bool = True) -> None:
        self.uri = settings.tracking_uri
        self.artifacts = None if settings.mlflow_tracking_uri else settings.mlflow_home / "artifacts"
        if self.artifacts:
            make_folder(self.artifacts)
        if not patient:
            MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(0)
            MLFLOW_HTTP_REQUEST_TIMEOUT.set(10)
        with self.asked("open the registry"):
            self.client = MlflowClient(self.uri, self.uri)

    @contextmanager
    def asked(self, purpose: str) -> Iterator[None]:
        """Tell an outage from a refusal: MLflow raises the same type for both.

        Raises:
            RefusedModel: MLflow answers, and does not do what it was asked for.
            Unavailable: it does not answer, or its database is broken.
        """
        try:
            yield
        except MlflowException as error:
            if error.error_code in _WOULD_NOT:
                raise RefusedModel(f"MLflow would not {purpose}: {error.message}") from error
            raise Unavailable(f"MLflow at {self.uri} could not {purpose}: {error.message}") from error
        except _database_error() as error:
            raise Unavailable(f"MLflow at {self.uri} could not {purpose}: {str(error).splitlines()[0]}") from error

    @contextmanager
    def as_default(self) -> Iterator[None]:
        """Point MLflow's own functions to this registry, which they do through the environment;
        what stood there before stands there again afterwards."""
        import mlflow

        before = MLFLOW_TRACKING_URI.get_raw()
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        try:
            yield
        finally:
            if before is None:
                MLFLOW_TRACKING_URI.unset()
            else:
                MLFLOW_TRACKING_URI.set(before)


def absent(error: MlflowException) -> bool:
    """Whether MLflow says that there is no such thing."""
    return bool(error.error_code == "RESOURCE_DOES_NOT_EXIST")


def _database_error() -> type[Exception]:
    """What a broken SQLite registry raises. A client of a server needs no SQLAlchemy."""
    raised: type[Exception] = MlflowException
    with suppress(ImportError):
        from sqlalchemy.exc import SQLAlchemyError as raised
    return raised
