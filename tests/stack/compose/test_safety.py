"""What a container may do, what it can reach, and what its description tells."""

import socket
from pathlib import Path

import pytest

from tests.stack.compose.stack import ONCE, PROJECT, Stack, address, docker, service_of

pytestmark = pytest.mark.stack
NETWORK = f"{PROJECT}_internal"


def test_no_container_is_root_or_may_write_or_has_a_capability(stack: Stack) -> None:
    found = {service_of(container): container for container in stack.containers()}
    assert set(found) >= {*ONCE, "postgres", "mlflow", "api", "ui", "proxy", "airflow-scheduler"}
    for service, container in found.items():
        host = container["HostConfig"]
        assert container["Config"]["User"] not in ("", "0", "root"), service
        assert host["ReadonlyRootfs"], service
        assert (host["CapDrop"], host["CapAdd"] or []) == (["ALL"], []), service
        assert "no-new-privileges:true" in host["SecurityOpt"], service
        assert not host["Privileged"], service
        assert host["Memory"] > 0, service
        assert host["PidsLimit"] > 0, service


def test_the_kernel_says_the_same_of_each_process(stack: Stack) -> None:
    for container in stack.containers():
        if not container["State"]["Running"]:
            continue
        seen = 0
        for line in docker("top", container["Id"], "-o", "pid,uid").splitlines()[1:]:
            pid, uid = line.split()
            assert uid != "0", service_of(container)
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except (FileNotFoundError, ProcessLookupError):  # a healthcheck's, say, which has ended since
                continue
            told = dict(row.split(":", 1) for row in status.splitlines())
            assert int(told["CapEff"], 16) == int(told["CapBnd"], 16) == 0, service_of(container)
            assert told["NoNewPrivs"].strip() == "1"
            seen += 1
        assert seen, service_of(container)


def test_nobody_can_write_into_a_root(stack: Stack) -> None:
    for service in ("postgres", "mlflow", "airflow-scheduler", "api", "ui", "proxy"):
        script = "touch /etc/x /app/x /usr/x 2>&1; id -u"
        told = stack.compose("exec", "-T", service, "sh", "-c", script).splitlines()
        assert told[-1] != "0"
        assert len([line for line in told if "Read-only" in line or "No such" in line]) == 3, (service, told)


def test_databases_refuse_a_wrong_password_and_another_s_database(stack: Stack) -> None:
    def enter(user: str, password: str, database: str) -> str:
        done = stack.run(
            "docker", "run", "--rm", "--network", NETWORK, "-e", f"PGPASSWORD={password}", "postgres:17",
            "psql", "-h", "postgres", "-U", user, "-Atc", "SELECT 1", database,
        )  # fmt: skip
        return done.stdout.strip() or done.stderr

    for user in ("postgres", "airflow", "mlflow", "churn"):
        for wrong in ("", "wrong", user):
            assert "password" in enter(user, wrong, "postgres"), user
    own = stack.secret("postgres", "mlflow_password")
    assert enter("mlflow", own, "mlflow") == "1"
    assert "permission denied" in enter("mlflow", own, "churn")


def test_only_the_published_ports_answer_and_only_on_loopback(stack: Stack) -> None:
    published = {
        (service_of(container), binding["HostIp"], int(binding["HostPort"]))
        for container in stack.containers()
        for bindings in (container["NetworkSettings"]["Ports"] or {}).values()
        for binding in bindings or []
    }
    owners = {"AIRFLOW": "airflow-api-server", "MLFLOW": "mlflow", "API": "proxy", "UI": "ui"}
    assert published == {(owners[name], "127.0.0.1", port) for name, port in stack.ports.items()}
    for port in stack.ports.values():
        with socket.socket() as probe:
            assert probe.connect_ex((address(), port))


def test_only_the_owners_of_ports_can_leave(stack: Stack) -> None:
    outside = f"{PROJECT}_outside"
    for container in stack.containers():
        networks = set(container["NetworkSettings"]["Networks"])
        owner = bool(container["HostConfig"]["PortBindings"])
        assert (outside in networks) == owner, service_of(container)
    # the proxy's address there: who is in the network reaches it, and nobody else
    (proxy,) = stack.containers("proxy")
    there = proxy["NetworkSettings"]["Networks"][outside]["IPAddress"]
    script = f"import socket; socket.create_connection(('{there}', 5055), timeout=3)"

    def reaches(service: str) -> bool:
        return not stack.run("docker", "compose", "exec", "-T", service, "python", "-c", script).returncode

    assert reaches("mlflow")
    assert not reaches("api")
    assert not reaches("airflow-scheduler")


def test_no_secret_stands_in_a_description_or_an_image(stack: Stack) -> None:
    secrets = stack.secrets()
    described = docker("inspect", *[container["Id"] for container in stack.containers()])
    images = sorted({container["Config"]["Image"] for container in stack.containers()})
    assert len(images) == 6
    told = docker("inspect", *images) + "".join(docker("history", "--no-trunc", image) for image in images)
    assert not [secret for secret in secrets if secret in described + told]


def test_no_service_has_another_s_secrets(stack: Stack) -> None:
    mounts = {
        service_of(container): {
            mount["Name"].removeprefix(f"{PROJECT}_secrets-")
            for mount in container["Mounts"]
            if "secrets-" in mount.get("Name", "")
        }
        for container in stack.containers()
        if container["State"]["Running"]
    }
    for service, volumes in mounts.items():
        own = "airflow" if service.startswith("airflow") else service
        assert volumes <= {own}, service


def test_secrets_are_not_for_everybody(stack: Stack) -> None:
    told = stack.compose("run", "--rm", "-T", "--entrypoint", "sh", "secrets", "-c", "stat -c '%a %u' /secrets/*/*")
    assert set(told.splitlines()) == {"440 10001"}
