"""Rows as two arrays: every value has one code, and comes back as it was."""

import numpy as np
import pandas as pd
import pytest

from churn import contract as contracts
from churn.contract import Contract
from churn.encoding import MISSING, Encoded, Encoder, customers
from tests.frames import to_frame

ROWS = [
    {"plan": "Gold", "months": 3, "active": True, "fee": 2.5, "grade": 2, "visits": 7},
    {"plan": None, "months": 0, "active": False, "fee": None, "grade": 1, "visits": None},
]


@pytest.fixture
def contract() -> Contract:
    actions = {"high": 0.6, "medium": 0.3, "low": 0}
    return contracts.parse(
        {
            "name": "small",
            "rows": {"training": "rows.csv"},
            "target": {"column": "left", "values": ["No", "Yes"], "positive": "Yes"},
            "features": {
                "plan": {"type": "category", "values": ["Basic", "Gold"], "blank": "missing"},
                "months": {"type": "integer"},
                "active": {"type": "boolean"},
                "fee": {"type": "number", "blank": "missing"},
                "grade": {"type": "category", "values": [1, 2]},
                "visits": {"type": "integer", "blank": "missing"},
            },
            "risk": {band: {"threshold": low, "action": "x"} for band, low in actions.items()},
        }
    )


def test_numbers_and_codes_stand_in_the_contracts_order(contract: Contract) -> None:
    encoded = Encoder(contract).customers(ROWS)
    np.testing.assert_array_equal(encoded.numbers, [[3, 2.5, 7], [0, np.nan, np.nan]])
    np.testing.assert_array_equal(encoded.codes, [[1, 1, 1], [MISSING, 0, 0]])
    assert (encoded.numbers.dtype, encoded.codes.dtype, len(encoded)) == (np.float64, np.int64, 2)


def test_a_frame_and_customers_are_encoded_alike(contract: Contract) -> None:
    encoder = Encoder(contract)
    one, other = encoder.customers(ROWS), encoder.frame(to_frame(ROWS, contract))
    np.testing.assert_array_equal(one.numbers, other.numbers)
    np.testing.assert_array_equal(one.codes, other.codes)


def test_what_is_encoded_comes_back_in_the_types_that_the_pipeline_takes(contract: Contract) -> None:
    encoder, frame = Encoder(contract), to_frame(ROWS, contract)
    pd.testing.assert_frame_equal(encoder.rows(encoder.frame(frame)), frame)
    assert [str(kind) for kind in frame.dtypes] == ["object", "int64", "bool", "float64", "object", "float64"]


def test_what_is_encoded_comes_back_as_plain_values(contract: Contract) -> None:
    encoder = Encoder(contract)
    told = customers(encoder.customers(ROWS), encoder)
    assert told == ROWS
    for row, given in zip(told, ROWS, strict=True):
        assert {name: type(value) for name, value in row.items()} == {n: type(v) for n, v in given.items()}


@pytest.mark.parametrize("kept", [["plan", "active"], ["months", "fee"]])
def test_columns_of_one_kind_only_still_give_a_line_for_each_row(kept: list[str], contract: Contract) -> None:
    features = {name: contract.features[name] for name in kept}
    encoder = Encoder(contract.model_copy(update={"features": features}))
    rows = [{name: row[name] for name in kept} for row in ROWS]
    for encoded in (encoder.customers(rows), encoder.frame(pd.DataFrame(rows))):
        assert (len(encoded), len(encoded.numbers), len(encoded.codes)) == (2, 2, 2)


def test_no_rows_give_no_lines(contract: Contract) -> None:
    encoder = Encoder(contract)
    assert len(encoder.frame(to_frame([], contract))) == 0
    assert len(encoder.rows(Encoded(np.empty((0, 3)), np.empty((0, 3), dtype=np.int64)))) == 0


def test_a_value_that_no_contract_knows_is_refused(contract: Contract) -> None:
    with pytest.raises(KeyError):
        Encoder(contract).customers([{**ROWS[0], "plan": "Silver"}])
