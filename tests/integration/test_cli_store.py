"""``churn keys``, ``churn audit`` and ``churn migrate`` as a person meets them."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from churn.cli import main
from churn.keys import hash_of
from churn.settings import load
from churn.store import REVISION

Run = Callable[..., tuple[int, str, str]]
SECRET = re.compile(r"churn_[A-Za-z0-9_-]{43}")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `churn …` in an empty home; returns exit code, standard output and standard error."""
    monkeypatch.setenv("CHURN_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("churn.audit.person", lambda: "ann@host")

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.stdout, result.stderr

    return call


def test_a_key_is_told_once_and_alone(run: Run) -> None:
    code, told, explained = run("keys", "make", "crm", "--scope", "read")
    assert code == 0
    assert SECRET.fullmatch(told.strip())
    assert "not told again" in explained
    assert told.strip() not in explained
    for command in (("keys", "list"), ("keys", "list", "--json"), ("audit",), ("audit", "--json")):
        code, shown, _ = run(*command)
        assert (code, "crm" in shown) == (0, True)
        assert told.strip() not in shown
        assert hash_of(told.strip()) not in shown


def test_keys_are_listed_with_what_became_of_them(run: Run) -> None:
    assert "there are no keys" in run("keys", "list")[1]
    assert json.loads(run("keys", "list", "--json")[1]) == []
    run("keys", "make", "crm", "--scope", "read")
    run("keys", "make", "ops", "--scope", "admin")
    assert run("keys", "revoke", "crm")[1] == "the key 'crm' is revoked\n"
    head, crm, ops = run("keys", "list")[1].splitlines()
    assert head.split() == ["name", "scope", "made", "by", "used", "last", "revoked"]
    assert re.fullmatch(r"crm +read +\d{4}-\d\d-\d\d \d\d:\d\d +ann@host +– +\d{4}-\d\d-\d\d \d\d:\d\d", crm)
    assert ops.endswith("–")
    first, second = json.loads(run("keys", "list", "--json")[1])
    assert (first["name"], second["scope"], second["revoked"]) == ("crm", "admin", None)
    assert first["revoked"].endswith("+00:00")


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("make", "a b", "--scope", "read"), 1, "1 to 60 letters"),
        (("make", "crm", "--scope", "root"), 2, "'root' is not one of"),
        (("make", "crm"), 2, "--scope"),
        (("make", "ops", "--scope", "read"), 1, "named 'ops' already"),
        (("revoke", "nobody"), 1, "there is no key 'nobody'"),
        (("revoke", "old"), 1, "revoked already"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(run: Run, arguments: tuple[str, ...], code: int, reason: str) -> None:
    for name in ("ops", "old"):
        run("keys", "make", name, "--scope", "admin")
    run("keys", "revoke", "old")
    found, told, error = run("keys", *arguments)
    assert (found, told, reason in error) == (code, "", True)


def test_the_trail_is_told_newest_first(run: Run) -> None:
    assert "nothing has been" in run("audit")[1]
    assert json.loads(run("audit", "--json")[1]) == []
    run("keys", "make", "crm", "--scope", "read")
    run("keys", "revoke", "crm")
    head, revoked, made = run("audit")[1].splitlines()
    assert head.split() == ["when", "what", "of", "by", "from", "outcome", "detail"]
    assert "key.revoke  crm  ann@host  command line  done     scope read" in revoked
    assert "key.make" in made
    assert [one["action"] for one in json.loads(run("audit", "--limit", "1", "--json")[1])] == ["key.revoke"]


def test_migrate_makes_the_store_and_the_key_of_the_web_app(run: Run, tmp_path: Path) -> None:
    database, file = tmp_path / "home" / "churn.db", tmp_path / "secrets" / "web_app_key"
    assert run("migrate") == (0, f"{database}: revision {REVISION}\n", "")
    for _ in range(2):
        code, told, _ = run("migrate", "--web-app-key", file)
        assert (code, f"{file}: the key 'web-app', scope write" in told) == (0, True)
    assert SECRET.fullmatch(file.read_text())
    (key,) = json.loads(run("keys", "list", "--json")[1])
    assert (key["name"], key["scope"], key["created_by"]) == ("web-app", "write", "churn migrate")


def test_beyond_this_machine_somebody_must_be_admin(run: Run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("CHURN_BIND", "0.0.0.0")  # noqa: S104
    sentence = (
        "churn: CHURN_BIND=0.0.0.0 lies beyond this machine, and no admin key exists: make one with "
        "`churn keys make NAME --scope admin`\n"
    )
    code, told, error = run("migrate", "--web-app-key", tmp_path / "key")
    assert (code, error) == (1, sentence)
    assert f"revision {REVISION}" in told
    assert (tmp_path / "key").exists()
    run("keys", "make", "crm", "--scope", "write")
    assert run("migrate")[0] == 1
    run("keys", "make", "ops", "--scope", "admin")
    assert run("migrate")[0] == 0
    run("keys", "revoke", "ops")
    assert run("migrate")[0] == 1
    monkeypatch.setenv("CHURN_BIND", "::1")
    assert run("migrate")[0] == 0


def test_a_store_that_is_down_is_one_sentence_without_its_password(run: Run, monkeypatch) -> None:
    monkeypatch.setenv("CHURN_DATABASE_URL", "postgresql://churn:Gxq7@127.0.0.1:9/churn")
    for command in (("keys", "list"), ("audit",), ("migrate",)):
        code, told, error = run(*command)
        assert (code, told) == (1, "")
        assert re.match(r"churn: the database postgresql://churn@127.0.0.1:9/churn does not answer: .+\n$", error)
        assert "Gxq7" not in error


def test_an_address_may_stand_in_a_file(run: Run, tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "address"
    monkeypatch.setenv("CHURN_DATABASE_URL_FILE", str(file))
    assert f"{file}: No such file" in run("migrate")[2]
    file.write_text(" \n")
    assert f"{file} is empty" in run("migrate")[2]
    file.write_text(f"sqlite:///{tmp_path / 'other.db'}\n")
    assert run("migrate")[1] == f"{tmp_path / 'other.db'}: revision {REVISION}\n"
    monkeypatch.setenv("CHURN_DATABASE_URL", "postgresql://churn:Gxq7@db/churn")
    code, _, error = run("migrate")
    assert (code, "are both set" in error, "Gxq7" in error) == (1, True, False)


def test_the_settings_show_no_password(monkeypatch) -> None:
    monkeypatch.setenv("CHURN_DATABASE_URL", "postgresql://churn:Gxq7@db/churn")
    settings = load()
    assert settings.store_url == "postgresql://churn:Gxq7@db/churn"
    assert "Gxq7" not in f"{settings!r}{settings}"


def test_a_key_is_made_without_the_registry_s_client(run: Run, tmp_path: Path) -> None:
    """It takes seconds to import."""
    code = (
        "import sys; from churn.cli import main; sys.argv = ['churn', 'keys', 'make', 'crm', '--scope', 'read']\n"
        "try: main()\nexcept SystemExit: print({'mlflow', 'pandas', 'sklearn', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "set()"
