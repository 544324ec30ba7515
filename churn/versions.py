"""A registered version as the registry describes it: its own tags, and its run's figures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException

from churn.mlflow_client import absent
from churn.scoring import ModelVersion

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion as RegisteredVersion

_RUNS_AT_ONCE = 100
CONTRACT_ACCEPTED = {"contract_change": "accepted"}
"""The tag of a version that may ask callers for other rows than the one before it."""


@dataclass(frozen=True)
class Version:
    """A registered version."""

    name: str
    version: str
    run_id: str
    since: datetime
    """When it was last put into service; until then, when it was registered."""
    metrics: dict[str, float]
    provenance: dict[str, str]
    tags: dict[str, str]
    """The version's own, its verdict among them."""

    @property
    def model(self) -> ModelVersion:
        return ModelVersion(self.name, self.version)

    @property
    def contract_accepted(self) -> bool:
        """Whether it may ask callers for other rows than the one before it."""
        return self.tags.items() >= CONTRACT_ACCEPTED.items()

    @property
    def refused(self) -> str | None:
        """Why the gate has refused it; None where it has not."""
        if self.tags.get("gate") != "refused":
            return None
        return self.tags.get("gate_reason") or "no reason was recorded"


def describe(
    client: "MlflowClient", found: "Sequence[RegisteredVersion]", starts: Mapping[str, datetime]
) -> list[Version]:
    """What versions say of themselves; of a run that has been deleted there are no figures.

    Args:
        starts: when each version that has been in service was last put there, by number.
    """
    ids = [version.run_id for version in found if version.run_id]
    runs = _run(client, ids[0]) if len(ids) == 1 else _runs(client, ids)
    return [_version(version, runs.get(version.run_id), starts.get(str(version.version))) for version in found]


def _run(client: "MlflowClient", run_id: str) -> "dict[str, Run]":
    try:
        return {run_id: client.get_run(run_id)}
    except MlflowException as error:
        if absent(error):
            return {}
        raise


def _runs(client: "MlflowClient", ids: Sequence[str]) -> "dict[str, Run]":
    """Many runs with few requests."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()] if ids else []
    found: dict[str, Run] = {}
    for start in range(0, len(ids), _RUNS_AT_ONCE):
        named = ", ".join(f"'{run_id}'" for run_id in ids[start : start + _RUNS_AT_ONCE])
        page: Iterable[Run] = client.search_runs(experiments, f"attributes.run_id IN ({named})")
        found |= {run.info.run_id: run for run in page}
    return found


def _version(found: "RegisteredVersion", run: "Run | None", start: datetime | None) -> Version:
    metrics = run.data.metrics if run else {}
    tags = run.data.tags if run else {}
    return Version(
        name=found.name,
        version=str(found.version),
        run_id=found.run_id or "",
        since=start or datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
        metrics={name: value for name, value in metrics.items() if not name.startswith("fold_")},
        provenance={name: value for name, value in tags.items() if not name.startswith("mlflow.")},
        tags=dict(found.tags),
    )
