"""The contract file: read back as written, and every mistake named by its place in plain words."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError

from churn import contract as contracts
from churn.contract import Contract
from churn.data import validate
from churn.errors import ContractError, InvalidData

ROOT = Path(__file__).resolve().parents[2]

PLAIN = """\
name: small
rows:
  training: rows.csv
target:
  column: left
  values: [0, 1]
  positive: 1
features:
  months:
    type: integer
    min: 0
    max: 99
  plan:
    type: category
    values: [Basic, Gold, No]
    blank: missing
risk:
  high: {threshold: 0.6, action: Offer}
  medium: {threshold: 0.3, action: Survey}
  low: {threshold: 0, action: Nothing}
monthly_value: months
products:
  plan: {owned: [Gold]}
offers:
  gift: {label: Gift, cost: 5, eligibility: {plan: [Basic]}}
"""


def write(tmp_path: Path, text: str, **save: Any) -> Path:
    path = tmp_path / "contract.yaml"
    path.write_text(text, **{"encoding": "utf-8"} | save)
    return path


def test_the_shipped_contract_survives_yaml_and_json(telco: Contract, tmp_path: Path) -> None:
    assert contracts.load(write(tmp_path, contracts.dump(telco))) == telco
    assert contracts.parse(json.loads(telco.model_dump_json(by_alias=True))) == telco


@pytest.mark.parametrize(
    "values",
    [
        ["Yes", "No"],
        ["on", "off"],
        ["true", "false"],
        ["null", "~"],
        ["1e5", "1"],
        ["007", "7"],
        ["0x1f", "0o7"],
        ["1_000", "12:30"],
        ["2024-01-31", "=", "<<"],
        ["1.5", ".inf", "-.5"],
        ["é: ü", "# no", "'q'", '"', "a\nb", "\ta"],
        [0, -1, 10**15],
    ],
)
def test_every_text_is_the_same_when_read_back(values: list[str | int], tmp_path: Path) -> None:
    plain = contracts.parse(contracts_plain(values))
    assert contracts.load(write(tmp_path, contracts.dump(plain))) == plain


def contracts_plain(values: list[str | int]) -> dict[str, Any]:
    risk = {"high": 0.6, "medium": 0.3, "low": 0}
    return {
        "name": "x",
        "rows": {"training": "a.csv"},
        "target": {"column": "t", "values": [False, True], "positive": True},
        "features": {"c": {"type": "category", "values": values}},
        "risk": {band: {"threshold": low, "action": "on"} for band, low in risk.items()},
    }


def test_words_that_yaml_likes_to_turn_into_something_else(tmp_path: Path) -> None:
    text = PLAIN.replace("[Basic, Gold, No]", "[Yes, No, On, 007, 1_000, 12:30, 2024-01-31, Basic, Gold]")
    values = contracts.load(write(tmp_path, text)).features["plan"].values
    assert values == ["Yes", "No", "On", "007", "1_000", "12:30", "2024-01-31", "Basic", "Gold"]
    flags = PLAIN.replace("    blank: missing", "    actionable: yes\n    sensitive: No")
    plan = contracts.load(write(tmp_path, flags)).features["plan"]
    assert (plan.actionable, plan.sensitive) == (True, False)


def test_a_byte_order_mark_is_no_part_of_the_contract(tmp_path: Path) -> None:
    assert contracts.load(write(tmp_path, PLAIN, encoding="utf-8-sig")).name == "small"


# What is changed, into what, and what must be said.
MISTAKES = [
    ("type: integer", "type: integr", "features.months.type (line 10): expected 'integer', 'number'"),
    ("    min: 0", "    mim: 0", "features.months.mim (line 11): there is no such key; did you mean 'min'?"),
    ("min: 0", "min: zero", "features.months.min (line 11): expected a number, not zero"),
    ("max: 99", "max: true", "features.months.max (line 12): expected a number, not true"),
    ("max: 99", "max: -1", "features.months (line 9): min 0 is above max -1"),
    (
        "blank: missing",
        "blank: gone",
        "features.plan.blank (line 16): expected refuse, missing, or {as: a value}",
    ),
    (
        "blank: missing",
        "blank: {is: Gold}",
        "features.plan.blank (line 16): expected refuse, missing, or {as",
    ),
    ("blank: missing", "blank: {as: Silver}", "features.plan (line 13): blank is 'Silver'; expected one of"),
    ("blank: missing", "example: gold", "example is 'gold'; expected one of 'Basic', 'Gold', 'No'"),
    (
        "[Basic, Gold, No]",
        "[Basic, 2.5]",
        "values.entry 2 (line 15): expected a whole number or a text, not 2.5",
    ),
    ("[Basic, Gold, No]", "[Basic, Gold, false]", "a text, not false; put it in quotes"),
    (
        "[Basic, Gold, No]",
        "Basic",
        "features.plan.values (line 15): expected a list, such as [a, b], not Basic",
    ),
    ("  months:\n", "  2023:\n", "features.2023 (line 9): a name is a text; put it in quotes"),
    (
        "  training: rows.csv",
        "  test: rows.csv",
        "rows.training (line 2): missing; rows.test (line 3): there is no",
    ),
    ("values: [0, 1]", "values: [0, 1, 2]", "target.values (line 6)"),
    ("values: [0, 1]", "values: [1, 1]", "values are two different texts"),
    ("values: [0, 1]", "values: [true, 1]", "values are two different texts"),
    ("positive: 1", "positive: yes", "positive is 'yes', which is not among [0, 1]"),
    ("positive: 1", "positive: true", "positive is True, which is not among [0, 1]"),
    ("0.6", "6", "risk.high.threshold (line 18): it should be less than or equal to 1, not 6"),
    ("0.6", "0.2", "risk thresholds must fall from high to medium to low"),
    ("threshold: 0,", "threshold: 0.1,", "low being 0"),
    ("  low: {threshold: 0, action: Nothing}\n", "", "risk must say each of high, medium, low"),
    ("monthly_value: months", "monthly_value: plan", "monthly_value: 'plan' is no numeric feature"),
    ("owned: [Gold]", "owned: []", "products.plan.owned (line 23): expected at least 1 of them"),
    ("owned: [Gold]", "owned: [Yes]", "products.plan: plan can never be 'Yes'"),
    ("owned: [Gold]", "owned: [Gold], requires: {plan: [Gold]}", "requires itself"),
    ("{plan: [Basic]}", "{paln: [Basic]}", "offers.gift: 'paln' is no feature"),
    ("cost: 5", "cost: -5", "offers.gift.cost (line 25)"),
    ("name: small", "name: Not So", "name (line 1): expected lower-case letters, digits, - and _"),
    ("name: small", "name: small\nid: left", "column 'left' has two roles"),
    ("name: small", "name: small\nignored: [months]", "column 'months' has two roles"),
    ("name: small", "name: small\nid: risk", "'risk' has a name that replies use"),
    (
        "  training: rows.csv",
        "  training: r.csv\n  format: {encoding: utf-9}",
        "there is no encoding 'utf-9'",
    ),
    (
        "  training: rows.csv",
        "  training: r.csv\n  format: {separator: ab}",
        "rows.format.separator (line 4)",
    ),
    ("  training: rows.csv", "  training: r.csv\n  format: {separator: '\"'}", "cannot separate columns"),
    ("  months:\n", "  months:\n    name: m\n", "features.months calls itself 'm'"),
    ("name: small", "name: small\nname: big", "line 2: 'name' stands twice"),
    ("min: 0", "min: 0\n    min: 1", "line 12: 'min' stands twice"),
    ("name: small", "name: [", "not a contract in YAML: line"),
    ("name: small", "name: !!python/name:os.system", "could not determine a constructor"),
    ("name: small", "? [a]\n: b", "a key is a single text"),
]


@pytest.mark.parametrize(("old", "new", "said"), MISTAKES, ids=[new[:30] for _, new, _ in MISTAKES])
def test_mistakes_are_told_by_their_place(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert PLAIN.count(old) == 1
    with pytest.raises(ContractError) as caught:
        contracts.load(write(tmp_path, PLAIN.replace(old, new)))
    message = str(caught.value)
    assert said in message
    assert str(tmp_path) in message
    assert not re.search(r"pydantic|literal\[|StrictStr|Value error", message)


def test_all_contradictions_are_told_at_once(tmp_path: Path) -> None:
    text = PLAIN.replace("monthly_value: months", "monthly_value: plan").replace("{plan: [Basic]}", "{x: [1]}")
    with pytest.raises(ContractError, match=r"monthly_value.*offers\.gift"):
        contracts.load(write(tmp_path, text.replace("owned: [Gold]", "owned: [Silver]")))


@pytest.mark.parametrize("content", [b"", b"just text", b"- a\n- b", b"\xff\xfe\x00", b"a: \x00", b"[" * 5_000])
def test_files_that_are_no_contract(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "contract.yaml"
    path.write_bytes(content)
    with pytest.raises(ContractError, match=re.escape(str(path))):
        contracts.load(path)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ContractError, match=re.escape(str(path))):
            contracts.load(path)


def test_the_request_model_takes_a_customer_and_nothing_else(telco: Contract) -> None:
    model = telco.customer_model
    example = telco.example
    assert model.model_validate(example).model_dump(by_alias=True) == {telco.id: None, **example}
    for identity in ("7590-VHVEG", 7590, None):
        assert model.model_validate({**example, telco.id: identity}).model_dump(by_alias=True)[telco.id] == identity
    for wrong in (
        {"nonsense": 1},
        {telco.target.column: "Yes"},
        {telco.id: 1.5},
        {telco.id: True},
        {"f0": "x"},
    ):
        with pytest.raises(ValueError):
            model.model_validate({**example, **wrong})
    for name in example:
        with pytest.raises(ValueError):
            model.model_validate({key: value for key, value in example.items() if key != name})


@pytest.mark.parametrize(
    ("identity", "said"),
    [
        ("", "blank; expected an id"),
        (" \t", "blank; expected an id"),
        ("a\ud800", "expected an id of whole characters"),
    ],
)
def test_ids_that_identify_nobody(identity: str, said: str, telco: Contract) -> None:
    with pytest.raises(ValidationError) as caught:
        telco.customer_model.model_validate({**telco.example, telco.id: identity})
    (fault,) = caught.value.errors()
    assert (fault["type"], fault["loc"]) == ("contract", (telco.id,))
    assert fault["msg"].startswith(said)


def test_the_schema_of_an_id_says_that_it_is_not_blank(telco: Contract) -> None:
    schema = telco.customer_model.model_json_schema()["properties"][str(telco.id)]
    assert schema["anyOf"] == [{"type": "string", "pattern": r"\S"}, {"type": "integer"}, {"type": "null"}]
    assert schema["description"] == "The customer's id"


def test_the_bands(telco: Contract) -> None:
    told = [telco.band_of(probability) for probability in (0.0, 0.2999, 0.3, 0.5999, 0.6, 1.0)]
    assert told == ["low", "low", "medium", "medium", "high", "high"]


def test_every_key_of_a_contract_is_explained() -> None:
    page = (ROOT / "docs" / "bring-your-own-data.md").read_text(encoding="utf-8")
    assert [key for key in sorted(contracts.known_keys()) if f"`{key}`" not in page] == []


def test_the_examples_of_that_page_are_true(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "bring-your-own-data.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    mine = contracts.load(write(tmp_path, example))
    assert {key for key in contracts.known_keys() if f"{key}:" not in example} == set()
    rows = pd.DataFrame({"months": ["-1", "3", "3"], "monthly_fee": ["5", "5,5", ""], "plan": ["gold", "None", "Gold"]})
    with pytest.raises(InvalidData) as caught:
        validate(rows.assign(gender="", sauna=""), mine)
    for fault in caught.value.faults:
        assert f"  {fault}\n" in page
