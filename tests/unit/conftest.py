"""What every unit test may use: the shipped contract."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from churn import contract as contracts
from churn.contract import Contract

if TYPE_CHECKING:
    from tests.explained import Made

TELCO = Path(__file__).resolve().parents[2] / "data" / "telco"


@pytest.fixture(scope="session")
def telco() -> Contract:
    return contracts.load(TELCO / "contract.yaml")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> "dict[tuple[str, bool], Made]":
    """A version of each kind of model, by its name and whether it is calibrated."""
    from tests import explained

    shipped = explained.shipped()
    folder = tmp_path_factory.mktemp("explained")
    return {kind: explained.make(folder / f"{kind[0]}-{kind[1]}", *kind, *shipped) for kind in explained.KINDS}
