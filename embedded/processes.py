"""Which processes of this machine are this home's: supervisord, and what it left if it was killed."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from environment import CONF, MARK, socket_of

from churn.errors import NotReady
from churn.settings import Settings

PROC = Path("/proc")
GRACE_SECONDS = 20
KILL_SECONDS = 10


def supervisor_of(settings: Settings) -> int | None:
    """The process id of the platform's supervisord, if it runs.

    Raises:
        NotReady: it runs, and is another user's.
    """
    try:
        pid = int((settings.home / "supervisord.pid").read_text(encoding="utf-8"))
        os.kill(pid, 0)
    except PermissionError:
        if str(CONF) in _arguments(pid):
            raise NotReady(f"the platform runs as process {pid} of another user, who alone can end it") from None
        return None
    except (OSError, ValueError):
        return None
    return pid if str(CONF) in _arguments(pid) and pid in ours(settings) else None


def ours(settings: Settings) -> list[int]:
    """The processes of this home: those that were started with its mark, and no other."""
    mark = f"{MARK}={socket_of(settings)}"
    if (PROC / "self" / "environ").exists():
        found = [pid for pid, variables in _environments() if mark in variables]
    else:
        found = [pid for pid, told in _listed("-axEww", "-o", "pid=,command=") if f" {mark} " in f"{told} "]
    return [pid for pid in found if pid != os.getpid()]


def end(settings: Settings) -> int:
    """End all processes of this home, the stubborn ones by force; returns how many there were."""
    first = ours(settings)
    _send(first, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while ours(settings) and time.monotonic() < deadline:
        time.sleep(0.2)
    deadline += KILL_SECONDS
    while left := ours(settings):  # one that is killed here may just have started another
        if time.monotonic() > deadline:
            raise NotReady(f"these processes do not end: {', '.join(map(str, left))}")
        _send(left, signal.SIGKILL)
        time.sleep(0.1)
    return len(first)


def _send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _environments() -> Iterator[tuple[int, list[str]]]:
    for folder in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # another user's, or one that has just ended
            yield int(folder.name), os.fsdecode((folder / "environ").read_bytes()).split("\0")


def _arguments(pid: int) -> str:
    if (PROC / "self" / "cmdline").exists():
        with contextlib.suppress(OSError):
            return os.fsdecode((PROC / str(pid) / "cmdline").read_bytes()).replace("\0", " ")
        return ""
    return " ".join(told for _, told in _listed("-ww", "-o", "pid=,args=", "-p", str(pid)))


def _listed(*options: str) -> Iterator[tuple[int, str]]:
    """What `ps` says, for a system that has no /proc: macOS."""
    told = subprocess.run(["ps", *options], capture_output=True, text=True, check=False).stdout
    for line in told.splitlines():
        pid, _, rest = line.strip().partition(" ")
        yield int(pid), rest
