"""`airflow …`, command after command in one process: each alone would take ten seconds for its imports and
for the API that its tasks talk to."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


class Airflow:
    """Airflow's command line over a home of its own, until the block ends."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self._environment = {**os.environ, "AIRFLOW_HOME": str(home), "PYTHONPATH": str(ROOT), **environment}

    def __enter__(self) -> "Airflow":
        command = [sys.executable, "-m", "tests.airflow_command"]
        with (self.home / "errors.txt").open("w") as errors:
            self._process = subprocess.Popen(
                command, env=self._environment, cwd=self.home, text=True, stdin=-1, stdout=-1, stderr=errors
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def __call__(self, *arguments: str, fails: bool = False, **more: str) -> str:
        """What a command says; ``more`` are variables of its environment."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        said = self.home / "said.txt"
        asked = {"arguments": arguments, "environment": more, "said": str(said)}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        failed = self._process.stdout.readline()
        told = said.read_text(encoding="utf-8")
        assert failed == f"{fails}\n", told
        return told


def serve() -> None:
    """Run a command for each line that comes, and tell whether it failed."""
    answers, errors = os.fdopen(os.dup(1), "w"), os.dup(2)
    os.dup2(2, 1)
    for line in sys.stdin:
        asked = json.loads(line)
        out = os.open(asked["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        own = dict(os.environ)
        os.environ.update(asked["environment"])
        failed = _run(asked["arguments"])
        for name in asked["environment"]:
            os.environ.pop(name)
        os.environ.update(own)
        os.dup2(errors, 1)
        os.close(out)
        print(failed, file=answers, flush=True)


def _run(arguments: list[str]) -> bool:
    from airflow.__main__ import main

    sys.argv = ["airflow", *arguments]
    try:
        main()
    except SystemExit as end:
        return bool(end.code)
    finally:
        sys.stdout.flush()
    return False


if __name__ == "__main__":
    serve()
