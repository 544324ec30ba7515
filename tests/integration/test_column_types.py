"""Every type of column, with gaps and without: the same from the file through the training to a score."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io

from churn import contract as contracts
from churn import parity
from churn.candidates import CANDIDATES
from churn.contract import Contract
from churn.data import features_and_target, read_prepared, validate
from churn.packaging import write_parts
from churn.scoring import PIPELINE_FILE, ModelVersion, load_pipeline, load_scorer
from churn.training import Plan, build, cross_validate
from tests.frames import to_frame

ROWS = 120
KINDS: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "text": ({"type": "category", "values": ["Basic", "Gold", "No"]}, ["Basic", "Gold", "No"]),
    "pair": ({"type": "category", "values": ["No", "Yes"]}, ["No", "Yes"]),
    "flag": ({"type": "category", "values": [0, 1]}, [0, 1]),
    "grade": ({"type": "category", "values": [1, 2, 3]}, [1, 2, 3]),
    "active": ({"type": "boolean"}, [False, True]),
    "months": ({"type": "integer", "min": 0, "max": 99}, [1, 40, 7]),
    "charge": ({"type": "number"}, [1.5, 40.25, 7.0]),
}
GAPS = ["none", "some", "all"]
CASES = [(kind, "refuse", "none") for kind in KINDS] + [(kind, "missing", gaps) for kind in KINDS for gaps in GAPS]
cases = pytest.mark.parametrize(("kind", "blank", "gaps"), CASES)


@pytest.fixture(autouse=True)
def _fewer_made_up_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "JITTERED", 500)


def a_contract(kind: str, blank: str) -> Contract:
    actions = {"high": 0.6, "medium": 0.3, "low": 0}
    return contracts.parse(
        {
            "name": "one",
            "rows": {"training": "rows.csv", "format": {"blanks": ["NA"]}},
            "id": "who",
            "target": {"column": "left", "values": ["No", "Yes"], "positive": "Yes"},
            "features": {"fee": {"type": "number"}, kind: KINDS[kind][0] | {"blank": blank}},
            "risk": {band: {"threshold": low, "action": "x"} for band, low in actions.items()},
        }
    )


def some_rows(kind: str, gaps: str) -> pd.DataFrame:
    """Cells as a file has them, all texts; the column tells a little of who left."""
    dice = random.Random(3)
    values = KINDS[kind][1]
    chosen = [dice.randrange(len(values)) for _ in range(ROWS)]
    cells = [str(values[i]).lower() if kind == "active" else str(values[i]) for i in chosen]
    empty = {"none": [], "some": range(0, ROWS, 5), "all": range(ROWS)}[gaps]
    for row in empty:
        cells[row] = dice.choice(["", "NA"])
    return pd.DataFrame(
        {
            "who": [f"00{i}" for i in range(ROWS)],
            "fee": [f"{dice.uniform(5, 90):.2f}" for _ in range(ROWS)],
            kind: cells,
            "left": ["Yes" if dice.random() < 0.2 + 0.6 * (i == 1) else "No" for i in chosen],
        }
    )


def small(candidate: str, contract: Contract) -> Any:
    """A candidate; of fewer trees, which are as good here."""
    pipeline = build(candidate, contract, seed=1)
    return pipeline if candidate == "logistic_regression" else pipeline.set_params(model__n_estimators=20)


def few_trees(candidate: str) -> dict[str, Any]:
    params = dict(CANDIDATES[candidate].params)
    return params if candidate == "logistic_regression" else params | {"n_estimators": 20}


@cases
def test_prepared_rows_come_back_as_they_were(kind: str, blank: str, gaps: str, tmp_path: Path) -> None:
    contract = a_contract(kind, blank)
    frame = validate(some_rows(kind, gaps), contract, target="required")
    frame.to_parquet(tmp_path / "rows.parquet", index=False)
    back = read_prepared(tmp_path / "rows.parquet", contract)
    pd.testing.assert_frame_equal(back, frame)
    assert [*map(type, back[kind])] == [*map(type, frame[kind])]


@pytest.mark.parametrize("candidate", CANDIDATES)
@cases
def test_one_score_by_every_way(candidate: str, kind: str, blank: str, gaps: str, tmp_path: Path) -> None:
    contract = a_contract(kind, blank)
    frame = validate(some_rows(kind, gaps), contract, target="required")
    features, target = features_and_target(frame, contract)
    pipeline = small(candidate, contract).fit(features, target)
    write_parts(tmp_path, pipeline, contract, features, threshold=0.5, told={}, seed=1)
    skops.io.dump(pipeline, tmp_path / PIPELINE_FILE)
    scorer = load_scorer(tmp_path, ModelVersion("m", "1"))
    assert scorer.is_compiled
    read_back = load_pipeline(tmp_path)

    bodies = [{"fee": 20.0, kind: value} for value in KINDS[kind][1]]
    bodies += [{"fee": 20.0}, {"fee": 20.0, kind: None}] if blank == "missing" else []
    customers = [contract.customer_model.model_validate(body).model_dump(by_alias=True) for body in bodies]
    told = scorer.predict(customers)
    scores = [one.churn_probability for one in told]
    assert np.isfinite(scores).all()
    if gaps == "none":
        assert len({round(score, 6) for score in scores[: len(KINDS[kind][1])]}) > 1
    if blank == "missing":
        assert [one.imputed for one in told[-2:]] == [[kind], [kind]]
        assert scores[-1] == scores[-2]

    cells = [body.get(kind) for body in bodies]
    written = ["" if cell is None else str(cell).lower() if kind == "active" else str(cell) for cell in cells]
    as_file = validate(pd.DataFrame({"fee": "20", kind: written}), contract)
    assert scorer.probabilities(scorer.encoder.frame(as_file)).tolist() == scores
    same = pytest.approx(scores, abs=1e-12)
    assert pipeline.predict_proba(to_frame(customers, contract))[:, 1].tolist() == same
    for told_as in foreign(cells):  # what MLflow's own server and pandas make of the same cells
        assert read_back.predict_proba(pd.DataFrame({"fee": 20.0, kind: told_as}))[:, 1].tolist() == same


def foreign(cells: list[Any]) -> list["pd.Series[Any]"]:
    gaps_as_nan = [np.nan if cell is None else cell for cell in cells]
    inferred = pd.Series(cells)
    return [pd.Series(cells, dtype=object), pd.Series(gaps_as_nan, dtype=object), inferred]


@pytest.mark.parametrize("candidate", CANDIDATES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("error")
def test_a_column_that_is_empty_in_a_fold(candidate: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    contract = a_contract(kind, "missing")
    frame = validate(some_rows(kind, "none"), contract, target="required")
    features, target = features_and_target(frame, contract)
    gap = np.nan if features[kind].dtype == "float64" else None
    features = features.assign(**{kind: [features[kind][0]] + [gap] * (ROWS - 1)})
    features[kind] = features[kind].astype(frame[kind].dtype)
    monkeypatch.setitem(CANDIDATES, candidate, replace(CANDIDATES[candidate], params=few_trees(candidate)))
    folds = list(cross_validate(candidate, contract, features, target, Plan(folds=3, seconds=0.04, seed=1)))
    assert sum(len(fold.rows) for fold in folds) == ROWS
    assert all(np.isfinite(fold.probability).all() for fold in folds)


@pytest.mark.parametrize("blank", ["refuse", "missing"])
def test_a_value_that_no_contract_knows_is_no_score(blank: str) -> None:
    contract = a_contract("text", blank)
    features, target = features_and_target(validate(some_rows("text", "none"), contract), contract)
    pipeline = small("random_forest", contract).fit(features, target)
    with pytest.raises(ValueError, match="unknown categories"):
        pipeline.predict_proba(pd.DataFrame({"fee": [1.0], "text": ["Silver"]}))
