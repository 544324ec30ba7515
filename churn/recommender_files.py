"""What a recommender's version carries, written in training. :mod:`churn.recommender_parts` reads it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from churn import contract as contracts
from churn import parity, shares
from churn.compiled import TOLERANCE
from churn.encoding import Encoded, Encoder, customers
from churn.errors import RefusedModel
from churn.liking import Scaling
from churn.recommender_parts import ARRAYS_FILE, TOLD_FILE, Document, ScalingTold
from churn.scoring import CHECK_FILE, CONTRACT_FILE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.recommendation import Fitted

CHECKED_ROWS = 100
_AT_ONCE = 50_000


def write_parts(
    folder: Path,
    fitted: "Fitted",
    contract: contracts.Contract,
    items: Sequence[str],
    rows: Encoded,
    positives: "NDArray[np.float32]",
    *,
    scaling: Scaling,
    told: Mapping[str, Any],
    seed: int,
) -> list[Path]:
    """Write contract, arrays, what is told of them and check rows into a folder; returns their paths.

    The arrays are held against LightFM's ``predict`` on all of ``rows``.

    Args:
        items: what was fitted, in order.
        rows: the training customers, whom the reasons' figures are counted among.
        positives: as :func:`churn.recommendation.fit` took them, (n, items).
        scaling: fitted to held-out scores.
        told: more to tell, such as metrics and provenance.

    Raises:
        RefusedModel: the arrays give other scores than LightFM does.
    """
    encoder = Encoder(contract)
    difference = largest_difference(fitted, rows)
    if not difference <= TOLERANCE:
        raise RefusedModel(f"the recommender's arrays differ from LightFM by up to {difference:.2g}")
    (folder / CONTRACT_FILE).write_text(contracts.dump(contract), encoding="utf-8")
    np.savez_compressed(folder / ARRAYS_FILE, **_arrays(fitted, rows, positives))
    document = Document(
        row_hash=contract.row_hash,
        items=list(items),
        seen=fitted.features.seen,
        scaling=ScalingTold(slope=scaling.slope, offset=scaling.offset),
        told={"parity": {"rows": len(rows), "largest_difference": difference}, **told},
    )
    (folder / TOLD_FILE).write_text(document.model_dump_json(indent=2), encoding="utf-8")
    # made-up rows, so that no customer travels with the model
    made_up = parity.jitter(rows, encoder, CHECKED_ROWS, seed)
    check = {"customers": customers(made_up, encoder), "scores": _predicted(fitted, made_up).tolist()}
    (folder / CHECK_FILE).write_text(json.dumps(check), encoding="utf-8")
    return sorted(folder.iterdir())


def largest_difference(fitted: "Fitted", rows: Encoded) -> float:
    """How far the arrays' scores are from LightFM's, at most, over these rows."""
    found = 0.0
    for start in range(0, len(rows), _AT_ONCE):
        some = rows.at(slice(start, start + _AT_ONCE))
        seen = fitted.features.traits(some), fitted.features.owned(some)
        found = max(found, float(np.abs(fitted.liking(*seen) - fitted.predict(*seen)).max(initial=0.0)))
    return found


def _predicted(fitted: "Fitted", rows: Encoded) -> "NDArray[np.float64]":
    return fitted.predict(fitted.features.traits(rows), fitted.features.owned(rows)).astype(np.float64)


def _arrays(fitted: "Fitted", rows: Encoded, positives: "NDArray[np.float32]") -> dict[str, Any]:
    features, vectors = fitted.features, fitted.vectors
    traits, owned = features.traits(rows), features.owned(rows)
    allowed = features.ownership.allowed(rows)
    counts = shares.count(traits, owned, allowed, features.nameable)
    return {
        "users": vectors.users,
        "items": vectors.items,
        "biases": vectors.biases,
        "popularity": _popularity(owned, allowed, positives),
        "frequency": np.bincount(
            np.concatenate([traits.ravel(), features.traits_count + np.nonzero(owned)[1]]), minlength=len(features)
        )
        / max(len(rows), 1),
        "share_keys": counts.keys,
        "share_customers": counts.customers,
        "share_owners": counts.owners,
    }


def _popularity(
    owned: "NDArray[np.bool_]", allowed: "NDArray[np.bool_]", positives: "NDArray[np.float32]"
) -> "NDArray[np.float64]":
    """Of the customers who have what a product requires, the share who own it; of an offer, of all."""
    products = (owned & allowed).sum(axis=0) / np.maximum(allowed.sum(axis=0), 1)
    offers = (positives[:, owned.shape[1] :] >= 1).mean(axis=0)
    return np.concatenate([products, offers]).astype(np.float64)
