"""The high band in rules that a person can read, by a small decision tree that imitates it.

What is shown is what was measured: thresholds are rounded first, conditions that change nothing
dropped, and then the rules meet customers that the tree has not seen.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.tree import DecisionTreeClassifier

from churn.encoding import MISSING, Encoded, Encoder, values
from churn.segments import Condition, Fidelity, Rule, Rules

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.columns import Column
    from churn.contract import Contract

DEPTH = 3
"""A fourth question makes the rules longer, and on the shipped data tells the band no better."""
_FEWEST = 100
_SMALLEST = 10
_SMALLEST_SHARE = 0.01
_FITTED_ON = 2 / 3
_ROWS_FITTED = 50_000
_FARTHEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Ask:
    """A feature of the tree: a number, or whether a category has one value."""

    column: "Column"
    place: int
    code: int | None = None


@dataclass(frozen=True)
class Region:
    """Where conditions hold: ranges of numbers and codes of categories, by the columns' places."""

    ranges: dict[int, tuple[float, float]] = field(default_factory=dict)
    """From on, and up to but without."""
    codes: dict[int, frozenset[int]] = field(default_factory=dict)

    def holds(self, rows: Encoded) -> "NDArray[np.bool_]":
        """Whether they hold of each row, (n,); its numbers being filled in."""
        found = np.ones(len(rows), dtype=bool)
        for place, (low, high) in self.ranges.items():
            found &= (rows.numbers[:, place] >= low) & (rows.numbers[:, place] < high)
        for place, allowed in self.codes.items():
            found &= np.isin(rows.codes[:, place], list(allowed))
        return found

    def parts(self) -> Iterator["Region"]:
        """What is left when one condition is dropped, for each of them."""
        for place in self.ranges:
            yield Region({p: r for p, r in self.ranges.items() if p != place}, self.codes)
        for place in self.codes:
            yield Region(self.ranges, {p: c for p, c in self.codes.items() if p != place})


def find(
    contract: "Contract", rows: Encoded, target: "NDArray[np.int64]", inside: "NDArray[np.bool_]", seed: int
) -> Rules:
    """Rules for being in the high band, found on two thirds of the customers and measured on the others.

    A missing number counts as the median.

    Args:
        rows: (n,) customers.
        target: whether each left, (n,).
        inside: whether each is in the band by a probability of a model that was not fitted to it, (n,).
    """
    if len(rows) < _FEWEST:
        return Rules(note=f"{len(rows):,} customers are too few for rules: {_FEWEST} are needed")
    order = np.random.default_rng(seed).permutation(len(rows))
    cut = round(_FITTED_ON * len(order))
    seen, others = np.sort(order[:cut][:_ROWS_FITTED]), np.sort(order[cut:])
    if inside[seen].all() or not inside[seen].any():
        return Rules(note=f"{'every' if inside[seen].any() else 'no'} customer is in the high band")
    encoder = Encoder(contract)
    fill = np.array([_median(numbers) for numbers in rows.numbers[seen].T])
    filled = Encoded(np.where(np.isnan(rows.numbers), fill, rows.numbers), rows.codes)
    known = filled.at(seen)
    regions = [_simple(region, known) for region in _regions(encoder, known, inside[seen], seed)]
    if Region() in regions:
        return Rules(note="most customers are in the high band, and no rule tells them from the others")
    unseen = filled.at(others)
    return _measured(encoder, list(_different(regions)), unseen, target[others], inside[others])


def _median(numbers: "NDArray[np.float64]") -> float:
    known = numbers[~np.isnan(numbers)]
    return float(np.median(known)) if len(known) else 0.0


def _regions(encoder: Encoder, rows: Encoded, inside: "NDArray[np.bool_]", seed: int) -> list[Region]:
    asks = list(_asks(encoder))
    table = np.column_stack([_asked(ask, rows) for ask in asks])
    smallest = max(_SMALLEST, round(_SMALLEST_SHARE * len(rows)))
    tree = DecisionTreeClassifier(max_depth=DEPTH, min_samples_leaf=smallest, random_state=seed)
    # it reads float32, and refuses what is beyond; all that is, is on one side of every threshold
    tree.fit(np.clip(table, -_FARTHEST, _FARTHEST), inside)
    return _of_node(tree.tree_, 0, Region(), asks, encoder, table)


def _asks(encoder: Encoder) -> Iterator[Ask]:
    for place, column in enumerate(encoder.numeric):
        yield Ask(column, place)
    for place, column in enumerate(encoder.categorical):
        codes = range(len(values(column)))
        # of two values the one says what the other does, if none is missing
        yield from (
            Ask(column, place, code) for code in (codes[1:] if len(codes) == 2 and not column.may_be_missing else codes)
        )


def _asked(ask: Ask, rows: Encoded) -> "NDArray[Any]":
    return rows.numbers[:, ask.place] if ask.code is None else rows.codes[:, ask.place] == ask.code


def _of_node(
    tree: Any, node: int, region: Region, asks: list[Ask], encoder: Encoder, table: "NDArray[np.float64]"
) -> list[Region]:
    """The regions below a node whose customers are mostly in the band; two that make up a whole are one."""
    left, right = int(tree.children_left[node]), int(tree.children_right[node])
    if left == right:
        return [region] if tree.value[node][0][1] > 0.5 else []
    ask, cut = asks[tree.feature[node]], float(tree.threshold[node])
    below, above = _halves(region, ask, cut, table[:, tree.feature[node]])
    found = [
        *_of_node(tree, left, below, asks, encoder, table),
        *_of_node(tree, right, above, asks, encoder, table),
    ]
    return [region] if found == [below, above] else found


