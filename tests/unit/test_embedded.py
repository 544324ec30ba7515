"""`make up`, as far as it goes without starting anything: its parts, and what `make setup` says."""

import importlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import httpx
import pytest
from supervisor.datatypes import RestartUnconditionally
from supervisor.options import ServerOptions

from churn import credentials
from churn.errors import NotReady
from churn.keys import Keys
from churn.settings import Settings, load
from churn.store import Store
from tests.conftest import free_port

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def embedded() -> Iterator[SimpleNamespace]:
    """The modules of embedded/, as `embedded/up.py` imports them."""
    names = ("environment", "processes", "supervision", "first_training", "up")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "embedded"))
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    for name in names:
        sys.modules.pop(name)


def settings_of(home: Path, **changes: object) -> Settings:
    return load().model_copy(update={"home": home, **changes})


class Supervisor:
    """Stands in for supervisord: whole, until it is told what gave up."""

    def check(self) -> None:
        pass


# --- what the services are started with


@pytest.mark.parametrize("name", ["plain", "x y 100%", """it's "so" %(here)s; # not"""])
def test_supervisor_reads_the_conf_whatever_the_home_is_called(
    embedded: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    home = tmp_path / name
    (home / "logs").mkdir(parents=True)
    env = embedded.environment.environment(settings_of(home, bind="::1"))
    monkeypatch.chdir(home)
    monkeypatch.setattr(os, "environ", env)
    options = ServerOptions()
    options.configfile = str(ROOT / "embedded/supervisord.conf")
    found = options.read_config(options.configfile)
    programs = {p.name: p for group in found.process_group_configs for p in group.process_configs}
    assert set(programs) == {
        "mlflow", "api", "ui", "airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer",
    }  # fmt: skip
    for program in programs.values():
        assert program.autorestart is RestartUnconditionally
        assert program.directory == str(ROOT)
        assert Path(program.stdout_logfile).absolute().parent == home / "logs"
    assert "--bind [::1]:5055 " in programs["api"].command
    assert programs["api"].environment == {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    assert key_file_of(programs["ui"].command, home, tmp_path) == home / "secrets" / "web_app_key"


def key_file_of(command: str, home: Path, scratch: Path) -> Path:
    """Where a program would look for its key: its command runs, with a Streamlit that only says so."""
    streamlit = scratch / "streamlit"
    streamlit.write_text('#!/bin/sh\nprintf %s "$CHURN_API_KEY_FILE"\n')
    streamlit.chmod(0o755)
    env = {"PATH": f"{scratch}{os.pathsep}{os.environ['PATH']}", "CHURN_HOME": str(home)}
    return Path(subprocess.run(shlex.split(command), env=env, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("bind", ["0.0.0.0", "::"])  # noqa: S104
def test_beyond_this_machine_listen_those_who_ask_for_a_key_or_a_log_in(
    embedded: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bind: str
) -> None:
    for name in ("CHURN_API_KEY", "CHURN_API_KEY_FILE"):
        monkeypatch.setenv(name, "of whoever starts it")
    env = embedded.environment.environment(settings_of(tmp_path, bind=bind))
    assert [env[name] for name in ("CHURN_MLFLOW_BIND", "CHURN_UI_BIND")] == ["127.0.0.1"] * 2
    assert env["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:5001"
    assert env["CHURN_BIND"] == env["AIRFLOW__API__HOST"] == bind
    assert env["CHURN_API_ADDRESS"] in ("0.0.0.0:5055", "[::]:5055")
    assert not {"CHURN_API_KEY", "CHURN_API_KEY_FILE"} & set(env)


def test_dags_of_ones_own_stand_beside_ours(embedded: SimpleNamespace, tmp_path: Path) -> None:
    name = "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"
    assert name not in embedded.environment.environment(settings_of(tmp_path))
    env = embedded.environment.environment(settings_of(tmp_path, dags=tmp_path / 'my "own" dags'))
    ours, own = json.loads(env[name])
    assert ours["kwargs"] == {}  # the folder of [core] dags_folder
    assert own["kwargs"] == {"path": str(tmp_path / 'my "own" dags')}
    with pytest.raises(NotReady, match=r"CHURN_DAGS=.*no such folder"):
        embedded.up.check(settings_of(tmp_path, dags=tmp_path / "nowhere"))


def test_beyond_this_machine_nothing_starts_without_an_admin_key(embedded: SimpleNamespace, tmp_path: Path) -> None:
    def prepare(settings: Settings) -> None:
        embedded.up.migrate_store(settings, embedded.environment.environment(settings))

    everywhere = settings_of(tmp_path, bind="0.0.0.0")  # noqa: S104  # the wildcard is the case
    with pytest.raises(NotReady, match="admin key") as refusal:
        prepare(everywhere)
    assert "\n" not in str(refusal.value)
    assert not str(refusal.value).startswith("churn:")
    key = tmp_path / "secrets" / "web_app_key"
    prepare(settings_of(tmp_path))
    secret = key.read_text()
    assert key.stat().st_mode & 0o777 == 0o600
    Keys(Store(everywhere)).make("me", "admin", by="a test")
    prepare(everywhere)
    assert key.read_text() == secret


def test_the_welcome_says_who_needs_a_key(embedded: SimpleNamespace, tmp_path: Path) -> None:
    credentials.ensure(tmp_path / "secrets")
    told = embedded.up.welcome(settings_of(tmp_path), 1)
    assert "needs a key" not in told
    told = embedded.up.welcome(settings_of(tmp_path, require_keys=True), 1)
    assert "API       http://127.0.0.1:5055/docs    needs a key" in told
    told = embedded.up.welcome(settings_of(tmp_path, bind="0.0.0.0"), 1)  # noqa: S104
    assert "needs a key" in told
    assert told.count("on this machine only") == 2


def test_airflows_address_for_people_is_kept_where_it_was_set(
    embedded: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def public() -> tuple[str, str, str]:
        env = embedded.environment.environment(settings_of(tmp_path))
        return env["CHURN_AIRFLOW_PUBLIC_URL"], env["AIRFLOW__API__BASE_URL"], env["CHURN_AIRFLOW_URL"]

    assert public() == ("http://127.0.0.1:8090",) * 3
    monkeypatch.setenv("CHURN_AIRFLOW_PUBLIC_URL", "https://airflow.example")
    assert public() == ("https://airflow.example", "https://airflow.example", "http://127.0.0.1:8090")


@pytest.mark.parametrize(
    ("given", "direct"),
    [
        ({}, "127.0.0.1,localhost,::1,10.0.0.7"),
        ({"no_proxy": "a.example", "NO_PROXY": "b.example"}, "a.example,b.example,127.0.0.1,localhost,::1,10.0.0.7"),
        ({"NO_PROXY": "*"}, "*"),
    ],
)
def test_the_services_ask_each_other_without_a_proxy(
    embedded: SimpleNamespace, tmp_path: Path, given: dict[str, str], direct: str
) -> None:
    found = embedded.environment.without_proxy(settings_of(tmp_path, bind="10.0.0.7"), given)
    assert found == {"NO_PROXY": direct, "no_proxy": direct}


def test_the_socket_of_a_deep_home_lies_elsewhere(embedded: SimpleNamespace, tmp_path: Path) -> None:
    deep = [embedded.environment.socket_of(settings_of(tmp_path / name / ("ü" * 60))) for name in "ab"]
    assert all(len(bytes(path)) < 100 for path in deep)
    assert deep[0] != deep[1]


# --- which processes are ours


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[int]:
    """A process that knows this home, and was not started by `make up`."""
    env = {**os.environ, "CHURN_HOME": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", str(tmp_path)], env=env)
    yield process.pid
    process.kill()
    process.wait()


def test_down_ends_what_a_killed_supervisor_left_and_nothing_else(
    embedded: SimpleNamespace, tmp_path: Path, stranger: int, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_of(tmp_path)
    assert embedded.up.down(settings) == 0
    assert "nothing is running" in capsys.readouterr().out
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    left = subprocess.Popen(
        [sys.executable, "-c", stubborn], env=embedded.environment.environment(settings), stdout=subprocess.PIPE
    )
    assert left.stdout is not None
    left.stdout.readline()
    assert embedded.processes.ours(settings) == [left.pid]
    assert embedded.processes.ours(settings_of(tmp_path / "other")) == []
    with pytest.raises(NotReady, match="earlier start still run"):
        embedded.up.check(settings)
    embedded.processes.GRACE_SECONDS = 0.2
    assert embedded.up.down(settings) == 0
    assert "ended 1 processes" in capsys.readouterr().out
    assert left.wait(5) == -signal.SIGKILL
    os.kill(stranger, 0)


def test_a_pid_file_of_yesterday_is_no_running_platform(
    embedded: SimpleNamespace, tmp_path: Path, stranger: int
) -> None:
    (tmp_path / "supervisord.pid").write_text(str(stranger))
    assert embedded.processes.supervisor_of(settings_of(tmp_path)) is None


def test_without_proc_ps_is_asked(embedded: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ps = tmp_path / "ps"  # written here, since a slim machine has none
    ps.write_text('#!/bin/sh\necho "  7 supervisord asked $*"\n')
    ps.chmod(0o755)
    monkeypatch.setattr(embedded.processes, "PROC", tmp_path / "no-proc")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    told = embedded.processes._arguments(os.getpid())
    assert "supervisord asked" in told
    assert str(os.getpid()) in told


# --- waiting


def test_ctrl_c_is_one_line(
    embedded: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_settings: Settings) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(embedded.up, "up", interrupted)
    monkeypatch.setattr(sys, "argv", ["up.py", "up"])
    assert embedded.up.main() == 130
    assert capsys.readouterr().err.strip() == "churn: interrupted; nothing was left running"


def test_a_home_in_a_file_is_one_line(embedded: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(embedded.up, "is_free", lambda *_: True)
    with pytest.raises(NotReady, match="CHURN_HOME"):
        embedded.up.up(settings_of(Path("/dev/null/x")))


def test_the_wait_for_a_champion_outlives_an_api_that_starts_anew(
    embedded: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module: ModuleType = embedded.first_training
    answers = iter([httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.Response(503), httpx.Response(200)])

    def get(*_: object, **__: object) -> httpx.Response:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(module.httpx, "get", get)
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0)
    settings = settings_of(tmp_path, airflow_port=free_port())
    module.wait_for_champion(settings, Supervisor())
    first, second = capsys.readouterr().out.splitlines()
    assert first == "churn: waiting for Airflow"
    assert "airflow-api-server.log" in second  # it stood still: where to look


def test_a_program_that_gives_up_is_named(embedded: SimpleNamespace, tmp_path: Path) -> None:
    conf = tmp_path / "supervisord.conf"
    settings = settings_of(tmp_path)
    socket = embedded.environment.socket_of(settings)
    conf.write_text(
        f"[supervisord]\nnodaemon=true\nsilent=true\nlogfile={tmp_path}/log\npidfile={tmp_path}/pid\n"
        f"[unix_http_server]\nfile={socket}\n"
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        "[program:api]\ncommand=false\nstartretries=0\n[program:ui]\ncommand=sleep 60\nstartsecs=0\n"
    )
    process = subprocess.Popen([embedded.environment.BIN / "supervisord", "-c", conf])
    supervisor = embedded.supervision.Supervisor(settings, process)
    try:
        deadline = time.monotonic() + 20
        while not supervisor.given_up() and time.monotonic() < deadline:
            time.sleep(0.1)
        with pytest.raises(NotReady, match=r"api ends as soon as it is started; .*logs/api\.log says why"):
            supervisor.check()
    finally:
        process.terminate()
        process.wait(20)
    with pytest.raises(NotReady, match="ended from elsewhere"):
        supervisor.check()


# --- what `make setup` says


class Setup:
    """A copy of what `make setup` needs, on a machine that has only the commands named."""

    TOOLS = ("sh", "dirname", "cat", "cksum", "rm", "mkdir", "tail", "grep", "chmod")

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin = folder / "project", folder / "bin"
        (self.folder / "embedded").mkdir(parents=True)
        (self.folder / "requirements").mkdir()
        shutil.copy(ROOT / "embedded/setup.sh", self.folder / "embedded")
        for name in ("requirements/dev.txt", "requirements/setup.txt", "pyproject.toml"):
            (self.folder / name).write_text("a lock\n")
        self.bin.mkdir()
        for tool in self.TOOLS:
            found = shutil.which(tool)
            assert found, tool
            (self.bin / tool).symlink_to(found)

    def command(self, name: str, text: str) -> Path:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    def run(self, **variables: object) -> tuple[int, str, str]:
        env = {"PATH": str(self.bin), **{name: str(value) for name, value in variables.items()}}
        script = self.folder / "embedded/setup.sh"
        done = subprocess.run([self.bin / "sh", script], env=env, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr


FAKE_PYTHON = """
case "$*" in
  --version) echo Python 3.12.0 ;;
  -m\\ venv\\ *) mkdir -p .venv/bin; cat >.venv/bin/python <<'END'
#!/bin/sh
exit 0
END
    cat >.venv/bin/uv <<'END'
#!/bin/sh
{uv}
END
    chmod +x .venv/bin/python .venv/bin/uv ;;
esac
"""


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


def test_setup_names_the_python_that_is_too_old(setup: Setup) -> None:
    old = setup.command("old", 'case "$*" in --version) echo Python 3.9.2 ;; *) exit 1 ;; esac')
    code, _, told = setup.run(PYTHON=old)
    assert code == 1
    (line,) = told.splitlines()
    assert "here is Python 3.9.2" in line
    assert "make setup PYTHON=" in line


def test_setup_says_that_there_is_no_python(setup: Setup) -> None:
    code, _, told = setup.run()
    assert code == 1
    (line,) = told.splitlines()
    assert "here is no Python" in line


def test_setup_names_a_missing_venv_module(setup: Setup) -> None:
    setup.command("python3.13", 'case "$*" in *ensurepip*) exit 1 ;; esac')
    code, _, told = setup.run()
    assert code == 1
    (line,) = told.splitlines()
    assert "python3-venv" in line


@pytest.mark.parametrize(
    "reason", ["error: command 'gcc' failed: No such file or directory", "RuntimeError: no C compiler was found"]
)
def test_setup_names_a_missing_compiler_in_one_line(setup: Setup, reason: str) -> None:
    setup.command("python3.12", FAKE_PYTHON.format(uv=f'echo building; echo "{reason}" >&2; exit 1'))
    code, _, told = setup.run()
    assert code == 1
    (line,) = told.splitlines()
    assert "build-essential" in line
    log = setup.folder / ".venv/setup.log"
    assert str(log) in line
    assert reason in log.read_text()


def test_setup_shows_why_packages_could_not_be_installed(setup: Setup) -> None:
    setup.command("python3.12", FAKE_PYTHON.format(uv="echo no route to host; exit 1"))
    code, _, told = setup.run()
    assert code == 1
    assert "no route to host" in told
    assert "build-essential" not in told
    assert not (setup.folder / ".venv/.finished").exists()


def test_a_finished_setup_is_left_alone(setup: Setup) -> None:
    setup.command("python3.12", FAKE_PYTHON.format(uv="exit 0"))
    assert setup.run()[0] == 0
    setup.command("python3.12", "exit 1")
    assert setup.run() == (0, "", "")
    (setup.folder / "pyproject.toml").write_text("another\n")
    assert setup.run()[0] == 1
