"""supervisord: started, asked what gave up, and ended with all that it started."""

import contextlib
import http.client
import signal
import subprocess
import xmlrpc.client
from collections.abc import Iterator, Mapping
from typing import Any

import processes
from environment import BIN, CONF, socket_of
from supervisor.xmlrpc import SupervisorTransport  # type: ignore[import-untyped]

from churn.errors import NotReady
from churn.settings import Settings

STOP_SECONDS = 60
LOOK_SECONDS = 5


class Supervisor:
    """The running supervisord."""

    def __init__(self, settings: Settings, process: "subprocess.Popen[bytes]") -> None:
        self._logs = settings.home / "logs"
        self._socket = socket_of(settings)
        self._process = process

    def start(self, group: str) -> None:
        """Start a group of programs; does not wait for them."""
        self._ask().supervisor.startProcessGroup(group, False)

    def check(self) -> None:
        """Raises NotReady when supervisord has ended, or a program dies so often that it gave up."""
        code = self._process.poll()
        if code == 0:
            raise NotReady("ended from elsewhere before all was up")
        if code is not None:
            raise NotReady(f"the supervisor ended; {self._logs / 'supervisord.log'} says why")
        for program in self.given_up():
            raise NotReady(f"{program} ends as soon as it is started; {self._logs / program}.log says why")

    def given_up(self) -> list[str]:
        """The programs that were started in vain so often that supervisord leaves them dead."""
        try:
            found: Any = self._ask().supervisor.getAllProcessInfo()
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):  # not yet, or no more
            return []
        return [str(program["name"]) for program in found if program["statename"] == "FATAL"]

    def wait(self) -> None:
        """Until supervisord ends, as `make down` makes it; tells of each program that gives up meanwhile.

        Raises:
            NotReady: it ended by itself, or was killed.
        """
        told: set[str] = set()
        while self._runs():
            for program in set(self.given_up()) - told:
                log = self._logs / f"{program}.log"
                print(f"churn: {program} ends as soon as it is started, and stays off; {log} says why", flush=True)
                told.add(program)
        if self._process.returncode:
            raise NotReady(f"the supervisor was killed ({self._process.returncode}), and the services ended with it")

    def _runs(self) -> bool:
        """Whether supervisord still runs after a little while."""
        try:
            self._process.wait(LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            return True
        return False

    def stop(self, settings: Settings) -> None:
        """End supervisord and with it all services; a second Ctrl-C does not cut this short."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        processes.end(settings)

    def _ask(self) -> xmlrpc.client.ServerProxy:
        # the address is a form; the transport goes to the socket
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        return xmlrpc.client.ServerProxy("http://localhost", transport=transport)


@contextlib.contextmanager
def supervised(settings: Settings, env: Mapping[str, str]) -> Iterator[Supervisor]:
    """supervisord for as long as the block runs."""
    command = [str(BIN / "supervisord"), "-c", str(CONF)]
    # a session of its own: Ctrl-C reaches this process alone, which ends supervisord in order
    process = subprocess.Popen(command, env=env, cwd=settings.home, start_new_session=True)
    supervisor = Supervisor(settings, process)
    try:
        yield supervisor
    finally:
        supervisor.stop(settings)
