"""The customer base scored piece by piece: from the rows of a file to the lines of the store."""

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from churn import value
from churn.batch import fitting, probabilities
from churn.catalogue import BANDS
from churn.checking import Held
from churn.encoding import Encoded, customers, values
from churn.errors import Fault, InvalidData
from churn.explanation import Explained, top_reasons
from churn.held_out import HeldOut, keys
from churn.reading import FIRST_ROW
from churn.scoring_runs import CHUNK, Line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.batch_advice import BatchAdvice, Ranked
    from churn.contract import Contract
    from churn.scoring import Scorer

LONGEST_ID = 250
FEW = 20_000
"""Rows of a file whose customers all get reasons, however long the version takes over them."""
ONE_OF = 10
RECOMMENDED = 3
"""Recommendations that are kept of a customer."""
_NO_ID = "this column is missing; the store keeps customers by their ids"
_UNFIT_ID = f"expected an id of at most {LONGEST_ID} characters, none of them NUL"


@dataclass(frozen=True)
class Piece:
    """What has become of some rows of the file."""

    rows: int
    left: int
    """Those of customers who have left; they are in no line."""
    scores: "_Scores"

    def lines(self) -> Iterator[list[Line]]:
        """The customers as the store keeps them, at most :data:`churn.scoring_runs.CHUNK` at a time."""
        for at in range(0, len(self.scores.ids), CHUNK):
            yield self.scores.part(at, at + CHUNK).lines()


