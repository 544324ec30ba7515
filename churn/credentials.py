"""The stack's own passwords and keys: made once, at random, in a folder that holds nothing else.

``python -m churn.credentials FOLDER`` makes those of Airflow. With ``--postgres HOST`` it makes those
of the compose stack, one folder per service, so that each can be a volume that no other mounts::

    postgres/  postgres_password  airflow_password  mlflow_password
    airflow/   airflow_database  airflow_jwt  airflow_fernet  airflow_api  airflow_passwords.json
    mlflow/    mlflow_database
    api/       airflow_passwords.json (the API's user alone)
"""

import argparse
import json
import secrets
from base64 import urlsafe_b64encode
from pathlib import Path

AIRFLOW_USERS = {"admin": "admin", "api": "viewer"}
"""Airflow's users and their roles: a person's, and the one by which the API reads run states."""
AIRFLOW_PASSWORDS = "airflow_passwords.json"
KEYS = {"airflow_jwt": 64, "airflow_fernet": 32, "airflow_api": 32}
"""Keys and their bytes: HS512 signs the JWT and wants 64 (RFC 7518, 3.2), a Fernet key is 32."""
DATABASES = ("airflow", "mlflow")
"""Each has a role and a database of this name."""


def ensure(folder: Path, mode: int = 0o600) -> None:
    """Make what is not there yet; what is there stays as it is."""
    for name, size in KEYS.items():
        # Fernet wants URL-safe base64 with its padding; the others are as good in that form
        _once(folder / name, urlsafe_b64encode(secrets.token_bytes(size)).decode(), mode)
    passwords = {user: secrets.token_urlsafe(12) for user in AIRFLOW_USERS}
    _once(folder / AIRFLOW_PASSWORDS, json.dumps(passwords), mode)


def ensure_stack(folder: Path, postgres: str) -> None:
    """The same for the compose stack, whose database server is the host ``postgres``."""
    ensure(folder / "airflow")
    # 444: what PostgreSQL's user is called by number differs between images; who mounts decides who reads
    _once(folder / "postgres" / "postgres_password", secrets.token_urlsafe(24), 0o444)
    for name in DATABASES:
        password = _once(folder / "postgres" / f"{name}_password", secrets.token_urlsafe(24), 0o444)
        url = f"postgresql+psycopg2://{name}:{password}@{postgres}/{name}"
        _once(folder / name / f"{name}_database", url)
    known = json.loads((folder / "airflow" / AIRFLOW_PASSWORDS).read_text(encoding="utf-8"))
    _once(folder / "api" / AIRFLOW_PASSWORDS, json.dumps({"api": known["api"]}))


def _once(path: Path, text: str, mode: int = 0o600) -> str:
    """Write a file unless it is there; returns what it holds."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}.part")
        scratch.unlink(missing_ok=True)
        scratch.touch(mode=0o600)
        scratch.write_text(text, encoding="utf-8")
        scratch.chmod(mode)
        scratch.replace(path)
    return path.read_text(encoding="utf-8")


def airflow_users() -> str:
    """The users as Airflow's ``[core] simple_auth_manager_users`` lists them."""
    return ",".join(f"{user}:{role}" for user, role in AIRFLOW_USERS.items())


def main() -> None:
    """Make the secrets that the command line asks for."""
    parser = argparse.ArgumentParser("python -m churn.credentials", description="Make the stack's secrets once.")
    parser.add_argument("folder", type=Path, help="where they are kept")
    parser.add_argument("--postgres", metavar="HOST", help="the database server: make the stack's as well")
    asked = parser.parse_args()
    if asked.postgres:
        ensure_stack(asked.folder, asked.postgres)
    else:
        ensure(asked.folder)


if __name__ == "__main__":
    main()
