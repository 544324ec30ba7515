"""The kinds of model that the platform registers and serves. Nothing is loaded before a version is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol

from churn.errors import UnknownName

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # one with a default, which Python has from 3.13 on

    from churn.contract import Contract
    from churn.recommender import Recommender
    from churn.scoring import ModelVersion, Scorer
else:
    from typing import TypeVar


class Loaded(Protocol):
    """A version in memory."""

    @property
    def contract(self) -> "Contract":
        """What it was trained under."""

    @property
    def model(self) -> "ModelVersion":
        """Which version it is."""


if TYPE_CHECKING:
    Model = TypeVar("Model", bound=Loaded, covariant=True, default="Scorer")
else:
    Model = TypeVar("Model")


@dataclass(frozen=True)
class Kind(Generic[Model]):
    """One kind: a registered model, and how a version of it is read."""

    name: str
    """The registered model's, in MLflow and in the API's paths."""
    label: str
    load: Callable[[Path, "ModelVersion"], Model]
    """Reads a version's folder; raises RefusedModel where it lacks a part or holds what is not trusted."""
    first_needs_gate: bool
    """Whether the gate must have passed the first version, too: the platform does without this kind."""


def _scorer(folder: Path, model: "ModelVersion") -> "Scorer":
    from churn.scoring import load_scorer

    return load_scorer(folder, model)


def _recommender(folder: Path, model: "ModelVersion") -> "Recommender":
    from churn.recommender import load_recommender

    return load_recommender(folder, model)


CLASSIFIER: "Kind[Scorer]" = Kind("churn-classifier", "churn classifier", _scorer, first_needs_gate=False)
RECOMMENDER: "Kind[Recommender]" = Kind("offer-recommender", "offer recommender", _recommender, first_needs_gate=True)
KINDS: "tuple[Kind[Loaded], ...]" = (CLASSIFIER, RECOMMENDER)
DEFAULT: Kind[Any] = CLASSIFIER
"""What is meant where no kind is named. Of any type, so that it may stand as the default of an
argument ``Kind[Model]``."""


def kind_of(name: str) -> "Kind[Loaded]":
    """The kind whose versions are registered under a name.

    Raises:
        UnknownName: there is none.
    """
    for kind in KINDS:
        if kind.name == name:
            return kind
    known = " and ".join(kind.name for kind in KINDS)
    raise UnknownName(f"there is no model of that name; there are {known}")
