"""The model card: what it says, and what it leaves out."""

import re
from dataclasses import replace

import numpy as np
import pytest

from churn import evaluation
from churn.economics import Economics
from churn.model_card import LABELS, CardFacts, card

BARE = CardFacts("classifier", "Forest", "Readers of a paper", "Cancelled", 0.1642, Economics())
ROW = {
    "churn_rate": 0.25, "mean_probability": 0.26, "roc_auc": 0.8, "calibration": 0.01, "contacted": 0.5,
    "recall": 0.8, "false_positive_rate": 0.4,
}  # fmt: skip
FULL = replace(
    BARE,
    currency="EUR",
    candidates={
        "Logistic": {"log_loss": 0.42, "log_loss_low": 0.41, "log_loss_high": 0.43, "roc_auc": 0.84},
        "Forest": {"log_loss": 0.41, "log_loss_low": 0.405, "log_loss_high": 0.415, "roc_auc": 0.85},
    },
    validation="5 folds, repeated 3 times",
    report={"roc_auc": 0.851, "expected_profit": 11.161, "calibration_error": 0.024, "pr_auc": float("nan")},
    intervals={"roc_auc": (0.82, 0.88), "expected_profit": (9.2, 13.0)},
    calibration_by_chance=0.045,
    contacted=0.481,
    profit=10.65,
    profit_of_everyone=8.21,
    groups={
        "Student": [
            ROW | {"group": "Yes", "customers": 400},
            ROW | {"group": "No", "customers": 300, "recall": 0.65},
            ROW | {"group": None, "customers": 3, "recall": 0.0, "roc_auc": None},
        ]
    },
    rows={"training": 5_634, "report set": 705},
    data_hash="ab12",
    params={"max_depth": 12},
    limits=["No customer of less than a month is in the data."],
    versions={"scikit-learn": "1.9.1"},
    git="c0ffee",
    trained_at="2025-01-31 12:00 UTC",
)


def section(text: str, title: str) -> str:
    return text.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_it_says_what_is_predicted_and_for_whom() -> None:
    assert "The probability that a customer leaves (Cancelled), for: Readers of a paper." in card(FULL)


def test_candidates_stand_by_log_loss_with_their_intervals_and_the_chosen_in_bold() -> None:
    told = section(card(FULL), "Candidates")
    assert "5 folds, repeated 3 times" in told
    assert "| **Forest** | 0.410 (0.405 to 0.415) | 0.850 |" in told
    assert told.index("**Forest**") < told.index("| Logistic | 0.420 (0.410 to 0.430)")
    assert "Chosen: Forest, for the lowest log loss" in told
    assert "overlaps that of Logistic" in told


def test_a_clear_lead_and_another_choice_are_told_as_such() -> None:
    clear = FULL.candidates | {"Forest": FULL.candidates["Forest"] | {"log_loss_high": 0.409}}
    assert "overlaps" not in card(replace(FULL, candidates=clear))
    other = section(card(replace(FULL, chosen="Logistic", reason="It explains itself.")), "Candidates")
    assert "Chosen: Logistic. It explains itself." in other
    assert "lowest log loss" not in other


def test_the_report_gives_money_in_the_currency_and_leaves_out_what_is_undefined() -> None:
    told = section(card(FULL), "On customers it has not seen")
    assert "| ROC AUC | 0.851 (0.820 to 0.880) |" in told
    assert "| Expected profit per customer | 11.16 EUR (9.20 to 13.00) |" in told
    assert "Average precision" not in told
    assert "nan" not in card(FULL)


def test_calibration_is_held_against_chance() -> None:
    assert "2.4 percentage points" in section(card(FULL), "Calibration")
    assert "up to 4.5 by chance on so many customers: no fault is seen" in card(FULL)
    assert "take these with care" in card(replace(FULL, calibration_by_chance=0.02))


def test_the_threshold_is_told_in_money() -> None:
    told = section(card(FULL), "The decision, in money")
    assert "from a churn probability of 0.164 on" in told
    assert "is worth 200.00 EUR, the offer costs 10.00 EUR, the contact 1.00 EUR, and 30.0 %" in told
    assert "contacts 48.1 % of the customers and brings 10.65 EUR per customer" in told
    assert "everyone brings 8.21 EUR" in told


def test_the_largest_gap_is_a_plain_sentence_about_large_groups() -> None:
    told = section(card(FULL), "Groups of customers")
    assert (
        "The largest gap among customers who left: of Student = Yes, 80.0 % are contacted; "
        "of Student = No, 65.0 % (15.0 points apart)." in told
    )
    assert "among all customers" not in told, "both groups are contacted alike"
    assert "| not known | 3 | 25.0 % | 26.0 % | 50.0 % | 0.0 % | 40.0 % | – |" in told


def test_outcomes_that_joined_the_rows_are_told() -> None:
    assert "Of these rows, 12 are customers whose outcome came in later" in card(replace(FULL, outcomes="12"))
    assert "outcome came in later" not in card(FULL)


def test_data_training_and_origin_are_told() -> None:
    told = card(FULL)
    for text in (
        "| training | 5,634 |",
        "`ab12`",
        "| max_depth | 12 |",
        "| Git revision | c0ffee |",
        "less than a month",
    ):
        assert text in told


def test_sections_with_nothing_to_say_are_left_out() -> None:
    assert re.findall("## (.*)", card(BARE)) == ["The decision, in money", "Limits"]
    assert "200.00, the offer" in card(BARE)


def test_a_text_from_outside_breaks_neither_table_nor_page() -> None:
    nasty = "a|b\n# <script>"
    rows = [ROW | {"group": nasty, "customers": 90}, ROW | {"group": "c", "customers": 90, "recall": 0.1}]
    told = card(replace(FULL, chosen=nasty, customers=nasty, params={nasty: nasty}, groups={nasty: rows}))
    assert "<script>" not in told
    assert "\n# <" not in told
    widths = {line.count("|") for line in section(told, "Groups of customers").splitlines() if line.startswith("|")}
    assert len(widths) == 1


def test_every_metric_has_a_label() -> None:
    names = set(evaluation.metrics(np.array([0, 1]), np.array([0.2, 0.7]), Economics()))
    assert names == set(LABELS) | {"calibration_error"}


def test_facts_straight_from_the_evaluation_make_a_card() -> None:
    random = np.random.default_rng(0)
    probability = random.random(200)
    target = (random.random(200) < probability).astype(int)
    report = evaluation.metrics(target, probability, Economics())
    groups = evaluation.by_group(target, probability, np.array(["a", "b"] * 100), 0.2)
    told = card(
        replace(
            BARE,
            candidates={"Forest": evaluation.summary([report, report], 0.2)},
            report=report,
            intervals=evaluation.bootstrap(target, probability, Economics(), draws=50, seed=1),
            groups={"Group": groups},
        )
    )
    assert "the only candidate" in told
    assert f"| ROC AUC | {report['roc_auc']:.3f} (" in told
    assert told.count("The largest gap") == 2
    assert told.endswith(".\n")


def test_facts_do_not_change() -> None:
    with pytest.raises(AttributeError):
        FULL.name = "other"  # type: ignore[misc]
