"""The runs of the recommender's trainings, each with its model: arrays and JSON, nothing pickled."""

from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

from churn.tracking import Tracking, Trained, signature

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature

EXPERIMENT = "churn-recommender"
"""Of its own, so that the runs of the classifier's trainings stay comparable with each other."""
_LOADER = "churn.recommender_pyfunc"
_NEEDED = ("numpy", "pandas", "pydantic", "pyyaml")
"""What reads the arrays outside of this platform, beside this package itself."""


@dataclass(frozen=True, kw_only=True)
class TrainedRecommender(Trained):
    """A fitted recommender."""

    folder: Path
    """Holds the files of the version, as :mod:`churn.recommender_files` writes them."""
    example: "pd.DataFrame"
    """A few raw rows, of nobody, shown with the model."""


def log(tracking: Tracking, trained: TrainedRecommender) -> str:
    """Log a fitted recommender as a run with its model; returns ``runs:/<id>``."""
    return tracking.log_run(trained, lambda: _log_model(trained), EXPERIMENT)


def _log_model(trained: TrainedRecommender) -> None:
    import mlflow.pyfunc

    mlflow.pyfunc.log_model(
        name="recommender",
        loader_module=_LOADER,
        data_path=str(trained.folder),
        signature=_signature(trained),
        input_example=trained.example,
        pip_requirements=[f"{name}=={installed(name)}" for name in _NEEDED],
    )


def _signature(trained: TrainedRecommender) -> "ModelSignature":
    """Raw columns in, a probability for each product out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    scores = Schema([ColSpec(DataType.double, item) for item in trained.contract.products])
    return ModelSignature(signature(trained.contract).inputs, scores)
