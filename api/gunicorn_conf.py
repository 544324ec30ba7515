"""How gunicorn runs the API: ``gunicorn --config api/gunicorn_conf.py``. Options of its command line win."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from churn.errors import NotReady
from churn.services import address, keys_required
from churn.settings import load

try:
    _settings = load()
    keys_required(_settings)
except NotReady as error:  # one line, and not the traceback of each worker
    raise SystemExit(f"churn: {error}") from error

wsgi_app = "api.app:create_app()"
bind = address(_settings.bind, _settings.api_port)
workers = _settings.api_workers
worker_class = "gthread"
# a request computes nearly all its time, so that threads only keep a slow one, a thousand customers or
# a promotion, from holding up the others: 2, 4 and 8 of them give the same requests per second, and a
# shorter switch interval of the interpreter changes nothing that can be measured
threads = 4
# no preload: OpenMP, which a pipeline that could not be compiled runs on, does not survive a fork
preload_app = False
graceful_timeout = 15
# longer than clients keep an idle connection, so that it is they who close it
keepalive = 15
# nothing talks to it, and it would lie in the home of a user who may have none
control_socket_disable = True

# the log is no place for the bars that MLflow draws at each download
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

# where each worker keeps its numbers; of this master alone, and not in CHURN_HOME: containers that
# share a volume count their processes alike
_numbers = Path(
    os.environ.setdefault(
        "PROMETHEUS_MULTIPROC_DIR", str(Path(tempfile.gettempdir()) / f"churn-metrics-{os.getuid()}-{os.getpid()}")
    )
)


def on_starting(_server: Any) -> None:
    """Begin with no numbers of an earlier run."""
    shutil.rmtree(_numbers, ignore_errors=True)
    _numbers.mkdir(mode=0o700, parents=True)


def worker_exit(_server: Any, worker: Any) -> None:
    """What a worker has not written yet, it writes before it ends."""
    parts = getattr(getattr(worker, "wsgi", None), "extensions", {})
    for name in ("churn.score", "churn.keeper"):
        if name in parts:  # a worker that could not start has none
            parts[name].close()


def child_exit(_server: Any, worker: Any) -> None:
    """A dead worker serves no version. What it has counted stays counted."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(_server: Any) -> None:
    shutil.rmtree(_numbers, ignore_errors=True)
