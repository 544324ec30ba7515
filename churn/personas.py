"""Personas: groups of customers that are alike, as arrays that serving reads.

What :mod:`churn.clustering` fits is written here as numbers, so that telling a customer's persona
needs no scikit-learn, and nothing to unpickle.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field, model_validator

from churn.columns import Part
from churn.encoding import Encoder, values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.contract import Contract
    from churn.encoding import Encoded

FILE = "personas.json"
MOST = 8
_AT_ONCE = 4_096
_FARTHEST = 1e150
"""In standard deviations: a range may be wide enough for a distance to overflow."""


class Trait(Part):
    """What one feature is like in a persona, and among all customers."""

    feature: str
    label: str
    mean: float | None = None
    """Of a number, without the missing ones; None of a category."""
    mean_of_all: float | None = None
    shares: dict[str, float] = {}
    """Of a category: from each value's label to its share."""
    shares_of_all: dict[str, float] = {}


class Persona(Part):
    """A group of customers, as the training rows show it."""

    name: str = Field(min_length=1, max_length=200)
    traits: list[str] = []
    """What sets it apart, strongest first, in words."""
    customers: int = Field(ge=0)
    share: float = Field(ge=0, le=1)
    churn_rate: float = Field(ge=0, le=1)
    profile: list[Trait] = []


class Trial(Part):
    """What one number of groups gave."""

    k: int
    silhouette: float
    stability: float
    """Mean adjusted Rand index between the groups and those of refits on bootstrapped rows."""
    smallest: int
    """Customers in the smallest group."""


class Number(Part):
    """How a number is scaled."""

    column: str
    fill: float
    """What stands in for a missing one."""
    mean: float
    scale: float = Field(gt=0)


class Category(Part):
    """What each value of a category adds to the squared distance from each centroid."""

    column: str
    distances: list[list[float]]
    """(1 + values, k); the first is a missing one's."""


class Document(Part):
    """The file."""

    row_hash: str
    rows: int
    """Customers that the groups were found among."""
    seed: int
    stable: bool
    """Whether refits give much the same groups; where no number of groups does, the best is taken all the same."""
    trials: list[Trial]
    numbers: list[Number]
    centroids: list[list[float]]
    """(k, numbers), in standard deviations from the mean."""
    categories: list[Category]
    personas: list[Persona] = Field(min_length=2, max_length=MOST)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        k = len(self.personas)
        if len({persona.name for persona in self.personas}) < k:
            raise ValueError("two personas share a name")
        if len(self.centroids) != k or any(len(centroid) != len(self.numbers) for centroid in self.centroids):
            raise ValueError("there is not one centroid of all numbers for each persona")
        if any(len(distances) != k for category in self.categories for distances in category.distances):
            raise ValueError("a category's value is not told for each persona")
        return self


class Personas:
    """Tells customers' personas.

    Args:
        told: what was fitted.
        contract: of the rows that it will be asked about.

    Raises:
        ValueError: it was fitted to other columns than the contract's.
    """

    def __init__(self, told: Document, contract: "Contract") -> None:
        if faults := list(_faults(told, contract)):
            raise ValueError(f"{FILE}: {faults[0]}")
        self.told = told
        self.names = [persona.name for persona in told.personas]
        numbers, k = told.numbers, len(told.personas)
        self._fill = np.array([number.fill for number in numbers])
        self._mean = np.array([number.mean for number in numbers])
        self._scale = np.array([number.scale for number in numbers])
        centroids = np.array(told.centroids).reshape(k, len(numbers))
        # ‖z − c‖² without ‖z‖², which is the same for every centroid
        self._pull, self._own = -2 * centroids.T, (centroids**2).sum(axis=1)
        # each of the two costs as much as all the rest, and most contracts need neither
        columns = [contract.features[number.column] for number in numbers]
        self._gapped = any(column.may_be_missing for column in columns)
        farthest = (max(map(abs, column.bounds)) + 1 for column in columns)
        self._wide = any(far / _FARTHEST > number.scale for far, number in zip(farthest, numbers, strict=True))
        sizes = [len(category.distances) for category in told.categories]
        self._places = np.cumsum([1, *sizes])[:-1]  # a code of -1, a missing one, finds the first
        tables = [distances for category in told.categories for distances in category.distances]
        self._tables = np.array(tables).reshape(-1, k)

    def assign(self, encoded: "Encoded") -> "NDArray[np.int64]":
        """The persona of each row, (n,), as its place among :attr:`names`."""
        numbers, codes = encoded.numbers, encoded.codes
        if len(numbers) <= _AT_ONCE:
            return self._nearest(numbers, codes)
        starts = range(0, len(numbers), _AT_ONCE)
        parts = [self._nearest(numbers[at : at + _AT_ONCE], codes[at : at + _AT_ONCE]) for at in starts]
        return np.concatenate(parts)

    def _nearest(self, numbers: "NDArray[np.float64]", codes: "NDArray[np.int64]") -> "NDArray[np.int64]":
        if self._gapped:
            numbers = np.where(np.isnan(numbers), self._fill, numbers)
        if self._wide:
            with np.errstate(over="ignore"):
                scaled = np.clip((numbers - self._mean) / self._scale, -_FARTHEST, _FARTHEST)
        else:
            scaled = (numbers - self._mean) / self._scale
        distance = scaled @ self._pull + self._own
        if len(self._places):
            distance += self._tables[codes + self._places].sum(axis=1)
        nearest: NDArray[np.int64] = distance.argmin(axis=1)
        return nearest


def _faults(told: Document, contract: "Contract") -> Iterator[str]:
    if told.row_hash != contract.row_hash:
        yield "it was made for other columns than the contract's"
    encoder = Encoder(contract)
    if [number.column for number in told.numbers] != [column.name for column in encoder.numeric]:
        yield "its numbers are not those of the contract"
    sizes = {column.name: 1 + len(values(column)) for column in encoder.categorical}
    if {category.column: len(category.distances) for category in told.categories} != sizes:
        yield "its categories are not those of the contract"
    if [category.column for category in told.categories] != list(sizes):
        yield "its categories do not stand in the contract's order"


def read(path: Path) -> Document:
    """A file that :func:`write` has made.

    Raises:
        ValueError: it is cut off, or contradicts itself.
        OSError: it is not there.
    """
    return Document.model_validate_json(path.read_bytes())


def write(path: Path, told: Document) -> None:
    path.write_text(json.dumps(told.model_dump(mode="json"), ensure_ascii=False, allow_nan=False), encoding="utf-8")


def load(folder: Path, contract: "Contract", *, expected: str | None) -> Personas | None:
    """The personas of a version's folder; None where it carries none.

    Args:
        expected: the SHA-256 of the file, where the version says that it carries one.

    Raises:
        ValueError, OSError: they are broken, missing, or not of this contract.
    """
    found = next(folder.rglob(FILE), None)
    if found is None:
        if expected:
            raise FileNotFoundError(f"{FILE} is missing")
        return None
    if expected and hashlib.sha256(found.read_bytes()).hexdigest() != expected:
        raise ValueError(f"{FILE} is not the one that the version was made with")
    return Personas(read(found), contract)
