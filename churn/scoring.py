"""The one door to a score: API, batch and every later shell go through :class:`Scorer`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from churn import combinations, compiled, contract, explainer_file, segments, trust
from churn.contract import BANDS, Contract
from churn.encoding import Encoded, Encoder
from churn.errors import NotReady, RefusedModel
from churn.explanation import Explained, Explainer
from churn.lime import Lime, Local
from churn.personas import Personas
from churn.personas import load as load_personas
from churn.segments import Document as Segments

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

PIPELINE_FILE = "model.skops"
CONTRACT_FILE = "contract.yaml"
DECISION_FILE = "decision.json"
CHECK_FILE = "check.json"
_MODELS = ("LogisticRegression", "RandomForestClassifier", "LGBMClassifier")
_EXPLAINED_ROWS = 20
"""How many of the rows of :data:`CHECK_FILE` are explained, too, when a version is loaded."""
ADDED_COLUMNS = ("churn_probability", "prediction", "risk")


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """Which registered version gave an answer."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is said of one customer; ``imputed`` names the columns that were filled in, and ``persona``
    is None for a version that carries none."""

    churn_probability: float
    prediction: int
    threshold: float
    risk: str
    action: str
    imputed: list[str]
    persona: str | None = None

    def as_dict(self) -> dict[str, Any]:
        # by hand: dataclasses.asdict copies deeply, and takes longer than the model
        return {
            "churn_probability": self.churn_probability,
            "prediction": self.prediction,
            "threshold": self.threshold,
            "risk": self.risk,
            "action": self.action,
            "persona": self.persona,
            "imputed": self.imputed,
        }


class Source(Protocol):
    """What gives probabilities: the compiled scorer, or a pipeline that could not be compiled."""

    def probabilities(self, encoded: Encoded) -> "NDArray[np.float64]": ...

    def features(self, encoded: Encoded) -> "NDArray[np.float64]": ...


class PipelineSource:
    """A scikit-learn pipeline behind the same door: slower, and right."""

    def __init__(self, pipeline: "Pipeline", encoder: Encoder) -> None:
        self.pipeline = pipeline
        self._encoder = encoder

    def probabilities(self, encoded: Encoded) -> "NDArray[np.float64]":
        found: NDArray[np.float64] = self.pipeline.predict_proba(self._encoder.rows(encoded))[:, 1]
        return found

    def features(self, encoded: Encoded) -> "NDArray[np.float64]":
        preprocessor = self.pipeline.named_steps["preprocess"]
        return np.asarray(preprocessor.transform(self._encoder.rows(encoded)), dtype=np.float64)


@dataclass(frozen=True)
class Scorer:
    """A version in memory: what scores, the contract it was trained under, the decision."""

    source: Source
    contract: Contract
    threshold: float
    model: ModelVersion
    personas: Personas | None = None
    segments: Segments | None = None
    explainer: Explainer | None = None
    explanation: dict[str, Any] | None = None
    """What its explanations say as a whole (:mod:`churn.explanation_summary`)."""
    seen: combinations.Combinations | None = None
    """Which values its training rows held together; None for a version that carries nothing of it."""

    @cached_property
    def encoder(self) -> Encoder:
        return Encoder(self.contract)

    @property
    def is_compiled(self) -> bool:
        return isinstance(self.source, compiled.Compiled)

    def probabilities(self, encoded: Encoded) -> "NDArray[np.float64]":
        """Churn probabilities, (n,), of validated rows."""
        return self.source.probabilities(encoded)

    def features(self, encoded: Encoded) -> "NDArray[np.float64]":
        """The matrix that the model sees, (n, k).

        Raises:
            NotReady: the version is older than explanations.
        """
        return self.source.features(encoded)

    @property
    def space(self) -> str:
        """What contributions are told in.

        Raises:
            NotReady: the version carries no explainer.
        """
        return self._explainer().space

    def explain(self, encoded: Encoded) -> Explained:
        """Why these rows score as they do, by SHAP.

        Raises:
            NotReady: the version carries no explainer.
        """
        return self._explainer().explain(self.features(encoded))

    def explain_locally(self, encoded: Encoded) -> Local:
        """Why one row, (1, …), scores as it does, by LIME.

        Raises:
            NotReady: the version carries no explainer.
        """
        self._explainer()
        return self._lime.explain(encoded, self.probabilities)

    def _explainer(self) -> Explainer:
        if self.explainer is None:
            raise NotReady(f"{self.model.name} version {self.model.version} carries no explainer; train anew")
        return self.explainer

    @cached_property
    def _lime(self) -> Lime:
        return Lime(self._explainer(), self.encoder)

    def predict(self, customers: Sequence[Mapping[str, Any]]) -> list[Prediction]:
        """Score customers whose values the contract has read, in their order."""
        encoded = self.encoder.customers(customers)
        scores, names = self.probabilities(encoded).tolist(), self.persona_names(encoded)
        return [
            self._prediction(score, [name for name in self._optional if customer[name] is None], persona)
            for score, persona, customer in zip(scores, names, customers, strict=True)
        ]

    def persona_names(self, encoded: Encoded) -> list[str | None]:
        """The persona of each row, (n,); None where the version carries none."""
        if self.personas is None:
            return [None] * len(encoded)
        names = self.personas.names
        return [names[place] for place in self.personas.assign(encoded).tolist()]

    @cached_property
    def _optional(self) -> list[str]:
        return [name for name, column in self.contract.features.items() if column.may_be_missing]

    def _prediction(self, probability: float, imputed: list[str], persona: str | None) -> Prediction:
        band = self.contract.band_of(probability)
        decided = int(probability >= self.threshold)
        action = self.contract.risk[band].action
        return Prediction(probability, decided, self.threshold, band, action, imputed, persona)

    def bands(self, probability: "NDArray[np.float64]") -> "NDArray[np.int64]":
        """The risk band of each probability, (n,), as its place among :data:`churn.contract.BANDS`."""
        # from low to high, so that searchsorted counts how many thresholds a probability reaches
        starts = [self.contract.risk[band].threshold for band in reversed(BANDS)]
        return np.asarray(len(BANDS) - np.searchsorted(starts, probability, side="right"), dtype=np.int64)


def load_scorer(folder: Path, model: ModelVersion, *, threads: int = 1) -> Scorer:
    """Read a version from the folder that its artefacts were downloaded to.

    Args:
        threads: that one call of the compiled scorer may use.

    Raises:
        RefusedModel: a part is missing, broken or holds a type that is not trusted; or the parts
            do not belong together: another contract than the scorer's, other probabilities than
            the pipeline gave. Nothing of a refused version has been executed but its graph.
    """
    try:
        trust.check(_part(folder, PIPELINE_FILE))
        rows = contract.load(_part(folder, CONTRACT_FILE))
        decision = json.loads(_part(folder, DECISION_FILE).read_text(encoding="utf-8"))
        encoder = Encoder(rows)
        source: Source
        if decision["compiled"]:
            source = _compiled(folder, rows, threads)
        else:
            source = PipelineSource(load_pipeline(folder), encoder)
        threshold = float(decision["threshold"])
        if not 0 <= threshold <= 1:
            raise ValueError(f"{DECISION_FILE} has the threshold {threshold:g}, which is no probability")
        check = json.loads(_part(folder, CHECK_FILE).read_text(encoding="utf-8"))
        _check_probabilities(check, source, rows, encoder)
        groups = load_personas(folder, rows, expected=decision.get("personas"))
        explained = encoder.customers(check["customers"][:_EXPLAINED_ROWS]) if decision.get("explained") else None
        told = explainer_file.load(folder, rows, source, explained)
        seen = combinations.load(folder, rows)
        return Scorer(source, rows, threshold, model, groups, segments.load(folder), *told, seen)
    except Exception as error:  # whatever a broken artefact raises, the version is refused
        raise RefusedModel(f"{model.name} version {model.version} does not load: {error}") from error


def load_pipeline(folder: Path) -> "Pipeline":
    """The fitted pipeline of a version's folder, read without unpickling anything.

    Raises:
        ValueError: it is broken, or holds a type that is not trusted.
    """
    import skops.io

    path = _part(folder, PIPELINE_FILE)
    trust.check(path)
    pipeline: Pipeline = skops.io.load(path, trusted=list(trust.TRUSTED_TYPES))
    _check_trees(pipeline)
    return pipeline


def _compiled(folder: Path, rows: Contract, threads: int) -> compiled.Compiled:
    source = compiled.Compiled(_part(folder, compiled.FILE), threads=threads)
    if source.row_hash != rows.row_hash:
        raise ValueError(f"{compiled.FILE} was made for other columns than those of {CONTRACT_FILE}")
    return source


def _check_probabilities(check: dict[str, Any], source: Source, rows: Contract, encoder: Encoder) -> None:
    """Hold the source against what the pipeline said, in training, of rows that travel along."""
    faults = [fault for row in check["customers"] for fault in rows.read(row)[1]]
    if faults:
        raise ValueError(f"the rows of {CHECK_FILE} do not fit {CONTRACT_FILE}: {faults[0][0]}: {faults[0][1]}")
    found = source.probabilities(encoder.customers(check["customers"]))
    off = np.abs(found - np.array(check["churn_probability"])).max()
    if not off <= compiled.TOLERANCE:  # also where it is no number
        raise ValueError(f"it gives other probabilities than its pipeline gave, by up to {off:.2g}")


def _check_trees(pipeline: "Pipeline") -> None:
    """Refuse trees whose nodes point outside: following them would read foreign memory.

    A node's children stand behind it, as scikit-learn builds them, so that no walk is endless.
    """
    if [name for name, _ in pipeline.steps] != ["preprocess", "model"]:
        raise ValueError("the pipeline has other steps than a preprocessor and a model")
    model = pipeline.steps[-1][1]
    if type(model).__name__ == "CalibratedClassifierCV":
        (fitted,) = model.calibrated_classifiers_
        model = fitted.estimator
    if type(model).__name__ not in _MODELS:
        raise ValueError(f"the model is a {type(model).__name__}")
    for member in getattr(model, "estimators_", []):
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
