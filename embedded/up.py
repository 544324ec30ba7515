"""`make up` and `make down`: the whole platform on this machine, without Docker and without root.

Checks the machine, makes the stack's passwords, migrates the databases, hands the services to
supervisord, follows the first training, and prints where everything is and how to log in.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from types import FrameType

import httpx
import processes
from environment import BIN, environment, public_url, without_proxy
from first_training import wait_for_champion
from supervision import STOP_SECONDS, Supervisor, supervised

from churn import credentials
from churn.errors import ChurnError, NotReady
from churn.services import Service, is_free, is_private, keys_required, services
from churn.settings import Settings, load, make_folder

START_SECONDS = 240
FOLDERS = ("logs", "mlflow/artifacts", "airflow")
INTERRUPTED = 130


def main() -> int:
    try:
        settings = load()
        match sys.argv[1:]:
            case ["up"]:
                return up(settings)
            case ["down"]:
                return down(settings)
        raise NotReady("usage: up.py up | down")
    except ChurnError as error:
        print(f"churn: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nchurn: interrupted; nothing was left running", file=sys.stderr)
        return INTERRUPTED


def up(settings: Settings) -> int:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    check(settings)
    for folder in FOLDERS:
        make_folder(settings.home / folder)
    credentials.ensure(settings.home / "secrets")
    env = environment(settings)
    os.environ.update(without_proxy(settings, os.environ))  # this process asks the services, too
    migrate_store(settings, env)
    migrate_airflow(settings, env)
    began = time.monotonic()
    with supervised(settings, env) as supervisor:
        try:
            wait_for_services(settings, supervisor)
            wait_for_champion(settings, supervisor)
            print(welcome(settings, time.monotonic() - began), flush=True)
            supervisor.wait()
        except KeyboardInterrupt:
            print("\nchurn: ending the services", flush=True)
    return 0


def interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def check(settings: Settings) -> None:
    """What is wrong with this machine, each thing in one line."""
    pid = processes.supervisor_of(settings)
    if pid:
        raise NotReady(f"the platform is running already (process {pid}); `make down` ends it")
    if processes.ours(settings):
        raise NotReady("services of an earlier start still run, without their supervisor; `make down` ends them")
    if set("?#$\n") & set(str(settings.home.absolute())):
        raise NotReady(f"CHURN_HOME={settings.home}: ?, # and $ mean something else in the address of a database")
    keys_required(settings)
    if settings.dags is not None and not settings.dags.is_dir():
        raise NotReady(f"CHURN_DAGS={settings.dags}: there is no such folder")
    for service in services(settings):
        if not is_free(service.port, service.bind):
            other = service.port + 10000 if service.port < 50000 else service.port - 10000
            raise NotReady(
                f"port {service.port} ({service.name}) is taken by another program; end that, or choose another: "
                f"{service.variable}={other} make up"
            )


def migrate_store(settings: Settings, env: dict[str, str]) -> None:
    """Bring the platform's own database to this version, and see to the keys.

    Raises:
        NotReady: in the words of `churn migrate`; beyond this machine also where no key could ask.
    """
    key = settings.home.absolute() / "secrets" / credentials.WEB_APP_KEY
    command = [str(BIN / "churn"), "migrate", "--web-app-key", str(key)]
    done = subprocess.run(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["churn: the store could not be prepared"])[-1]
        raise NotReady(last.removeprefix("churn: "))
    key.chmod(0o600)  # here the web app is nobody else


def migrate_airflow(settings: Settings, env: dict[str, str]) -> None:
    """Bring Airflow's database to the installed version; once it is there, nothing is to do."""
    mark, installed = settings.home / "airflow" / ".migrated", version("apache-airflow")
    if mark.exists() and mark.read_text(encoding="utf-8") == installed:
        return
    print("churn: preparing Airflow's database", flush=True)
    log = settings.home / "logs" / "airflow-migrate.log"
    with log.open("w") as handle:
        command = [str(BIN / "airflow"), "db", "migrate"]
        done = subprocess.run(command, env=env, stdout=handle, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise NotReady(f"Airflow's database could not be prepared; {log} says why")
    mark.write_text(installed, encoding="utf-8")


def wait_for_services(settings: Settings, supervisor: Supervisor) -> None:
    airflow, *others = services(settings)
    wait_for(others, settings, supervisor)
    supervisor.start("airflow-pages")
    wait_for([airflow], settings, supervisor)
    supervisor.start("airflow")  # its parts that nobody waits for, once those that people ask answer


def wait_for(asked: list[Service], settings: Settings, supervisor: Supervisor) -> None:
    """Until each of the services answers; tells of each that does."""
    deadline = time.monotonic() + START_SECONDS
    silent = list(asked)
    with httpx.Client(timeout=2, trust_env=False) as http:
        while silent:
            for service in list(silent):
                with contextlib.suppress(httpx.HTTPError):
                    if http.get(f"{service.url}{service.health}").is_success:
                        print(f"churn: {service.name} answers", flush=True)
                        silent.remove(service)
            supervisor.check()
            if time.monotonic() > deadline:
                names = ", ".join(service.name for service in silent)
                raise NotReady(f"{names}: no answer after {START_SECONDS} s; see {settings.home / 'logs'}")
            time.sleep(0.5)


def welcome(settings: Settings, seconds: float) -> str:
    passwords = json.loads((settings.home / "secrets" / credentials.AIRFLOW_PASSWORDS).read_text(encoding="utf-8"))
    url = {service.name: service.url for service in services(settings)}
    asks = "needs a key; `churn keys` makes them" if keys_required(settings) else "no log-in"
    near = "no log-in" if is_private(settings.bind) else "no log-in; on this machine only"
    return f"""
churn is up after {seconds:.0f} s.

  web app   {url["web app"]}         {near}
  API       {url["API"]}/docs    {asks}
  MLflow    {url["MLflow"]}         {near}
  Airflow   {public_url(settings)}         user admin, password {passwords["admin"]}

State and logs are in {settings.home}. Ctrl-C ends it, as does `make down` from elsewhere."""


def down(settings: Settings) -> int:
    pid = processes.supervisor_of(settings)
    if pid is None:
        left = processes.end(settings)
        told = f"ended {left} processes that ran on without their supervisor" if left else "nothing is running"
        print(f"churn: {told}")
        return 0
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while processes.supervisor_of(settings):
        if time.monotonic() > deadline:
            raise NotReady(f"process {pid} does not end; see {settings.home / 'logs' / 'supervisord.log'}")
        time.sleep(0.2)
    processes.end(settings)
    print("churn: ended")
    return 0


if __name__ == "__main__":
    sys.exit(main())
