"""The control group: who is in it, and that he always is."""

import numpy as np
import pytest

from churn import contract as contracts
from churn.contract import Contract
from churn.control import control_mask, in_control
from tests.conftest import ROOT

TELCO = contracts.load(ROOT / "data/telco/contract.yaml")
IDS = [f"C{number:05}" for number in range(20_000)]


def of(contract: Contract = TELCO, **changes: object) -> Contract:
    share = contract.recommendation.model_copy(update={"control": changes.pop("control", 0.05)})
    return contract.model_copy(update={"recommendation": share, **changes})


def test_who_is_in_it_stays_in_it_for_ever() -> None:
    """Written down: another hash would mix those who got recommendations with those who did not."""
    assert [one for one in IDS[:100] if in_control(of(), one)] == ["C00001", "C00004", "C00038", "C00052", "C00062"]


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
def test_it_is_a_share_of_the_customers(share: float) -> None:
    assert control_mask(of(control=share), IDS).mean() == pytest.approx(share, abs=0.006)


def test_one_and_many_are_told_the_same() -> None:
    contract = of(control=0.3)
    mask = control_mask(contract, IDS[:500])
    assert mask.dtype == bool
    assert mask.tolist() == [in_control(contract, one) for one in IDS[:500]]
    assert control_mask(contract, []).shape == (0,)


def test_a_larger_share_keeps_those_who_were_in_it() -> None:
    small, large = (control_mask(of(control=share), IDS) for share in (0.05, 0.1))
    assert large[small].all()
    assert large.sum() > small.sum()


def test_another_contract_draws_anew() -> None:
    ours, theirs = control_mask(of(), IDS), control_mask(of(name="bank"), IDS)
    assert (ours & theirs).mean() == pytest.approx(0.05**2, abs=0.002)


def test_an_id_is_the_same_as_a_number_and_as_text() -> None:
    contract = of(control=0.5)
    numbers = range(200)
    told = [control_mask(contract, ids).tolist() for ids in (numbers, map(str, numbers), (f" {n} " for n in numbers))]
    assert told[0] == told[1] == told[2]
    assert any(told[0])


def test_of_whom_no_id_is_known_nobody_is_in_it() -> None:
    nearly_all = of(control=0.999999)
    assert control_mask(nearly_all, ["C1", None, "", " "]).tolist() == [True, False, False, False]
    assert not in_control(nearly_all, None)
    assert not in_control(of(control=0.999999, id=None), "C1")
    assert not np.any(control_mask(of(control=0.999999, id=None), IDS))


def test_neighbours_are_not_drawn_together() -> None:
    mask = control_mask(of(control=0.5), IDS).astype(float)
    assert abs(np.corrcoef(mask[1:], mask[:-1])[0, 1]) < 0.03
