"""Logging a training: each candidate is a run with its figures and its model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.exceptions import MlflowException

from churn import contract as contracts
from churn.errors import NotReady, Unavailable
from churn.mlflow_client import Connection, absent
from churn.trust import TRUSTED_TYPES

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature
    from sklearn.pipeline import Pipeline

EXPERIMENT = "churn"
_PART = "model"
_REPORTS = "reports"
_NEEDED = ("scikit-learn", "skops", "pandas", "lightgbm")
"""What reads a pipeline outside of this platform, with `mlflow models serve` or `pyfunc.load_model`."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A fitted model, of whatever kind, and all that its run is to say of it."""

    name: str
    contract: contracts.Contract
    metrics: dict[str, float]
    per_fold: Sequence[dict[str, float]]
    params: dict[str, Any]
    provenance: dict[str, str]
    reports: Sequence[Path] = ()
    """Files that are shown with the run and not served: plots, tables."""


@dataclass(frozen=True, kw_only=True)
class Candidate(Trained):
    """A fitted pipeline."""

    pipeline: "Pipeline"
    parts: Sequence[Path]
    """The files that travel with the model, as :func:`churn.packaging.write_parts` makes them."""
    example: "pd.DataFrame"
    """A few raw rows, shown with the model."""


class Tracking(Connection):
    """The runs of the trainings."""

    def log_candidate(self, candidate: Candidate) -> str:
        """Log a fitted candidate as a run with its model; returns ``runs:/<id>``."""
        return self.log_run(candidate, lambda: _log_model(candidate))

    def log_run(self, trained: Trained, log_model: Callable[[], None], experiment: str = EXPERIMENT) -> str:
        """Log a training as a run; returns ``runs:/<id>``.

        Args:
            log_model: logs the model to the run that is active.
        """
        import mlflow

        with self.asked("log a run"), self.as_default():
            with mlflow.start_run(experiment_id=self.experiment(experiment), run_name=trained.name) as run:
                mlflow.set_tags({"candidate": trained.name, **trained.provenance})
                mlflow.log_params(trained.params)
                for fold, figures in enumerate(trained.per_fold):
                    mlflow.log_metrics({f"fold_{name}": value for name, value in figures.items()}, step=fold)
                mlflow.log_metrics(trained.metrics)
                for report in trained.reports:
                    mlflow.log_artifact(str(report), _REPORTS)
                log_model()
            return f"runs:/{run.info.run_id}"

    def run_metrics(self, run_uri: str) -> dict[str, float]:
        """The metrics of a logged candidate."""
        with self.asked("read a run"):
            return dict(self.client.get_run(run_id(run_uri)).data.metrics)

    def run_params(self, run_uri: str) -> dict[str, str]:
        """The parameters of a logged candidate, as text."""
        with self.asked("read a run"):
            return dict(self.client.get_run(run_id(run_uri)).data.params)

    def log_report(self, run_uri: str, figures: Mapping[str, float], card: str) -> None:
        """Add the figures of the report set and the model card to a candidate's run."""
        with self.asked("log a report"):
            for name, value in figures.items():
                self.client.log_metric(run_id(run_uri), name, value)
            self.client.log_text(run_id(run_uri), card, f"{_REPORTS}/model_card.md")

    def run_file(self, run_id: str, name: str, folder: Path) -> Path:
        """Fetch one of the files that are shown with a run; where it lies now, somewhere in the folder.

        Raises:
            NotReady: the run has none of that name, or is gone.
            Unavailable: MLflow does not answer, or the folder cannot be written.
        """
        path = f"{_REPORTS}/{name}"
        with self.asked("fetch a file of a run"):
            try:
                known = {one.path for one in self.client.list_artifacts(run_id, _REPORTS)}
                if path in known:
                    folder.mkdir(parents=True, exist_ok=True)
                    return Path(self.client.download_artifacts(run_id, path, str(folder)))
            except OSError as error:
                raise Unavailable(f"{name} of the run {run_id} could not be fetched: {error}") from error
            except MlflowException as error:
                if not absent(error):
                    raise
        raise NotReady(f"the run {run_id} has no {name}: an older version of churn may have made it")

    def experiment(self, name: str = EXPERIMENT) -> str:
        """The id of an experiment, that of the trainings or another, which is made where it is not there yet."""
        found = self.client.get_experiment_by_name(name)
        if found:
            return str(found.experiment_id)
        location = self.artifacts.absolute().as_uri() if self.artifacts else None
        try:
            return str(self.client.create_experiment(name, location))
        except MlflowException:  # the other candidate's process was first
            found = self.client.get_experiment_by_name(name)
            if found is None:
                raise
            return str(found.experiment_id)


def _log_model(candidate: Candidate) -> None:
    import mlflow.sklearn

    mlflow.sklearn.log_model(
        candidate.pipeline,
        name=_PART,
        serialization_format="skops",
        skops_trusted_types=list(TRUSTED_TYPES),
        signature=signature(candidate.contract),
        input_example=candidate.example,
        pyfunc_predict_fn="predict_proba",
        pip_requirements=[f"{name}=={installed(name)}" for name in _NEEDED],
        extra_files=[str(path) for path in candidate.parts],
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


def run_id(run_uri: str) -> str:
    """The id in ``runs:/<id>``."""
    return run_uri.removeprefix("runs:/").split("/")[0]
