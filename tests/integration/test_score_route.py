"""``/score`` without its process: whose a job is, how many wait and move at once, and bodies of all kinds."""

import io
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, strategies
from hypothesis import settings as hypothesis_settings

from api import arrival, score
from api.app import create_app
from api.score_desk import TRANSFERS, ScoreDesk
from api.serving import Serving
from churn import settings as settings_of
from churn.client import Client
from churn.errors import Unavailable
from churn.keys import Key, hash_of
from churn.registry import Registry
from churn.score_process import run
from churn.settings import Settings
from tests import versions
from tests.versions import Gunicorn

CSV = "text/csv"
SECRETS = {"anna": "write", "ben": "write", "carl": "admin", "dora": "read"}


@dataclass
class Keeper:
    """Stands in for the keeper: it lets in four keys."""

    knows_keys: bool = True
    keys: dict[str, Key] = field(
        default_factory=lambda: {
            hash_of(name): Key(n, name, scope, datetime.now(UTC), "a test")
            for n, (name, scope) in enumerate(SECRETS.items(), 1)
        }
    )

    def used(self, key_id: int) -> None: ...


class Desk(ScoreDesk):
    """Starts no process."""

    def wake(self) -> bool:
        return False


class Here(NamedTuple):
    app: Any
    desk: Desk
    settings: Settings

    def send(self, content: Any = b"a\n1\n", key: str | None = "anna", **options: Any) -> Any:
        return self.app.test_client().post(
            "/score", **{"data": content, "content_type": CSV, "headers": bearer(key), **options}
        )

    def get(self, path: str, key: str | None = "anna", method: str = "GET") -> Any:
        return self.app.test_client().open(path, method=method, headers=bearer(key))


