"""Versions that are quick to make, a registry that holds them, and a real gunicorn over it.

Their artefacts lie in a folder of the test and are registered from there, without a run: a
training would take longer than all that is done with them.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from churn import contract as contracts
from churn import settings as settings_of
from churn.scoring import ModelVersion, Scorer, load_scorer
from churn.settings import Settings
from tests.conftest import ROOT, free_port

NOBODY = "http://127.0.0.1:9"
"""Where no MLflow answers."""


def write(folder: Path, *, start: int = 0, without_last: bool = False) -> Path:
    """A version's folder: a logistic regression on 300 of the shipped rows.

    Args:
        start: the first of these rows; other rows make another model.
        without_last: whether its contract lacks the last feature.
    """
    import skops.io

    from churn import parity, training
    from churn.data import features_and_target, read_rows, validate
    from churn.packaging import write_parts
    from churn.scoring import PIPELINE_FILE

    path = settings_of.load().contract
    contract = contracts.load(path)
    if without_last:
        *kept, last = contract.features
        features_kept = {name: contract.features[name] for name in kept}
        contract = contract.model_copy(update={"features": features_kept, "ignored": [*contract.ignored, last]})
    rows = read_rows(path.parent / contract.rows.training, contract.rows.format).iloc[start : start + 300]
    features, target = features_and_target(validate(rows, contract, target="required"), contract)
    pipeline = training.build("logistic_regression", contract, 1).fit(features, target)
    folder.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "JITTERED", 200)
        write_parts(folder, pipeline, contract, features, threshold=0.3, told={}, seed=1)
    skops.io.dump(pipeline, folder / PIPELINE_FILE)
    return folder


def tampered(folder: Path, copy: Path, part: str, content: bytes) -> Path:
    """A copy of a version's folder with another content of one file."""
    shutil.copytree(folder, copy)
    (copy / part).write_bytes(content)
    return copy


def register(settings: Settings, folder: Path) -> str:
    """Register a folder as the next version, judged well; returns its number."""
    from mlflow import MlflowClient

    from churn.registry import CLASSIFIER

    client = MlflowClient(settings.tracking_uri, settings.tracking_uri)
    if not client.search_registered_models(f"name='{CLASSIFIER}'"):
        client.create_registered_model(CLASSIFIER)
    return str(client.create_model_version(CLASSIFIER, source=folder.as_uri()).version)


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
