"""Events for Airflow: a new model or recommender is due, or the customer base is to be scored anew."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

log = logging.getLogger(__name__)

SETTLING_SECONDS = 2
"""A file that is still being copied changes within this; it is left alone until it rests."""


FIRST_PAUSE = 10 * 60
LONGEST_PAUSE = 6 * 60 * 60
"""Seconds after which the same state is told again, doubling from one to the other: the run that it
started may have failed for a reason that has passed."""


class _IsDue(BaseEventTrigger):
    """Watches what a pipeline's result was made of; runs in the triggerer, so that looking costs no task.

    A second event for the same state does no harm: where the first one's run succeeded, the second
    sees that nothing is due, and skips.
    """

    def __init__(self, poll_seconds: float) -> None:
        super().__init__()
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"churn_triggers.{type(self).__name__}", {"poll_seconds": self.poll_seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        told, again, pause = None, 0.0, FIRST_PAUSE
        while True:
            due = await asyncio.to_thread(self.due)
            if due and (due != told or time.monotonic() >= again):
                await asyncio.sleep(SETTLING_SECONDS)
                if await asyncio.to_thread(self.due) == due:
                    yield TriggerEvent(due)
                    pause = min(2 * pause, LONGEST_PAUSE) if due == told else FIRST_PAUSE
                    told, again = due, time.monotonic() + pause
            await asyncio.sleep(self.poll_seconds)

    def due(self) -> dict[str, str] | None:
        """What is new, in a few words, where a run is due."""
        from churn.errors import ChurnError

        try:
            return self._due()
        except (ChurnError, OSError) as error:  # a service is down, or the file is away: look again later
            log.warning("%s", error)
            return None

    def _due(self) -> dict[str, str] | None:
        raise NotImplementedError


class TrainingIsDue(_IsDue):
    """No champion yet, or other rows, or another contract."""

    def _due(self) -> dict[str, str] | None:
        from churn import jobs, settings

        current = settings.load()
        return {"fingerprint": jobs.fingerprint(current)} if jobs.training_is_due(current) else None


class RecommenderTrainingIsDue(_IsDue):
    """A classifier serves, and there is no recommender yet of the contract and its rows as they are."""

    def _due(self) -> dict[str, str] | None:
        from churn import recommender_jobs, settings

        current = settings.load()
        if not recommender_jobs.training_is_due(current):
            return None
        return {"fingerprint": recommender_jobs.fingerprint(current)}


class ScoringIsDue(_IsDue):
    """Another classifier or recommender in service, whoever has promoted it, or another file of customers,
    than the store's scores are of."""

    def _due(self) -> dict[str, str] | None:
        from churn import portfolio, settings

        found = portfolio.due(settings.load())
        return asdict(found) if found else None
