"""The only module that talks to MLflow: runs, registered versions, aliases, artefacts."""

import json
import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow import MlflowClient
from mlflow.environment_variables import (
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    MLFLOW_HTTP_REQUEST_TIMEOUT,
    MLFLOW_TRACKING_URI,
)
from mlflow.exceptions import MlflowException

from churn import contract as contracts
from churn.errors import NoChampion, RefusedModel, Unavailable
from churn.scoring import CONTRACT_FILE, DECISION_FILE, TRUSTED_TYPES, ModelVersion, Scorer, load_scorer
from churn.settings import Settings, make_folder

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities.model_registry import ModelVersion as RegisteredVersion
    from mlflow.models import ModelSignature
    from sklearn.pipeline import Pipeline

CLASSIFIER = "churn-classifier"
CHAMPION = "champion"
EXPERIMENT = "churn"
_PART = "model"
_PROMOTED = "promoted_at"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """A fitted pipeline and all that a registered version is to say of it."""

    name: str
    pipeline: "Pipeline"
    contract: contracts.Contract
    threshold: float
    metrics: dict[str, float]
    per_fold: Sequence[dict[str, float]]
    params: dict[str, Any]
    provenance: dict[str, str]
    example: "pd.DataFrame"
    """A few raw rows, shown with the model."""


@dataclass(frozen=True)
class Version:
    """A registered version as the registry describes it."""

    name: str
    version: str
    run_id: str
    since: datetime
    """When it was put into service; until then, when it was registered."""
    metrics: dict[str, float]
    provenance: dict[str, str]

    @property
    def model(self) -> ModelVersion:
        return ModelVersion(self.name, self.version)


