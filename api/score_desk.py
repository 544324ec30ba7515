"""What a worker does about files that are scored, beside answering: it lets in only so many at once,
sees to it that a process scores them, and removes what has been kept long enough.
"""

import logging
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

from api.problems import Denied
from churn.errors import ChurnError, UnknownName
from churn.score_jobs import ScoreJob, ScoreJobs
from churn.score_process import Launcher
from churn.settings import Settings

TRANSFERS = 2
"""Files that move in or out of a worker at once: each takes a thread, and there are four."""
FIRST_SECONDS = 5.0
ROUND_SECONDS = 60.0
log = logging.getLogger(__name__)


class ScoreDesk:
    """One for each worker.

    Attributes:
        jobs: what is known of the files.
        most: bytes that a file may have.
        room: a folder on the disk that they lie on.
    """

    def __init__(self, settings: Settings) -> None:
        self.jobs = ScoreJobs(settings)
        self.most = settings.score_max_mb * 2**20
        self.room = _present(settings.home)
        self._launcher = Launcher(settings)
        self._transfers = threading.BoundedSemaphore(TRANSFERS)

    @contextmanager
    def transfer(self) -> Iterator[None]:
        """Hold one of the few places for a file that moves.

        Raises:
            Denied: 503, all are taken.
        """
        if not self._transfers.acquire(blocking=False):
            detail = f"{TRANSFERS} files are on their way already; try again in a moment"
            raise Denied(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": "5"})
        try:
            yield
        finally:
            self._transfers.release()

    def known(self, token: str) -> ScoreJob | None:
        """The job that an earlier request of this name has made."""
        try:
            return self.jobs.find_token(token)
        except UnknownName:
            return None

    def wake(self) -> bool:
        """Have what waits scored; whether a process does so already."""
        try:
            return self._launcher.wake()
        except OSError as error:  # no more processes, no memory; the next round tries again
            log.warning("the process that scores files cannot be started: %s", error)
            return False

    def attend(self) -> None:
        """One round: files that wait for nobody, and those that nobody will ask for any more."""
        if not self.jobs.folder.exists():  # none has ever come
            return
        if self.jobs.waiting() and self.wake():
            self.jobs.give_up_silent()
        self.jobs.sweep()

    def close(self) -> None:
        """End what this worker has started."""
        self._launcher.close()

    def start(self) -> None:
        """Attend to them from now on, until nobody holds this desk any more."""
        threading.Thread(target=_attend, args=(weakref.ref(self),), name="score desk", daemon=True).start()


def _present(folder: Path) -> Path:
    """The folder, or the nearest one above that is there already."""
    return next((place for place in (folder, *folder.absolute().parents) if place.exists()), Path("/"))


def _attend(found: "weakref.ref[ScoreDesk]") -> None:
    time.sleep(FIRST_SECONDS)
    while (desk := found()) is not None:
        try:
            desk.attend()
        except ChurnError as error:
            log.info("%s", error)
        except Exception:  # the thread must outlive whatever a round meets
            log.exception("the files to be scored could not be attended to")
        del desk
        time.sleep(ROUND_SECONDS)
