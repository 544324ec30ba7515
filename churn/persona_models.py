"""The registered model `customer-personas`: a version per training, and the same aliases as the classifier's.

Serving reads none of it, since each version of the classifier carries its personas. It is here for
whoever wants the groups by themselves: as a scikit-learn pipeline, raw contract rows in, a group's
number out.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException

from churn.errors import ChurnError
from churn.kinds import Loaded
from churn.mlflow_client import absent
from churn.peek import CHAMPION
from churn.registry import CHALLENGER, CLASSIFIER, Registry, Version
from churn.tracking import signature

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from sklearn.pipeline import Pipeline

    from churn.contract import Contract
    from churn.personas import Document

NAME = "customer-personas"
EXPERIMENT = "churn-personas"
"""Of its own, so that the runs of the trainings stay comparable with each other."""
_NUMBER = "personas_version"
"""The tag of a version of the classifier that names the version of the personas that it carries."""
_CLASSIFIER = "classifier_version"
_NEEDED = ("scikit-learn", "skops", "pandas")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PersonaModel:
    """Fitted personas and all that a registered version is to say of them."""

    pipeline: "Pipeline"
    told: "Document"
    contract: "Contract"
    file: Path
    """The same as serving reads it."""
    digest: str
    types: Sequence[str]
    """That the pipeline's skops file may hold."""


def number_of(version: Version) -> str:
    """The version of the personas that a version of the classifier carries; empty where it carries none."""
    return version.tags.get(_NUMBER, "")


def register(registry: Registry, model: PersonaModel, version: Version) -> Version:
    """Register the personas of a version of the classifier, once, and note their number on it. They
    are the challenger where it is."""
    with registry.asked("register the personas"), registry.as_default():
        query = f"name='{NAME}' and tags.{_CLASSIFIER}='{version.version}'"
        known = registry.client.search_model_versions(query)
        number = str(known[0].version) if known else _create(registry, model, version)
        rivals = registry.client.get_registered_model(CLASSIFIER).aliases
        if str(rivals.get(CHALLENGER)) == version.version:
            registry.client.set_registered_model_alias(NAME, CHALLENGER, number)
    return registry.tag(version, {_NUMBER: number})


def _create(registry: Registry, model: PersonaModel, version: Version) -> str:
    client = registry.client
    try:
        client.create_registered_model(NAME)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    run_id, model_id = _log(registry, model)
    tags = {_CLASSIFIER: version.version, "personas": str(len(model.told.personas)), "sha256": model.digest}
    made = client.create_model_version(NAME, source=f"models:/{model_id}", run_id=run_id, tags=tags, model_id=model_id)
    return str(made.version)


def _log(registry: Registry, model: PersonaModel) -> tuple[str, str]:
    import mlflow.sklearn

    told = model.told
    taken = next(trial for trial in told.trials if trial.k == len(told.personas))
    with mlflow.start_run(experiment_id=registry.experiment(EXPERIMENT), run_name=NAME) as run:
        mlflow.log_params({"k": taken.k, "rows": told.rows, "seed": told.seed, "stable": told.stable})
        mlflow.log_metrics({"silhouette": taken.silhouette, "stability": taken.stability})
        for trial in told.trials:
            figures = {"silhouette_by_k": trial.silhouette, "stability_by_k": trial.stability}
            mlflow.log_metrics(figures, step=trial.k)
        logged = mlflow.sklearn.log_model(
            model.pipeline,
            name="personas",
            serialization_format="skops",
            skops_trusted_types=list(model.types),
            signature=_signature(model.contract),
            pip_requirements=[f"{name}=={installed(name)}" for name in _NEEDED],
            extra_files=[str(model.file)],
        )
    return run.info.run_id, logged.model_id


def _signature(contract: "Contract") -> "ModelSignature":
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    return ModelSignature(signature(contract).inputs, Schema([TensorSpec(np.dtype("int32"), (-1,))]))


def follow(registry: Registry[Loaded], version: Version) -> None:
    """Let the personas' alias name those of the version in service, which are the challenger no more.
    What keeps it from that is logged, and holds no promotion back: serving does not ask for the alias."""
    number = number_of(version)
    try:
        with registry.asked("move the alias of the personas"):
            if number:
                registry.client.set_registered_model_alias(NAME, CHAMPION, number)
                _remove_alias(registry, CHALLENGER, number)
            else:
                _remove_alias(registry, CHAMPION)
    except ChurnError as error:
        log.warning("the alias %s of %s was not moved: %s", CHAMPION, NAME, error)


def _remove_alias(registry: Registry[Loaded], alias: str, number: str | None = None) -> None:
    """Remove an alias, if it names this version where one is given."""
    try:
        aliases = registry.client.get_registered_model(NAME).aliases
    except MlflowException as error:
        if absent(error):  # nothing has been registered yet
            return
        raise
    if alias in aliases and number in (None, str(aliases[alias])):
        registry.client.delete_registered_model_alias(NAME, alias)