class Registry:
    """A connection to one MLflow server or SQLite registry.

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
        with self._asked("open the registry"):
            self._client = MlflowClient(self.uri, self.uri)

    def log_candidate(self, candidate: Candidate) -> str:
        """Log a fitted candidate as a run with its model; returns ``runs:/<id>``."""
        import mlflow

        with self._asked("log a run"), self._as_default():
            with mlflow.start_run(experiment_id=self._experiment(), run_name=candidate.name) as run:
                mlflow.set_tags({"candidate": candidate.name, **candidate.provenance})
                mlflow.log_params(candidate.params)
                for fold, figures in enumerate(candidate.per_fold):
                    mlflow.log_metrics({f"fold_{name}": value for name, value in figures.items()}, step=fold)
                mlflow.log_metrics(candidate.metrics)
                self._log_model(candidate)
            return f"runs:/{run.info.run_id}"

    @contextmanager
    def _as_default(self) -> Iterator[None]:
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

    def _log_model(self, candidate: Candidate) -> None:
        import mlflow.sklearn

        with tempfile.TemporaryDirectory() as scratch:
            extra = [Path(scratch) / CONTRACT_FILE, Path(scratch) / DECISION_FILE]
            extra[0].write_text(contracts.dump(candidate.contract), encoding="utf-8")
            decision = {"threshold": candidate.threshold, "metrics": candidate.metrics}
            extra[1].write_text(json.dumps(decision | candidate.provenance, indent=2), encoding="utf-8")
            mlflow.sklearn.log_model(
                candidate.pipeline,
                name=_PART,
                serialization_format="skops",
                skops_trusted_types=TRUSTED_TYPES,
                signature=signature(candidate.contract),
                input_example=candidate.example,
                pyfunc_predict_fn="predict_proba",
                pip_requirements=[f"{name}=={installed(name)}" for name in ("scikit-learn", "skops", "pandas")],
                extra_files=[str(path) for path in extra],
            )

    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found:
            return str(found.experiment_id)
        location = self.artifacts.absolute().as_uri() if self.artifacts else None
        try:
            return str(self._client.create_experiment(EXPERIMENT, location))
        except MlflowException:  # the other candidate's process was first
            found = self._client.get_experiment_by_name(EXPERIMENT)
            if found is None:
                raise
            return str(found.experiment_id)

    def run_metrics(self, run_uri: str) -> dict[str, float]:
        """The metrics of a logged candidate."""
        with self._asked("read a run"):
            return dict(self._client.get_run(_run_id(run_uri)).data.metrics)

    def register(self, run_uri: str) -> Version:
        """Register a run's model. A run is registered once, however often this is called."""
        run_id = _run_id(run_uri)
        with self._asked("register a version"):
            known = self._client.search_model_versions(f"name='{CLASSIFIER}' and run_id='{run_id}'")
            if known:
                return self._version(known[0])
            self._make_sure_of(CLASSIFIER)
            run = self._client.get_run(run_id)
            model_id = run.outputs.model_outputs[0].model_id
            made = self._client.create_model_version(
                CLASSIFIER, source=f"models:/{model_id}", run_id=run_id, model_id=model_id
            )
            return self._version(made)

    def _make_sure_of(self, name: str) -> None:
        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def promote(self, version: Version) -> Version:
        """Put a version into service by moving the alias; returns it as it then stands."""
        with self._asked("promote a version"):
            live = self._client.get_registered_model(version.name).aliases.get(CHAMPION)
            if str(live) != version.version:
                now = datetime.now(UTC).isoformat(timespec="seconds")
                self._client.set_model_version_tag(version.name, version.version, _PROMOTED, now)
                self._client.set_registered_model_alias(version.name, CHAMPION, version.version)
            return self._version(self._client.get_model_version(version.name, version.version))

    def champion(self) -> Version:
        """The version in service.

        Raises:
            NoChampion: nothing has been promoted yet.
            Unavailable: the registry does not answer.
        """
        with self._asked("find the champion"):
            try:
                return self._version(self._client.get_model_version_by_alias(CLASSIFIER, CHAMPION))
            except MlflowException as error:
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    raise NoChampion(f"no version of {CLASSIFIER} is in service yet: train one first") from error
                raise

    def load(self, version: Version) -> Scorer:
        """Download a version and read it without unpickling anything.

        Raises:
            RefusedModel: it lacks a part, or holds what is not trusted.
        """
        from mlflow.artifacts import download_artifacts

        folder = Path(tempfile.mkdtemp(prefix="churn-model-"))
        try:
            with self._asked("download a version"):
                uri = self._client.get_model_version_download_uri(version.name, version.version)
                download_artifacts(artifact_uri=uri, dst_path=str(folder), tracking_uri=self.uri)
            return load_scorer(folder, version.model)
        except OSError as error:
            raise RefusedModel(f"{version.name} version {version.version}: {error}") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _version(self, found: "RegisteredVersion") -> Version:
        run = self._client.get_run(found.run_id).data
        return Version(
            name=found.name,
            version=str(found.version),
            run_id=found.run_id,
            since=_since(found),
            metrics={name: value for name, value in run.metrics.items() if not name.startswith("fold_")},
            provenance={name: value for name, value in run.tags.items() if not name.startswith("mlflow.")},
        )

    @contextmanager
    def _asked(self, purpose: str) -> Iterator[None]:
        """Tell an outage from a refusal: MLflow raises the same type for both."""
        try:
            yield
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "BAD_REQUEST"):
                raise RefusedModel(f"MLflow would not {purpose}: {error.message}") from error
            raise Unavailable(f"MLflow at {self.uri} could not {purpose}: {error.message}") from error
        except _database_error() as error:
            raise Unavailable(f"MLflow at {self.uri} could not {purpose}: {str(error).splitlines()[0]}") from error


def _since(found: "RegisteredVersion") -> datetime:
    promoted = found.tags.get(_PROMOTED)
    return (
        datetime.fromisoformat(promoted) if promoted else datetime.fromtimestamp(found.creation_timestamp / 1000, UTC)
    )


def signature(contract: contracts.Contract) -> "ModelSignature":
    """The contract as MLflow states it: raw columns in, the two classes' probabilities out."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec
    from mlflow.types.schema import AnyType

    kinds = {"integer": DataType.long, "number": DataType.double, "boolean": DataType.boolean}
    specs = []
    for name, column in contract.features.items():
        if column.may_be_missing and not column.is_numeric:
            # by any stricter type MLflow would make False of a missing boolean
            specs.append(ColSpec(AnyType(), name, required=False))
            continue
        kind = kinds.get(column.type)
        if kind is None:
            kind = DataType.string if isinstance(column.values[0], str) else DataType.long
        if column.may_be_missing and kind is DataType.long:
            kind = DataType.double  # a long has no way to be missing
        specs.append(ColSpec(kind, name, required=not column.may_be_missing))
    return ModelSignature(Schema(specs), Schema([TensorSpec(np.dtype("float64"), (-1, 2))]))


def _database_error() -> type[Exception]:
    """What a broken SQLite registry raises. A client of a server needs no SQLAlchemy."""
    raised: type[Exception] = MlflowException
    with suppress(ImportError):
        from sqlalchemy.exc import SQLAlchemyError as raised
    return raised


def _run_id(run_uri: str) -> str:
    return run_uri.removeprefix("runs:/").split("/")[0]
