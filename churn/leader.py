"""Which of a machine's processes asks the registry: the one that holds a file's lock."""

import fcntl
import threading
from pathlib import Path
from typing import IO

from churn.errors import NotReady
from churn.settings import make_folder


class Leader:
    """A process's turn to ask the registry: of the one that was first, until it ends. All kinds of
    model share it, so that MLflow's client is loaded in one process and not in one for each kind."""

    def __init__(self, home: Path) -> None:
        self._path = home / "serving" / "leader"
        self._held: IO[str] | None = None
        self._taking = threading.Lock()

    def leads(self) -> bool:
        """Whether it is this process's turn; takes it where nobody has it.

        Raises:
            NotReady: the folder cannot be made or written.
        """
        with self._taking:
            if self._held is None:
                self._held = self._lock()
            return self._held is not None

    def _lock(self) -> IO[str] | None:
        make_folder(self._path.parent)
        try:
            handle = self._path.open("a")
        except OSError as error:
            raise NotReady(f"{self._path}: {error.strerror or error}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.close()
            return None
        return handle
