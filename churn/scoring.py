"""The one door to a score: API, batch and every later shell go through :class:`Scorer`."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from churn.contract import BANDS, Contract, load
from churn.data import to_frame
from churn.errors import Fault, InvalidData, RefusedModel

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

# Serving never unpickles: skops rebuilds only the types that it trusts itself and these. An imputer
# remembers the dtype of its input; a tree's node indices are followed without a check of bounds,
# hence :func:`_check_trees`.
TRUSTED_TYPES = ["numpy.dtype", "sklearn.tree._tree.Tree"]

PIPELINE_FILE = "model.skops"
CONTRACT_FILE = "contract.yaml"
DECISION_FILE = "decision.json"
DEFAULT_THRESHOLD = 0.5
ADDED_COLUMNS = ("churn_probability", "prediction", "risk")


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """Which registered version gave an answer."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is said of one customer; ``imputed`` names the columns that were filled in."""

    churn_probability: float
    prediction: int
    threshold: float
    risk: str
    action: str
    imputed: list[str]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Scorer:
    """A version in memory: the fitted pipeline, the contract it was trained under, the decision."""

    pipeline: "Pipeline"
    contract: Contract
    threshold: float
    model: ModelVersion

    def probabilities(self, features: pd.DataFrame) -> "NDArray[np.float64]":
        """Churn probabilities, (n,), of validated rows, (n, features)."""
        scores: NDArray[np.float64] = self.pipeline.predict_proba(features[list(self.contract.features)])[:, 1]
        return scores

    def predict(self, customers: list[dict[str, Any]]) -> list[Prediction]:
        """Score customers that the contract's request model has read, in their order."""
        scores = self.probabilities(to_frame(customers, self.contract))
        optional = [name for name, column in self.contract.features.items() if column.may_be_missing]
        return [
            self._prediction(float(score), [name for name in optional if customer[name] is None])
            for score, customer in zip(scores, customers, strict=True)
        ]

    def _prediction(self, probability: float, imputed: list[str]) -> Prediction:
        band = self.contract.band_of(probability)
        decided = int(probability >= self.threshold)
        action = self.contract.risk[band].action
        return Prediction(probability, decided, self.threshold, band, action, imputed)

    def score(self, rows: pd.DataFrame, parsed: pd.DataFrame) -> pd.DataFrame:
        """A file's rows as they are, with :data:`ADDED_COLUMNS` behind them.

        Args:
            parsed: what :func:`churn.data.checked` made of the rows.

        Raises:
            InvalidData: a column has the name of an added one.
        """
        taken = [name for name in ADDED_COLUMNS if name in rows.columns]
        if taken:
            message = "a score is added under this name; rename the column or leave it out"
            raise InvalidData([Fault(1, name, None, message) for name in taken])
        probability = self.probabilities(parsed)
        bands = pd.cut(
            probability,
            [self.contract.risk[band].threshold for band in reversed(BANDS)] + [float("inf")],
            right=False,
            labels=list(reversed(BANDS)),
        )
        return rows.assign(
            churn_probability=probability,
            prediction=(probability >= self.threshold).astype(int),
            risk=bands.astype(str),
        )


def load_scorer(folder: Path, model: ModelVersion) -> Scorer:
    """Read a version from the folder that its artefacts were downloaded to.

    Raises:
        RefusedModel: a part is missing or broken, or the pipeline holds a type that is not
            trusted; nothing of it has been executed.
    """
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        contract = load(_part(folder, CONTRACT_FILE))
        decision = json.loads(_part(folder, DECISION_FILE).read_text(encoding="utf-8"))
        pipeline = skops.io.load(_part(folder, PIPELINE_FILE), trusted=TRUSTED_TYPES)
        _check_trees(pipeline)
        return Scorer(pipeline, contract, float(decision["threshold"]), model)
    except UntrustedTypesFoundException as error:
        raise RefusedModel(f"{model.name} version {model.version} holds untrusted types: {error}") from error
    except Exception as error:  # whatever a broken artefact raises, the version is refused
        raise RefusedModel(f"{model.name} version {model.version} does not load: {error}") from error


def _check_trees(pipeline: "Pipeline") -> None:
    """Refuse trees whose nodes point outside: following them would read foreign memory.

    A node's children stand behind it, as scikit-learn builds them, so that no walk is endless.
    """
    for member in getattr(pipeline.steps[-1][1], "estimators_", []):
        tree = member.tree_
        inner = tree.children_left != -1
        own = np.arange(tree.node_count)[inner]
        for children in (tree.children_left[inner], tree.children_right[inner]):
            if ((children <= own) | (children >= tree.node_count)).any():
                raise ValueError("a tree's nodes point outside it")
        if ((tree.feature[inner] < 0) | (tree.feature[inner] >= tree.n_features)).any():
            raise ValueError("a tree asks for a feature that there is not")


def _part(folder: Path, name: str) -> Path:
    found = next(folder.rglob(name), None)
    if found is None:
        raise FileNotFoundError(f"{name} is missing")
    return found
