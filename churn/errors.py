"""The errors that the platform raises on purpose, free of HTTP.

ChurnError
├── ContractError        the contract file itself is wrong
├── InvalidData          rows do not fit the contract; carries every fault
├── UnreadableFile       a file is missing, empty, of another format or encoding
├── NoChampion           no model is in service yet
├── RefusedModel         a registered version cannot be served
├── UnknownVersion       the registry holds no version of that number
├── UnknownName          there is nothing of the name that was asked for
├── Refused              what was asked for is not allowed as things stand
├── Unavailable          another service does not answer
└── NotReady             this machine cannot run what was asked for
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SHOWN_FAULTS = 100
_VALUE_LENGTH = 200


class ChurnError(Exception):
    """Base of all; its text is one sentence that says what is wrong and how to mend it."""


class ContractError(ChurnError):
    """The contract file cannot be read or contradicts itself."""


class UnreadableFile(ChurnError):
    """A data file cannot be read at all."""


class NoChampion(ChurnError):
    """No version carries the alias of the one in service."""


class RefusedModel(ChurnError):
    """A registered version lacks a part, holds an untrusted one, or does not load."""


class UnknownVersion(ChurnError):
    """No registered version has the number that was asked for."""


class UnknownName(ChurnError):
    """There is nothing of the name that was asked for: no such pipeline, run or job."""


class Refused(ChurnError):
    """What was asked for may not be as things stand: a version's verdict speaks against it, a key's name is taken."""


class Unavailable(ChurnError):
    """Another service of the platform does not answer."""


class NotReady(ChurnError):
    """A port is taken, a program is missing: the machine is not ready for what was asked."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with one cell.

    ``row`` counts as its medium does: customers of a request from 0, lines of a file as a
    spreadsheet shows them (the header is row 1). It is None where a whole column is at fault.
    """

    row: int | None
    field: str
    value: Any
    message: str

    def as_dict(self) -> dict[str, Any]:
        return {"row": self.row, "field": self.field, "value": _shown(self.value), "message": self.message}

    def __str__(self) -> str:
        where = self.field if self.row is None else f"row {self.row}, {self.field}"
        value = "" if self.value is None else f" {self.as_dict()['value']!r}:"
        return f"{where}:{value} {self.message}"


def _shown(value: Any) -> Any:
    """A value short enough to show; of a container only what it is, since it may be deep."""
    if isinstance(value, str):
        return value if len(value) <= _VALUE_LENGTH else value[:_VALUE_LENGTH] + "…"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no such number
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return str(value)[:_VALUE_LENGTH]


class InvalidData(ChurnError):
    """Rows that do not fit the contract: the first faults in full, and how many there are."""

    def __init__(self, faults: Sequence[Fault], total: int | None = None, source: str = "") -> None:
        self.faults = list(faults[:SHOWN_FAULTS])
        self.total = len(faults) if total is None else total
        self.source = source
        super().__init__(self.summary)

    @property
    def summary(self) -> str:
        noun = "fault" if self.total == 1 else "faults"
        return f"{self.source + ': ' if self.source else ''}{self.total:,} {noun} found"

    def report(self) -> str:
        lines = [self.summary, *(f"  {fault}" for fault in self.faults)]
        if self.total > len(self.faults):
            lines.append(f"  … and {self.total - len(self.faults):,} more")
        return "\n".join(lines)
