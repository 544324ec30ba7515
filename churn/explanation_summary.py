"""What a version's explanations say as a whole, from a sample of its training rows: ``explanation.json``.

No customer can be put together from it: of each feature some rows are drawn and shuffled apart from
those of every other.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from churn.encoding import MISSING, Encoded, Encoder, values
from churn.shapley import Trees

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.columns import Column, Scalar
    from churn.contract import Contract
    from churn.explanation import Explained, Explainer

    Floats = NDArray[np.float64]
    Values = NDArray[np.float64]

FILE = "explanation.json"
SAMPLE = 1_000
SAMPLE_OF_FORESTS = 400
"""Rows of large trees, which take 5 ms each."""
POINTS = 300
BINS = 10


def summary(
    explainer: "Explainer", features: "Floats", rows: Encoded, contract: "Contract", seed: int
) -> dict[str, Any]:
    """The importance of each feature, the largest first, with points of value and contribution,
    and how the contribution depends on the value.

    Args:
        features: what the model sees of the rows, (n, k).
    """
    slow = isinstance(explainer.game, Trees) and not explainer.game.is_tabled
    random = np.random.default_rng(seed)
    lines = random.permutation(len(rows))[: SAMPLE_OF_FORESTS if slow else SAMPLE]
    explained = explainer.explain(features[lines])
    encoder = Encoder(contract)
    told = []
    for place, column in enumerate(contract.features.values()):
        known = _values(column, encoder, rows)[lines]
        told.append(_feature(column, known, explained, place, random))
    told.sort(key=lambda feature: -feature["importance"])
    return {
        "space": explainer.space,
        "base_value": explained.base_value,
        "rows": len(lines),
        "features": told,
    }


def read(path: Path, contract: "Contract") -> dict[str, Any]:
    """The summary of a version.

    Raises:
        ValueError: it is no JSON, or tells of other features than the contract's.
    """
    told = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    try:
        names = [feature["feature"] for feature in told["features"]]
        whole = sorted(names) == sorted(contract.features) and {"space", "base_value", "rows"} <= told.keys()
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{FILE} is no summary of explanations") from error
    if not whole:
        raise ValueError(f"{FILE} is not of the features of the contract")
    return dict(told)


def _no_number(name: str) -> None:
    raise ValueError(f"{FILE} holds {name}, which is no JSON")


def _values(column: "Column", encoder: Encoder, rows: Encoded) -> "Values":
    """A column's numbers, or its codes; NaN where there is none."""
    if column.is_numeric:
        return rows.numbers[:, encoder.numeric.index(column)]
    codes = rows.codes[:, encoder.categorical.index(column)]
    return np.where(codes == MISSING, np.nan, codes.astype(np.float64))


def _feature(
    column: "Column", known: "Values", explained: "Explained", place: int, random: np.random.Generator
) -> dict[str, Any]:
    contributions, points = explained.contributions[:, place], explained.points[:, place]
    shown = random.permutation(len(known))[:POINTS].tolist()
    dependence = (
        _curve(column, known, contributions, points)
        if column.is_numeric
        else {
            "kind": "category",
            "values": _by_value(column, known, contributions, points),
        }
    )
    return {
        "feature": column.name,
        "label": column.title,
        "unit": column.unit,
        "type": column.type,
        "importance": float(np.abs(contributions).mean()),
        "importance_points": float(np.abs(points).mean()),
        "beeswarm": [[_plain(column, known[row]), float(contributions[row])] for row in shown],
        "dependence": dependence,
    }


def _plain(column: "Column", value: float) -> "Scalar | None":
    """A value as the contract has it."""
    if np.isnan(value):
        return None
    if column.is_numeric:
        return int(value) if column.type == "integer" else float(value)
    found: Scalar = values(column)[int(value)]
    return found


def _by_value(column: "Column", known: "Values", contributions: "Floats", points: "Floats") -> list[dict[str, Any]]:
    """The mean contribution of each value that the sample has."""
    told = []
    for code in [*range(len(values(column))), np.nan]:
        of = np.isnan(known) if np.isnan(code) else known == code
        if of.any():
            value = _plain(column, code)
            label = "missing" if value is None else column.label_of(value)
            told.append({"value": value, "label": label, **_means(of, contributions, points)})
    return told


def _curve(column: "Column", known: "Values", contributions: "Floats", points: "Floats") -> dict[str, Any]:
    """The mean contribution over bins of equal mass, as far as equal numbers allow."""
    there = known[~np.isnan(known)]
    edges = np.unique(np.quantile(there, np.linspace(0, 1, BINS + 1))) if len(there) else np.empty(0)
    place = np.clip(np.searchsorted(edges, known, side="right") - 1, 0, max(len(edges) - 2, 0))
    told = []
    for number in range(max(len(edges) - 1, min(len(edges), 1))):
        of = (place == number) & ~np.isnan(known)
        if of.any():
            low, high = known[of].min(), known[of].max()
            ends = {"low": _plain(column, low), "high": _plain(column, high), "mean_value": float(known[of].mean())}
            told.append({**ends, **_means(of, contributions, points)})
    gaps = np.isnan(known)
    missing = _means(gaps, contributions, points) if gaps.any() else None
    return {"kind": "number", "curve": told, "missing": missing}


def _means(of: "NDArray[np.bool_]", contributions: "Floats", points: "Floats") -> dict[str, Any]:
    return {
        "count": int(of.sum()),
        "contribution": float(contributions[of].mean()),
        "points": float(points[of].mean()),
    }
