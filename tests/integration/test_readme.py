"""What the README shows is what happens."""

import json
import re
from pathlib import Path

import pytest

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_curl_example_gives_the_reply_that_is_shown(client) -> None:
    body = re.search(r"-d '(\{.*?\})'", README, re.DOTALL)
    shown = re.search(r"```json\n(.*?)```", README, re.DOTALL)
    assert body
    assert shown
    told = client.post("/predict", data=body[1], content_type="application/json").get_json()
    expected = json.loads(shown[1])
    # what is shown is the default training's, whose search ends by the clock; this one has not searched
    assert told.pop("churn_probability") == pytest.approx(expected.pop("churn_probability"), abs=0.03)
    assert told == expected


def test_the_figures_are_those_of_the_champion(champion) -> None:
    assert champion.provenance["candidate"] == "lightgbm"
    row = next(line for line in README.splitlines() if line.startswith("| LightGBM (chosen"))
    shown = [float(figure) for figure in re.findall(r"\d\.\d{4}", row)]
    measured = [champion.metrics[name] for name in ("roc_auc", "pr_auc", "brier", "log_loss")]
    assert shown == pytest.approx(measured, abs=2e-3)
    report = re.search(r"ROC-AUC (\d\.\d{3}) \(", README)
    assert report
    assert float(report[1]) == pytest.approx(champion.metrics["report_roc_auc"], abs=3e-3)
