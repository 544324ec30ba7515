"""From a fitted pipeline to ``explainer.npz``, held against SHAP's own explainer before it is kept."""

import json
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from churn import compiling, explainer_file, explanation_summary, trees
from churn.compiled import TOLERANCE
from churn.encoding import Encoded, Encoder
from churn.errors import ChurnError
from churn.explanation import Explainer, Link
from churn.shapley import Linear

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

    from churn.contract import Contract

    Floats = NDArray[np.float64]

CHECKED_ROWS = 200
"""Rows on which both explain: SHAP takes 8 ms for one of a forest."""
MOST_LEAVES = 200_000
"""Of all trees: in their arrays, which every worker holds, each has 32 bytes for each feature on its path."""
log = logging.getLogger(__name__)


class NotExplainable(ChurnError):
    """A model has no additive explanation here."""


def write_parts(folder: Path, pipeline: "Pipeline", contract: "Contract", rows: Encoded, seed: int) -> dict[str, Any]:
    """Write the explainer and what it says of the training rows as a whole, or neither.

    Args:
        rows: those that the pipeline was trained on.

    Returns:
        For the decision file: whether the version is explained, and how far from SHAP's own
        explainer or why not.
    """
    path = folder / explainer_file.FILE
    try:
        features = _matrix(pipeline, contract, rows)
        _write(path, pipeline, contract, rows, features, seed)
        explainer = explainer_file.read(path, contract)
        off = _largest_difference(explainer, pipeline, contract, rows, features, seed)
        if not off <= TOLERANCE:
            raise NotExplainable(f"off by up to {off:g}")
        told = explanation_summary.summary(explainer, features, rows, contract, seed)
        text = json.dumps(told, ensure_ascii=False, allow_nan=False)
        (folder / explanation_summary.FILE).write_text(text, encoding="utf-8")
    except Exception as error:  # whatever keeps a version from being explained, it can score
        known = isinstance(error, NotExplainable | compiling.NotCompilable)
        log.warning("not explained: %s", error, exc_info=not known)
        path.unlink(missing_ok=True)
        return {"explained": False, "why_not_explained": str(error)}
    return {"explained": True, "explained_within": off}


def _matrix(pipeline: "Pipeline", contract: "Contract", rows: Encoded) -> "Floats":
    found = pipeline.named_steps["preprocess"].transform(Encoder(contract).rows(rows))
    return np.asarray(found, dtype=np.float64)


def _write(
    path: Path, pipeline: "Pipeline", contract: "Contract", rows: Encoded, features: "Floats", seed: int
) -> None:
    owner = compiling.owners(pipeline.named_steps["preprocess"], contract)
    if len(owner) != features.shape[1]:
        raise NotExplainable("the preprocessor mixes columns")
    model, calibrator = _uncalibrated(pipeline.named_steps["model"])
    arrays, link = _arrays(model, calibrator, features)
    arrays["owner"] = np.array(owner, dtype=np.int64)
    explainer_file.write(path, arrays, contract, link=link, background=_background(rows, seed))


def _uncalibrated(model: Any) -> tuple[Any, tuple[float, float] | None]:
    """The model, and a and b of its calibrator."""
    if type(model).__name__ != "CalibratedClassifierCV":
        return model, None
    (fitted,) = model.calibrated_classifiers_
    (calibrator,) = fitted.calibrators
    if type(calibrator).__name__ != "_SigmoidCalibration" or calibrator.a_ == 0:
        raise NotExplainable(f"nothing adds up behind {type(calibrator).__name__}")
    return fitted.estimator, (float(calibrator.a_), float(calibrator.b_))


def _arrays(
    model: Any, calibrator: tuple[float, float] | None, features: "Floats"
) -> tuple[dict[str, "NDArray[Any]"], Link]:
    # a calibrator that is given log-odds makes log-odds of them that are as linear
    folded = hasattr(model, "decision_function")
    a, b = calibrator if calibrator and folded else (-1.0, 0.0)
    match type(model).__name__:
        case "LogisticRegression":
            weight, intercept = -a * model.coef_[0], -(a * model.intercept_[0] + b)
            told = {"weight": weight, "mean": features.mean(axis=0), "intercept": np.array(intercept)}
            return {name: np.asarray(some, dtype=np.float64) for name, some in told.items()}, Link(True)
        case "LGBMClassifier":
            ensemble, log_odds = trees.boosted(model), True
        case "RandomForestClassifier" | "ExtraTreesClassifier":
            ensemble, log_odds = trees.forest(model), False
        case other:
            raise NotExplainable(f"{other} has no additive explanation here")
    if len(ensemble.leaf) > MOST_LEAVES:
        raise NotExplainable(f"its trees have {len(ensemble.leaf):,} leaves; at most {MOST_LEAVES:,} are explained")
    link = Link(log_odds, None if folded else calibrator)
    return {**vars(ensemble.leaves().scaled(-a, -b)), "single": np.array(not log_odds)}, link


def _background(rows: Encoded, seed: int) -> Encoded:
    """Training values, each column drawn on its own: none of the lines is a customer."""
    random = np.random.default_rng(seed)
    count = min(len(rows), explainer_file.BACKGROUND_ROWS)

    def drawn(values: "NDArray[Any]") -> "NDArray[Any]":
        lines = [random.permutation(len(values))[:count] for _ in range(values.shape[1])]
        return np.stack([values[line, place] for place, line in enumerate(lines)], 1) if lines else values[:count]

    return Encoded(drawn(rows.numbers), drawn(rows.codes))


def _largest_difference(
    explainer: Explainer, pipeline: "Pipeline", contract: "Contract", rows: Encoded, features: "Floats", seed: int
) -> float:
    """How far the explainer is from SHAP's, and the probability it leads to from the pipeline's, at most."""
    lines = np.random.default_rng(seed).permutation(len(features))[:CHECKED_ROWS]
    explained = explainer.explain(features[lines])
    told = pipeline.predict_proba(Encoder(contract).rows(rows.at(lines)))[:, 1]
    off = [np.abs(explainer.link.probability(explained.output) - told).max()]
    if not isinstance(explainer.game, Linear):
        model, calibrator = _uncalibrated(pipeline.named_steps["model"])
        values, base = by_shap(model, features[lines])
        a, b = calibrator if calibrator and explainer.link.calibrator is None else (-1.0, 0.0)
        off.append(np.abs(explained.contributions + a * values @ explainer.owners.sums).max())
        off.append(abs(explained.base_value + a * base + b))
    return float(max(off))


def by_shap(model: Any, features: "Floats") -> tuple["Floats", float]:
    """What ``shap.TreeExplainer``, called plainly on fitted trees, says of the class 1: values (n, k) and base."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what its own imports and LightGBM's outputs warn of
        import shap

        explainer = shap.TreeExplainer(model)
        values = np.asarray(explainer.shap_values(features, check_additivity=False))
    base = np.ravel(explainer.expected_value)
    return values[..., 1] if values.ndim == 3 else values, float(base[-1])
