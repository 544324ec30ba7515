"""The customers whom a campaign could contact: of the newest scoring of the base, as arrays, read piece by piece.

What a campaign needs of a customer is little; a million of them are read without the reasons and, where no
offer asks for them, without the features.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import select

from churn.campaigns import Offers, Piece
from churn.catalogue import BANDS, Band
from churn.customer_scores import WHOLE, CustomerScores, Run
from churn.errors import NotReady
from churn.schema import customer_scores

if TYPE_CHECKING:
    from churn.store import Store

CHUNK = 20_000


class CampaignBase:
    """The newest whole scoring run of a store. Every method raises as :class:`churn.store.Store` does."""

    def __init__(self, store: "Store") -> None:
        self._store = store
        self._scores = CustomerScores(store)

    def newest(self) -> Run:
        """The run.

        Raises:
            NotReady: nothing has been scored yet.
        """
        return self._scores.shown()

    def candidates(self, run: Run, offers: Offers, bands: Sequence[Band] | None = None) -> Iterator[Piece]:
        """The run's customers for whom one of the offers may pay, of these bands, where any are named."""
        wanted = [band for band in offers.bands if bands is None or band in bands]
        return self.pieces(run, offers.columns, wanted, offers.least)

    def pieces(
        self, run: Run, columns: Sequence[str] = (), bands: Sequence[Band] = BANDS, least: float = 0.0
    ) -> Iterator[Piece]:
        """The run's customers of these bands, from a probability on.

        Args:
            columns: the features that are wanted of them.

        Raises:
            NotReady: the run was made under a contract without one of the columns, or a newer one has
                replaced it meanwhile.
        """
        strangers = [name for name in columns if name not in run.columns]
        if strangers:
            raise NotReady(
                f"the scored customers have no column {strangers[0]!r}, for which an offer asks; score the base anew"
            )
        places = {name: run.columns.index(name) for name in columns}
        table = customer_scores.c
        wanted = [table.customer_id, table.probability, table.risk, table.monthly_value]
        wanted += [table.features] if columns else []
        asked = select(*wanted).where(table.run_id == run.id, table.risk.in_(list(bands)), table.probability >= least)
        last = ""
        while True:
            with self._store.read() as connection:  # each piece by itself: nobody else waits long
                page = asked.where(table.customer_id > last).order_by(table.customer_id).limit(CHUNK)
                found = connection.execute(page).all()
            if not found:
                break
            last = found[-1][0]
            yield _piece(found, places)
        still = self._scores.run(run.key)
        if still is None or still.id != run.id or still.state != WHOLE:
            raise NotReady("the scored customers were replaced by newer ones while they were read; ask again")


def _piece(found: Sequence[Any], places: Mapping[str, int]) -> Piece:
    ids, probability, risk, monthly, *rest = zip(*found, strict=True)
    rows = [json.loads(text) for text in rest[0]] if places else []
    return Piece(
        list(ids),
        np.array(probability, dtype=np.float64),
        np.array([BANDS.index(band) for band in risk], dtype=np.int64),
        np.array(monthly, dtype=np.float64),  # None becomes NaN
        {name: [row[place] for row in rows] for name, place in places.items()},
    )
