"""Versions that are quick to make, a registry that holds them, and a real gunicorn over it.

Their artefacts lie in a folder of the test and are registered from there, without a run: a
training would take longer than all that is done with them.
"""

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from churn import contract as contracts
from churn import settings as settings_of
from churn.kinds import CLASSIFIER, KINDS, RECOMMENDER, Kind
from churn.scoring import ModelVersion, Scorer, load_pipeline, load_scorer
from churn.settings import Settings
from tests.conftest import ROOT, free_port

if TYPE_CHECKING:
    import pandas as pd

    from churn.contract import Contract
    from churn.recommender import Recommender

NOBODY = "http://127.0.0.1:9"
"""Where no MLflow answers."""


def write(folder: Path, *, start: int = 0, without_last: bool = False) -> Path:
    """A classifier's folder: a logistic regression on 300 of the shipped rows.

    Args:
        start: the first of these rows; other rows make another model.
        without_last: whether its contract lacks the last feature.
    """
    import skops.io

    from churn import parity, training
    from churn.data import features_and_target
    from churn.packaging import write_parts
    from churn.scoring import PIPELINE_FILE

    contract, rows = rows_of(start, without_last)
    features, target = features_and_target(rows, contract)
    pipeline = training.build("logistic_regression", contract, 1).fit(features, target)
    folder.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "JITTERED", 200)
        write_parts(folder, pipeline, contract, features, threshold=0.3, told={}, seed=1)
    skops.io.dump(pipeline, folder / PIPELINE_FILE)
    return folder


def write_recommender(folder: Path, **made: Any) -> Path:
    """A recommender's folder, of as many rows; :func:`tests.recommenders.write` says what may be given."""
    from tests import recommenders  # with what fits one

    return recommenders.write(folder, **made)


def rows_of(start: int, without_last: bool = False, *, count: int = 300) -> "tuple[Contract, pd.DataFrame]":
    """Some of the shipped rows, validated, and their contract."""
    from churn.data import read_rows, validate

    path = settings_of.load().contract
    contract = contracts.load(path)
    if without_last:
        *kept, last = contract.features
        recommendation = contract.recommendation
        unseen = [name for name in recommendation.unseen if name != last]
        contract = contract.model_copy(
            update={
                "features": {name: contract.features[name] for name in kept},
                "ignored": [*contract.ignored, last],
                "recommendation": recommendation.model_copy(update={"unseen": unseen}),
            }
        )
    rows = read_rows(path.parent / contract.rows.training, contract.rows.format).iloc[start : start + count]
    return contract, validate(rows, contract, target="required")


@dataclass(frozen=True)
class Way:
    """How the versions of a kind are made, asked and broken."""

    kind: Kind[Any]
    write: Callable[..., Path]
    ask: Callable[[Any, Mapping[str, Any]], object]
    """What a version in memory says of a customer."""
    part: str
    """The file that holds the model's numbers."""
    foreign: Callable[[Path, Path, object], Path]
    """A copy of a folder that holds an object of a foreign type."""


def _prediction(scorer: Scorer, customer: Mapping[str, Any]) -> object:
    return scorer.predict([customer])


def _liking(recommender: "Recommender", customer: Mapping[str, Any]) -> object:
    return recommender.liking(recommender.encoder.customers([customer])).tolist()


def _foreign_pipeline(folder: Path, copy: Path, thing: object) -> Path:
    import skops.io

    pipeline = load_pipeline(folder)
    pipeline.steps[-1][1].extra = thing
    return tampered(folder, copy, "model.skops", skops.io.dumps(pipeline))


def _foreign_array(folder: Path, copy: Path, thing: object) -> Path:
    import numpy as np

    arrays = dict(np.load(folder / "recommender.npz"))
    file = io.BytesIO()
    np.savez(file, **{**arrays, "items": np.array([thing], dtype=object)})
    return tampered(folder, copy, "recommender.npz", file.getvalue())


WAYS = (
    Way(CLASSIFIER, write, _prediction, "scorer.onnx", _foreign_pipeline),
    Way(RECOMMENDER, write_recommender, _liking, "recommender.npz", _foreign_array),
)
both_ways = pytest.mark.parametrize("way", KINDS, ids=[kind.name for kind in KINDS], indirect=True)
"""Runs a test for each kind; its module's fixture ``way`` gives the classifier's to the others."""


def tampered(folder: Path, copy: Path, part: str, content: bytes) -> Path:
    """A copy of a version's folder with another content of one file."""
    shutil.copytree(folder, copy)
    (copy / part).write_bytes(content)
    return copy


def register(settings: Settings, folder: Path, kind: Kind[Any] = CLASSIFIER) -> str:
    """Register a folder as the next version; returns its number."""
    from mlflow import MlflowClient

    client = MlflowClient(settings.tracking_uri, settings.tracking_uri)
    if not client.search_registered_models(f"name='{kind.name}'"):
        client.create_registered_model(kind.name)
    return str(client.create_model_version(kind.name, source=folder.as_uri()).version)


def beside(home: Path, other: Path) -> Settings:
    """Another home, whose registry holds what that of the first does."""
    (other / "mlflow").mkdir(parents=True)
    shutil.copy(home / "mlflow/mlflow.db", other / "mlflow")
    return settings_of.load().model_copy(update={"home": other})


def read(folder: Path, number: str = "1") -> Scorer:
    return load_scorer(folder, ModelVersion("churn-classifier", number))


class Gunicorn:
    """The API as `make up` runs it, on a port of its own, until the block ends."""

    def __init__(self, home: Path, *, tracking_uri: str, workers: int = 2, **environment: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = home / f"gunicorn-{self.port}.log"
        self._environment = {
            **os.environ,
            "CHURN_HOME": str(home),
            "CHURN_API_PORT": str(self.port),
            "CHURN_API_WORKERS": str(workers),
            "MLFLOW_TRACKING_URI": tracking_uri,
            **environment,
        }

    def __enter__(self) -> "Gunicorn":
        command = [sys.executable, "-m", "gunicorn", "--config", "api/gunicorn_conf.py"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=log, stderr=log)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def get(self, path: str) -> Any:
        return httpx.get(self.url + path, timeout=20).raise_for_status().json()

    def post(self, path: str, body: Mapping[str, object]) -> httpx.Response:
        return httpx.post(self.url + path, json=body, timeout=30)

    def wait_ready(self, seconds: float = 60) -> float:
        """Wait for readiness; returns how long it took."""
        began = time.monotonic()
        while True:
            try:
                if httpx.get(f"{self.url}/health/ready", timeout=5).status_code == 200:
                    return time.monotonic() - began
            except httpx.TransportError:
                pass
            assert time.monotonic() - began < seconds, self.log.read_text()[-3000:]
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            time.sleep(0.05)

    def workers(self) -> list[int]:
        """The process ids of the workers."""
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(number) for number in found.split()]

    def metrics(self) -> dict[str, float]:
        """Every sample, by its name with its labels."""
        text = httpx.get(f"{self.url}/metrics", timeout=20).raise_for_status().text
        lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in lines}
