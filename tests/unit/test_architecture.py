"""The house: who may import whom, and that the docs name all there is."""

import ast
import re
from pathlib import Path

import pytest

from churn import contract as contracts

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"pandas", "sklearn", "mlflow", "numpy", "pyarrow", "skops", "httpx", "airflow"}

CONTRACT = {"columns", "file_format", "catalogue", "economics", "contract", "contract_file"}
BASE = CONTRACT | {"errors", "settings"}
ROWS = BASE | {"cells", "reading", "data", "preprocessing", "tables", "encoding", "checking"}
DRAFTS = {"drafting", "first_bands", "inference", "sketch", "sniffing"}
SCORES = {"trust", "compiled", "scoring", "personas", "segments", "combinations"}
JUDGES = {"profit", "evaluation", "gate", "plots", "explanation_plots", "model_card"}
EXPLAINS = {
    "leaves",
    "tree_tables",
    "shapley",
    "wording",
    "explanation",
    "explanation_summary",
    "explainer_file",
    "lime",
}
FITS = {"candidates", "tuning", "training", "splits"}
SEGMENTS = {"clustering", "naming", "rules", "segmentation"}
PACKS = {"trees", "compiling", "explaining", "parity", "packaging"}
TRACKS = {"mlflow_client", "tracking", "history", "versions", "registry", "persona_models", "drift_reports"}
TRACKS |= {"recommender_models"}
STORES = {
    "database",
    "schema",
    "store",
    "keys",
    "audit",
    "prediction_log",
    "score_jobs",
    "campaign_base",
    "outcomes",
    "interactions",
    "interaction_records",
    "truth",
    "monitoring_log",
}
STORES |= {"customer_scores", "customer_list", "scoring_runs"}
SCORES |= EXPLAINS
CLIENT = {f"client_{part}" for part in ("connection", "models", "pipelines", "score", "customers", "recommend")}
LIKES = {"ownership", "user_features", "liking", "shares", "recommender_parts", "recommender"}
MODELS = ROWS | SCORES | JUDGES | FITS | PACKS
ALLOWED = {
    "errors": set(),
    "settings": {"errors"},
    **dict.fromkeys(CONTRACT, BASE - {"settings"}),
    "value": {"economics"},
    "customer_scores": {"errors", "schema", "store"},
    "customer_list": {"catalogue", "customer_scores", "schema", "store"},
    "scoring_runs": {"customer_scores", "errors", "schema", "store"},
    "held_out": ROWS | {"preparation", "training"},
    "base_scoring": ROWS | SCORES | {"batch", "batch_advice", "held_out", "scoring_runs", "value"},
    "portfolio": ROWS
    | SCORES
    | {"base_scoring", "customer_scores", "file_jobs", "held_out", "peek", "preparation", "registry", "scoring_runs"}
    | {"advice_jobs", "batch_advice", "kinds", "store"},
    "ownership": {"contract", "encoding"},
    "user_features": {"columns", "contract", "encoding", "ownership", "wording"},
    "liking": set(),
    "shares": set(),
    "recommender_parts": CONTRACT | {"array_file", "compiled", "encoding", "scoring"} | LIKES - {"recommender"},
    "recommender": {"contract", "encoding", "errors", "scoring"} | LIKES,
    "item_features": {"contract"},
    "recommendation": {"errors", "liking", "user_features"},
    "recommender_files": CONTRACT | LIKES | {"compiled", "encoding", "errors", "parity", "recommendation", "scoring"},
    "uptake": {"columns", "combinations", "contract", "encoding"},
    "ranking": {"contract", "value"},
    "advice_wording": {"encoding", "ranking", "recommender", "shares", "wording"},
    "advice": {"catalogue", "encoding", "errors", "scoring"} | {"advice_wording", "ranking", "recommender", "uptake"},
    "batch_advice": {"advice", "control", "encoding"},
    "recommend_batch": {"batch", "batch_advice", "checking", "scoring"},
    "advice_jobs": {"advice", "batch", "batch_advice", "errors", "file_jobs", "interactions", "kinds", "scoring"}
    | {"recommend_batch", "settings", "store"},
    "cli_recommend": {"advice_jobs", "cli_progress", "jobs", "recommender_jobs", "settings"},
    "cli_portfolio": {"catalogue", "cli_progress", "customer_scores", "errors", "jobs", "portfolio", "settings"},
    "cli_progress": set(),
    "knapsack_core": set(),
    "knapsack": {"knapsack_core"},
    "campaigns": {"catalogue", "contract", "economics", "errors", "knapsack", "knapsack_core", "value"},
    "campaign_base": {"campaigns", "catalogue", "customer_scores", "errors", "schema", "store"},
    "cli_campaigns": {
        "campaigns",
        "campaign_base",
        "catalogue",
        "contract",
        "file_jobs",
        "settings",
        "store",
        "tables",
    },
    "array_file": set(),
    "combinations": {"array_file", "columns", "contract", "encoding"},
    "options": {"columns", "contract", "encoding", "scoring"},
    "change_search": {"encoding", "options", "scoring"},
    "whatif": {"change_search", "columns", "contract", "errors", "options", "scoring"},
    "credentials": {"errors"},
    "provenance": {"settings"},
    "client": {"contract", "errors", "settings"} | CLIENT,
    **{part: {"errors", "client_connection"} for part in CLIENT},
    "airflow_rest": {"errors", "settings"},
    "dag_params": {"errors"},
    "pipelines": {"errors", "settings", "airflow_rest", "dag_params"},
    **dict.fromkeys(
        ("cells", "reading", "data", "preprocessing", "tables", "encoding", "checking"), ROWS - {"settings"}
    ),
    **dict.fromkeys(DRAFTS, ROWS | DRAFTS),
    "first_bands": ROWS | {"segmentation", "training"},
    **dict.fromkeys(FITS, ROWS | FITS),
    **dict.fromkeys(JUDGES, {"bootstrap", "economics", "errors"} | JUDGES),
    "trust": set(),
    "compiled": {"encoding", "errors"},
    **dict.fromkeys(EXPLAINS, ROWS | EXPLAINS | {"array_file", "compiled"}),
    "scoring": ROWS | SCORES,
    "segments": CONTRACT,
    "personas": CONTRACT | {"encoding"},
    **dict.fromkeys(SEGMENTS, ROWS | SEGMENTS | {"personas", "segments", "trust", "profit"}),
    "segment_card": {"model_card", "segments", "segmentation", "scoring"},
    "segmenting": ROWS | SCORES | SEGMENTS | FITS | {"preparation", "registry", "persona_models"},
    **dict.fromkeys(PACKS, ROWS | SCORES | PACKS),
    "batch": ROWS | SCORES | {"checking"},
    "kinds": {"contract", "errors", "recommender", "scoring"},
    "peek": {"settings", "kinds"},
    "leader": {"errors", "settings"},
    **dict.fromkeys(TRACKS, ROWS | SCORES | TRACKS | {"kinds", "peek"}),
    "shelf": ROWS | SCORES | TRACKS | {"kinds", "peek"},
    "logbook": TRACKS,
    "promotion": TRACKS | ROWS | {"kinds"},
    "database": {"errors", "settings"},
    "schema": set(),
    "store": {"errors", "settings", "database", "schema"},
    "keys": {"errors", "store", "audit"},
    "audit": {"errors", "settings", "store"},
    "prediction_log": {"store", "contract"},
    "score_jobs": {"errors", "settings", "store", "schema"},
    "score_process": {"errors", "settings", "score_jobs", "batch", "file_jobs", "scoring", "shelf"},
    "promoter": TRACKS | {"errors", "kinds", "promotion", "audit"},
    "services": {"errors", "settings"},
    "doctor": ROWS | {"registry", "services", "store"},
    "preparation": ROWS | {"splits", "truth"},
    "outcomes": {"contract", "errors", "schema", "store"},
    "outcome_files": ROWS | {"outcomes"},
    "control": {"contract"},
    "answered": {"errors", "interactions", "store"},
    "interaction_reading": {"errors", "outcomes"},
    "interactions": {"schema", "settings", "store"},
    "interaction_records": {"errors", "interaction_reading", "interactions", "schema", "store"},
    "interaction_files": ROWS | {"interaction_reading", "interaction_records", "outcomes", "store"},
    "cli_interactions": {"audit", "contract", "interaction_files", "settings", "store"},
    "truth": ROWS | {"schema", "store"},
    "reference": ROWS | {"preparation", "training"},
    "monitoring_log": {"schema", "store"},
    "drift": {"contract", "reference"},
    "sampling": ROWS | SCORES | {"held_out", "reference"},
    "performance": {"economics", "evaluation", "truth"},
    "alarm": {"drift", "monitoring_log", "performance"},
    "monitoring": ROWS
    | SCORES
    | {"alarm", "drift", "drift_reports", "held_out", "monitoring_log", "performance", "preparation"}
    | {"reference", "registry", "sampling", "store", "truth"},
    "cli_outcomes": {"audit", "contract", "monitoring", "outcome_files", "outcomes", "settings", "store"},
    "contest": MODELS
    | TRACKS
    | {"held_out", "kinds", "provenance", "preparation", "reference", "segmentation", "segmenting", "segment_card"},
    "recommender_pyfunc": {"kinds", "recommender", "scoring"},
    "bootstrap": set(),
    "ranking_metrics": set(),
    "baselines": set(),
    "judged": {"bootstrap", "hidden_products", "ranking_metrics"},
    "hidden_products": {"contract", "encoding", "ownership"},
    "recommender_evaluation": {"baselines", "catalogue", "contract", "encoding", "hidden_products", "item_features"}
    | {"judged", "ownership", "recommendation", "user_features"},
    "recommender_gate": {"contract", "encoding", "gate", "hidden_products", "ownership", "ranking_metrics"},
    "recommender_plots": {"judged", "plots"},
    "recommender_training": CONTRACT
    | LIKES
    | {"encoding", "gate", "interactions", "item_features", "judged", "parity", "preparation", "provenance"}
    | {"recommendation", "recommender_evaluation", "recommender_files", "recommender_gate", "recommender_models"}
    | {"recommender_plots"},
    "recommender_jobs": BASE
    | TRACKS
    | {"audit", "contest", "encoding", "held_out", "interactions", "jobs", "kinds", "ownership", "preparation"}
    | {"promoter", "recommendation", "recommender", "recommender_training"},
    "file_jobs": ROWS | SCORES | TRACKS | {"batch", "kinds", "peek", "shelf"},
    "jobs": MODELS | TRACKS | {"preparation", "contest", "promoter", "audit", "file_jobs", "kinds", "segmenting"},
    "cli": MODELS
    | TRACKS
    | {"jobs", "drafting", "doctor", "kinds", "promoter", "audit", "logbook", "cli_store", "cli_campaigns"}
    | {"cli_interactions", "cli_outcomes", "cli_portfolio", "cli_progress", "cli_recommend"},
    "cli_store": STORES | {"errors", "settings", "services"},
}


