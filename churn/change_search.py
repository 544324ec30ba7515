"""The cheapest set of changes that leaves the high band, by trying sets of few changes in order of their cost."""

import time
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from churn.encoding import Encoded
from churn.options import Option, Options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from churn.scoring import Scorer

MOST_CHANGES = 3
MOST_OPTIONS = {2: 200, 3: 40}
"""Of how many options sets of so many are tried: those that lower the probability most by themselves."""
SECONDS = 0.2
_FIRST, _LARGEST = 100, 2_000
"""Rows that are scored at once: few at first, since a cheap set is often found."""
_MARGIN = 1e-12
"""How far below the band's threshold, so that no rounding brings it back."""
_SAME_COST = 1e-9
_TOGETHER = 200
"""Options that are held against each other at once, which takes their square of memory."""


@dataclass(frozen=True)
class Found:
    """The changes, none where no set was found; whether every set of up to ``most`` that could be cheaper was tried."""

    changes: list[Option]
    complete: bool
    most: int = MOST_CHANGES


def search(scorer: "Scorer", customer: "Mapping[str, Any]", options: Options, seconds: float = SECONDS) -> Found:
    """The cheapest set of changes after which the customer is not in the high band.

    Of equally dear ones that with fewer changes, then that with the lowest probability.

    Args:
        seconds: after which what was found by then counts. Single changes are always tried.
    """
    end = time.monotonic() + seconds
    rows = _Rows(scorer, customer, options)
    alone = rows.score(np.arange(len(options.all))[:, None])
    sets, whole = _legal(options, alone)
    cost = np.array([one.cost for one in options.all] + [0.0])[sets].sum(axis=1)
    count = (sets >= 0).sum(axis=1)
    order = np.lexsort((np.arange(len(sets)), count, cost))
    sets, cost, count = sets[order], cost[order], count[order]
    known = np.where(count == 1, alone[sets[:, 0]], np.nan)
    best, tried = _cheapest(rows, sets, cost, count, known, end)
    changes = [] if best is None else [options.all[i] for i in sets[best].tolist() if i >= 0]
    return Found(changes, tried and whole)


def _cheapest(
    rows: "_Rows",
    sets: "NDArray[np.int64]",
    cost: "NDArray[np.float64]",
    count: "NDArray[np.int64]",
    known: "NDArray[np.float64]",
    end: float,
) -> tuple[int | None, bool]:
    """The best set's place, and whether no set that could be better was left out; sets are in order of cost.

    Args:
        known: the probability after each set where it is known already, else NaN.
    """
    found: list[tuple[float, int, float, int]] = []

    def take(places: "NDArray[np.int64]", probability: "NDArray[np.float64]") -> None:
        for i in np.flatnonzero(probability < rows.threshold - _MARGIN).tolist():
            place = int(places[i])
            found.append((round(float(cost[place]), 9), int(count[place]), float(probability[i]), place))
        found.sort()

    take(np.arange(len(sets)), known)
    left = np.flatnonzero(np.isnan(known))
    at, size = 0, _FIRST
    while at < len(left):
        if found and cost[left[at]] > found[0][0] + _SAME_COST:
            break
        if time.monotonic() > end:
            return (found[0][3] if found else None), False
        some = left[at : at + size]
        take(some, rows.score(sets[some]))
        at, size = at + size, min(size * 4, _LARGEST)
    return (found[0][3] if found else None), True


def _legal(options: Options, alone: "NDArray[np.float64]") -> "tuple[NDArray[np.int64], bool]":
    """The sets of up to three options that may stand together, (s, 3), -1 where there are fewer; and
    whether that is all of them. Sets of several are of the most helpful options."""
    order = np.argsort(alone, kind="stable")
    parted = (options.all[at : at + _TOGETHER] for at in range(0, len(alone), _TOGETHER))
    clashes = np.concatenate([options.clashes(some)[0].sum(axis=1) for some in parted])
    parts = [np.flatnonzero(clashes == 0)[:, None]]
    few = np.sort(order[: max(MOST_OPTIONS.values())])
    given = [options.all[i] for i in few.tolist()]
    own, other = options.clashes(given)
    columns = [list(options.contract.features).index(one.column) for one in given]
    # an option may clash with the customer's own values as long as the set changes those, too
    healed = own[:, columns]
    for size, most in MOST_OPTIONS.items():
        among = np.flatnonzero(np.isin(few, order[:most]))
        sets = among[_places(len(among), size)]
        parts.append(few[_fitting(sets, clashes[few], healed, other)])
    padded = [np.pad(part, ((0, 0), (0, MOST_CHANGES - part.shape[1])), constant_values=-1) for part in parts]
    return np.concatenate(padded), len(alone) <= min(MOST_OPTIONS.values())


def _fitting(
    sets: "NDArray[np.int64]", clashes: "NDArray[np.int64]", healed: "NDArray[np.bool_]", other: "NDArray[np.bool_]"
) -> "NDArray[np.int64]":
    fits = np.ones(len(sets), dtype=bool)
    for i in range(sets.shape[1]):
        left = clashes[sets[:, i]]
        for j in range(sets.shape[1]):
            if i != j:
                left = left - healed[sets[:, i], sets[:, j]]
                fits &= ~other[sets[:, i], sets[:, j]]
        fits &= left == 0
    return sets[fits]


@lru_cache(maxsize=8)
def _places(count: int, size: int) -> "NDArray[np.int64]":
    return np.array(list(combinations(range(count), size)), dtype=np.int64).reshape(-1, size)


class _Rows:
    """Scores the customer with sets of options."""

    def __init__(self, scorer: "Scorer", customer: "Mapping[str, Any]", options: Options) -> None:
        self.threshold = scorer.contract.risk["high"].threshold
        self._scorer = scorer
        self._base = scorer.encoder.customers([customer])
        numeric = [column.name for column in scorer.encoder.numeric]
        categorical = [column.name for column in scorer.encoder.categorical]
        self._is_number = np.array([one.column in numeric for one in options.all], dtype=bool)
        self._column = np.array(
            [(numeric if one.column in numeric else categorical).index(one.column) for one in options.all],
            dtype=np.int64,
        )
        told: list[Any] = [one.value if one.column in numeric else options.code(one) for one in options.all]
        self._value = np.array(told, dtype=np.float64)

    def score(self, sets: "NDArray[np.int64]") -> "NDArray[np.float64]":
        """The probability after each set of options, (s, size), -1 being none."""
        numbers = np.repeat(self._base.numbers, len(sets), axis=0)
        codes = np.repeat(self._base.codes, len(sets), axis=0)
        for chosen in sets.T:
            there = np.flatnonzero(chosen >= 0)
            option = chosen[there]
            number = self._is_number[option]
            numbers[there[number], self._column[option[number]]] = self._value[option[number]]
            codes[there[~number], self._column[option[~number]]] = self._value[option[~number]].astype(np.int64)
        return self._scorer.probabilities(Encoded(numbers, codes))
