"""Where services listen, and where clients find them."""

import socket
from collections.abc import Iterator

import pytest

from churn.errors import NotReady
from churn.services import address, is_free, is_private, keys_required, named_services, services, url
from churn.settings import load


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


@pytest.mark.parametrize(
    ("bind", "asked"),
    [
        ("127.0.0.1", "http://127.0.0.1:5055"),
        ("localhost", "http://localhost:5055"),
        ("192.0.2.7", "http://192.0.2.7:5055"),
        ("0.0.0.0", "http://127.0.0.1:5055"),  # noqa: S104  # the wildcard is the case
        ("::1", "http://[::1]:5055"),
        ("::", "http://[::1]:5055"),
        ("2001:db8::7", "http://[2001:db8::7]:5055"),
    ],
)
def test_clients_ask_an_address_that_can_be_asked(bind: str, asked: str) -> None:
    assert url(bind, 5055) == asked


def test_an_ipv6_address_has_brackets_before_its_port() -> None:
    assert address("::", 5055) == "[::]:5055"
    assert address("0.0.0.0", 5055) == "0.0.0.0:5055"  # noqa: S104


@pytest.mark.parametrize(
    ("bind", "private"),
    [("127.0.0.1", True), ("127.0.0.2", True), ("::1", True), ("localhost", True), ("::", False), ("example", False)],
)
def test_loopback_is_private(bind: str, private: bool) -> None:
    assert is_private(bind) is private


@pytest.mark.parametrize(
    ("bind", "near"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.2", "127.0.0.2"),
        ("::1", "::1"),
        ("0.0.0.0", "127.0.0.1"),  # noqa: S104
        ("::", "127.0.0.1"),
        ("192.0.2.7", "127.0.0.1"),
        ("churn.example", "127.0.0.1"),
    ],
)
def test_what_asks_for_no_log_in_stays_on_this_machine(bind: str, near: str) -> None:
    at = {service.name: service.bind for service in services(load().model_copy(update={"bind": bind}))}
    assert at == {"Airflow": bind, "API": bind, "MLflow": near, "web app": near}


def test_keys_are_asked_for_beyond_this_machine_or_where_somebody_says_so() -> None:
    def asks(bind: str, require: bool | None) -> bool:
        return keys_required(load().model_copy(update={"bind": bind, "require_keys": require}))

    assert [asks("127.0.0.1", said) for said in (None, False, True)] == [False, False, True]
    assert [asks("192.0.2.7", said) for said in (None, True)] == [True, True]
    with pytest.raises(NotReady, match=r"CHURN_REQUIRE_KEYS=false .*192\.0\.2\.7"):
        asks("192.0.2.7", False)


def test_a_taken_port_is_not_free(taken: int) -> None:
    assert not is_free(taken, "127.0.0.1")


def test_a_port_is_free_again(taken: int) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        free = other.getsockname()[1]
    assert is_free(free, "127.0.0.1")


def test_no_port_is_not_a_taken_port() -> None:
    with pytest.raises(NotReady, match="no port 80000"):
        is_free(80000, "127.0.0.1")


@pytest.mark.parametrize("bind", ["192.0.2.7", "no.such.host.invalid", "[::1]", "", "a" * 64 + ".b"])
def test_an_address_of_another_machine_is_not_a_taken_port(bind: str) -> None:
    with pytest.raises(NotReady, match="is no address of this machine"):
        is_free(0, bind)


def test_services_are_looked_for_where_the_settings_name_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_API_URL", "http://proxy:8080/")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    at = {service.name: service.url for service in named_services(load())}
    assert at == {
        "Airflow": "http://127.0.0.1:8090",
        "MLflow": "http://mlflow:5000",
        "API": "http://proxy:8080",
        "web app": "http://127.0.0.1:8501",
    }
