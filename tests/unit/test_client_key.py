"""The key that the client sends: from where it comes, when it is read again, and that nothing tells it."""

import logging
import traceback
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from churn.client import Client, Refused
from churn.errors import NotReady
from churn.settings import load

OLD, NEW = "churn_the-old-secret", "churn_the-new-secret"


class Api:
    """Takes one key, and notes what was sent."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.sent: list[str | None] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request.headers.get("Authorization"))
        if self.sent[-1] == f"Bearer {self.key}":
            return httpx.Response(200, json={"models": []})
        return httpx.Response(401, json={"title": "Unauthorized", "detail": "no such key"})

    def client(self, key: str | None = None, file: Path | None = None) -> Client:
        return Client("http://api", key, key_file=file, transport=httpx.MockTransport(self))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(f"{OLD}\n")
    return path


def test_the_key_goes_with_every_request(file: Path) -> None:
    for client in (Api(OLD).client(OLD), Api(OLD).client(f" {OLD}\n"), Api(OLD).client(file=file)):
        assert client.models() == client.models() == []
    api = Api(OLD)
    with pytest.raises(Refused, match="no such key"):
        api.client().models()
    assert api.sent == [None]


def test_a_key_that_was_replaced_is_read_again_once(file: Path) -> None:
    api = Api(OLD)
    client = api.client(file=file)
    assert client.models() == []
    api.key = NEW
    with pytest.raises(Refused) as refusal:
        client.models()
    assert refusal.value.status == 401
    assert len(api.sent) == 2  # what is known to be wrong is not sent again
    file.write_text(NEW)
    assert client.models() == client.models() == []
    assert api.sent[2:] == [f"Bearer {OLD}", f"Bearer {NEW}", f"Bearer {NEW}"]


def test_a_file_that_comes_later_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    api = Api(NEW)
    client = api.client(file=tmp_path / "key")
    assert str(tmp_path / "key") in caplog.text
    with pytest.raises(Refused):
        client.models()
    (tmp_path / "key").write_bytes(b"\xff\n")
    with pytest.raises(Refused):
        client.models()
    (tmp_path / "key").write_text(NEW)
    assert client.models() == []


def test_the_file_goes_before_the_key(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    assert Api(OLD).client(NEW, file).models() == []
    for name, value in (("CHURN_API_KEY", NEW), ("CHURN_API_KEY_FILE", str(file)), ("CHURN_API_URL", "http://api")):
        monkeypatch.setenv(name, value)
        assert Client.from_settings()
    assert NEW not in repr(load()) + str(load())


@pytest.mark.parametrize("wrong", ["two\nlines", "ü", "nul\0"])
def test_what_can_be_no_key_is_refused_without_being_told(wrong: str, file: Path) -> None:
    with pytest.raises(NotReady, match="CHURN_API_KEY") as refusal:
        Client("http://api", wrong)
    assert wrong not in str(refusal.value)
    file.write_text(wrong)
    api = Api(OLD)
    with pytest.raises(Refused):
        api.client(file=file).models()
    assert api.sent == [None]


def failing(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


@pytest.mark.parametrize("answer", [failing, Api("another"), lambda _: httpx.Response(200, text="no JSON")])
def test_nothing_tells_the_key(
    answer: Callable[[httpx.Request], httpx.Response], file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client("http://api", key_file=file, transport=httpx.MockTransport(answer))
    with caplog.at_level(logging.DEBUG), pytest.raises(Exception) as error:
        client.models()
    told = "".join(traceback.format_exception(error.value))
    for text in (told, repr(client), repr(vars(client)), repr(error.value), caplog.text):
        assert OLD not in text
