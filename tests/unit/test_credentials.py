"""The compose stack's secrets: made once, each in the folder of who needs it, and rotated."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from churn.credentials import AIRFLOW_PASSWORDS, ensure_stack, log_ins, rotate_stack
from churn.errors import NotReady


def read(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.glob("*/*"))}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ensure_stack(tmp_path, "postgres")
    return tmp_path


def test_they_are_made_once(folder: Path) -> None:
    made = read(folder)
    ensure_stack(folder, "postgres")
    assert read(folder) == made
    assert len(set(made.values())) == len(made) - 1  # two services share the address of the store


def test_each_service_has_its_own_and_no_other_s(folder: Path) -> None:
    passwords = {name: (folder / f"postgres/{name}_password").read_text() for name in ("airflow", "mlflow", "churn")}
    holders = {
        name: {path.parent.name for path in folder.glob("*/*") if password in path.read_text()} - {"postgres"}
        for name, password in passwords.items()
    }
    assert holders == {"airflow": {"airflow"}, "mlflow": {"mlflow"}, "churn": {"airflow", "api"}}
    assert list(json.loads((folder / "api" / AIRFLOW_PASSWORDS).read_text())) == ["api"]


def test_their_group_may_read_and_nobody_may_write(folder: Path) -> None:
    assert {path.stat().st_mode & 0o777 for path in folder.glob("*/*")} == {0o440}


def test_a_service_that_came_later_gets_its_own(folder: Path) -> None:
    made = read(folder)
    for path in folder.glob("*/churn_*"):
        path.unlink()
    ensure_stack(folder, "postgres")
    now = read(folder)
    assert set(now) == set(made)
    assert {name for name in now if now[name] != made[name]} == {name for name in now if "churn_" in name}


def test_a_rotation_replaces_all_and_keeps_what_opens_the_old(folder: Path) -> None:
    old = read(folder)
    (folder / "ui").mkdir()
    (folder / "ui" / "web_app_key").write_text("churn_old")
    rotate_stack(folder, "postgres")
    now = read(folder)
    assert now.pop("postgres/postgres_password.before") == old["postgres/postgres_password"]
    assert now["airflow/airflow_fernet"].split(",")[1] == old["airflow/airflow_fernet"]
    assert set(now) == set(old)  # the web app's key is made by `churn migrate`
    assert not [name for name in old if now[name] == old[name]]


def test_a_second_rotation_waits_for_a_start(folder: Path) -> None:
    rotate_stack(folder, "postgres")
    rotated = read(folder)
    with pytest.raises(NotReady, match="start the stack first"):
        rotate_stack(folder, "postgres")
    assert read(folder) == rotated
    (folder / "postgres" / "postgres_password.before").unlink()  # as postgres/roles.sh does
    rotate_stack(folder, "postgres")
    # Airflow may not have come to encrypt anew what the first key has encrypted
    assert read(folder)["airflow/airflow_fernet"].endswith(f",{rotated['airflow/airflow_fernet']}")


def test_the_command_shows_the_log_in(folder: Path) -> None:
    command = [sys.executable, "-m", "churn.credentials", "--folder", folder, "--postgres", "postgres", "show"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    password = json.loads((folder / "airflow" / AIRFLOW_PASSWORDS).read_text())["admin"]
    assert told.strip() == log_ins(folder) == f"Airflow   user admin, password {password}"