def bearer(key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a version in service, and its copy."""
    home = tmp_path_factory.mktemp("score")
    settings = settings_of.load().model_copy(update={"home": home})
    registry = Registry(settings)
    versions.register(settings, versions.write(home / "version"))
    registry.client.set_registered_model_alias("churn-classifier", "champion", "1")
    Serving(settings, registry).refresh()
    return home


@pytest.fixture
def here(home: Path, tmp_path: Path) -> Iterator[Here]:
    shutil.copytree(home / "serving", tmp_path / "serving")
    settings = settings_of.load().model_copy(update={"home": tmp_path, "score_max_mb": 1})
    serving, desk = Serving(settings), Desk(settings)
    serving.catch_up()
    yield Here(create_app(settings, serving=serving, keeper=Keeper(), desk=desk), desk, settings)  # type: ignore[arg-type]
    desk.jobs.close()


# --- whose a job is


def test_a_job_is_its_key_s_and_an_admin_s(here: Here) -> None:
    job = here.send(here.app.extensions["churn.serving"].contract.id or "id").get_json()["job"]
    run(here.settings)
    for key, seen in (("anna", True), ("carl", True), (None, True), ("ben", False), ("dora", False)):
        for path in (f"/score/{job}", f"/score/{job}/result"):
            reply = here.get(path, key)
            assert (reply.status_code != 404) == seen, (key, path, reply.text)
    assert here.get(f"/score/{job}", "ben", "DELETE").status_code == 404
    assert here.get(f"/score/{job}", "dora", "DELETE").status_code == 403
    assert here.get(f"/score/{job}", "anna", "DELETE").status_code == 204
    assert here.get(f"/score/{job}", "anna").status_code == 404


def test_sending_needs_a_key_that_may_write(here: Here) -> None:
    assert here.send(key="dora").status_code == 403


def test_one_idempotency_key_of_two_callers_makes_two_jobs(here: Here) -> None:
    def click(key: str) -> tuple[int, str]:
        reply = here.send(key=key, headers={**bearer(key), "Idempotency-Key": "click"})
        return reply.status_code, reply.get_json()["job"]

    first, again, other = click("anna"), click("anna"), click("ben")
    assert (first[0], again, other[0]) == (202, (200, first[1]), 202)
    assert other[1] != first[1]


# --- how many


def test_few_files_wait_of_one_caller_and_of_all(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "MOST_WAITING", 5)
    assert [here.send().status_code for _ in range(4)] == [202, 202, 202, 429]
    replies = [here.send(key="ben") for _ in range(3)]
    assert [reply.status_code for reply in replies] == [202, 202, 503]
    assert int(replies[-1].headers["Retry-After"]) > 0
    assert "5 files wait already" in replies[-1].get_json()["detail"]
    run(here.settings)
    assert here.send().status_code == 202


def test_no_more_than_two_files_move_at_once(here: Here) -> None:
    job = here.send().get_json()["job"]
    taken = [here.desk.transfer() for _ in range(TRANSFERS)]
    for one in taken:
        one.__enter__()
    refused = here.send()
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert here.get(f"/score/{job}").status_code == 200  # a question is no file
    for one in taken:
        one.__exit__(None, None, None)
    for _ in range(TRANSFERS + 1):  # nobody keeps a place
        assert here.send(b"").status_code == 400
        assert here.get(f"/score/{job}/result").status_code == 409


def test_a_download_gives_its_place_back(here: Here) -> None:
    contract = here.app.extensions["churn.serving"].contract
    header = ",".join([contract.id, *contract.features])
    row = ",".join(["1", *(str(contract.example[name]) for name in contract.features)])
    job = here.send(f"{header}\n{row}\n".encode()).get_json()["job"]
    run(here.settings)
    told = here.get(f"/score/{job}").get_json()
    assert told["state"] == "done", told
    for _ in range(TRANSFERS + 1):
        reply = here.get(f"/score/{job}/result")
        assert reply.status_code == 200
        assert reply.data.startswith(header.encode())
        reply.close()


def test_without_room_on_the_disk_nothing_is_taken(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    full = shutil.disk_usage("/")._replace(free=1_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    reply = here.send()
    assert reply.status_code == 503
    assert "no room" in reply.get_json()["detail"]
    assert not here.desk.jobs.folder.exists()


def test_a_body_of_no_told_length_is_held_to_be_as_large_as_may_be(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    room = shutil.disk_usage("/")._replace(free=score._SPARE + 2 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: room)
    assert here.send().status_code == 202
    assert here.send(headers={**bearer("anna"), "Transfer-Encoding": "chunked"}).status_code == 503


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_what_no_text_may_hold_is_no_job(here: Here, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    from sqlalchemy import Connection

    def asked(*_: Any, **__: Any) -> Any:
        raise ValueError("A string literal cannot contain NUL (0x00) characters.")  # as PostgreSQL's driver does

    here.send()  # the store is there
    monkeypatch.setattr(Connection, "execute", asked)
    assert here.get("/score/a%00b", method=method).status_code == 404


def test_a_process_that_cannot_be_started_fails_no_request(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refused)
    assert here.send().status_code == 202
    assert ScoreDesk.wake(here.desk) is False


def test_a_disk_that_fills_leaves_nothing(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, _: Any) -> int:
            raise OSError(28, "No space left on device")

    real = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, mode="r", **more: Full() if mode == "wb" else real(path, mode, **more)
    )
    reply = here.send()
    assert reply.status_code == 503
    assert "No space left" in reply.get_json()["detail"]
    assert not list(here.desk.jobs.folder.glob("*/"))


def test_before_there_is_a_model_no_file_is_taken(tmp_path: Path) -> None:
    settings = settings_of.load().model_copy(update={"home": tmp_path})
    app = create_app(settings, serving=Serving(settings), keeper=Keeper(), desk=Desk(settings))  # type: ignore[arg-type]
    assert app.test_client().post("/score", data=b"a", content_type=CSV).status_code == 503


# --- bodies of all kinds


def form(*parts: tuple[str, str | None, bytes]) -> dict[str, Any]:
    boundary, body = "limit", b""
    for name, filename, content in parts:
        told = f'; filename="{filename}"' if filename is not None else ""
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{told}\r\n\r\n'.encode()
        body += content + b"\r\n"
    return {
        "content": body + f"--{boundary}--\r\n".encode(),
        "content_type": f"multipart/form-data; boundary={boundary}",
    }


def test_a_form_s_file_arrives_to_the_byte(here: Here) -> None:
    content = b"\r\n--limi\r\n-- \n\r" + bytes(range(256)) * 3_000
    job = here.send(**form(("file", "a.csv", content))).get_json()["job"]
    assert (here.desk.jobs.place(job) / "source.csv").read_bytes() == content


@pytest.mark.parametrize(
    ("filename", "told"),
    [
        ("../../etc/passwd.csv", "passwd.csv"),
        ("C:\\\\data\\\\March.CSV", "March.csv"),
        ("a.b.pq", "a.b.parquet"),
        (".csv", "customers.csv"),
        ("x" * 500 + ".csv", "x" * 150 + ".csv"),
        ("<b>|?*.csv", "_b____.csv"),
    ],
)
def test_a_file_s_name_is_made_harmless(here: Here, filename: str, told: str) -> None:
    reply = here.send(**form(("file", filename, b"x")))
    assert reply.status_code == 202, reply.text
    assert reply.get_json()["filename"] == told


def test_a_file_may_be_as_large_as_the_settings_say(here: Here) -> None:
    most = 2**20
    for size, status in ((most, 202), (most + 1, 413), (3 * most, 413)):
        assert here.send(b"x" * size).status_code == status
        assert here.send(**form(("file", "a.csv", b"x" * size)), key="ben").status_code == status


def test_no_body_ends_in_a_500(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "MOST_WAITING", 10**6)
    monkeypatch.setattr(score, "MOST_OF_ONE", 10**6)
    text = strategies.text(max_size=20)
    pieces = strategies.lists(
        strategies.one_of(
            strategies.binary(max_size=40),
            strategies.sampled_from(
                [
                    b"--x", b"--x--", b"\r\n", b"\r\n\r\n", b"\n", b"Content-Disposition: form-data", b'; name="file"',
                    b'; filename="a.csv"', b"; name*=utf-8''%ff", b"Content-Type: text/csv", b":",
                ]
            ),
        ),
        max_size=12,
    )  # fmt: skip
    kinds = strategies.sampled_from(
        ["multipart/form-data; boundary=x", "multipart/form-data", "multipart/form-data; boundary=\"", CSV,
         "application/vnd.apache.parquet", "", "text/csv; charset=\xff", "application/json"]
    )  # fmt: skip
    seen: Counter[int] = Counter()

    @given(pieces=pieces, kind=kinds, name=text)
    @hypothesis_settings(
        max_examples=500, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), database=None
    )
    def one(pieces: list[bytes], kind: str, name: str) -> None:
        reply = here.send(b"".join(pieces), content_type=kind, query_string={"filename": name})
        seen[reply.status_code] += 1
        if reply.status_code == 202:
            assert here.get(reply.headers["Location"]).status_code == 200

    one()
    print(f"\n{dict(seen)}")
    assert not [status for status in seen if status >= 500]
    assert {202, 400, 415} <= set(seen)


# --- who sends slowly


def test_a_file_that_does_not_move_gives_its_place_back(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through a real worker, whose pause is made shorter."""
    shutil.copytree(home / "serving", tmp_path / "serving")
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text("from api import arrival\narrival.PAUSE_SECONDS = 2.0\n")
    path = f"{site}:{Path(arrival.__file__).parents[1]}"
    with Gunicorn(tmp_path, tracking_uri=versions.NOBODY, workers=1, PYTHONPATH=path) as api:
        api.wait_ready()
        replies: list[bytes] = []
        slow = [threading.Thread(target=_drip, args=(api.port, replies)) for _ in range(TRANSFERS)]
        for one in slow:
            one.start()
        time.sleep(1)
        assert api.post("/predict", api.get("/schema")["examples"][0]).status_code == 200
        assert httpx.post(f"{api.url}/score", content=b"x", headers={"Content-Type": CSV}).status_code == 503
        for one in slow:
            one.join(30)
        assert [reply.split(b" ")[1] for reply in replies] == [b"408"] * TRANSFERS
        assert httpx.post(f"{api.url}/score", content=b"x", headers={"Content-Type": CSV}).status_code == 202


def test_the_client_tells_a_refusal_that_it_could_not_read() -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            raise httpx.WriteError("Connection reset by peer")
        return httpx.Response(200, json={"models": []})

    with pytest.raises(Unavailable, match="ended the connection; it may have no room"):
        Client("http://api", transport=httpx.MockTransport(broken)).send(io.BytesIO(b"x"), "a.csv", 1)


def _drip(port: int, replies: list[bytes]) -> None:
    head = b"POST /score HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/csv\r\nContent-Length: 100000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as one:
        one.sendall(head + b"a,b\n")
        replies.append(one.recv(1_000))
