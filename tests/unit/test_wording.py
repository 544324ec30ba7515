"""Reasons read as a person would say them."""

from typing import Any

import pytest

from churn.columns import Column
from churn.contract import Contract
from churn.wording import is_statement, phrase, reason


def column(kind: str = "category", **more: Any) -> Column:
    usual = {"values": ["a", "b"]} if kind == "category" else {}
    return Column.model_validate({"name": "c", "type": kind, **usual, **more})


@pytest.mark.parametrize(
    ("feature", "value", "points", "told"),
    [
        ("Contract", "Month-to-month", 0.12, "Month-to-month contract raises the risk by 12 points"),
        ("Contract", "Two year", -0.098, "Two year contract lowers the risk by 10 points"),
        ("tenure", 5, 0.08, "Tenure of 5 months raises the risk by 8 points"),
        ("tenure", 1, 0.08, "Tenure of 1 month raises the risk by 8 points"),
        ("MonthlyCharges", 84.5, 0.011, "Monthly charges of 84.5 USD raise the risk by 1 point"),
        ("TotalCharges", 1234.56, -0.004, "Total charges of 1,234.56 USD lower the risk by under 1 point"),
        ("InternetService", "Fiber optic", 0.07, "Fiber optic internet service raises the risk by 7 points"),
        ("InternetService", "DSL", 0.07, "DSL internet service raises the risk by 7 points"),
        ("InternetService", "No", -0.07, "No internet service lowers the risk by 7 points"),
        ("TechSupport", "No internet service", -0.02,
         "Technical support: no internet service lowers the risk by 2 points"),
        ("TechSupport", "No", 0.02, "No technical support raises the risk by 2 points"),
        ("StreamingTV", "Yes", 0.02, "Streaming TV raises the risk by 2 points"),
        ("MultipleLines", "Yes", 0.02, "Multiple lines raise the risk by 2 points"),
        ("Partner", "Yes", -0.01, "Has a partner lowers the risk by 1 point"),
        ("Dependents", "No", 0.01, "Has dependents: no raises the risk by 1 point"),
        ("SeniorCitizen", 1, 0.03, "Senior citizen raises the risk by 3 points"),
        ("PaymentMethod", "Bank transfer (automatic)", -0.02,
         "Payment method: bank transfer (automatic) lowers the risk by 2 points"),
        ("gender", "Female", 0.0, "Female gender does not change the risk"),
        ("MonthlyCharges", 20.0, 0.0, "Monthly charges of 20 USD do not change the risk"),
    ],
)  # fmt: skip
def test_the_shipped_columns(telco: Contract, feature: str, value: Any, points: float, told: str) -> None:
    assert reason(telco.features[feature], value, points) == told


@pytest.mark.parametrize(
    ("of", "value", "told"),
    [
        (column("boolean", label="Has a trainer"), True, "Has a trainer"),
        (column("boolean", label="Has a trainer"), False, "Has a trainer: no"),
        (column("boolean", label="locker"), True, "Locker"),
        (column("boolean", label="locker"), False, "No locker"),
        (column(label="plan", blank="missing"), None, "Unknown plan"),
        (column("number", label="Monthly fee", blank="missing"), None, "Unknown monthly fee"),
        (column(label="Plan", values=["Gold plan", "None"]), "Gold plan", "Gold plan"),
        (column(label="Region", values=[3, 7]), 3, "Region: 3"),
        (column(label="Region", values=["Ü", "ß-Ost"]), "ß-Ost", "ß-Ost region"),
        (column(label="  ", values=["x", "y"]), "x", "X ?"),
        (column("integer", label="Visits"), -3, "Visits of -3"),
        (column("number", label="Share"), 0.001, "Share of 0.001"),
        (column("number", label="Mass"), 1e300, "Mass of 1e+300"),
        (column("integer", label="Calls"), 1_234_567, "Calls of 1,234,567"),
    ],
)
def test_columns_of_any_data_set(of: Column, value: Any, told: str) -> None:
    text = reason(of, value, 0.2)
    assert text.rpartition(" raise")[0] == told
    assert text.endswith((" raises the risk by 20 points", " raise the risk by 20 points"))


@pytest.mark.parametrize(
    ("feature", "value", "told", "sentence"),
    [
        ("Contract", "Month-to-month", "Month-to-month contract", False),
        ("InternetService", "Fiber optic", "Fiber optic internet service", False),
        ("PaperlessBilling", "No", "No paperless billing", False),
        ("Partner", "Yes", "Has a partner", True),
        ("PaymentMethod", "Mailed check", "Mailed check payment method", False),
        ("Contract", None, "Unknown contract", False),
    ],
)
def test_a_value_by_itself(telco: Contract, feature: str, value: Any, told: str, sentence: bool) -> None:
    assert phrase(telco.features[feature], value) == told
    assert is_statement(told) == sentence


def test_every_value_of_the_shipped_contract_has_its_words(telco: Contract) -> None:
    for feature in telco.features.values():
        for value in feature.values or [feature.shown_example]:
            text = reason(feature, value, -0.05)
            assert text.endswith("the risk by 5 points")
            assert text[0].isupper()
