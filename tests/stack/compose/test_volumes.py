"""What outlives an end, a new start, a rotation, and the loss of every volume."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.stack.compose.conftest import Load
from tests.stack.compose.stack import Stack, eventually, leftovers, timed

pytestmark = pytest.mark.stack
SECOND_START_SECONDS = 60
RESTORE = ("docker", "compose", "run", "--rm", "-T", "restore")


def known(stack: Stack) -> dict[str, Any]:
    """What must not be lost."""
    return {
        "answer": stack.predict()["churn_probability"],
        "versions": stack.versions(),
        "history": stack.get("API", "/models/history")["history"][1:],
        "runs": [run["dag_run_id"] for run in stack.runs()],
        "users": stack.users(),
        "keys": stack.sql("churn", "SELECT name, hash, scope FROM api_keys ORDER BY id"),
        "some predictions": stack.predictions() > 100,
    }


def test_down_and_up_keep_everything_and_train_nothing(stack: Stack, load: Load) -> None:
    with load():
        time.sleep(3)
    eventually(lambda: stack.predictions() > 100, seconds=10)
    before = known(stack)
    stack.compose("down")
    began = time.monotonic()
    stack.compose("up", "--wait")
    seconds = time.monotonic() - began
    print(f"\nsecond start: {seconds:.0f} s")
    assert seconds < SECOND_START_SECONDS
    assert known(stack) == before


def test_rotated_secrets_open_everything_and_the_old_ones_nothing(stack: Stack) -> None:
    before, old = known(stack), stack.secrets()
    done = stack.run("make", "stack-rotate")
    assert done.returncode == 0, done.stderr[-2000:]
    assert not set(old) - {stack.secret("airflow", "airflow_fernet").split(",")[1]} & set(stack.secrets())
    now = known(stack)
    for kept in ("answer", "versions", "history", "runs"):
        assert now[kept] == before[kept], kept
    password = stack.secret("postgres", "postgres_password")
    assert password not in old
    entered = ("run", "--rm", "-T", "--entrypoint", "sh", "backup", "-c")
    script = "PGPASSWORD=$(cat /secrets/postgres/postgres_password) psql -h postgres -U postgres -Atc 'SELECT 1'"
    assert stack.compose(*entered, script).strip() == "1"
    last = next(one for one in old if one not in stack.secrets())
    wrong = script.replace("$(cat /secrets/postgres/postgres_password)", last)
    refused = stack.run("docker", "compose", *entered, wrong)
    assert "password authentication failed" in refused.stderr


def test_a_backup_outlives_every_volume_and_a_damaged_one_changes_nothing(stack: Stack, tmp_path: Path) -> None:
    before, whole = known(stack), tmp_path / "churn.tar"
    backup = stack.with_(FILE=str(whole))
    made = backup.run("make", "stack-backup")
    assert made.returncode == 0, made.stderr[-2000:]
    assert whole.stat().st_mode & 0o077 == 0
    print(f"\na backup of {whole.stat().st_size / 2**20:.0f} MiB")
    with whole.open() as given:
        assert "the stack runs" in stack.run(*RESTORE, stdin=given).stderr

    stack.compose("down")
    _damaged_ones_are_refused(stack, whole)

    stack.compose("down", "--volumes")
    assert leftovers() == []
    with timed("from no volumes to all that was there"):
        put_back = backup.run("make", "stack-restore")
    assert put_back.returncode == 0, put_back.stderr[-2000:]
    assert known(stack) == before
    eventually(lambda: {run["state"] for run in stack.runs()} <= {"success", "failed"}, seconds=60)


def _damaged_ones_are_refused(stack: Stack, whole: Path) -> None:
    content = bytearray(whole.read_bytes())
    content[len(content) // 2] ^= 0xFF
    for name, damaged in (("cut", bytes(content[: len(content) // 2])), ("flipped", bytes(content)), ("empty", b"")):
        path = whole.with_name(name)
        path.write_bytes(damaged)
        with path.open() as given:
            refused = stack.run(*RESTORE, stdin=given)
        assert refused.returncode, name
        assert "nothing has been changed" in refused.stderr, (name, refused.stderr[-2000:])
    # PostgreSQL runs for them
    assert sorted(stack.sql("postgres", "SELECT datname FROM pg_database WHERE NOT datistemplate")) == [
        "airflow", "churn", "mlflow", "postgres",
    ]  # fmt: skip
    assert int(stack.sql("mlflow", "SELECT count(*) FROM model_versions")[0]) > 0
    assert stack.predictions() > 100
