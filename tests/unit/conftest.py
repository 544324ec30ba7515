"""What every unit test may use: the shipped contract."""

from pathlib import Path

import pytest

from churn import contract as contracts
from churn.contract import Contract

TELCO = Path(__file__).resolve().parents[2] / "data" / "telco"


@pytest.fixture(scope="session")
def telco() -> Contract:
    return contracts.load(TELCO / "contract.yaml")
