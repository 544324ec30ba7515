"""What a recommender's version carries, read without trust. :mod:`churn.recommender_files` writes it.

Nothing is unpickled, every number that leads to another is held against its range, and the scores of
made-up rows are held against LightFM's own.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from churn import array_file
from churn import contract as contracts
from churn.columns import Part
from churn.compiled import TOLERANCE
from churn.encoding import Encoded, Encoder
from churn.liking import Scaling, Vectors
from churn.scoring import CHECK_FILE, CONTRACT_FILE
from churn.shares import MIN_CUSTOMERS, Shares
from churn.user_features import Seen, UserFeatures

if TYPE_CHECKING:
    from numpy.typing import NDArray

ARRAYS_FILE = "recommender.npz"
TOLD_FILE = "recommender.json"
LARGEST_FILE = 256 * 2**20
"""Bytes of all arrays together."""
_ARRAYS = {
    *("users", "items", "biases", "popularity", "frequency"),
    *("share_keys", "share_customers", "share_owners"),
}

Arrays = Mapping[str, Any]


class ScalingTold(Part):
    """:class:`churn.liking.Scaling` in the file."""

    slope: float = Field(gt=0)
    offset: float


class Document(Part):
    """The file :data:`TOLD_FILE`."""

    row_hash: str
    items: list[str] = Field(min_length=1)
    seen: list[Seen]
    scaling: ScalingTold
    told: dict[str, Any] = {}


@dataclass(frozen=True)
class Parts:
    """What was read."""

    fields: dict[str, Any]
    """Of :class:`churn.recommender.Recommender`, but for the version."""
    checked: Encoded
    """Made-up rows, and what LightFM's ``predict`` said of them."""
    expected: "NDArray[np.float64]"


def read(folder: Path) -> Parts:
    """The parts of a version's folder.

    Raises:
        Exception: whatever numpy or pydantic raise over a file that is broken.
        FileNotFoundError: one is missing.
        ValueError: they do not belong together, or an array is of another type or shape, holds what
            is no number, or leads outside another.
    """
    contract = contracts.load(_part(folder, CONTRACT_FILE))
    told = Document.model_validate_json(_part(folder, TOLD_FILE).read_bytes())
    _check_items(told, contract)
    features = UserFeatures(contract, told.seen)
    arrays = array_file.read(_part(folder, ARRAYS_FILE), LARGEST_FILE, lambda names: names == _ARRAYS)
    count, items = len(features), len(told.items)
    users = _finite(arrays, "users", np.float32, (count, None))
    checked, expected = _checked(_part(folder, CHECK_FILE), contract, items)
    fields = {
        "contract": contract,
        "items": tuple(told.items),
        "features": features,
        "vectors": Vectors(
            users,
            _finite(arrays, "items", np.float32, (items, users.shape[1])),
            _finite(arrays, "biases", np.float32, (items,)),
        ),
        "scaling": Scaling(told.scaling.slope, told.scaling.offset),
        "popularity": _share(arrays, "popularity", (items,)),
        "counts": _shares(arrays, len(contract.products), count),
        "frequency": _share(arrays, "frequency", (count,)),
        "told": told.told,
    }
    return Parts(fields, checked, expected)


def check(found: "NDArray[np.float64]", expected: "NDArray[np.float64]") -> None:
    """Hold scores, (n, items), against LightFM's.

    Raises:
        ValueError: they differ by more than :data:`churn.compiled.TOLERANCE`.
    """
    off = np.abs(found - expected).max(initial=0.0)
    if not off <= TOLERANCE:  # also where it is no number
        raise ValueError(f"it gives other scores than LightFM gave, by up to {off:.2g}")


def _part(folder: Path, name: str) -> Path:
    found = next(folder.rglob(name), None)
    if found is None:
        raise FileNotFoundError(f"{name} is missing")
    return found


def _check_items(told: Document, contract: contracts.Contract) -> None:
    if told.row_hash != contract.row_hash:
        raise ValueError(f"{TOLD_FILE} was made for other columns than those of {CONTRACT_FILE}")
    products = list(contract.products)
    offers = told.items[len(products) :]
    if told.items[: len(products)] != products or offers != [name for name in contract.offers if name in offers]:
        raise ValueError(f"{TOLD_FILE} scores other items than the products and offers of {CONTRACT_FILE}")


def _checked(path: Path, contract: contracts.Contract, items: int) -> tuple[Encoded, "NDArray[np.float64]"]:
    check = json.loads(path.read_text(encoding="utf-8"))
    expected = np.array(check["scores"], dtype=np.float64)
    if not check["customers"] or expected.shape != (len(check["customers"]), items):
        raise ValueError(f"{CHECK_FILE} has scores of shape {expected.shape} for rows of {items} items")
    faults = [fault for row in check["customers"] for fault in contract.read(row)[1]]
    if faults:
        raise ValueError(f"the rows of {CHECK_FILE} do not fit {CONTRACT_FILE}: {faults[0][0]}: {faults[0][1]}")
    return Encoder(contract).customers(check["customers"]), expected


def _array(arrays: Arrays, name: str, kind: type, shape: tuple[int | None, ...]) -> "NDArray[Any]":
    """An array of this type; None in the shape is any length but 0."""
    found: NDArray[Any] = arrays[name]
    fits = found.ndim == len(shape) and all(
        other > 0 if one is None else one == other for one, other in zip(shape, found.shape, strict=True)
    )
    if found.dtype != np.dtype(kind) or not fits:
        raise ValueError(f"{ARRAYS_FILE}: {name} is of type {found.dtype} and shape {found.shape}")
    return np.ascontiguousarray(found)


def _finite(arrays: Arrays, name: str, kind: type, shape: tuple[int | None, ...]) -> "NDArray[Any]":
    found = _array(arrays, name, kind, shape)
    if not np.isfinite(found).all():
        raise ValueError(f"{ARRAYS_FILE}: {name} holds what is no number")
    return found


def _share(arrays: Arrays, name: str, shape: tuple[int | None, ...]) -> "NDArray[np.float64]":
    found = _finite(arrays, name, np.float64, shape)
    if found.size and not (found.min() >= 0 and found.max() <= 1):
        raise ValueError(f"{ARRAYS_FILE}: {name} holds what is no share")
    return found


def _shares(arrays: Arrays, products: int, features: int) -> Shares:
    count = (len(arrays["share_keys"]),) if arrays["share_keys"].ndim else (0,)
    keys, customers, owners = (
        _array(arrays, f"share_{name}", np.int64, count) for name in ("keys", "customers", "owners")
    )
    if len(keys) and (keys[0] < 0 or keys[-1] >= products * features**2 or (np.diff(keys) <= 0).any()):
        raise ValueError(f"{ARRAYS_FILE}: share_keys is out of order, or leads outside")
    if (customers < MIN_CUSTOMERS).any() or (owners < 0).any() or (owners > customers).any():
        raise ValueError(f"{ARRAYS_FILE}: its counts of customers contradict each other, or tell of too few")
    return Shares(keys, customers, owners, features)
