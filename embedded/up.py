"""`make up` and `make down`: the whole platform on this machine, without Docker and without root.

Checks the machine, makes the stack's passwords, migrates Airflow's database, hands the services
to supervisord, follows the first training, and prints where everything is and how to log in.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from zlib import crc32

import httpx

from churn import credentials
from churn.doctor import is_free, ports
from churn.errors import ChurnError, NotReady, Unavailable
from churn.pipelines import Pipelines
from churn.settings import ROOT, Settings, load

CONF = ROOT / "embedded" / "supervisord.conf"
BIN = Path(sys.executable).parent
STOP_SECONDS = 60
START_SECONDS = 240

Supervisor = subprocess.Popen[bytes]


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


def up(settings: Settings) -> int:
    check(settings)
    for folder in ("logs", "mlflow/artifacts", "airflow"):
        (settings.home / folder).mkdir(parents=True, exist_ok=True)
    credentials.ensure(settings.home / "secrets")
    env = environment(settings)
    migrate(settings, env)
    started = time.monotonic()
    # a session of its own: Ctrl-C reaches this process alone, which ends supervisord in order
    command = [str(BIN / "supervisord"), "-c", str(CONF)]
    supervisor = subprocess.Popen(command, env=env, cwd=ROOT, start_new_session=True)

    def end(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    try:
        wait_for_services(settings, supervisor, env)
        wait_for_champion(settings, supervisor)
        print(welcome(settings, time.monotonic() - started), flush=True)
        return supervisor.wait()
    except KeyboardInterrupt:
        print("\nchurn: ending the services", flush=True)
        return 0
    finally:
        stop(supervisor)


def check(settings: Settings) -> None:
    """What is wrong with this machine, each thing in one line."""
    pid = running(settings)
    if pid:
        raise NotReady(f"the platform is running already (process {pid}); `make down` ends it")
    for variable, name, port in ports(settings):
        if not is_free(port, settings.bind):
            raise NotReady(
                f"port {port} ({name}) is taken by another program; end that, or choose another: "
                f"{variable}={port + 10000 if port < 50000 else port - 10000} make up"
            )
    if settings.bind not in ("127.0.0.1", "localhost", "::1"):
        print(
            f"churn: WARNING: CHURN_BIND={settings.bind}: whoever reaches this machine reaches MLflow, the API "
            "and the web app, which ask for no password",
            file=sys.stderr,
        )


def environment(settings: Settings) -> dict[str, str]:
    """What the services are started with: every setting, resolved, and Airflow's own."""
    home, secrets = settings.home.absolute(), settings.home.absolute() / "secrets"
    mlflow = f"http://{settings.bind}:{settings.mlflow_port}"
    airflow = f"http://{settings.bind}:{settings.airflow_port}"
    mine = {
        "CHURN_ROOT": ROOT,
        "CHURN_HOME": home,
        "CHURN_CONTRACT": settings.contract.absolute(),
        "CHURN_SOCKET": socket_of(settings),
        "CHURN_BIND": settings.bind,
        "CHURN_API_URL": f"http://{settings.bind}:{settings.api_port}",
        "CHURN_AIRFLOW_URL": airflow,
        "CHURN_AIRFLOW_PUBLIC_URL": airflow,
        "CHURN_API_PORT": settings.api_port,
        "CHURN_UI_PORT": settings.ui_port,
        "CHURN_MLFLOW_PORT": settings.mlflow_port,
        "CHURN_AIRFLOW_PORT": settings.airflow_port,
        "CHURN_API_WORKERS": settings.api_workers,
        "CHURN_MLFLOW_STORE": f"sqlite:///{home / 'mlflow' / 'mlflow.db'}",
        "CHURN_MLFLOW_ARTIFACTS": (home / "mlflow" / "artifacts").as_uri(),
        "MLFLOW_TRACKING_URI": mlflow,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "GIT_PYTHON_REFRESH": "quiet",
        # skops looks for a function in every loaded module, and Airflow's old names complain of being looked at
        "PYTHONWARNINGS": "ignore::FutureWarning:skops.io._utils",
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONUNBUFFERED": "1",
    }
    theirs = airflow_environment(settings, airflow, home, secrets)
    return {**os.environ, **{name: str(value) for name, value in (mine | theirs).items()}}


