"""Homes for the bench: each holds a registry with one version in service."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn import contract as contracts
from churn import settings as settings_of
from churn.settings import ROOT, Settings

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

LARGE_FOREST = "forest of 300 trees"
SEED = 20


def settings_for(home: Path) -> Settings:
    """The shipped data, in a home of its own, whatever this process's environment says."""
    own = {"home": home, "contract": ROOT / "data/telco/contract.yaml", "mlflow_tracking_uri": None}
    return settings_of.load().model_copy(update=own)


def shipped_rows(contract: contracts.Contract) -> "pd.DataFrame":
    """Every shipped customer as :func:`churn.data.validate` gives it: id, features and target."""
    from churn.data import read_rows, validate

    source = ROOT / "data/telco" / contract.rows.training
    return validate(read_rows(source, contract.rows.format), contract, target="required")


def put_into_service(kind: str, settings: Settings) -> None:
    """Fit a model on the shipped rows, register it and promote it.

    Args:
        kind: one of :data:`churn.candidates.CANDIDATES`, or :data:`LARGE_FOREST`.
    """
    from churn import packaging, promotion
    from churn.data import features_and_target
    from churn.provenance import provenance
    from churn.registry import Registry
    from churn.tracking import Candidate

    contract = contracts.load(settings.contract)
    features, target = features_and_target(shipped_rows(contract), contract)
    pipeline = _unfitted(kind, contract).fit(features, target)
    registry = Registry(settings)
    with tempfile.TemporaryDirectory() as scratch:
        threshold = contract.economics.threshold
        parts = packaging.write_parts(
            Path(scratch), pipeline, contract, features, threshold=threshold, told={}, seed=SEED
        )
        run = registry.log_candidate(
            Candidate(
                name=kind,
                pipeline=pipeline,
                contract=contract,
                parts=parts,
                metrics={},
                per_fold=[],
                params={"kind": kind},
                provenance=provenance(data_hash="", contract_hash="", fingerprint=""),
                example=features.head(5),
            )
        )
    promotion.promote(registry, registry.register(run).version, by="bench")


def put_recommender_into_service(settings: Settings) -> None:
    """Train a recommender on the shipped rows, as `churn train-recommender` does. The classifier comes first."""
    from churn import recommender_jobs

    recommender_jobs.train_recommender(settings, by="bench")


def champion_folder(settings: Settings, folder: Path) -> Path:
    """The artefacts of the version in service, fetched into a folder."""
    from churn.registry import Registry

    registry = Registry(settings)
    return registry.download(registry.champion(), folder)


def _unfitted(kind: str, contract: contracts.Contract) -> "Pipeline":
    from churn import training

    if kind != LARGE_FOREST:
        return training.build(kind, contract, SEED)
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import Pipeline

    from churn.preprocessing import make_preprocessor

    model: Any = RandomForestClassifier(n_estimators=300, random_state=SEED)
    return Pipeline([("preprocess", make_preprocessor(contract, scale=False)), ("model", model)])
