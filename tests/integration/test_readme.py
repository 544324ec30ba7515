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
    assert told.pop("churn_probability") == pytest.approx(expected.pop("churn_probability"), abs=1e-3)
    assert told == expected


def test_the_figures_are_those_of_the_champion(champion) -> None:
    row = next(line for line in README.splitlines() if line.startswith("| random forest (chosen"))
    shown = [float(figure) for figure in re.findall(r"\d\.\d{4}", row)]
    names = ("roc_auc", "pr_auc", "brier", "log_loss")
    measured = [champion.metrics[key] for name in names for key in (name, f"{name}_std")]
    assert shown == pytest.approx(measured, abs=2e-4)
