"""What customers did with recommendations: told over HTTP or in a file, kept once, read back.

What the store promises of them on every database is in ``tests/store_contract.py``.
"""

import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from api.app import create_app
from api.keeper import Keeper
from api.serving import Serving
from churn import contract as contracts
from churn import interaction_files, interactions, reading
from churn.audit import person
from churn.cli import main
from churn.errors import Unavailable
from churn.interaction_reading import Interaction
from churn.interaction_records import CHUNK, record
from churn.keys import Keys
from churn.settings import Settings, load
from churn.shelf import Served
from churn.store import Store
from tests.conftest import ROOT

CONTRACT = contracts.load(ROOT / "data/telco/contract.yaml")
ITEMS = [*CONTRACT.products, *CONTRACT.offers]
PRODUCT, OFFER = ITEMS[0], ITEMS[-1]
ONE = {"customer_id": "C1", "item": OFFER, "event": "refused"}
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a home with nothing in it."""
    return load().model_copy(update={"home": tmp_path / "home"})


@pytest.fixture
def store(settings: Settings) -> Store:
    return Store(settings)


@pytest.fixture
def client(settings: Settings) -> Any:
    """Of an API in which no version serves yet."""
    return create_app(settings, serving=Serving(settings), keeper=Keeper(settings)).test_client()


@pytest.fixture
def post(client: Any) -> Callable[..., Any]:
    def call(body: Any, **headers: str) -> Any:
        return client.post("/interactions", json=body, headers={n.replace("_", "-"): v for n, v in headers.items()})

    return call


def refused_of(store: Store, customer_id: str) -> frozenset[str]:
    return interactions.known(store, customer_id, LONG_AGO).refused


# --- over HTTP


def test_one_is_told_and_read_back(client: Any, post: Any, store: Store) -> None:
    reply = post({**ONE, "customer_id": 7, "at": "2026-03-01T12:00:00+02:00", "version": 3})
    assert reply.status_code == 201
    (kept,) = reply.get_json()["interactions"]
    received = datetime.fromisoformat(kept.pop("received"))
    assert abs(datetime.now(UTC) - received) < timedelta(minutes=1)
    assert kept == {
        "id": 1, "customer_id": "7", "item": OFFER, "event": "refused", "at": "2026-03-01T10:00:00+00:00",
        "by": "anonymous (loopback)", "version": "3",
    }  # fmt: skip
    told = client.get("/interactions?customer_id=7").get_json()
    assert told == {"customer_id": "7", "interactions": [{**kept, "received": received.isoformat()}], "total": 1,
                    "page": 1, "limit": 50}  # fmt: skip
    assert refused_of(store, "7") == {OFFER}


def test_an_id_is_the_same_with_spaces_around_it(client: Any, post: Any) -> None:
    post({**ONE, "customer_id": " C1 "})
    for query in ("C1", "%20C1", "C1%20%20"):
        told = client.get(f"/interactions?customer_id={query}").get_json()
        assert (told["customer_id"], told["total"]) == ("C1", 1)
    assert client.get("/interactions?customer_id=%20").status_code == 422


def test_with_a_version_in_service_no_contract_is_read_from_its_file(settings: Settings, tmp_path: Path) -> None:
    own = settings.model_copy(update={"contract": tmp_path / "gone.yaml"})
    serving = Serving(own)
    client = create_app(own, serving=serving, keeper=Keeper(own)).test_client()
    assert client.post("/interactions", json=ONE).status_code == 503
    served = Served("churn-classifier", "1", "r", "2026-03-01T00:00:00+00:00", {}, {})
    serving._live = (served, SimpleNamespace(contract=CONTRACT))  # type: ignore[assignment]
    assert client.post("/interactions", json=ONE).status_code == 201
    assert client.post("/interactions", json={**ONE, "item": "yacht"}).status_code == 422


def test_what_was_done_now_is_of_now(post: Any) -> None:
    (kept,) = post(ONE).get_json()["interactions"]
    assert kept["at"] == kept["received"]


def test_a_page_holds_the_newest(client: Any, post: Any) -> None:
    days = [{**ONE, "event": "shown", "at": f"2026-03-{day:02}"} for day in (1, 3, 2)]
    post({"interactions": [*days, {**ONE, "customer_id": "C2"}]})
    pages = [client.get(f"/interactions?customer_id=C1&limit=2&page={page}").get_json() for page in (1, 2, 3)]
    assert [one["at"][:10] for page in pages for one in page["interactions"]] == [
        "2026-03-03", "2026-03-02", "2026-03-01",
    ]  # fmt: skip
    assert {page["total"] for page in pages} == {3}
    assert client.get("/interactions?customer_id=nobody").get_json()["interactions"] == []
    for query in ("", "?customer_id=", "?customer_id=C1&page=0", "?customer_id=C1&limit=501", "?customer_id=C1&of=x"):
        assert client.get(f"/interactions{query}").status_code == 422


@pytest.mark.parametrize("how", ["a field", "a header"])
def test_what_is_told_again_under_its_key_is_answered_as_it_was(client: Any, post: Any, how: str) -> None:
    """The moment too: it is that of the first time."""
    headers = {"Idempotency_Key": "a"} if how == "a header" else {}
    field = {"idempotency_key": "a"} if how == "a field" else {}
    body = {"interactions": [{**ONE, **field}, {**ONE, "item": PRODUCT, "idempotency_key": "b"} if field else ONE]}
    first, second = post(body, **headers), post(body, **headers)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.get_json() == second.get_json()
    assert client.get("/interactions?customer_id=C1").get_json()["total"] == 2
    changed = {"interactions": [{**ONE, **field, "event": "accepted"}]}
    reply = post(changed, **headers)
    assert (reply.status_code, reply.content_type) == (409, "application/problem+json")
    assert "the idempotency key 'a' was used before" in reply.get_json()["detail"]
    assert client.get("/interactions?customer_id=C1").get_json()["total"] == 2


def test_a_key_is_its_callers_own(settings: Settings, store: Store) -> None:
    secrets = [Keys(store).make(name, "write", by="ann")[1] for name in ("crm", "web")]
    keeper = Keeper(settings)
    keeper.attend()
    client = create_app(settings, serving=Serving(settings), keeper=keeper).test_client()
    for event, secret in zip(("accepted", "refused"), secrets, strict=True):
        headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": "a"}
        reply = client.post("/interactions", json={**ONE, "event": event}, headers=headers)
        assert reply.status_code == 201
    assert {one.by for one in interactions.page(store, "C1", 1, 9)[0]} == {"key crm", "key web"}


def test_without_a_key_what_has_a_moment_is_kept_once(client: Any, post: Any) -> None:
    dated = {**ONE, "at": "2026-03-01"}
    assert [post(dated).status_code for _ in range(2)] == [201, 200]
    assert [post(ONE).status_code for _ in range(2)] == [201, 201]  # nobody can know that these are the same
    assert client.get("/interactions?customer_id=C1").get_json()["total"] == 3


def test_a_thousand_at_once(client: Any, post: Any) -> None:
    many = [{**ONE, "customer_id": f"C{n}", "idempotency_key": str(n)} for n in range(1_001)]
    assert post({"interactions": many}).status_code == 422
    reply = post({"interactions": many[:1_000]})
    assert reply.status_code == 201
    assert [one["customer_id"] for one in reply.get_json()["interactions"]] == [one["customer_id"] for one in many[:-1]]


@pytest.mark.parametrize(
    ("body", "row", "field", "words"),
    [
        ([], None, "", "an interaction, or a list under 'interactions'"),
        ({"interactions": {}}, None, "interactions", "a list of interactions"),
        ({"interactions": []}, None, "interactions", "1 to 1,000 interactions, not 0"),
        ({"interactions": [ONE], "more": 1}, None, "more", "unknown beside 'interactions'"),
        ({"interactions": [ONE, 7]}, 1, "", "an object: an interaction"),
        ({**ONE, "customer_id": True}, 0, "customer_id", "a text or a whole number"),
        ({**ONE, "customer_id": " "}, 0, "customer_id", "a text or a whole number"),
        ({**ONE, "customer_id": None}, 0, "customer_id", "a text or a whole number"),
        ({**ONE, "customer_id": "a\0b"}, 0, "customer_id", "a text or a whole number"),
        ({**ONE, "customer_id": "\ud800"}, 0, "customer_id", "a text or a whole number"),
        ({**ONE, "customer_id": "x" * 251}, 0, "customer_id", "a text or a whole number"),
        ({**ONE, "item": "yacht"}, 0, "item", f"expected one of {', '.join(ITEMS)}"),
        ({**ONE, "item": []}, 0, "item", "there is no such item"),
        ({**ONE, "event": "bought"}, 0, "event", "expected one of shown, clicked, accepted, refused"),
        ({**ONE, "event": {}}, 0, "event", "expected one of"),
        ({**ONE, "at": "2999-01-01"}, 0, "at", "lies in the future"),
        ({**ONE, "at": "yesterday"}, 0, "at", "ISO 8601"),
        ({**ONE, "at": 20260101}, 0, "at", "ISO 8601"),
        ({**ONE, "version": 1.5}, 0, "version", "the version of the recommender"),
        ({**ONE, "version": "x" * 21}, 0, "version", "the version of the recommender"),
        ({**ONE, "idempotency_key": ""}, 0, "idempotency_key", "1 to 200 characters"),
        ({**ONE, "idempotency_key": "x" * 201}, 0, "idempotency_key", "1 to 200 characters"),
        ({**ONE, "why": "price"}, 0, "why", "no such field"),
    ],
)  # fmt: skip
def test_what_is_no_interaction_is_named_and_nothing_is_kept(
    client: Any, post: Any, body: Any, row: int | None, field: str, words: str
) -> None:
    reply = post(body)
    assert reply.status_code == 422
    (fault,) = reply.get_json()["errors"]
    assert (fault["row"], fault["field"]) == (row, field)
    assert words in fault["message"]
    assert client.get("/interactions?customer_id=C1").get_json()["total"] == 0


@pytest.mark.parametrize(
    ("key", "body", "row", "field"),
    [
        ("x" * 201, ONE, None, "Idempotency-Key"),
        (" ", ONE, None, "Idempotency-Key"),
        ("a", {**ONE, "idempotency_key": "a"}, 0, "idempotency_key"),
    ],
)
def test_a_header_that_is_no_key(post: Any, key: str, body: Any, row: int | None, field: str) -> None:
    reply = post(body, Idempotency_Key=key)
    assert reply.status_code == 422
    assert [(fault["row"], fault["field"]) for fault in reply.get_json()["errors"]] == [(row, field)]


def test_without_an_id_in_the_contract_nothing_is_told(settings: Settings, tmp_path: Path) -> None:
    plain = CONTRACT.model_copy(update={"id": None})
    path = tmp_path / "contract.yaml"
    path.write_text(contracts.dump(plain), encoding="utf-8")
    own = settings.model_copy(update={"contract": path})
    client = create_app(own, serving=Serving(own), keeper=Keeper(own)).test_client()
    reply = client.post("/interactions", json=ONE)
    assert reply.status_code == 409
    assert "names no id column" in reply.get_json()["detail"]


def test_a_database_that_is_down_is_told(settings: Settings) -> None:
    gone = settings.model_copy(update={"database_url": "postgresql://churn:Gxq7@127.0.0.1:9/churn"})
    client = create_app(gone, serving=Serving(gone), keeper=Keeper(gone)).test_client()
    for reply in (client.post("/interactions", json=ONE), client.get("/interactions?customer_id=C1")):
        assert reply.status_code == 503
        assert "does not answer" in reply.get_json()["detail"]


# --- what is made of them


def test_a_refusal_counts_for_the_days_of_the_settings(settings: Settings, store: Store) -> None:
    at = datetime.now(UTC) - timedelta(days=5)
    record(store, [Interaction(0, "C1", OFFER, "refused", at)], by="ann")
    for days, refused in ((4, set()), (6, {OFFER}), (0, set())):
        since = interactions.held_back_since(settings.model_copy(update={"refused_days": days}))
        assert interactions.known(store, "C1", since).refused == refused


def test_a_training_takes_what_there_is(settings: Settings, store: Store) -> None:
    assert list(interactions.for_training(settings)) == []
    assert not (settings.home / "churn.db").exists()  # a look leaves no trace
    record(store, [Interaction(0, "C1", OFFER, "clicked"), Interaction(1, "C1", OFFER, "shown")], by="ann")
    assert list(interactions.for_training(settings)) == [("C1", OFFER, interactions.WEIGHTS["clicked"])]
    gone = settings.model_copy(update={"database_url": "postgresql://churn:Gxq7@127.0.0.1:9/churn"})
    with pytest.raises(Unavailable):
        list(interactions.for_training(gone))


# --- in a file


@pytest.fixture
def churn(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    monkeypatch.setenv("CHURN_HOME", str(settings.home))

    def call(*arguments: object) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["interactions", *map(str, arguments)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output

    return call


def test_a_csv_file_is_kept_once(churn: Any, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "told.csv"
    path.write_text(
        f"at,{CONTRACT.id},item,event,idempotency_key,agent\n2026-03-01,C1,{OFFER},refused,,ann\n"
        f",27,{PRODUCT},clicked,call-7,bob\n",
        encoding="utf-8",
    )
    said = f"{path}: 2 interactions are new, 0 were known"
    assert churn(path, "--dry-run") == (0, f"{said} (nothing is kept: --dry-run)\n")
    assert churn(path) == (0, f"{said}\n")
    assert churn(path) == (0, f"{path}: 0 interactions are new, 2 were known\n")
    assert refused_of(store, "C1") == {OFFER}
    assert interactions.page(store, "27", 1, 9)[1] == 1


def test_a_parquet_file_and_a_request_that_tell_the_same(churn: Any, post: Any, tmp_path: Path) -> None:
    path = tmp_path / "told.parquet"
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    pd.DataFrame({"customer_id": ["C1"], "item": [OFFER], "event": ["refused"], "at": [at], "version": [3]}).to_parquet(
        path
    )
    assert post({**ONE, "at": at.isoformat(), "version": 3}).status_code == 201
    assert churn(path) == (0, f"{path}: 0 interactions are new, 1 were known\n")


def test_every_fault_of_a_file_is_told_with_its_row(churn: Any, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "told.csv"
    lines = [f"C1,{OFFER},refused,2026-03-01", f",{OFFER},shown,2026-03-01", "C1,yacht,shown,2026-03-01"]
    lines += [f"C1,{OFFER},,2026-03-01", f"C1,{OFFER},shown,", f"C1,{OFFER},shown,2999-01-01"]
    path.write_text("customer_id,item,event,at\n" + "\n".join(lines), encoding="utf-8")
    code, told = churn(path)
    assert code == 1
    assert [line.strip() for line in told.splitlines()[1:]] == [
        "row 3, customer_id: expected the id of a customer: a text or a whole number",
        f"row 4, item: 'yacht': there is no such item; expected one of {', '.join(ITEMS)}",
        "row 5, event: expected one of shown, clicked, accepted, refused",
        "row 6, at: blank; expected a moment, or an idempotency_key: the same file told twice is to be kept once",
        "row 7, at: '2999-01-01': lies in the future; expected what has happened",
    ]
    assert refused_of(store, "C1") == frozenset()


@pytest.fixture
def many(tmp_path: Path) -> Callable[..., Path]:
    """A file of more rows than one transaction writes, that ends with these."""

    def write(*last: str) -> Path:
        path = tmp_path / "many.csv"
        lines = [f"C{n},{OFFER},shown,2026-03-01,{f'k{n}' if n % 2 else ''}" for n in range(CHUNK + 100)]
        path.write_text("\n".join(["customer_id,item,event,at,idempotency_key", *lines, *last]), encoding="utf-8")
        return path

    return write


def total(store: Store) -> int:
    return sum(interactions.page(store, f"C{n}", 1, 1)[1] for n in (0, 1, CHUNK - 1, CHUNK, CHUNK + 99))


@pytest.mark.parametrize("how", [(), ("--dry-run",)])
def test_of_a_file_with_a_key_that_says_two_things_nothing_is_kept(
    churn: Any, store: Store, many: Any, monkeypatch: pytest.MonkeyPatch, how: tuple[str, ...]
) -> None:
    monkeypatch.setattr(interaction_files, "read_pieces", partial(reading.read_pieces, chunk=500))
    other = Interaction(0, "C9", OFFER, "refused", key=f"k{CHUNK + 99}")
    record(store, [other], by=person())
    path = many(f"C5,{OFFER},accepted,2026-03-01,k5", f"C7,{OFFER},shown,2026-03-01,k7", f"C3,{OFFER},shown,,k3")
    code, told = churn(path, *how)
    assert code == 1
    assert [line.strip() for line in told.splitlines()] == [
        f"churn: {path}: 3 faults found",
        f"row {CHUNK + 101}, idempotency_key: 'k{CHUNK + 99}': was used before, and something else was told under it; "
        "take a new one",
        f"row {CHUNK + 102}, idempotency_key: row 7 tells something else under the same key",
        f"row {CHUNK + 104}, idempotency_key: row 5 tells something else under the same key",
    ]
    assert total(store) == 0


def test_a_dry_run_counts_what_would_be_new(churn: Any, store: Store, many: Any) -> None:
    """Rows that are told twice once, though they are in two transactions."""
    path = many(f"C0,{OFFER},shown,2026-03-01,", f"C1,{OFFER},shown,2026-03-01,k1")
    said = f"{path}: {CHUNK + 100:,} interactions are new, 2 were known"
    assert churn(path, "--dry-run") == (0, f"{said} (nothing is kept: --dry-run)\n")
    assert total(store) == 0
    assert churn(path) == (0, f"{said}\n")
    assert total(store) == 5
    assert churn(path, "--dry-run")[1].startswith(f"{path}: 0 interactions are new, {CHUNK + 102:,} were known")


def test_a_file_that_changes_between_check_and_writing_is_told_so(
    churn: Any, store: Store, many: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, check = many(), interaction_files.Check.new

    def change(self: Any) -> int:
        path.write_text("customer_id,item,event,at\nC1,yacht,shown,2026-03-01", encoding="utf-8")
        return check(self)

    monkeypatch.setattr(interaction_files.Check, "new", change)
    code, told = churn(path)
    assert (code, "has changed while it was read" in told) == (1, True)
    assert total(store) == 0


def test_the_memory_of_a_file_does_not_grow_with_its_rows(store: Store, tmp_path: Path) -> None:
    def peak(rows: int) -> int:
        path = tmp_path / f"{rows}.csv"
        lines = [f"C{n},{OFFER},shown,2026-03-01,k{n}" for n in range(rows)]
        path.write_text("\n".join(["customer_id,item,event,at,idempotency_key", *lines]), encoding="utf-8")
        tracemalloc.start()
        try:
            assert interaction_files.keep(store, path, CONTRACT, by="ann", dry_run=True) == (rows, 0)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interaction_files, "read_pieces", partial(reading.read_pieces, chunk=1_000))
        patch.setattr(reading, "_BLOCK", 1 << 16)
        peak(1_000)  # what is imported
        few, more = peak(2_000), peak(12_000)
    assert (more - few) / 10_000 < 120


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("customer_id,item,event,at\n", "a header and no rows"),
        ("customer_id,event\nC1,shown\n", "item: this column is missing"),
        ("who,item,event\nC1,x,shown\n", "customer_id: this column is missing"),
        ("customer_id,customerID,item,event\nC1,C1,x,shown\n", "stands beside 'customerID'"),
    ],
)
def test_a_file_that_tells_of_nothing(churn: Any, tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "told.csv"
    path.write_text(text, encoding="utf-8")
    code, told = churn(path)
    assert code == 1
    assert words in told