def airflow_environment(settings: Settings, url: str, home: Path, secrets: Path) -> dict[str, object]:
    return {
        "AIRFLOW_HOME": home / "airflow",
        "AIRFLOW__CORE__DAGS_FOLDER": ROOT / "airflow" / "dags",
        "AIRFLOW__CORE__PLUGINS_FOLDER": ROOT / "airflow" / "plugins",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        # tasks report to the API server; left out, they would look for it on port 8080
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__PARALLELISM": 4,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": credentials.airflow_users(),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": secrets / credentials.AIRFLOW_PASSWORDS,
        "AIRFLOW__CORE__FERNET_KEY_CMD": f"cat '{secrets / 'airflow_fernet'}'",
        "AIRFLOW__API__SECRET_KEY_CMD": f"cat '{secrets / 'airflow_api'}'",
        "AIRFLOW__API_AUTH__JWT_SECRET_CMD": f"cat '{secrets / 'airflow_jwt'}'",
        "AIRFLOW__API__HOST": settings.bind,
        "AIRFLOW__API__PORT": settings.airflow_port,
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__WORKERS": 1,
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": 30,
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 60,
        "AIRFLOW__TRIGGERER__DEFAULT_CAPACITY": 20,
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


def socket_of(settings: Settings) -> Path:
    """supervisord's control socket; a socket's path may have no more than about 100 characters."""
    inside = settings.home.absolute() / "supervisor.sock"
    return (
        inside
        if len(str(inside)) < 90
        else Path(tempfile.gettempdir()) / f"churn-{os.getuid()}-{crc32(bytes(inside))}.sock"
    )


def migrate(settings: Settings, env: dict[str, str]) -> None:
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


def wait_for_services(settings: Settings, supervisor: Supervisor, env: dict[str, str]) -> None:
    host = f"http://{settings.bind}"
    first = {
        "web app": f"{host}:{settings.ui_port}/_stcore/health",
        "API": f"{host}:{settings.api_port}/health/live",
        "MLflow": f"{host}:{settings.mlflow_port}/health",
    }
    wait_for(first, settings, supervisor)
    command = [str(BIN / "supervisorctl"), "-c", str(CONF), "start", "airflow:*"]
    subprocess.run(command, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
    wait_for({"Airflow": f"{host}:{settings.airflow_port}/api/v2/monitor/health"}, settings, supervisor)


def wait_for(urls: dict[str, str], settings: Settings, supervisor: Supervisor) -> None:
    deadline = time.monotonic() + START_SECONDS
    with httpx.Client(timeout=2) as http:
        while urls:
            for name, url in list(urls.items()):
                with contextlib.suppress(httpx.HTTPError):
                    if http.get(url).is_success:
                        print(f"churn: {name} answers", flush=True)
                        del urls[name]
            alive(settings, supervisor)
            if time.monotonic() > deadline:
                raise NotReady(f"{', '.join(urls)}: no answer after {START_SECONDS} s; see {settings.home / 'logs'}")
            time.sleep(0.5)


def wait_for_champion(settings: Settings, supervisor: Supervisor) -> None:
    """Follow the first training; where a champion is there already, this is over at once."""
    ready = f"http://{settings.bind}:{settings.api_port}/health/ready"
    url = f"http://{settings.bind}:{settings.airflow_port}"
    airflow = Pipelines(settings.model_copy(update={"airflow_url": url, "airflow_public_url": url}))
    said = ""
    while not httpx.get(ready, timeout=30).is_success:
        alive(settings, supervisor)
        now = training(airflow)
        if now != said:
            print(f"churn: {now}", flush=True)
        said = now
        time.sleep(2)


def training(airflow: Pipelines) -> str:
    try:
        run = next((found.run for found in airflow.list() if found.dag == "churn_training"), None)
    except Unavailable:
        return "waiting for Airflow"
    if run is None:
        return "waiting for Airflow to start the first training"
    if run.state == "failed":
        return f"the first training failed; its log: {run.url}. The services go on; Ctrl-C ends them"
    if run.state == "success":
        return "loading the champion"
    return f"first training: {run.done} of {run.total} tasks done"


def alive(settings: Settings, supervisor: Supervisor) -> None:
    if supervisor.poll() is not None:
        raise NotReady(f"the supervisor ended; {settings.home / 'logs' / 'supervisord.log'} says why")


def welcome(settings: Settings, seconds: float) -> str:
    passwords = json.loads((settings.home / "secrets" / credentials.AIRFLOW_PASSWORDS).read_text(encoding="utf-8"))
    host = f"http://{settings.bind}"
    return f"""
churn is up after {seconds:.0f} s.

  web app   {host}:{settings.ui_port}         no log-in
  API       {host}:{settings.api_port}/docs    no log-in
  MLflow    {host}:{settings.mlflow_port}         no log-in
  Airflow   {host}:{settings.airflow_port}         user admin, password {passwords["admin"]}

State and logs are in {settings.home}. Ctrl-C ends it, as does `make down` from elsewhere."""


def running(settings: Settings) -> int | None:
    """The process id of the platform's supervisord, if it runs."""
    with contextlib.suppress(OSError, ValueError):
        pid = int((settings.home / "supervisord.pid").read_text(encoding="utf-8"))
        told = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True).stdout
        return pid if str(CONF) in told else None
    return None


def down(settings: Settings) -> int:
    pid = running(settings)
    if pid is None:
        print("churn: nothing is running")
        return 0
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while running(settings):
        if time.monotonic() > deadline:
            raise NotReady(f"process {pid} does not end; see {settings.home / 'logs' / 'supervisord.log'}")
        time.sleep(0.2)
    print("churn: ended")
    return 0


def stop(supervisor: Supervisor) -> None:
    """End supervisord and with it all services; a second Ctrl-C does not cut this short."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if supervisor.poll() is None:
        supervisor.terminate()
    try:
        supervisor.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        supervisor.kill()


if __name__ == "__main__":
    sys.exit(main())
