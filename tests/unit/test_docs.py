"""Docs that cannot rot: every route, setting, DAG, command and make target is written down."""

import re
from pathlib import Path

import pytest

from churn import contract as contracts
from churn.cli import main
from churn.control import in_control
from churn.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
DOCS = {path.name: path.read_text(encoding="utf-8") for path in PAGES}
ALL = "\n".join(DOCS.values())


def variables() -> list[str]:
    return [str(field.validation_alias or f"CHURN_{name.upper()}") for name, field in Settings.model_fields.items()]


@pytest.mark.parametrize("variable", variables())
def test_every_setting_is_in_the_example_file(variable: str) -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert re.search(rf"^# ?{variable}=", example, re.MULTILINE), f"{variable} is missing in .env.example"


def test_the_example_file_names_what_is_read_and_nothing_else() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    compose = re.findall(r"\$\{(CHURN_\w+)", (ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    assert set(re.findall(r"^# ?([A-Z][A-Z_]+)=", example, re.MULTILINE)) == {*variables(), *compose}


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_is_documented(command: str) -> None:
    assert f"churn {command}" in DOCS["README.md"]


def test_every_route_is_documented() -> None:
    routes = {
        match
        for path in (ROOT / "api").glob("*.py")
        for match in re.findall(r'blueprint\.\w+\(\s*"([^"]+)"', path.read_text(encoding="utf-8"))
    }
    assert routes
    assert not [route for route in routes if route not in DOCS["api.md"]]


def test_the_customers_that_the_docs_look_up_have_not_left_and_may_be_recommended_something() -> None:
    """Else the examples would be answered by a 404, or by an empty list."""
    contract = contracts.load(ROOT / "data/telco/contract.yaml")
    looked_up = r"/customers/([\w-]+)'", r"'\{\"customer_id\": \"(\w+)\""
    ids = [one for pattern in looked_up for one in re.findall(pattern, DOCS["api.md"])]
    assert len(ids) > 1
    rows = (ROOT / "data/telco/customers.csv").read_text(encoding="utf-8")
    assert not [one for one in ids if not re.search(rf"^{one},.*,No$", rows, re.MULTILINE)]
    assert not [one for one in ids if in_control(contract, one)]


def test_every_dag_is_documented() -> None:
    dags = [path.stem for path in (ROOT / "airflow/dags").glob("*.py")]
    assert dags
    assert not [dag for dag in dags if dag not in DOCS["operations.md"]]


def test_every_make_target_is_documented() -> None:
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert not [target for target in targets if f"make {target}" not in ALL]


def test_links_between_the_docs_lead_somewhere() -> None:
    for name, text in DOCS.items():
        folder = ROOT if name in ("README.md", "CONTRIBUTING.md") else ROOT / "docs"
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            assert (folder / target).exists(), f"{name}: {target}"


def test_the_readme_is_short() -> None:
    assert len(DOCS["README.md"].splitlines()) < 150
