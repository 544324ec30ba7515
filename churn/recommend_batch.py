"""What to offer each customer of a file, written behind its columns piece by piece."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as arrow

from churn.batch import probabilities, write_beside

if TYPE_CHECKING:
    from churn.batch_advice import BatchAdvice, Ranked
    from churn.checking import Held
    from churn.scoring import Scorer

CONTROL = "recommendation_control"
"""The column that says who is of the control group."""


def added_columns(k: int) -> list[str]:
    """The columns behind those of the file: ``recommendation_1``, ``recommendation_1_score``, … and :data:`CONTROL`."""
    pairs = ((f"recommendation_{place}", f"recommendation_{place}_score") for place in range(1, k + 1))
    return [*(name for pair in pairs for name in pair), CONTROL]


def recommend_file(
    advice: "BatchAdvice",
    scorer: "Scorer",
    source: Path,
    target: Path,
    k: int = 3,
    each: Callable[[], None] = lambda: None,
) -> Iterator[int]:
    """Write the best ``k`` recommendations for each row of a file; yields the rows done so far.

    ``target`` comes about as :func:`churn.batch.write_beside` says. Where fewer than ``k`` are left for
    a customer, the cells of the others are empty; for the control group all are.

    Args:
        scorer: says which band of risk a customer is in, and under which contract the file is read.
        each: as :func:`churn.batch.write_beside`.

    Raises:
        InvalidData, UnreadableFile: as :func:`churn.batch.write_beside`.
    """

    def work(held: "Held") -> list[arrow.Array]:
        rows = held.encoded(scorer.encoder)
        return _cells(advice.rank(rows, probabilities(scorer, rows), ids_of(held), k))

    return write_beside(scorer.contract, source, target, added_columns(k), work, each)


def ids_of(held: "Held") -> Sequence[str] | None:
    """The customers' ids as they are kept everywhere, (n,); None where the rows have none."""
    return None if held.ids is None else [one.strip() for one in held.ids.to_pylist()]


def _cells(ranked: "Ranked") -> list[arrow.Array]:
    names, cells = list(ranked.items), []
    for places, scores in zip(ranked.places.T, ranked.scores.T, strict=True):
        none = places < 0
        cells.append(arrow.DictionaryArray.from_arrays(arrow.array(places.astype(np.int16), mask=none), names))
        cells.append(arrow.array(scores, mask=none))
    return [*cells, arrow.array(ranked.control)]


__all__ = ["CONTROL", "added_columns", "ids_of", "recommend_file"]
