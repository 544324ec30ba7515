"""The stack's own passwords and keys: made once, at random, in a folder that holds nothing else.

``python -m churn.credentials --folder FOLDER --postgres HOST make`` makes those of the compose stack, one
folder per service, so that each can be a volume that no other mounts::

    postgres/  postgres_password  airflow_password  mlflow_password  churn_password
    airflow/   airflow_database  airflow_jwt  airflow_fernet  airflow_api  airflow_passwords.json  churn_database
    mlflow/    mlflow_database
    api/       airflow_passwords.json (the API's user alone)  churn_database
    ui/        web_app_key (made by `churn migrate`, which also registers it)

``show`` prints what a person logs in with, ``rotate`` replaces all of the compose stack's; docs/operations.md
says what has to be started anew then.
"""

import argparse
import fcntl
import json
import secrets
import sys
from base64 import urlsafe_b64encode
from pathlib import Path

from churn.errors import ChurnError, NotReady

AIRFLOW_USERS = {"admin": "admin", "api": "user"}
"""Airflow's users and their roles in its simple log-in: a person's, and the one by which the API reads
what runs and starts runs. That log-in knows no smaller role that may start one."""
FAB_ROLES = {"admin": "Admin", "api": "Churn API"}
"""The same in FAB's log-in, where the API's user has a role of its own (airflow/users.py)."""
AIRFLOW_PASSWORDS = "airflow_passwords.json"
WEB_APP_KEY = "web_app_key"
FERNET = "airflow_fernet"
KEYS = {"airflow_jwt": 64, FERNET: 32, "airflow_api": 32}
"""Keys and their bytes: HS512 signs the JWT and wants 64 (RFC 7518, 3.2), a Fernet key is 32."""
DATABASES = ("airflow", "mlflow", "churn")
"""Each has a role and a database of this name."""
READERS = {"airflow": ("airflow",), "mlflow": ("mlflow",), "churn": ("airflow", "api")}
"""Whose folder a database's address lies in: Airflow's tasks write into the store, too."""
PENDING = "postgres_password.before"
"""What the database server still knows, until postgres/roles.sh has set the new one and removes this."""
STACK_MODE = 0o440
"""For the group as well: by it PostgreSQL's user, whose number differs between images, reads its own, and a
command may run as whoever owns the files that it writes. Who mounts a volume decides who reads it."""


def ensure(folder: Path, mode: int = 0o600) -> None:
    """Make what is not there yet; what is there stays as it is."""
    for name, size in KEYS.items():
        _once(folder / name, _key(size), mode)
    passwords = {user: secrets.token_urlsafe(12) for user in AIRFLOW_USERS}
    _once(folder / AIRFLOW_PASSWORDS, json.dumps(passwords), mode)


def ensure_stack(folder: Path, postgres: str) -> None:
    """The same for the compose stack, whose database server is the host ``postgres``."""
    ensure(folder / "airflow", STACK_MODE)
    _once(folder / "postgres" / "postgres_password", secrets.token_urlsafe(24), STACK_MODE)
    for name in DATABASES:
        password = _once(folder / "postgres" / f"{name}_password", secrets.token_urlsafe(24), STACK_MODE)
        url = f"postgresql+psycopg2://{name}:{password}@{postgres}/{name}"
        for reader in READERS[name]:
            _write(folder / reader / f"{name}_database", url, STACK_MODE)
    known = json.loads((folder / "airflow" / AIRFLOW_PASSWORDS).read_text(encoding="utf-8"))
    _write(folder / "api" / AIRFLOW_PASSWORDS, json.dumps({"api": known["api"]}), STACK_MODE)


def rotate_stack(folder: Path, postgres: str) -> None:
    """Replace the compose stack's passwords and keys, all of them.

    Call it while the stack is down. What locks the databases and their contents stays known, to open them
    once more: the server's password, until the next start has replaced it there, and Airflow's Fernet keys,
    of which it takes any number, the newest first.

    Raises:
        NotReady: the passwords of an earlier call have not been taken up by a start yet.
    """
    present, before = folder / "postgres" / "postgres_password", folder / "postgres" / PENDING
    if before.exists():
        raise NotReady("passwords have been rotated already, and no start has taken them up yet: start the stack first")
    _write(before, present.read_text(encoding="utf-8"), STACK_MODE)
    fernet = folder / "airflow" / FERNET
    earlier = fernet.read_text(encoding="utf-8")
    kept = {before, fernet}
    for path in folder.glob("*/*"):
        if path not in kept:
            path.unlink()
    ensure_stack(folder, postgres)
    _write(fernet, f"{_key(KEYS[FERNET])},{earlier}", STACK_MODE)


def log_ins(folder: Path) -> str:
    """What a person logs in with, for a terminal."""
    known = json.loads((folder / "airflow" / AIRFLOW_PASSWORDS).read_text(encoding="utf-8"))
    return f"Airflow   user admin, password {known['admin']}"


def _key(size: int) -> str:
    # Fernet wants URL-safe base64 with its padding; the others are as good in that form
    return urlsafe_b64encode(secrets.token_bytes(size)).decode()


def _once(path: Path, text: str, mode: int) -> str:
    """Write a file unless it is there; returns what it holds."""
    if not path.exists():
        _write(path, text, mode)
    return path.read_text(encoding="utf-8")


def _write(path: Path, text: str, mode: int) -> None:
    """Write a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.part")
    scratch.unlink(missing_ok=True)
    scratch.touch(mode=0o600)
    scratch.write_text(text, encoding="utf-8")
    scratch.chmod(mode)
    scratch.replace(path)


def airflow_users() -> str:
    """The users as Airflow's ``[core] simple_auth_manager_users`` lists them."""
    return ",".join(f"{user}:{role}" for user, role in AIRFLOW_USERS.items())


def main() -> None:
    """Do what the command line asks for."""
    try:
        _main()
    except ChurnError as error:
        sys.exit(f"churn: {error}")


def _main() -> None:
    parser = argparse.ArgumentParser("python -m churn.credentials", description="The compose stack's secrets.")
    parser.add_argument("--folder", type=Path, required=True, help="where they are kept, a folder for each service")
    parser.add_argument("--postgres", metavar="HOST", required=True, help="the database server")
    parser.add_argument("what", choices=("make", "show", "rotate"), help="rotate: while the stack is down")
    asked = parser.parse_args()
    if asked.what == "show":
        print(log_ins(asked.folder))
        return
    with (asked.folder / "postgres" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two starts at once must not make two sets
        (ensure_stack if asked.what == "make" else rotate_stack)(asked.folder, asked.postgres)


if __name__ == "__main__":
    main()
