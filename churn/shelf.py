"""What the processes of one machine share on its disk: copies of versions, and what is in service.

    CHURN_HOME/serving/<name>/          one kind of model
        state.json                      what is in service, what was before, what is refused
        <version>/<run id>/             a copy, complete or absent, with the hash of each file

Of the API's workers one asks the registry; the others follow the state. The command line shares
the copies. The run's id is part of the path, since a registry that is made anew counts its
versions from 1 again.
"""

import fcntl
import hashlib
import json
import logging
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Generic

from pydantic import TypeAdapter, ValidationError

from churn import kinds
from churn.errors import NotReady
from churn.kinds import Kind, Model
from churn.scoring import ModelVersion
from churn.settings import make_folder

if TYPE_CHECKING:
    from churn.kinds import Loaded
    from churn.peek import Named
    from churn.registry import Registry
    from churn.versions import Version

HASHES_FILE = "sha256.json"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Served:
    """What is told of a version in service, also while MLflow does not answer."""

    name: str
    version: str
    run_id: str
    since: str
    """ISO 8601"""
    metrics: dict[str, float | None]
    provenance: dict[str, str]

    @classmethod
    def of(cls, version: "Version") -> "Served":
        """What a registered version says of itself."""
        figures = {name: value if math.isfinite(value) else None for name, value in version.metrics.items()}
        since = version.since.isoformat()
        return cls(version.name, version.version, version.run_id, since, figures, version.provenance)

    @property
    def key(self) -> tuple[str, str, str]:
        return self.name, self.version, self.run_id


@dataclass(frozen=True)
class Refusal:
    """A version that the alias names and that is not served."""

    name: str
    version: str
    reason: str


@dataclass(frozen=True)
class State:
    """What the workers know of the registry."""

    live: Served | None = None
    previous: Served | None = None
    refused: Refusal | None = None
    warning: str = "the service is starting"
    """Why nothing serves, or why what serves may not be the newest; else empty."""


_STATE: TypeAdapter[State] = TypeAdapter(State)


class Shelf(Generic[Model]):
    """The folder of one kind of model in ``CHURN_HOME/serving``."""

    def __init__(self, home: Path, kind: Kind[Model] = kinds.DEFAULT) -> None:
        self.folder = home / "serving" / kind.name
        self._kind = kind
        self._path = self.folder / "state.json"
        # where the state stood while there was one kind: read until a new one is written
        self._old_path = home / "serving" / "state.json" if kind is kinds.CLASSIFIER else self._path

    def stamp(self) -> tuple[int, int]:
        """What changes whenever the state is written."""
        for path in (self._path, self._old_path):
            with suppress(OSError):
                found = path.stat()
                return found.st_ino, found.st_mtime_ns
        return 0, 0

    def read(self) -> State:
        """The state that was written last; that of a new machine where there is none, or a broken one."""
        path = self._path if self._path.exists() else self._old_path
        try:
            return _STATE.validate_json(path.read_bytes())
        except FileNotFoundError:
            return State()
        except (OSError, ValidationError) as error:
            log.warning("%s cannot be read, and is written anew: %s", path, str(error).splitlines()[0])
            return State()

    def write(self, state: State) -> None:
        """Replace the state; a power cut leaves the old one or the new one.

        Raises:
            NotReady: the disk is full, or the folder cannot be written.
        """
        scratch = self._path.with_suffix(".new")
        try:
            _write(scratch, json.dumps(asdict(state), allow_nan=False).encode())
            scratch.replace(self._path)
        except OSError as error:
            raise NotReady(f"{self._path}: {error.strerror or error}") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep the other workers from changing the shelf. The system lets go of it for who dies.

        Raises:
            NotReady: the folder cannot be made or written.
        """
        with self._open("lock") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _open(self, name: str) -> IO[str]:
        make_folder(self.folder)
        try:
            return (self.folder / name).open("a")
        except OSError as error:
            raise NotReady(f"{self.folder / name}: {error.strerror or error}") from error

    def place(self, version: "Served | Version | Named") -> Path:
        return self.folder / version.version / (version.run_id or "no-run")

    def load(self, version: "Served | Version | Named") -> Model:
        """Read a version from its copy.

        Raises:
            FileNotFoundError: there is no copy, or no whole one.
            RefusedModel: it does not load, as its kind says.
        """
        place = self.place(version)
        if not _is_whole(place):
            raise FileNotFoundError(f"{place}: no whole copy of {version.name} version {version.version}")
        return self._kind.load(place, ModelVersion(version.name, version.version))

    def fetch(self, registry: "Registry[Loaded]", version: "Version") -> None:
        """Have a whole copy of a version. Call it under :meth:`locked`.

        Raises:
            RefusedModel, Unavailable: as :meth:`churn.registry.Registry.download`.
            NotReady: there is no space left, or the folder cannot be written.
        """
        place = self.place(version)
        if _is_whole(place):
            return
        make_folder(place.parent)
        self._discard(place)
        try:
            with tempfile.TemporaryDirectory(prefix=".new-", dir=self.folder) as scratch:
                copy = registry.download(version, Path(scratch) / "copy")
                _write(copy / HASHES_FILE, json.dumps(_hashes(copy)).encode())
                _settle(copy)
                copy.rename(place)
        except OSError as error:
            raise NotReady(f"{place}: {error.strerror or error}") from error

    def prune(self, state: State, *more: "Version") -> None:
        """Remove the copies that nobody will go back to at once. Call it under :meth:`locked`."""
        kept = {self.place(served) for served in (state.live, state.previous, *more) if served}
        for place in self.folder.glob("*/*"):
            if place not in kept:
                self._discard(place)
                with suppress(OSError):  # another run's copy may stand beside it
                    place.parent.rmdir()
        for left in self.folder.glob(".*-*"):  # by who was killed: whoever writes now holds the lock
            shutil.rmtree(left, ignore_errors=True)

    def _discard(self, place: Path) -> None:
        """Remove a copy so that nobody sees half of it."""
        if place.exists():
            out = Path(tempfile.mkdtemp(prefix=".old-", dir=self.folder))
            with suppress(OSError):
                place.rename(out / "copy")
            shutil.rmtree(out, ignore_errors=True)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())


def _settle(folder: Path) -> None:
    """Have the files on the disk before they are relied on."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as handle:
                os.fsync(handle.fileno())


def _hashes(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != HASHES_FILE)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _is_whole(folder: Path) -> bool:
    """Whether a copy is as it was fetched: after a power cut its files may lack their ends."""
    try:
        told = json.loads((folder / HASHES_FILE).read_bytes())
        return bool(told == _hashes(folder))
    except (OSError, ValueError):
        return False
