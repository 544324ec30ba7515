"""Versions of every kind that can be explained, quick to make, on shipped rows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import skops.io

from churn import contract as contracts
from churn import parity, training
from churn.contract import Contract
from churn.data import features_and_target, read_rows, validate
from churn.encoding import Encoded, customers
from churn.packaging import write_parts
from churn.scoring import PIPELINE_FILE, ModelVersion, Scorer, load_scorer
from churn.tuning import Tuned
from tests.conftest import ROOT

ROWS = 1_500
SIZE = {"lightgbm": {"n_estimators": 120}, "random_forest": {"n_estimators": 30}}
KINDS = [(name, calibrate) for name in training.CANDIDATES for calibrate in (False, True)]


@dataclass(frozen=True)
class Made:
    """A version, the pipeline that it was made of, and the rows that it was trained on."""

    folder: Path
    pipeline: Any
    features: pd.DataFrame
    scorer: Scorer

    @property
    def encoded(self) -> Encoded:
        return self.scorer.encoder.frame(self.features)

    def customers(self, count: int) -> list[dict[str, Any]]:
        encoded = self.encoded
        return customers(Encoded(encoded.numbers[:count], encoded.codes[:count]), self.scorer.encoder)

    @property
    def matrix(self) -> Any:
        return self.pipeline.named_steps["preprocess"].transform(self.features)

    @property
    def model(self) -> Any:
        """The model, without its calibrator."""
        model = self.pipeline.named_steps["model"]
        return model.calibrated_classifiers_[0].estimator if hasattr(model, "calibrated_classifiers_") else model


def shipped() -> tuple[Contract, pd.DataFrame, "pd.Series[int]"]:
    contract = contracts.load(ROOT / "data/telco/contract.yaml")
    rows = read_rows(ROOT / "data/telco/customers.csv", contract.rows.format).iloc[:ROWS]
    features, target = features_and_target(validate(rows, contract, target="required"), contract)
    return contract, features, target


def make(
    folder: Path, name: str, calibrate: bool, contract: Contract, features: pd.DataFrame, target: "pd.Series[int]"
) -> Made:
    params = training.CANDIDATES[name].params | SIZE.get(name, {})
    pipeline = training.build(name, contract, 1, Tuned(params, calibrate, 0)).fit(features, target)
    folder.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "JITTERED", 200)
        write_parts(folder, pipeline, contract, features, threshold=0.3, told={}, seed=1)
    skops.io.dump(pipeline, folder / PIPELINE_FILE)
    return Made(folder, pipeline, features, load_scorer(folder, ModelVersion("churn-classifier", "1")))
