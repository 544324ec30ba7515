"""What a version says of its risk bands: how many left in each, and the high band in rules."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from churn.catalogue import Band
from churn.columns import Part

FILE = "segments.json"


class Observed(Part):
    """How many of a band's customers left; the rate and its 95 % interval are None where it has none."""

    customers: int = Field(ge=0)
    left: int = Field(ge=0)
    churn_rate: float | None = Field(ge=0, le=1)
    low: float | None = Field(ge=0, le=1)
    high: float | None = Field(ge=0, le=1)


class BandSeen(Part):
    """A band and what was observed of it."""

    band: Band
    threshold: float
    observed: Observed


class Proposal(Part):
    """Thresholds of the bands that a profit curve suggests."""

    high: float = Field(gt=0, le=1)
    medium: float = Field(gt=0, le=1)
    source: Literal["profit curve", "contract"]
    """The contract's own are kept where contacting never pays."""


class Condition(Part):
    """What a rule asks of one feature: a number in a range, or one of some values."""

    feature: str
    words: str
    at_least: float | None = None
    below: float | None = None
    values: list[str] = []
    """Labels of the values that fulfil it; empty of a number."""


class Rule(Part):
    """Conditions that hold together, and whom they find among customers that they were not made from."""

    text: str
    conditions: list[Condition]
    customers: int
    share: float
    churn_rate: float
    precision: float
    """The share of them that is in the high band."""


class Fidelity(Part):
    """How well "one of the rules holds" tells the high band, on customers that they were not made from."""

    customers: int
    band_share: float
    """The share of these customers that is in the band."""
    accuracy: float
    precision: float
    recall: float
    f1: float


class Rules(Part):
    """The high band as rules; without any, a note says why."""

    rules: list[Rule] = []
    fidelity: Fidelity | None = None
    note: str = ""


class Document(Part):
    """The file."""

    bands: list[BandSeen] = Field(min_length=3, max_length=3)
    """By out-of-fold probabilities of the training rows."""
    proposed: Proposal
    rules: Rules
    personas: str = ""
    """Why there are no personas; empty where there are."""


def load(folder: Path) -> Document | None:
    """What a version's folder says; None where it says nothing.

    Raises:
        ValueError: the file is broken.
    """
    found = next(folder.rglob(FILE), None)
    return Document.model_validate_json(found.read_bytes()) if found else None
