"""A sample of a file of customers, scored as they would be listed."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from churn.checking import Findings, hold, id_series
from churn.encoding import Encoded
from churn.held_out import HeldOut, keys
from churn.reading import read_pieces
from churn.reference import SCORE

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from churn.contract import Contract
    from churn.scoring import Scorer

MOST_ROWS = 20_000
_Kept = tuple["NDArray[np.float64]", Encoded, "NDArray[np.object_]"]


def scored(scorer: "Scorer", held_out: HeldOut, source: Path, seed: int) -> "pd.DataFrame":
    """At most :data:`MOST_ROWS` rows of a file, drawn at random: the features as
    :func:`churn.data.validate` gives them, and the score as :data:`churn.reference.SCORE`.

    A row that the model was trained on has the score that it was given while held out: the model knows
    it too well, and its scores would seem to have moved. Memory does not grow with the file.

    Raises:
        InvalidData: with the faults of the whole file.
        UnreadableFile: as :func:`churn.reading.read_rows`.
    """
    rows, ids = _drawn(scorer, source, seed)
    own = keys(rows, ids if scorer.contract.id else None)
    probability, _ = held_out.replace(own, scorer.probabilities(rows))
    return scorer.encoder.rows(rows).assign(**{SCORE: probability})


def _drawn(scorer: "Scorer", source: Path, seed: int) -> "tuple[Encoded, NDArray[np.object_]]":
    """Each row draws a number; those with the smallest stay."""
    random = np.random.default_rng(seed)
    kept: _Kept | None = None
    for encoded, ids in _pieces(scorer, source):
        new = random.random(len(encoded)), encoded, ids
        kept = _smallest(new if kept is None else _together(kept, new))
    if kept is None:  # a file without rows is refused before
        raise AssertionError(source)
    return kept[1], kept[2]


def _together(one: _Kept, other: _Kept) -> _Kept:
    rows = Encoded(np.concatenate([one[1].numbers, other[1].numbers]), np.concatenate([one[1].codes, other[1].codes]))
    return np.concatenate([one[0], other[0]]), rows, np.concatenate([one[2], other[2]])


def _smallest(rows: _Kept) -> _Kept:
    if len(rows[0]) <= MOST_ROWS:
        return rows
    place = np.sort(np.argpartition(rows[0], MOST_ROWS)[:MOST_ROWS])
    return rows[0][place], rows[1].at(place), rows[2][place]


def _pieces(scorer: "Scorer", source: Path) -> "Iterator[tuple[Encoded, NDArray[np.object_]]]":
    """The rows of a file and their ids, piece by piece; from the first fault on nothing more.

    Raises:
        InvalidData: after the last piece.
    """
    contract: Contract = scorer.contract
    findings = Findings(contract, str(source))
    import pandas as pd

    for piece in read_pieces(source, contract.rows.format):
        held = hold(piece, contract)
        if findings.add(held):
            ids = np.full(len(piece.rows), "", dtype=object)
            if held.ids is not None:
                ids = np.array(id_series(held.ids, piece.rows), dtype=object)
            yield held.encoded(scorer.encoder), ids
    findings.tell(pd.Series(dtype=str))
