"""Processes under measure: servers that pause while another has the machine, commands and their peak memory."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from churn.settings import ROOT

START_SECONDS = 180
_NOTICED_SECONDS = 1.5


def environment(home: Path, **more: str) -> dict[str, str]:
    """What a child finds: one home, and nothing of the settings of whoever runs the bench."""
    ours = ("CHURN_", "MLFLOW_", "GUNICORN_", "PROMETHEUS_", "AIRFLOW")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    # both the tools beside this Python, whether or not its environment is activated
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
    told = {"PATH": path, "PYTHONPATH": str(ROOT), "CHURN_HOME": str(home), "MLFLOW_DISABLE_TELEMETRY": "true"}
    return kept | told | more


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server and its workers: one process group, of which the first process is the leader."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], folder: Path, name: str) -> None:
        self.name = name
        self._log = folder / f"{name}.log"
        with self._log.open("wb") as log:
            self._leader = subprocess.Popen(
                command, env=env, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def check(self) -> None:
        """RuntimeError where it has ended."""
        if self._leader.poll() is not None:
            raise RuntimeError(f"{self.name} ended with status {self._leader.returncode}\n{self.log()}")

    def log(self) -> str:
        """The end of what it said."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-3000:]

    def pause(self) -> None:
        os.killpg(self._leader.pid, signal.SIGSTOP)

    def resume(self) -> None:
        # workers first: an arbiter that wakes before them takes their pause for a hang, and kills them
        for pid in self._members():
            if pid != self._leader.pid:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        time.sleep(_NOTICED_SECONDS)
        os.killpg(self._leader.pid, signal.SIGCONT)

    def memory(self) -> int:
        """Bytes of all its processes together."""
        return sum(memory(pid) for pid in self._members())

    def end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._leader.pid, signal.SIGCONT)
            os.killpg(self._leader.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._leader.wait(20)
            os.killpg(self._leader.pid, signal.SIGKILL)
        self._leader.wait()

    def _members(self) -> list[int]:
        listed = subprocess.run(["ps", "-A", "-o", "pid=,pgid="], capture_output=True, text=True, check=True).stdout
        pairs = [line.split() for line in listed.splitlines()]
        return [int(pid) for pid, group in pairs if int(group) == self._leader.pid]


@contextmanager
def ended() -> Iterator[list[Server]]:
    """A list for servers; those in it are ended, whatever happens in between."""
    servers: list[Server] = []
    try:
        yield servers
    finally:
        for server in servers:
            server.end()


def memory(pid: int) -> int:
    """Bytes of a process: its proportional share of shared pages (PSS) where the kernel tells it, else its RSS."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    told = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return int(told or 0) * 1024


@dataclass(frozen=True)
class Measured:
    """A command from its start to its end."""

    seconds: float
    peak: int
    """Bytes of resident memory at its highest."""
    said: str
    """What it printed."""


def measured(command: Sequence[str], env: Mapping[str, str], folder: Path) -> Measured:
    """Run a command to its end.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    # A fork inherits the peak of its parent, so a small process, not this one, starts the command.
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _RUNNER, *command],
        env=env, cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    *said, last = done.stdout.splitlines()
    seconds, peak = json.loads(last)
    return Measured(seconds, peak * (1 if sys.platform == "darwin" else 1024), "\n".join(said))


_RUNNER = """
import os, sys, time
began = time.perf_counter()
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(child, 0)
print(f"\\n[{time.perf_counter() - began}, {used.ru_maxrss}]")
sys.exit(os.waitstatus_to_exitcode(status) != 0)
"""