@dataclass(frozen=True)
class BaseScorer:
    """Scores the customer base.

    Args:
        scorer: the version in service; its contract says what a row is and what it is worth.
        held_out: what the version said of its training rows before it had seen them.
        gone: ids of customers who have left though the file still lists them.
        explain_all: whether everyone gets reasons; else, of each piece of the file, the likeliest to
            leave, one of :data:`ONE_OF`.
        advice: what to offer whom; None: nothing is recommended.
    """

    scorer: "Scorer"
    held_out: HeldOut
    gone: Set[str] = frozenset()
    explain_all: bool = True
    advice: "BatchAdvice | None" = None

    @cached_property
    def contract(self) -> "Contract":
        return self.scorer.contract

    @property
    def explains(self) -> bool:
        """Whether the version carries what reasons come from."""
        return self.scorer.explainer is not None

    def pieces(self, source: Path) -> Iterator[Piece]:
        """The file's rows, piece by piece; the work is done by several threads.

        Raises:
            InvalidData: after the last piece, with every fault of the file.
            UnreadableFile: as :func:`churn.reading.read_rows`.
        """
        for _, piece in fitting(self.contract, source, self._piece):
            yield piece

    def _piece(self, held: Held) -> Piece:
        stays = ~self._left(held)
        ids = self._ids(held)
        if self.gone:
            stays &= np.array([one not in self.gone for one in ids])
        encoded = held.encoded(self.scorer.encoder)
        kept = encoded.at(stays)
        return Piece(len(stays), int(len(stays) - stays.sum()), self._scored(kept, ids[stays]))

    def _left(self, held: Held) -> "NDArray[np.bool_]":
        """Which rows say that their customer has left, (n,)."""
        target = self.contract.target
        if target.column not in held.cells:
            return np.zeros(len(held.piece.rows), dtype=bool)
        column = target.as_column
        found: NDArray[np.bool_] = held.cells[column.name].encoded(column) == values(column).index(target.positive)
        return found

    def _ids(self, held: Held) -> "NDArray[np.object_]":
        """The ids as text, (n,); without an id column, where each row stands in the file, the header being row 1."""
        rows = held.piece.rows.to_numpy() + FIRST_ROW
        if self.contract.id is None:
            return rows.astype(str).astype(object)
        if held.ids is None:
            raise InvalidData([Fault(None, self.contract.id, None, _NO_ID)])
        ids = np.array([one.strip() for one in held.ids.to_pylist()], dtype=object)
        unfit = [place for place, one in enumerate(ids) if len(one) > LONGEST_ID or "\0" in one]
        if unfit:
            raise InvalidData(
                [Fault(int(rows[place]), self.contract.id, ids[place], _UNFIT_ID) for place in unfit], len(unfit)
            )
        return ids

    def _scored(self, rows: Encoded, ids: "NDArray[np.object_]") -> "_Scores":
        own = probabilities(self.scorer, rows) if len(rows) else np.empty(0)
        keyed = keys(rows, ids if self.contract.id else None)
        probability, held_out = self.held_out.replace(keyed, own)
        monthly, economics = self._monthly(rows), self.contract.economics
        return _Scores(
            self.scorer,
            rows,
            ids,
            probability,
            held_out,
            self.scorer.persona_names(rows) if len(rows) else [],
            monthly,
            value.revenue_at_risk(probability, monthly, economics),
            value.expected_profit(probability, economics, customer_value=value.customer_value(monthly, economics)),
            self._explained(rows, probability),
            self._ranked(rows, probability, ids),
        )

    def _monthly(self, rows: Encoded) -> "NDArray[np.float64]":
        """What each customer pays a month, (n,); NaN where it is unknown."""
        for place, column in enumerate(self.scorer.encoder.numeric):
            if column.name == self.contract.monthly_value:
                return rows.numbers[:, place]
        return np.full(len(rows), np.nan)

    def _ranked(self, rows: Encoded, probability: "NDArray[np.float64]", ids: "NDArray[np.object_]") -> "Ranked | None":
        if self.advice is None or not len(rows):
            return None
        return self.advice.rank(rows, probability, ids.tolist() if self.contract.id else None, RECOMMENDED)

    def _explained(self, rows: Encoded, probability: "NDArray[np.float64]") -> Explained | None:
        """The contributions of each row, 0 in those that are not explained; None where nothing is."""
        if not self.explains or not len(rows):
            return None
        size = len(rows) if self.explain_all else -(-len(rows) // ONE_OF)
        chosen = np.sort(np.argsort(-probability, kind="stable")[:size])
        contributions = np.zeros((len(rows), len(self.contract.features)))
        points, output, base = np.zeros_like(contributions), np.zeros(len(rows)), 0.0
        for at in range(0, size, CHUNK):
            some = chosen[at : at + CHUNK]
            found = self.scorer.explain(rows.at(some))
            contributions[some], points[some], output[some] = found.contributions, found.points, found.output
            base = found.base_value
        return Explained(contributions, base, output, points)


def is_quick(scorer: "Scorer") -> bool:
    """Whether a version explains a million customers in minutes: a linear one, or trees that are small
    enough for tables. A row of a forest takes a hundred times as long."""
    return scorer.explainer is None or bool(getattr(scorer.explainer.game, "is_tabled", True))


@dataclass(frozen=True)
class _Scores:
    """Customers and what is said of each; every array is (n,)."""

    scorer: "Scorer"
    rows: Encoded
    ids: "NDArray[np.object_]"
    probability: "NDArray[np.float64]"
    held_out: "NDArray[np.bool_]"
    personas: Sequence[str | None]
    monthly: "NDArray[np.float64]"
    revenue: "NDArray[np.float64]"
    profit: "NDArray[np.float64]"
    explained: Explained | None
    ranked: "Ranked | None"

    def part(self, start: int, end: int) -> "_Scores":
        chosen = slice(start, end)
        why = self.explained
        if why is not None:
            why = replace(
                why, contributions=why.contributions[chosen], output=why.output[chosen], points=why.points[chosen]
            )
        return _Scores(
            self.scorer,
            self.rows.at(chosen),
            self.ids[chosen],
            self.probability[chosen],
            self.held_out[chosen],
            self.personas[chosen],
            self.monthly[chosen],
            self.revenue[chosen],
            self.profit[chosen],
            why,
            None if self.ranked is None else self.ranked.part(chosen),
        )

    def lines(self) -> list[Line]:
        people = customers(self.rows, self.scorer.encoder)
        bands = [BANDS[place] for place in self.scorer.bands(self.probability).tolist()]
        decided = (self.probability >= self.scorer.threshold).astype(int).tolist()
        known = ~np.isnan(self.monthly)
        columns = zip(
            self.ids.tolist(),
            self.probability.tolist(),
            decided,
            bands,
            self.personas,
            [one if there else None for one, there in zip(self.monthly.tolist(), known.tolist(), strict=True)],
            np.where(known, self.revenue, 0.0).tolist(),
            self.profit.tolist(),
            self.held_out.tolist(),
            self._reasons(people),
            self._features(people),
            ["[]"] * len(people) if self.ranked is None else self.ranked.as_json(),
            [False] * len(people) if self.ranked is None else self.ranked.control.tolist(),
            strict=True,
        )
        return [Line(*one) for one in columns]

    def _features(self, people: Sequence[Mapping[str, Any]]) -> list[str]:
        names = list(self.scorer.contract.features)
        return [_ENCODER.encode([person[name] for name in names]) for person in people]

    def _reasons(self, people: Sequence[Mapping[str, Any]]) -> list[str]:
        if self.explained is None:
            return ["[]"] * len(people)
        told = top_reasons(self.explained, people, self.scorer.contract)
        return [_ENCODER.encode(one) for one in told]


_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)

__all__ = ["FEW", "ONE_OF", "BaseScorer", "Piece", "is_quick"]