def _halves(region: Region, ask: Ask, cut: float, column: "NDArray[np.float64]") -> tuple[Region, Region]:
    if ask.code is None:
        low, high = region.ranges.get(ask.place, (-math.inf, math.inf))
        bound = rounded(column, cut, whole=ask.column.type == "integer")
        return (
            Region(region.ranges | {ask.place: (low, min(high, bound))}, region.codes),
            Region(region.ranges | {ask.place: (max(low, bound), high)}, region.codes),
        )
    whole = frozenset([*([MISSING] if ask.column.may_be_missing else []), *range(len(values(ask.column)))])
    allowed = region.codes.get(ask.place, whole)
    return (
        Region(region.ranges, region.codes | {ask.place: allowed - {ask.code}}),
        Region(region.ranges, region.codes | {ask.place: allowed & {ask.code}}),
    )


def rounded(column: "NDArray[np.float64]", cut: float, *, whole: bool) -> float:
    """The number with the fewest digits that parts a column, (n,), as the cut does: into those below
    it and those from it on.

    Args:
        whole: whether it must be a whole number, as those of the column are.
    """
    below, above = column[column <= cut], column[column > cut]
    if not len(below) or not len(above):  # the tree compares in float32
        return cut
    last, first = float(below.max()), float(above.min())
    for digits in range(1, 17):
        bound = float(f"{cut:.{digits}g}")
        if last < bound <= first and (bound.is_integer() or not whole):
            return bound
    return first


def _simple(region: Region, rows: Encoded) -> Region:
    """Without the conditions that hold of all those for whom the others hold."""
    found = region.holds(rows)
    for part in region.parts():
        if np.array_equal(part.holds(rows), found):
            return _simple(part, rows)
    return region


def _different(regions: list[Region]) -> Iterator[Region]:
    yield from (region for place, region in enumerate(regions) if region not in regions[:place])


def _measured(
    encoder: Encoder, regions: list[Region], rows: Encoded, target: "NDArray[np.int64]", inside: "NDArray[np.bool_]"
) -> Rules:
    rules, said = [], np.zeros(len(rows), dtype=bool)
    for region in regions:
        held = region.holds(rows)
        if held.any():  # of nobody there is nothing to measure
            said |= held
            rules.append(_rule(encoder, region, held, target, inside))
    if not rules:
        return Rules(note="no group of customers is mostly in the high band")
    hits = float((said & inside).sum())
    precision, recall = hits / float(said.sum()), hits / max(1.0, float(inside.sum()))
    fidelity = Fidelity(
        customers=len(rows),
        band_share=float(inside.mean()),
        accuracy=float((said == inside).mean()),
        precision=precision,
        recall=recall,
        f1=2 * precision * recall / (precision + recall) if hits else 0.0,
    )
    return Rules(rules=sorted(rules, key=lambda rule: (-rule.customers, rule.text)), fidelity=fidelity)


def _rule(
    encoder: Encoder,
    region: Region,
    held: "NDArray[np.bool_]",
    target: "NDArray[np.int64]",
    inside: "NDArray[np.bool_]",
) -> Rule:
    conditions = [_number(encoder.numeric[place], *bounds) for place, bounds in region.ranges.items()]
    conditions += [_values(encoder.categorical[place], allowed) for place, allowed in region.codes.items()]
    words = [condition.words for condition in conditions]
    told = " and ".join([*([", ".join(words[:-1])] if len(words) > 1 else []), words[-1]])
    rate = float(target[held].mean())
    return Rule(
        text=f"{told}: {100 * rate:.0f} % leave",
        conditions=conditions,
        customers=int(held.sum()),
        share=float(held.mean()),
        churn_rate=rate,
        precision=float(inside[held].mean()),
    )


def _number(column: "Column", low: float, high: float) -> Condition:
    unit = f" {column.unit}" if column.unit else ""
    start, end = (f"{bound:,.15g}" for bound in (low, high))
    if math.isinf(low):
        words = f"{column.title} under {end}{unit}"
    elif math.isinf(high):
        words = f"{column.title} at least {start}{unit}"
    else:
        words = f"{column.title} from {start} to under {end}{unit}"
    return Condition(
        feature=column.name,
        words=words,
        at_least=None if math.isinf(low) else low,
        below=None if math.isinf(high) else high,
    )


def _values(column: "Column", allowed: frozenset[int]) -> Condition:
    labels = [column.label_of(value) for value in values(column)]
    inside = [label for code, label in enumerate(labels) if code in allowed]
    outside = [label for code, label in enumerate(labels) if code not in allowed]
    if not inside:
        words = f"{column.title} is not known"
    elif MISSING not in allowed and len(inside) <= len(outside):
        words = f"{column.title} is {' or '.join(inside)}"
    else:
        words = f"{column.title} is {'not' if len(outside) == 1 else 'neither'} {' nor '.join(outside)}"
    return Condition(feature=column.name, words=words, values=inside)
