"""An event for Airflow when a new model is due: no champion yet, or other rows, or another contract."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

log = logging.getLogger(__name__)

SETTLING_SECONDS = 2
"""A file that is still being copied changes within this; it is left alone until it rests."""


FIRST_PAUSE = 10 * 60
LONGEST_PAUSE = 6 * 60 * 60
"""Seconds after which the same state is told again, doubling from one to the other: the training
that it started may have failed for a reason that has passed."""


class TrainingIsDue(BaseEventTrigger):
    """Watches the contract's training rows; runs in the triggerer, so that looking costs no task.

    A second event for the same rows does no harm: where the first one's training succeeded, the
    second sees that nothing is due, and skips.
    """

    def __init__(self, poll_seconds: float) -> None:
        super().__init__()
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "churn_triggers.TrainingIsDue", {"poll_seconds": self.poll_seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        told, again, pause = None, 0.0, FIRST_PAUSE
        while True:
            due = await asyncio.to_thread(_due)
            if due and (due != told or time.monotonic() >= again):
                await asyncio.sleep(SETTLING_SECONDS)
                if await asyncio.to_thread(_due) == due:
                    yield TriggerEvent({"fingerprint": due})
                    pause = min(2 * pause, LONGEST_PAUSE) if due == told else FIRST_PAUSE
                    told, again = due, time.monotonic() + pause
            await asyncio.sleep(self.poll_seconds)


def _due() -> str | None:
    """The fingerprint of rows that wait for a training."""
    from churn import jobs, settings
    from churn.errors import ChurnError

    try:
        current = settings.load()
        return jobs.fingerprint(current) if jobs.training_is_due(current) else None
    except (ChurnError, OSError) as error:  # MLflow is down, or the file is away: look again later
        log.warning("%s", error)
        return None
