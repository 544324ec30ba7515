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


def test_a_member_has_a_persona_also_with_gaps(api) -> None:
    told = api.get("/segments").get_json()
    names = [persona["name"] for persona in told["personas"]]
    assert len(set(names)) == len(names) >= 3
    assert [band["band"] for band in told["bands"]] == ["high", "medium", "low"]
    assert told["rules"]["rules"] or told["rules"]["note"]
    for member in (MEMBER, MEMBER | {"plan": None, "towel": None, "monthlyFee": None}):
        assert api.post("/predict", json=member).get_json()["persona"] in names


def test_without_anything_to_change_or_to_offer_the_replies_say_so(api) -> None:
    told = api.post("/whatif", json={"customer": MEMBER}).get_json()
    reasons = {"high": "the contract calls no column actionable"}
    assert told["proposal"] is None
    assert told["reason"] == reasons.get(told["risk"]["before"], "the customer is not in the high band")
    reply = api.post("/whatif", json={"customer": MEMBER, "changes": {"plan": "Basic"}})
    assert "what may be changed: nothing" in reply.get_json()["errors"][0]["message"]
    reply = api.post("/campaigns/plan", json={"budget": 100, "offers": ["discount"]})
    assert "the contract's: none" in reply.get_json()["errors"][0]["message"]
    assert api.post("/campaigns/plan", json={"budget": 100}).status_code == 503  # nobody has been scored


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


def test_members_without_ids_are_kept_by_their_rows(api, drafted: Path) -> None:
    assert api.get("/customers").status_code == 503
    told = run("score-base")
    lines = (drafted / "members.csv").read_text(encoding="utf-8").splitlines()
    stayed = [place for place, line in enumerate(lines, start=1) if line.endswith(";0")]
    assert f"{len(stayed)} customers, {ROWS - len(stayed)} more have left" in told
    listed = api.get("/customers?limit=500").get_json()
    assert sorted(int(one["customer_id"]) for one in listed["customers"]) == stayed  # as a spreadsheet counts
    for one in listed["customers"][:40]:
        member = api.get(f"/customers/{one['customer_id']}").get_json()
        cells = lines[int(one["customer_id"]) - 1].split(";")
        assert member["features"]["home_club"] == cells[1]
        assert member["features"]["monthlyFee"] == (float(cells[7].replace(",", ".")) if cells[7] else None)
        assert member["monthly_value"] == member["features"]["monthlyFee"]
        assert (member["revenue_at_risk"] is None) == (member["monthly_value"] is None)
        predicted = api.post("/predict", json=member["features"]).get_json()
        if not one["held_out"]:
            assert predicted["churn_probability"] == pytest.approx(one["churn_probability"], abs=1e-9)
    assert {one["held_out"] for one in listed["customers"]} == {True, False}
    portfolio = api.get("/portfolio").get_json()
    fees = [one["monthly_value"] for one in listed["customers"]]
    assert None in fees
    assert portfolio["customers"] == len(stayed)
    assert portfolio["monthly_revenue"] == pytest.approx(sum(fee for fee in fees if fee is not None))
    assert [one["customer_id"] for one in listed["customers"]] == [
        one["customer_id"]
        for band in ("high", "medium", "low")
        for one in api.get(f"/customers?limit=500&risk={band}").get_json()["customers"]
    ]


def test_the_members_are_watched_for_drift(api, drafted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers with gaps and decimal commas, booleans, no id: a gap may be what has changed."""
    import pandas as pd

    assert "no training is called for" in run("monitor")
    members = pd.read_csv(drafted / "members.csv", sep=";", dtype=str, keep_default_na=False)
    text = (drafted / "contract.yaml").read_text(encoding="utf-8")
    contract = drafted / "watched.yaml"
    contract.write_text(text.replace("rows:\n", "rows:\n  customers: now.csv\n", 1), encoding="utf-8")
    monkeypatch.setenv("CHURN_CONTRACT", str(contract))
    members.drop(columns="quit").sample(frac=1.0, replace=True, random_state=1).to_csv(drafted / "now.csv", sep=";")
    assert "no training is called for" in run("monitor")
    members.assign(monthlyFee="").to_csv(drafted / "now.csv", sep=";")
    told = run("monitor")
    assert "a training is called for" in told
    assert "Monthly fee is missing" in told


def test_an_outcome_of_members_without_ids_is_refused(api, drafted: Path) -> None:
    path = drafted / "left.csv"
    path.write_text("customer_id;churned\n1;true\n", encoding="utf-8")
    assert "names no id column" in run("outcomes", path, expect=1)


def test_nothing_of_the_shipped_data_is_left(api) -> None:
    words = api.get("/schema").text + api.get("/openapi.json").text
    assert "phone" not in words.lower()
    assert "Month-to-month" not in words
