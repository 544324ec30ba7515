"""Names of groups of customers, from what sets each apart, in the words of the contract."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from churn.encoding import Encoded, Encoder, values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.columns import Column
    from churn.contract import Contract

AVERAGE = "close to the average"
_FEWEST, _MOST = 2, 3
"""Traits in a name."""
_CLEAR = 0.3
"""From how many standard deviations on a group differs."""
_SAME = 0.7
"""Two traits whose correlation is larger say the same thing, and one of them is enough."""
_LONGEST = 200


@dataclass(frozen=True)
class Said:
    """A trait that a customer has or not, or has more or less of."""

    column: "Column"
    words: str
    of_rows: "NDArray[np.float64]"
    """(n,), standardised over all customers"""


def name_groups(
    contract: "Contract", rows: Encoded, groups: "NDArray[np.int64]", count: int
) -> list[tuple[str, list[str]]]:
    """For each group a name that no other has, and the traits that it is made of.

    A group's distance from everyone is measured alike for all traits: as the difference of means
    in standard deviations, a value of a category counting as 1 where a customer has it. Columns
    that the contract calls sensitive name nobody, unless there are no others.
    """
    said = [one for one in _traits(contract, rows) if not one.column.sensitive] or list(_traits(contract, rows))
    traits = [_of_group(said, groups == group) for group in range(count)]
    names: list[str] = []
    for own in traits:
        lengths = range(_FEWEST, _MOST + 1)
        proposed = [_joined(own[:length]) for length in lengths]
        others = [[_joined(other[:length]) for other in traits if other is not own] for length in lengths]
        free = (name for name, taken in zip(proposed, others, strict=True) if name not in [*taken, *names])
        names.append(next(free, "") or _numbered(proposed[-1], names))
    return list(zip(names, traits, strict=True))


def _numbered(name: str, taken: Sequence[str]) -> str:
    tried = (f"{name} ({number})" for number in range(1, len(taken) + 2))
    return next(one for one in tried if one not in taken)


def _joined(traits: Sequence[str]) -> str:
    name = ", ".join(traits) or AVERAGE
    short = name if len(name) <= _LONGEST - 5 else name[: _LONGEST - 6] + "…"
    return short[:1].upper() + short[1:]


def _of_group(said: Sequence[Said], inside: "NDArray[np.bool_]") -> list[str]:
    """What sets a group apart, strongest first; what says the same as a stronger one is left out."""
    found = []
    for one in said:
        apart = float(one.of_rows[inside].mean())
        words = one.words if not one.column.is_numeric else f"{'high' if apart > 0 else 'low'} {one.words}"
        if _is_clear(one, apart, inside):
            found.append((-round(abs(apart), 6), len(words), words, one))
    chosen: list[Said] = []
    told: list[str] = []
    for _, _, words, one in sorted(found, key=lambda trait: trait[:3]):
        if len(told) < _MOST and not any(_says_the_same(one, other) for other in chosen):
            chosen.append(one)
            told.append(words)
    return told


def _is_clear(one: Said, apart: float, inside: "NDArray[np.bool_]") -> bool:
    if one.column.is_numeric:
        return abs(apart) >= _CLEAR
    has = one.of_rows > 0  # the mean being 0, who has the value stands above it
    return apart >= _CLEAR and bool(has[inside].mean() > 0.5)


def _says_the_same(one: Said, other: Said) -> bool:
    return one.column is other.column or bool(abs((one.of_rows * other.of_rows).mean()) > _SAME)


def _traits(contract: "Contract", rows: Encoded) -> Iterator[Said]:
    encoder = Encoder(contract)
    for place, column in enumerate(encoder.numeric):
        numbers = rows.numbers[:, place]
        known = ~np.isnan(numbers)
        if known.any() and (spread := float(numbers[known].std())) > 0:
            scaled = np.where(known, (numbers - numbers[known].mean()) / spread, 0.0)
            yield Said(column, lowered(column.title), scaled)
    for place, column in enumerate(encoder.categorical):
        for code, value in enumerate(values(column)):
            has = (rows.codes[:, place] == code).astype(np.float64)
            if 0 < (share := float(has.mean())) < 1:
                yield Said(column, in_words(column, value), (has - share) / np.sqrt(share * (1 - share)))


def in_words(column: "Column", value: Any) -> str:
    """A value of a category as a person would say it: "no technical support", "two year contract"."""
    label, told = lowered(column.title), column.label_of(value)
    match told.casefold():
        case "yes":
            return label
        case "no":
            bare = re.sub(r"^has (an? )?", "", label)
            return f"no {label}" if bare == label else f"without {bare}"
    return f"{label} {told}" if told.isdigit() else f"{lowered(told)} {label}"


def lowered(text: str) -> str:
    """Without the capital of its first word, unless that is an abbreviation."""
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
