"""The version in service in the memory of one worker, and the thread that keeps it current.

One worker of a machine, the leader, asks the registry which version the alias names, fetches and
checks it, and writes down what is in service; the others read that. So MLflow's client, which
takes seconds to import and more memory than all else here, is loaded once, and a start needs no
registry at all. Each kind of model is served this way, and none waits for another.
"""

import logging
import math
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Generic, TypeVar

from flask import current_app

from api import metrics
from churn.contract import Contract
from churn.contract import load as load_contract
from churn.errors import ChurnError, NoChampion, RefusedModel, Unavailable
from churn.kinds import DEFAULT, Kind, Loaded, Model
from churn.leader import Leader
from churn.settings import Settings
from churn.shelf import Refusal, Served, Shelf, State

if TYPE_CHECKING:
    from churn.recommender import Recommender
    from churn.registry import Registry, Version
    from churn.scoring import Scorer

Other = TypeVar("Other", bound=Loaded)
log = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 1.0
"""How often a worker looks at what the leader has written, and how soon a leader without a version asks
the registry again when it is asked for one."""
WAIT_SECONDS = 10.0
"""How long a request waits for the first version, while another thread fetches it."""


class Serving(Generic[Model]):
    """Holds the version of one kind that is in service. A reader takes the pair of version and model
    once and keeps it to its end, so that no reply is half of one version and half of another.

    Args:
        registry: left out, it is connected to when this worker first has to ask it.
        kind: left out, the classifier.
        beside: another kind's, of the same worker. They share the leader, and no request waits for this
            one: its threads are needed for those that the other can answer.
    """

    def __init__(
        self,
        settings: Settings,
        registry: "Registry[Model] | None" = None,
        *,
        kind: Kind[Model] = DEFAULT,
        beside: "Serving[Loaded] | None" = None,
    ) -> None:
        self.kind = kind
        self._settings = settings
        self._registry = registry
        self._shelf = Shelf(settings.home, kind)
        self._leader: Leader = beside._leader if beside else Leader(settings.home)
        self._wait = 0 if beside else WAIT_SECONDS
        self._live: tuple[Served, Model] | None = None
        self._state = State()
        self._stamp = (0, 0)
        self._hopeless: tuple[object, str] | None = None
        self._refreshing = threading.RLock()
        self._failing: type[ChurnError] | None = None
        self._asked = self._unreadable = -math.inf

    def beside(self, kind: Kind[Other]) -> "Serving[Other]":
        """One of another kind in the same worker."""
        return Serving(self._settings, kind=kind, beside=self)

    @property
    def contract(self) -> Contract:
        """The contract of the version in service; before there is one, the one in the settings.

        Raises:
            ContractError: the latter is asked for, and is wrong.
        """
        return self._live[1].contract if self._live else load_contract(self._settings.contract)

    @property
    def live(self) -> tuple[Served, Model] | None:
        return self._live

    @property
    def refused(self) -> Refusal | None:
        """The version that the alias names, where it is not served."""
        return self._state.refused

    @property
    def reason(self) -> str:
        """Why no version serves, or why the newest is not the one that does; else empty."""
        return self._state.warning

    @property
    def registry(self) -> "Registry[Model]":
        """The registry, connected to on first use.

        Raises:
            Unavailable: it cannot be opened.
        """
        if self._registry is None:
            from churn.registry import Registry

            self._registry = Registry(self._settings, patient=False, kind=self.kind)
        return self._registry

    def scorer(self: "Serving[Scorer]") -> "Scorer":
        """The classifier in service, as :meth:`loaded` finds it."""
        return self.loaded()

    def loaded(self) -> Model:
        """The model in service. Without one this looks again: another worker may have said this
        very moment that the machine is ready.

        Raises:
            NoChampion: there is none; the message says why.
        """
        if self._live is None:
            self.look(patience=self._wait)
        if self._live is None:
            raise NoChampion(self.reason)
        return self._live[1]

    def look(self, every: float = LOOK_AGAIN_SECONDS, patience: float = -1) -> None:
        """Take over what the leader has written down; the leader itself asks the registry.

        Args:
            every: seconds that must have passed since the registry was asked last.
            patience: seconds to wait for another thread that is looking already; -1 is for ever.
        """
        if not self._refreshing.acquire(timeout=patience):
            return
        try:
            self.catch_up()
            if self._leader.leads() and time.monotonic() - self._asked >= every:
                self.refresh()
        except ChurnError as error:
            self._tell(error)
        finally:
            self._refreshing.release()

    def catch_up(self) -> None:
        """Take over the version that is in service on this machine, from its copy."""
        with self._refreshing:
            stamp = self._shelf.stamp()
            if stamp != self._stamp:
                self._state, self._stamp, fresh = self._shelf.read(), stamp, True
            else:
                fresh = False
            live = self._state.live
            if live is None or (self._live and self._live[0].key == live.key):
                return
            if not fresh and time.monotonic() - self._unreadable < LOOK_AGAIN_SECONDS:
                return
            try:
                self._serve(live, self._shelf.load(live))
            except (OSError, RefusedModel) as error:  # the leader fetches it anew
                self._unreadable = time.monotonic()
                if fresh:
                    log.warning("the copy of the version in service cannot be read: %s", error)

    def refresh(self) -> None:
        """Ask the registry, and take its champion over, if it is another than the one in memory."""
        with self._refreshing:
            try:
                with self._shelf.locked():
                    self.catch_up()
                    self._take(self._champion())
            except ChurnError as error:
                self._tell(error)
            else:
                self._failing = None
            finally:
                self._asked = time.monotonic()

    def _champion(self) -> "Version":
        try:
            found = self.registry.champion()
        except ChurnError as error:
            metrics.registry_reachable(not isinstance(error, Unavailable))
            raise
        metrics.registry_reachable(True)
        return found

    def _take(self, champion: "Version") -> None:
        served = Served.of(champion)
        if self._live and self._live[0].key == served.key:
            if not self._shelf.place(served).exists():
                self._shelf.fetch(self.registry, champion)
            self._live = (served, self._live[1])
            self._write(replace(self._state, live=served, refused=None, warning=""))
            return
        try:
            model = self._checked(champion, served)
        except RefusedModel as error:
            refusal = Refusal(champion.name, champion.version, str(error))
            if self._state.refused is None or self._state.refused.version != refusal.version:
                metrics.refused(champion.name)
                log.warning("%s", error)
            self._write(replace(self._state, refused=refusal, warning=str(error)))
            return
        old = self._live[0] if self._live else None
        state = State(live=served, previous=old, refused=None, warning="")
        # written down first: a worker that says it is ready must find the others able to follow
        self._write(state)
        self._serve(served, model)
        self._shelf.prune(state)

    def _checked(self, champion: "Version", served: Served) -> Model:
        """Fetch and load a version, once: what was refused stays refused until the alias moves."""
        known = (served, champion.tags)
        if self._hopeless and self._hopeless[0] == known:
            raise RefusedModel(self._hopeless[1])
        self._shelf.fetch(self.registry, champion)
        try:
            model = self._shelf.load(served)
            self._check_contract(champion, model.contract)
        except RefusedModel as error:
            self._hopeless = (known, str(error))
            raise
        self._hopeless = None
        return model

    def _check_contract(self, champion: "Version", contract: Contract) -> None:
        """Refuse a change of the rows that callers send, unless a person has agreed to it."""
        if self._live is None or champion.contract_accepted or self._live[1].contract.row_hash == contract.row_hash:
            return
        terms = self.registry.history()
        if terms and terms[0].how == "rollback":  # what served before is known to its callers
            return
        raise RefusedModel(
            f"{champion.name} version {champion.version} asks for other rows than version {self._live[0].version}, "
            "which goes on serving; promote it with --accept-contract once its callers can send them"
        )

    def _serve(self, served: Served, model: Model) -> None:  # type: ignore[misc]  # it is taken in, as by __init__
        metrics.serves(served, self._live[0] if self._live else None)
        self._live = (served, model)
        log.info("%s version %s is in service", served.name, served.version)

    def _write(self, state: State) -> None:
        if state != self._shelf.read():
            self._shelf.write(state)
        self._state, self._stamp = state, self._shelf.stamp()

    def _tell(self, error: ChurnError) -> None:
        """Write a failure down; what cannot be written is at least told by this worker."""
        if type(error) is not self._failing:  # once, and not at each look
            log.warning("%s", error)
        self._failing = type(error)
        self._state = replace(self._state, warning=str(error))
        with suppress(ChurnError), self._shelf.locked():
            # another worker may have taken a version over meanwhile: only the warning is this one's to tell
            self._write(replace(self._shelf.read(), warning=str(error)))

    def follow(self, seconds: float) -> None:
        """Serve the last good version at once; then keep current, in a thread of its own.

        Args:
            seconds: between two looks into the registry.
        """
        self.catch_up()
        threading.Thread(target=self._follow, args=(seconds,), name=self.kind.name, daemon=True).start()

    def _follow(self, seconds: float) -> None:
        while True:
            try:
                self.look(every=seconds)
            except Exception:  # the thread must outlive whatever a look meets
                log.exception("the champion could not be refreshed")
                warning = "the champion could not be loaded; the log says why"
                self._state = replace(self._state, warning=warning)
            time.sleep(min(seconds, LOOK_AGAIN_SECONDS))


def serving() -> "Serving[Scorer]":
    """The classifier's, of the application that handles this request."""
    found: Serving[Scorer] = current_app.extensions["churn.serving"]
    return found


def recommender_serving() -> "Serving[Recommender]":
    """The recommender's."""
    found: Serving[Recommender] = current_app.extensions["churn.recommender"]
    return found


def servings() -> "tuple[Serving[Loaded], ...]":
    """Those of all kinds, the classifier's first."""
    return serving(), recommender_serving()
