"""What each worker keeps between two requests for recommendations: the advice of the two versions in service,
and what became of offers. Of the database nothing is needed for an answer: while it is down, offers count as
they did last, and whose refusals are not known is told so.
"""

import logging
import threading
import time
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from flask import current_app

from churn.advice import Advice
from churn.errors import ChurnError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.keeper import Keeper
    from churn.answered import Answered
    from churn.catalogue import Offer
    from churn.interactions import Counts, Known
    from churn.recommender import Recommender
    from churn.scoring import Scorer
    from churn.settings import Settings

log = logging.getLogger(__name__)

COUNTS_SECONDS = 60.0
"""How old the counts of what became of offers may be, and how long a count that failed is left alone."""
FIRST_SECONDS = 1.0
"""How long a worker's first request waits for them. Where they take longer, offers count by the contract's word
until they are there."""
RETRY_SECONDS = 2.0
"""How long a database that did not say who has refused what is left alone: each try may take seconds."""


class _Made(NamedTuple):
    """An advice, and what it was made of beside the two versions."""

    advice: Advice
    counts: "Mapping[str, Counts]"


class Adviser:
    """The advice of one application.

    Args:
        keeper: whose store it asks.
    """

    def __init__(self, settings: "Settings", keeper: "Keeper") -> None:
        self._settings, self._keeper = settings, keeper
        self._counts: Mapping[str, Counts] = {}
        self._offers: frozenset[str] | None = None
        """Those that were counted last; None before the first count."""
        self._counting = threading.Lock()
        self._counts_due = self._again = 0.0
        self._failing = False
        self._trying = threading.Lock()
        self._made: _Made | None = None

    def advice(self, recommender: "Recommender", scorer: "Scorer") -> Advice:
        """The advice by two versions.

        Raises:
            NotReady: as :class:`churn.advice.Advice`.
        """
        self._count(recommender.contract.offers)
        counts, made = self._counts, self._made
        if (
            made is None
            or made.counts is not counts
            or made.advice.recommender is not recommender
            or made.advice.scorer is not scorer
        ):
            self._made = made = _Made(Advice(recommender, scorer, counts), counts)
        return made.advice

    def known(self, customer_id: str | None) -> "Known | None":
        """What a customer has answered to what was recommended; None where the database does not answer. Of one
        that has failed only one request at a time finds out whether it answers again.

        Args:
            customer_id: None of one who is not known: he has answered nothing.
        """
        from churn import interactions  # SQLAlchemy takes longer to import than the API to start

        if not customer_id:
            return interactions.NOTHING_KNOWN
        if not self._failing:
            return self._asked(customer_id)
        if time.monotonic() < self._again or not self._trying.acquire(blocking=False):
            return None
        try:
            return self._asked(customer_id)
        finally:
            self._trying.release()

    def _asked(self, customer_id: str) -> "Known | None":
        from churn import interactions

        try:
            found = interactions.NOTHING_KNOWN
            if self._answered.may_have(customer_id):
                since = interactions.held_back_since(self._settings)
                found = interactions.known(self._keeper.store, customer_id, since)
        except ChurnError as error:
            self._failing, self._again = True, time.monotonic() + RETRY_SECONDS
            log.warning("%s; recommendations are made without what customers have refused", error)
            return None
        self._failing = False
        return found

    @cached_property
    def _answered(self) -> "Answered":
        from churn.answered import Answered
        from churn.interactions import held_back_since

        return Answered(self._keeper.store, held_back_since(self._settings))

    def _count(self, offers: "Mapping[str, Offer]") -> None:
        """Have offers counted in a thread of its own, where that is due."""
        first = self._offers is None
        if time.monotonic() < self._counts_due and self._offers == frozenset(offers):
            return
        if not self._counting.acquire(blocking=False):
            return
        self._offers = frozenset(offers)
        thread = threading.Thread(target=self._take_counts, args=(list(offers),), name="offer counts", daemon=True)
        thread.start()
        if first:
            thread.join(FIRST_SECONDS)

    def _take_counts(self, offers: list[str]) -> None:
        try:
            from churn import interactions

            counts = interactions.offer_counts(self._keeper.store, offers)
            if counts != self._counts:
                self._counts = counts
        except ChurnError as error:  # of no other look: who has refused what may well be told
            log.warning("%s; offers count as they did last", error)
        finally:
            self._counts_due = time.monotonic() + COUNTS_SECONDS  # from its end: a slow one is not always at work
            self._counting.release()


def adviser() -> Adviser:
    """The one of the application that handles this request."""
    found: Adviser = current_app.extensions["churn.adviser"]
    return found
