"""Another company's data, of another shape, with no change of code: from `churn init` to the API."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from churn import contract as contracts
from churn import settings as settings_of
from churn.cli import main
from tests.gym import ROWS, write_members


@pytest.fixture(scope="module")
def gym(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gym") / "members.csv"
    write_members(path)
    return path


def run(*arguments: str | Path, expect: int = 0) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == expect, result.output
    return result.output


@pytest.fixture(scope="module")
def drafted(gym: Path) -> Path:
    out = gym.parent / "data"
    run("init", gym, "--target", "quit", "--ignore", "joined_on", "--out", out)
    return out


def test_a_date_is_refused_with_a_clear_word(gym: Path) -> None:
    told = run("init", gym, "--target", "quit", "--out", gym.parent / "refused", expect=1)
    assert "joined_on" in told
    assert "date" in told
    assert "--ignore joined_on" in told
    assert not (gym.parent / "refused").exists()


def test_the_draft_saw_what_the_columns_are(drafted: Path) -> None:
    contract = contracts.load(drafted / "contract.yaml")
    kinds = {name: column.type for name, column in contract.features.items()}
    assert kinds == {
        "home_club": "category",
        "Visits per Week": "integer",
        "has_trainer": "boolean",
        "locker": "category",
        "plan": "category",
        "towel": "category",
        "monthlyFee": "number",
    }
    assert contract.id is None
    assert contract.target.positive == 1
    assert contract.ignored == ["joined_on"]
    gapped = [name for name, column in contract.features.items() if column.may_be_missing]
    assert gapped == ["plan", "towel", "monthlyFee"]
    assert contract.features["towel"].values == [0, 1]
    assert (contract.rows.format.separator, contract.rows.format.decimal) == (";", ",")


@pytest.fixture(scope="module")
def api(drafted: Path, tmp_path_factory: pytest.TempPathFactory):
    """The API over a model of the gym, trained by the command line."""
    from api.app import create_app
    from api.serving import Serving
    from churn.registry import Registry

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHURN_HOME", str(tmp_path_factory.mktemp("gym-home")))
        patch.setenv("CHURN_CONTRACT", str(drafted / "contract.yaml"))
        assert "all 400 rows fit" in run("validate", drafted / "members.csv")
        assert "is in service" in run("train")
        settings = settings_of.load()
        serving = Serving(settings, Registry(settings))
        serving.refresh()
        yield create_app(settings, serving=serving).test_client()


MEMBER = {
    "home_club": "North", "Visits per Week": 0, "has_trainer": False, "locker": 1, "plan": "Gold", "towel": 0,
    "monthlyFee": 49.9,
}  # fmt: skip


def test_a_member_is_scored(api) -> None:
    idle = api.post("/predict", json=MEMBER).get_json()
    busy = api.post("/predict", json={**MEMBER, "Visits per Week": 6}).get_json()
    assert idle["churn_probability"] > busy["churn_probability"] + 0.2
    assert idle["imputed"] == []


@pytest.mark.parametrize("column", ["plan", "towel", "monthlyFee"])
def test_what_may_be_missing_is_imputed_and_named(api, column: str) -> None:
    for member in ({**MEMBER, column: None}, {n: v for n, v in MEMBER.items() if n != column}):
        reply = api.post("/predict", json=member)
        assert reply.status_code == 200
        assert reply.get_json()["imputed"] == [column]


@pytest.mark.parametrize("column", ["home_club", "Visits per Week", "has_trainer", "locker"])
def test_any_other_blank_is_refused(api, column: str) -> None:
    for member in ({**MEMBER, column: None}, {n: v for n, v in MEMBER.items() if n != column}):
        reply = api.post("/predict", json=member)
        assert reply.status_code == 422
        assert [fault["field"] for fault in reply.get_json()["errors"]] == [column]


@pytest.mark.parametrize(
    ("column", "value"), [("has_trainer", "true"), ("has_trainer", 1), ("locker", True), ("locker", "1")]
)
def test_booleans_and_numbers_are_not_mixed_up(api, column: str, value: object) -> None:
    assert api.post("/predict", json={**MEMBER, column: value}).status_code == 422


def test_a_file_is_scored_with_every_column_in_order(api, drafted: Path, tmp_path: Path) -> None:
    import pandas as pd

    members = drafted / "members.csv"
    run("score", members, "-o", tmp_path / "scored.parquet")
    scored = pd.read_parquet(tmp_path / "scored.parquet")
    header = members.read_text(encoding="utf-8").splitlines()[0].split(";")
    assert list(scored.columns) == [*header, "churn_probability", "prediction", "risk"]
    assert len(scored) == ROWS


def test_nothing_of_the_shipped_data_is_left(api) -> None:
    words = api.get("/schema").text + api.get("/openapi.json").text
    assert "phone" not in words.lower()
    assert "Month-to-month" not in words
