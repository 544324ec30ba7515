"""An event for Airflow when a new model is due: no champion yet, or other rows, or another contract."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

log = logging.getLogger(__name__)

SETTLING_SECONDS = 2
"""A file that is still being copied changes within this; it is left alone until it rests."""


class TrainingIsDue(BaseEventTrigger):
    """Watches the contract's training rows; runs in the triggerer, so that looking costs no task.

    It tells each state of the rows once. A second event for the same rows, after a restart of the
    triggerer, does no harm: the training that it starts sees that nothing is due, and skips.
    """

    def __init__(self, poll_seconds: float) -> None:
        super().__init__()
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "churn_triggers.TrainingIsDue", {"poll_seconds": self.poll_seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        told = None
        while True:
            due = await asyncio.to_thread(_due)
            if due and due != told:
                await asyncio.sleep(SETTLING_SECONDS)
                if await asyncio.to_thread(_due) == due:
                    yield TriggerEvent({"fingerprint": due})
                    told = due
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
