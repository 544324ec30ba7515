"""The champion in memory of one worker, and the thread that follows the registry's alias."""

import logging
import threading
import time

from flask import current_app

from churn.contract import Contract
from churn.contract import load as load_contract
from churn.errors import ChurnError, NoChampion, RefusedModel
from churn.registry import Registry, Version
from churn.scoring import Scorer
from churn.settings import Settings

log = logging.getLogger(__name__)


LOOK_AGAIN_SECONDS = 1.0
"""How soon a worker without a champion looks again when it is asked for one."""


class Serving:
    """Holds the version in service. A reader takes the pair of version and scorer once and keeps
    it to its end, so that no reply is half of one version and half of another."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._registry = registry
        self._contract_path = settings.contract
        self._live: tuple[Version, Scorer] | None = None
        self._refused: tuple[Version, RefusedModel] | None = None
        self._reason = "the service is starting"
        self._refreshing = threading.Lock()
        self._looked = -LOOK_AGAIN_SECONDS

    @property
    def contract(self) -> Contract:
        """The contract of the version in service; before there is one, the one in the settings.

        Raises:
            ContractError: the latter is asked for, and is wrong.
        """
        return self._live[1].contract if self._live else load_contract(self._contract_path)

    @property
    def version(self) -> Version | None:
        return self._live[0] if self._live else None

    @property
    def reason(self) -> str:
        """Why no champion serves, or why the newest is not the one that does; else empty."""
        return self._reason

    def scorer(self) -> Scorer:
        """The scorer in service. Without one this looks again: another worker may serve already.

        Raises:
            NoChampion: there is none; the message says why.
        """
        if self._live is None and time.monotonic() - self._looked >= LOOK_AGAIN_SECONDS:
            self.refresh()
        if self._live is None:
            raise NoChampion(self._reason)
        return self._live[1]

    def refresh(self) -> None:
        """Take the registry's champion over, if it is another than the one in memory."""
        with self._refreshing:
            try:
                champion = self._registry.champion()
                if self._live and self._live[0].version == champion.version:
                    scorer = self._live[1]
                else:
                    scorer = self._load(champion)
                self._live, self._reason = (champion, scorer), ""
            except ChurnError as error:
                if str(error) != self._reason:
                    log.warning("%s", error)
                self._reason = str(error)
            finally:
                self._looked = time.monotonic()

    def _load(self, champion: Version) -> Scorer:
        """Download a version, once: what was refused stays refused until the alias moves."""
        if self._refused and self._refused[0] == champion:
            raise self._refused[1]
        try:
            scorer = self._registry.load(champion)
        except RefusedModel as error:
            self._refused = (champion, error)
            raise
        self._refused = None
        log.info("%s version %s is in service", champion.name, champion.version)
        return scorer

    def follow(self, seconds: float) -> None:
        """Refresh now and then every so many seconds, in a thread of its own."""
        threading.Thread(target=self._follow, args=(seconds,), name="champion", daemon=True).start()

    def _follow(self, seconds: float) -> None:
        while True:
            try:
                self.refresh()
            except Exception:  # the thread must outlive whatever a refresh meets
                log.exception("the champion could not be refreshed")
                self._reason = "the champion could not be loaded; the log says why"
            time.sleep(seconds)


def serving() -> Serving:
    """The one of the application that handles this request."""
    found: Serving = current_app.extensions["churn.serving"]
    return found