def imported(path: Path) -> set[str]:
    """Modules that a file imports, wherever in it: ``churn.x``, ``api.x`` or a top-level name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def ours(path: Path) -> set[str]:
    """The modules of ``churn`` that a file imports."""
    modules = {part.stem for part in (ROOT / "churn").glob("*.py")}
    return {name.split(".")[1] for name in imported(path) if name.startswith("churn.")} & modules


@pytest.mark.parametrize("path", sorted((ROOT / "churn").glob("[!_]*.py")), ids=lambda path: path.stem)
def test_the_domain_imports_only_what_lies_below(path: Path) -> None:
    assert ours(path) <= ALLOWED[path.stem] | {path.stem}
    top = {name.split(".")[0] for name in imported(path)}
    assert not top & {"flask", "flask_openapi", "streamlit", "airflow", "api", "streamlit_app"}


def test_the_api_neither_trains_nor_runs_jobs() -> None:
    for path in (ROOT / "api").glob("*.py"):
        trains = {*FITS, *PACKS, "jobs", "contest", "recommendation", "recommender_training", "recommender_jobs"}
        assert not ours(path) & {*trains, "cli", "drafting"}, path


def test_the_web_app_knows_the_client_and_the_contract_only() -> None:
    for path in (ROOT / "streamlit_app").rglob("*.py"):
        assert ours(path) <= {"client", "contract", "columns", "errors"} | CLIENT, path


def test_dags_are_wiring() -> None:
    for path in (ROOT / "airflow").rglob("*.py"):
        steps = {"jobs", "recommender_jobs", "monitoring", "portfolio"}
        assert ours(path) <= steps | {"settings", "errors", "credentials"}, path


def test_mlflow_is_spoken_to_by_the_registry_and_its_parts_alone() -> None:
    speakers = {
        path.stem for path in (ROOT / "churn").glob("*.py") if any(n.split(".")[0] == "mlflow" for n in imported(path))
    }
    assert speakers <= TRACKS
    users = {path.stem for path in (ROOT / "churn").glob("*.py") if "mlflow_client" in ours(path)}
    assert users <= TRACKS


def test_the_database_is_spoken_to_by_the_store_and_its_parts_alone() -> None:
    speakers = {
        path
        for folder in ("churn", "api", "streamlit_app", "embedded", "airflow/dags", "airflow/plugins")
        for path in (ROOT / folder).rglob("*.py")
        if {name.split(".")[0] for name in imported(path)} & {"sqlalchemy", "alembic", "psycopg2"}
    }
    migrations = ROOT / "churn/migrations"
    # the registry's own errors may be SQLAlchemy's: MLflow lets them through
    others = {path.stem for path in speakers if migrations not in path.parents} - {"mlflow_client"}
    assert others <= STORES
    assert len(others) > 1


def test_every_change_of_the_version_in_service_is_audited() -> None:
    """Whoever promotes does so by the promoter, which keeps the trail; the rules alone record nothing."""
    callers = {
        path.stem for folder in ("churn", "api") for path in (ROOT / folder).glob("*.py") if "promotion" in ours(path)
    }
    assert callers == {"promoter"}


def test_only_the_settings_read_the_environment() -> None:
    readers = re.compile(r"getenv|(?<!request\.)environ(?!\.setdefault|ment)")  # a request's environ is WSGI's
    found = [p.name for folder in ("churn", "api", "streamlit_app") for p in (ROOT / folder).rglob("*.py")
             if readers.search(p.read_text(encoding="utf-8"))]  # fmt: skip
    assert found == []


@pytest.mark.parametrize("folder", ["airflow", "mlflow"])
def test_no_package_hides_an_installed_one(folder: str) -> None:
    assert not list((ROOT / folder).rglob("__init__.py"))


def test_column_names_stand_in_the_contract_alone() -> None:
    telco = contracts.load(ROOT / "data/telco/contract.yaml")
    # words that are also everyday English or parts of other names are no evidence
    names = {*telco.features, telco.id} - {"Contract", "Partner", "Dependents", "gender", "tenure"}
    values = {str(value) for column in telco.features.values() for value in column.values}
    names |= {value for value in values if len(value) > 4}
    for folder in ("churn", "api", "streamlit_app", "airflow", "embedded"):
        for path in (ROOT / folder).rglob("*.py"):
            code = _without_docstrings(path)
            assert not [name for name in names if name in code], path


def _without_docstrings(path: Path) -> str:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    return " ".join(str(node.value) for node in nodes if isinstance(node, ast.Constant) and id(node) not in docstrings)


@pytest.mark.parametrize("folder", ["churn", "api", "streamlit_app", "airflow", "embedded"])
def test_modules_and_functions_stay_small(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert len(source.splitlines()) <= 300, path
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 50, f"{path}: {node.name}"
