"""Each kind of champion, plain and calibrated, explained: additive, right, and the same as SHAP's own explainer."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from churn import explaining, explanation_summary, parity
from churn.errors import NotReady
from churn.explanation import Explained, Link, reasons, top_reasons
from churn.packaging import write_parts
from churn.scoring import DECISION_FILE, ModelVersion, load_scorer
from churn.trees import Ensemble
from tests import explained
from tests.explained import KINDS, Made

CHECKED = 500


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind[0]}{' calibrated' if kind[1] else ''}")
def version(request: pytest.FixtureRequest, made: dict[tuple[str, bool], Made]) -> Made:
    return made[request.param]


def of(version: Made, count: int = CHECKED) -> Explained:
    return version.scorer.explain(version.scorer.encoder.customers(version.customers(count)))


def test_contributions_add_up_and_lead_to_the_probability_of_predict(version: Made) -> None:
    found = of(version)
    assert np.abs(found.base_value + found.contributions.sum(axis=1) - found.output).max() < 1e-12
    served = [one.churn_probability for one in version.scorer.predict(version.customers(CHECKED))]
    led_to = version.scorer.explainer.link.probability(found.output)
    assert np.abs(led_to - served).max() < 1e-6
    assert np.abs(led_to - version.pipeline.predict_proba(version.features[:CHECKED])[:, 1]).max() < 1e-6


def test_contributions_add_up_to_what_the_model_itself_gives(version: Made) -> None:
    found, model, matrix = of(version), version.model, version.matrix[:CHECKED]
    match type(model).__name__:
        case "LogisticRegression":
            margin = model.decision_function(matrix)
        case "LGBMClassifier":
            margin = model.predict(matrix, raw_score=True)
        case _:  # also before a calibrator, which no forest's is folded in
            margin = model.predict_proba(matrix)[:, 1]
    outer = version.pipeline.named_steps["model"]
    if outer is not model and version.scorer.space == "log-odds":
        (calibrator,) = outer.calibrated_classifiers_[0].calibrators
        margin = -(calibrator.a_ * margin + calibrator.b_)
    assert len(margin) == CHECKED
    assert np.abs(found.base_value + found.contributions.sum(axis=1) - margin).max() < 1e-6
    assert np.abs(found.output - margin).max() < 1e-6


def test_it_says_what_shap_says(version: Made) -> None:
    found = of(version, 150)
    model, matrix = version.model, version.matrix
    owners = version.scorer.explainer.owners.sums
    if hasattr(model, "coef_"):
        contributions = ((matrix - matrix.mean(axis=0)) * model.coef_[0])[:150] @ owners
        base = float(model.intercept_[0] + matrix.mean(axis=0) @ model.coef_[0])
    else:
        values, base = explaining.by_shap(model, matrix[:150])
        contributions = values @ owners
    calibrated = version.pipeline.named_steps["model"]
    if calibrated is not model and version.scorer.space == "log-odds":
        (calibrator,) = calibrated.calibrated_classifiers_[0].calibrators
        contributions, base = -calibrator.a_ * contributions, -(calibrator.a_ * base + calibrator.b_)
    assert found.contributions == pytest.approx(contributions, abs=1e-9)
    assert found.base_value == pytest.approx(base, abs=1e-9)


def test_one_hot_columns_go_back_to_their_own_column(version: Made) -> None:
    names = version.pipeline.named_steps["preprocess"].get_feature_names_out()
    owners = version.scorer.explainer.owners
    columns = list(version.scorer.contract.features)
    assert len(names) == len(owners.of)
    for name, owner in zip(names, owners.of.tolist(), strict=True):
        assert name == columns[owner] or name.startswith(f"{columns[owner]}_")


def test_the_space_is_told(made: dict[tuple[str, bool], Made]) -> None:
    told = {kind: version.scorer.space for kind, version in made.items()}
    assert told == {
        ("logistic_regression", False): "log-odds",
        ("logistic_regression", True): "log-odds",
        ("lightgbm", False): "log-odds",
        ("lightgbm", True): "log-odds",
        ("random_forest", False): "probability",
        ("random_forest", True): "probability before calibration",
    }


def test_points_are_what_the_risk_would_lack(version: Made) -> None:
    found, link = of(version, 50), version.scorer.explainer.link
    for column in range(found.contributions.shape[1]):
        without = link.probability(found.output - found.contributions[:, column])
        assert found.points[:, column] == pytest.approx(link.probability(found.output) - without, abs=1e-12)
    assert np.abs(found.points).max() <= 1
    if version.scorer.space == "probability":
        without = found.output[:, None] - found.contributions
        inside = (without >= 0) & (without <= 1)
        assert inside.mean() > 0.9
        assert found.points[inside] == pytest.approx(found.contributions[inside], abs=1e-12)


def test_a_version_is_explained_and_says_how_closely(version: Made) -> None:
    decision = json.loads((version.folder / DECISION_FILE).read_text())
    assert decision["explained"] is True
    assert decision["explained_within"] < 1e-9


@pytest.mark.parametrize("calibrator", [None, (-4.0, 1.5), (2.0, -1.0)])
@pytest.mark.parametrize("log_odds", [True, False])
def test_the_link_goes_both_ways(log_odds: bool, calibrator: tuple[float, float] | None) -> None:
    link = Link(log_odds, calibrator)
    output = np.linspace(-6, 6, 50) if log_odds else np.linspace(0.01, 0.99, 50)
    probability = link.probability(output)
    assert ((probability > 0) & (probability < 1)).all()
    assert link.output(probability) == pytest.approx(output, abs=1e-6)
    assert np.isfinite(link.output(np.array([0.0, 1.0]))).all()
    assert np.isfinite(link.probability(np.array([-1e9, 1e9]))).all()


def test_reasons_are_of_every_column_once_and_the_largest_first(version: Made) -> None:
    customers = version.customers(20)
    found, contract = of(version, 20), version.scorer.contract
    for row, customer in enumerate(customers):
        told = reasons(found, row, customer, contract)
        assert sorted(one["feature"] for one in told) == sorted(contract.features)
        assert all(one["value"] == customer[one["feature"]] for one in told)
        size = [abs(one["contribution"]) for one in told]
        assert size == sorted(size, reverse=True)
        assert sum(one["contribution"] for one in told) + found.base_value == pytest.approx(found.output[row])
    top = top_reasons(found, customers, contract)
    assert top[3] == reasons(found, 3, customers[3], contract)[:3]
    assert [len(some) for some in top] == [3] * 20
    json.dumps(top, allow_nan=False)


def test_what_adds_nothing_is_no_reason(made: dict[tuple[str, bool], Made]) -> None:
    version = made["lightgbm", False]
    contributions = np.zeros((1, len(version.scorer.contract.features)))
    contributions[0, 4] = -0.5
    one = Explained.of(contributions, 0.1, Link(True))
    (told,) = top_reasons(one, version.customers(1), version.scorer.contract)
    assert [reason["contribution"] for reason in told] == [-0.5]
    assert "lower" in told[0]["text"]


def test_another_model_s_matrix_is_refused(version: Made) -> None:
    with pytest.raises(ValueError, match="columns"):
        version.scorer.explainer.explain(version.matrix[:5, 1:])


def test_a_version_of_before_explains_nothing_and_scores(version: Made, tmp_path: Path) -> None:
    """Neither the entry in the decision nor the files."""
    import shutil

    old = tmp_path / "old"
    shutil.copytree(version.folder, old)
    decision = json.loads((old / DECISION_FILE).read_text())
    kept = {name: value for name, value in decision.items() if "explain" not in name}
    (old / DECISION_FILE).write_text(json.dumps(kept))
    (old / explanation_summary.FILE).unlink()
    (old / "explainer.npz").unlink()
    scorer = load_scorer(old, ModelVersion("churn-classifier", "1"))
    assert scorer.explainer is None
    assert scorer.predict(version.customers(1)) == version.scorer.predict(version.customers(1))
    encoded = scorer.encoder.customers(version.customers(1))
    for ask in (scorer.explain, scorer.explain_locally):
        with pytest.raises(NotReady, match="version 1 carries no explainer; train anew"):
            ask(encoded)


def test_a_version_without_the_compiled_scorer_is_explained_too(
    version: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from churn.scoring import PIPELINE_FILE

    folder = tmp_path / "slow"
    folder.mkdir()
    monkeypatch.setattr(parity, "JITTERED", 200)
    monkeypatch.setattr("churn.packaging.compile_pipeline", lambda *_: b"broken")
    write_parts(
        folder, version.pipeline, version.scorer.contract, version.features[:300], threshold=0.3, told={}, seed=1
    )
    shutil.copy(version.folder / PIPELINE_FILE, folder)
    slow = load_scorer(folder, ModelVersion("churn-classifier", "2"))
    assert not slow.is_compiled
    encoded = slow.encoder.customers(version.customers(10))
    assert slow.features(encoded) == pytest.approx(version.scorer.features(encoded), abs=1e-12)
    if "Linear" not in type(slow.explainer.game).__name__:  # whose means are those of fewer rows here
        assert slow.explain(encoded).contributions == pytest.approx(of(version, 10).contributions, abs=1e-9)


def unexplained(folder: Path, version: Made, pipeline: object) -> dict[str, object]:
    return explaining.write_parts(folder, pipeline, version.scorer.contract, version.encoded, 1)


def test_a_model_that_does_not_add_up_is_not_explained_and_says_why(
    made: dict[tuple[str, bool], Made], tmp_path: Path
) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import Pipeline

    version = made["lightgbm", False]
    target = explained.shipped()[2]
    fitted = HistGradientBoostingClassifier(max_iter=3).fit(version.matrix, target)
    strange = Pipeline([("preprocess", version.pipeline.named_steps["preprocess"]), ("model", fitted)])
    told = unexplained(tmp_path, version, strange)
    assert told["explained"] is False
    assert "HistGradientBoostingClassifier has no additive explanation" in str(told["why_not_explained"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["lightgbm", "random_forest"])
def test_trees_with_too_many_leaves_are_not_explained_and_no_array_is_made_of_them(
    kind: str, made: dict[tuple[str, bool], Made], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explaining, "MOST_LEAVES", 100)
    monkeypatch.setattr(Ensemble, "leaves", lambda _: pytest.fail("arrays were made"))
    version = made[kind, False]
    told = unexplained(tmp_path, version, version.pipeline)
    assert told["explained"] is False
    assert str(told["why_not_explained"]).endswith("leaves; at most 100 are explained")
    assert list(tmp_path.iterdir()) == []


def test_what_differs_from_shap_is_not_kept(
    made: dict[tuple[str, bool], Made], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = made["lightgbm", False]
    values, base = explaining.by_shap(version.model, version.matrix[:200])
    monkeypatch.setattr(explaining, "by_shap", lambda *_: (values + 2e-6, base))
    told = unexplained(tmp_path, version, version.pipeline)
    assert told["explained"] is False
    assert str(told["why_not_explained"]).startswith("off by up to")
    assert list(tmp_path.iterdir()) == []


def test_the_background_holds_no_customer(version: Made) -> None:
    background = version.scorer.explainer.background
    assert len(background) == 1_000
    rows = {(*numbers, *codes) for numbers, codes in _lines(version.encoded)}
    travelling = [(*numbers, *codes) in rows for numbers, codes in _lines(background)]
    assert np.mean(travelling) < 0.02  # of the commonest values, by chance
    kept = np.sort(np.unique(version.encoded.numbers[:, 0]))
    assert set(background.numbers[:, 0].tolist()) <= set(kept.tolist())


def _lines(encoded) -> list[tuple[list[float], list[int]]]:
    return list(zip(encoded.numbers.tolist(), encoded.codes.tolist(), strict=True))


# --- as a whole


def test_the_summary_agrees_with_the_explanations(version: Made) -> None:
    told = version.scorer.explanation
    assert told["space"] == version.scorer.space
    names = [feature["feature"] for feature in told["features"]]
    assert sorted(names) == sorted(version.scorer.contract.features)
    importance = [feature["importance"] for feature in told["features"]]
    assert importance == sorted(importance, reverse=True)
    found = version.scorer.explain(version.encoded)
    mean = dict(zip(version.scorer.contract.features, np.abs(found.contributions).mean(axis=0), strict=True))
    for feature in told["features"]:
        assert feature["importance"] == pytest.approx(mean[feature["feature"]], rel=0.3, abs=0.01)


def test_the_summary_tells_of_each_value_and_of_nobody(version: Made) -> None:
    told = version.scorer.explanation
    contract = version.scorer.contract
    for feature in told["features"]:
        column, dependence = contract.features[feature["feature"]], feature["dependence"]
        assert len(feature["beeswarm"]) == explanation_summary.POINTS
        assert not [value for value, _ in feature["beeswarm"] if column.read(value)[1]]
        bins = dependence["curve"] if column.is_numeric else dependence["values"]
        assert sum(one["count"] for one in bins) == told["rows"]
        mean = sum(one["count"] * one["contribution"] for one in bins) / told["rows"]
        assert abs(mean) <= feature["importance"] + 1e-12
        if column.is_numeric:
            assert 1 < len(bins) <= explanation_summary.BINS
            assert [one["low"] for one in bins] == sorted(one["low"] for one in bins)
    # the same place in two features is not the same customer
    features = {feature["feature"]: feature["beeswarm"] for feature in told["features"]}
    rows = {tuple(row[name] for name in list(features)[:6]) for row in version.customers(explained.ROWS)}
    aligned = [tuple(features[name][place][0] for name in list(features)[:6]) for place in range(300)]
    assert np.mean([one in rows for one in aligned]) < 0.2


def test_pictures_are_drawn_of_it(made: dict[tuple[str, bool], Made], tmp_path: Path) -> None:
    from churn import explanation_plots

    version = made["lightgbm", False]
    drawn = explanation_plots.draw(version.folder / explanation_summary.FILE, tmp_path / "pictures")
    assert [path.stem for path in drawn] == [
        "explanation_importance", "explanation_beeswarm", "explanation_dependence",
    ]  # fmt: skip
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)
    assert explanation_plots.draw(tmp_path / "none.json", tmp_path / "nothing") == []
    assert not (tmp_path / "nothing").exists()
    assert "pyplot" not in vars(explanation_plots)


def test_serving_an_explanation_loads_no_heavy_library(made: dict[tuple[str, bool], Made]) -> None:
    import subprocess

    version = made["random_forest", True]
    code = (
        "import sys; from pathlib import Path; from churn.scoring import *\n"
        f"s = load_scorer(Path({str(version.folder)!r}), ModelVersion('m', '1'))\n"
        "row = s.encoder.customers([s.contract.example]); s.explain(row); s.explain_locally(row)\n"
        "print([name for name in ('pandas', 'sklearn', 'scipy', 'shap', 'mlflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
