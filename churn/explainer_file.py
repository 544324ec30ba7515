"""``explainer.npz``: the arrays with which serving explains. Written in training, read without trust.

Whoever can put a file into the registry must not gain more by it than a wrong explanation: nothing
is unpickled, and every number that leads to another is held against its range before it is used.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from churn import array_file, explanation_summary
from churn.compiled import TOLERANCE
from churn.encoding import MISSING, Encoded, Encoder, values
from churn.explanation import Explainer, Link
from churn.leaves import Leaves, Owners
from churn.shapley import Linear, Trees

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.contract import Contract
    from churn.shapley import Game

FILE = "explainer.npz"
BACKGROUND_ROWS = 1_000
LARGEST_FILE = 256 * 2**20
"""Bytes of all arrays together; a forest of the usual size has 10 MB."""
_DEEPEST = 64
_COMMON = {"row_hash", "owner", "log_odds", "calibrator", "numbers", "codes"}
_LINEAR = {"weight", "mean", "intercept"}
_TREES = {"single", "tree", "feature", "low", "high", "cover", "value"}

Arrays = Mapping[str, Any]


def write(path: Path, arrays: Arrays, contract: "Contract", *, link: Link, background: Encoded) -> None:
    """Write a model's arrays with what every model has.

    Args:
        arrays: the owner of each column of the matrix, and either ``weight``, ``mean`` and
            ``intercept`` or ``single`` and the fields of :class:`churn.leaves.Leaves`.
    """
    told: dict[str, Any] = {
        "row_hash": np.array(contract.row_hash),
        "log_odds": np.array(link.log_odds),
        "calibrator": np.array(link.calibrator or (), dtype=np.float64),
        "numbers": background.numbers,
        "codes": background.codes,
    }
    np.savez_compressed(path, **told, **arrays)


class Scores(Protocol):
    """What the explainer is held against."""

    def probabilities(self, encoded: Encoded) -> "NDArray[np.float64]": ...

    def features(self, encoded: Encoded) -> "NDArray[np.float64]": ...


def load(
    folder: Path, contract: "Contract", scores: Scores, checked: Encoded | None
) -> tuple[Explainer | None, dict[str, Any] | None]:
    """What explains a version, held against its scores, and its summary.

    Args:
        checked: rows to hold it against; None where the version does not claim to be explained.

    Raises:
        Exception: as :func:`read`.
        ValueError: it explains other probabilities than the version gives.
    """
    if checked is None:
        return None, None
    explainer = read(_part(folder, FILE), contract)
    explained = explainer.explain(scores.features(checked))
    off = np.abs(explainer.link.probability(explained.output) - scores.probabilities(checked)).max(initial=0.0)
    if not off <= TOLERANCE:  # also where it is no number
        raise ValueError(f"{FILE} explains other probabilities than the version gives, off by up to {off:.2g}")
    return explainer, explanation_summary.read(_part(folder, explanation_summary.FILE), contract)


def _part(folder: Path, name: str) -> Path:
    found = next(folder.rglob(name), None)
    if found is None:
        raise FileNotFoundError(f"{name} is missing")
    return found


def read(path: Path, contract: "Contract") -> Explainer:
    """The explainer of a version.

    Raises:
        Exception: whatever numpy raises over a file that is broken.
        ValueError: an array is missing, of another type or shape, or leads outside another.
    """
    arrays = array_file.read(path, LARGEST_FILE, lambda names: names in (_COMMON | _LINEAR, _COMMON | _TREES))
    if str(arrays["row_hash"]) != contract.row_hash:
        raise ValueError(f"{FILE} was made for other columns than those of the contract")
    owner = _array(arrays, "owner", "i", (None,))
    _within("owner", owner, 0, len(contract.features) - 1)
    if len(np.unique(owner)) < len(contract.features):
        raise ValueError(f"{FILE}: a column of the contract is nowhere in the matrix")
    owners = Owners(owner, len(contract.features))
    game = _linear(arrays, owners) if "weight" in arrays else _trees(arrays, owners)
    if not np.isfinite(game.base):
        raise ValueError(f"{FILE}: its base value is no number")
    return Explainer(game, _link(arrays), owners, _background(arrays, Encoder(contract)))


def _array(arrays: Arrays, name: str, kind: str, shape: tuple[int | None, ...]) -> "NDArray[Any]":
    """An array of 8-byte numbers (or truth values) of this kind; None in the shape is any length."""
    found: NDArray[Any] = arrays[name]
    wanted = {"i": np.dtype(np.int64), "f": np.dtype(np.float64), "b": np.dtype(bool)}[kind]
    fits = found.ndim == len(shape) and all(
        one in (None, other) for one, other in zip(shape, found.shape, strict=False)
    )
    if found.dtype != wanted or not fits:
        raise ValueError(f"{FILE}: {name} is of type {found.dtype} and shape {found.shape}")
    return np.ascontiguousarray(found) if shape else found


def _finite(arrays: Arrays, name: str, shape: tuple[int | None, ...]) -> "NDArray[np.float64]":
    found = _array(arrays, name, "f", shape)
    if not np.isfinite(found).all():
        raise ValueError(f"{FILE}: {name} holds what is no number")
    return found


def _within(name: str, found: "NDArray[Any]", low: float, high: float) -> None:
    if found.size and not (found.min() >= low and found.max() <= high):  # also where one is NaN
        raise ValueError(f"{FILE}: {name} leads outside, to {found.min()} or {found.max()}")


def _linear(arrays: Arrays, owners: Owners) -> "Game":
    width = (len(owners.of),)
    intercept = float(_finite(arrays, "intercept", ()))
    return Linear(_finite(arrays, "weight", width), _finite(arrays, "mean", width), intercept, owners)


def _trees(arrays: Arrays, owners: Owners) -> "Game":
    value = _finite(arrays, "value", (None,))
    feature = _array(arrays, "feature", "i", (len(value), None))
    depth = feature.shape[1]
    if not len(value) or depth > _DEEPEST:
        raise ValueError(f"{FILE}: {len(value)} leaves of up to {depth} features")
    _within("feature", feature, -1, len(owners.of) - 1)
    if (np.diff((feature < 0).astype(np.int8), axis=1) < 0).any():
        raise ValueError(f"{FILE}: a used slot stands behind an unused one")
    low, high, cover = (_array(arrays, name, "f", feature.shape) for name in ("low", "high", "cover"))
    if np.isnan(low).any() or np.isnan(high).any():
        raise ValueError(f"{FILE}: an interval ends at what is no number")
    _within("cover", cover, np.finfo(float).tiny, 1)
    tree = _array(arrays, "tree", "i", value.shape)
    if (np.diff(tree) < 0).any():
        raise ValueError(f"{FILE}: its trees are out of order")
    single = bool(_array(arrays, "single", "b", ()))
    return Trees(Leaves(tree, feature, low, high, cover, value), owners, single=single)


def _link(arrays: Arrays) -> Link:
    log_odds = bool(_array(arrays, "log_odds", "b", ()))
    calibrator = _finite(arrays, "calibrator", (None,))
    if not len(calibrator):
        return Link(log_odds)
    a, b = calibrator.tolist()
    if a == 0:
        raise ValueError(f"{FILE}: its calibrator says the same of everybody")
    return Link(log_odds, (a, b))


def _background(arrays: Arrays, encoder: Encoder) -> Encoded:
    numbers = _array(arrays, "numbers", "f", (None, len(encoder.numeric)))
    codes = _array(arrays, "codes", "i", (len(numbers), len(encoder.categorical)))
    if not 1 <= len(numbers) <= BACKGROUND_ROWS:
        raise ValueError(f"{FILE}: {len(numbers):,} background rows, expected 1 to {BACKGROUND_ROWS:,}")
    for place, column in enumerate(encoder.numeric):
        given = numbers[:, place]
        gaps = np.isnan(given)
        if gaps.any() and not column.may_be_missing:
            raise ValueError(f"{FILE}: a background row has no {column.title}")
        _within("numbers", given[~gaps], *column.bounds)
    for place, column in enumerate(encoder.categorical):
        _within("codes", codes[:, place], MISSING if column.may_be_missing else 0, len(values(column)) - 1)
    return Encoded(numbers, codes)
