"""LIME over raw columns: one customer, one answer; near to what is true where that is known."""

from collections.abc import Callable

import numpy as np
import pytest

from churn import contract as contracts
from churn.contract import Contract
from churn.encoding import Encoded, Encoder
from churn.explanation import Explained, Explainer, Link
from churn.leaves import Owners
from churn.lime import Lime, agreement
from churn.shapley import Linear

RANDOM = np.random.default_rng(3)


@pytest.fixture(scope="module")
def contract(telco: Contract) -> Contract:
    """Two numbers, one with gaps; two categories."""
    plain = telco.model_dump(
        mode="json", by_alias=True, exclude={"products", "offers", "monthly_value", "recommendation"}
    )
    plain["features"] = {
        "age": {"type": "number", "min": 0, "max": 100},
        "kind": {"type": "category", "values": ["a", "b", "c"]},
        "fee": {"type": "number", "min": 0, "max": 100, "blank": "missing"},
        "unseen": {"type": "category", "values": ["x", "y"]},
    }
    return contracts.parse(plain)


def explainer(weight: tuple[float, ...], background: Encoded | None = None, rows: int = 400) -> Explainer:
    numbers = RANDOM.uniform(0, 100, (rows, 2))
    numbers[: rows // 5, 1] = np.nan
    codes = np.stack([RANDOM.integers(0, 3, rows), RANDOM.integers(0, 2, rows)], axis=1)
    owners = Owners(np.arange(4), 4)
    game = Linear(np.array(weight), np.zeros(4), 0.0, owners)
    return Explainer(game, Link(True), owners, background or Encoded(numbers, codes))


def scores(of: Callable[[Encoded], np.ndarray]) -> Callable[[Encoded], np.ndarray]:
    return lambda rows: Link(True).probability(of(rows))


def step(rows: Encoded) -> np.ndarray:
    """Log-odds that are additive in what LIME looks at."""
    return 1.5 * (rows.codes[:, 0] == 2) - 2.0 * (rows.numbers[:, 0] > 75)


CUSTOMER = Encoded(np.array([[90.0, 10.0]]), np.array([[2, 1]]))


def test_what_the_model_says_is_found(contract: Contract) -> None:
    told = Lime(explainer((1, 1, 1, 0)), Encoder(contract)).explain(CUSTOMER, scores(step))
    age, kind, fee, unseen = told.explained.contributions[0]
    assert age == pytest.approx(-2, abs=0.15)
    assert kind == pytest.approx(1.5, abs=0.15)
    assert abs(fee) < 0.1
    assert unseen == 0
    assert told.fidelity > 0.95
    assert told.explained.output[0] == pytest.approx(-0.5, abs=0.1)
    assert told.explained.base_value + told.explained.contributions.sum() == pytest.approx(told.explained.output[0])


def test_one_customer_has_one_answer(contract: Contract) -> None:
    one = explainer((1, 1, 1, 1))
    first, second = (Lime(one, Encoder(contract)).explain(CUSTOMER, scores(step)) for _ in range(2))
    assert first.explained.contributions.tolist() == second.explained.contributions.tolist()
    assert first.fidelity == second.fidelity


@pytest.mark.parametrize("gap", [True, False])
def test_a_missing_number_is_a_value_of_its_own(contract: Contract, gap: bool) -> None:
    row = Encoded(np.array([[50.0, np.nan if gap else 50.0]]), CUSTOMER.codes)

    def missing(rows: Encoded) -> np.ndarray:
        return 3.0 * np.isnan(rows.numbers[:, 1])

    told = Lime(explainer((1, 1, 1, 1)), Encoder(contract)).explain(row, scores(missing))
    fee = told.explained.contributions[0, 2]
    assert fee == pytest.approx(3, abs=0.3) if gap else fee < 0


def test_what_the_model_cannot_see_and_what_never_differs_have_no_part(contract: Contract) -> None:
    usual = explainer((1, 1, 1, 0)).background
    constant = Encoded(np.column_stack([np.full(400, 90.0), np.full(400, np.nan)]), usual.codes)
    blind = Lime(explainer((1, 1, 1, 0), constant), Encoder(contract))
    told = blind.explain(CUSTOMER, scores(lambda rows: step(rows) + 5.0 * rows.codes[:, 1]))
    age, kind, _, unseen = told.explained.contributions[0]
    assert (age, unseen) == (0, 0)
    assert kind > 1
    same = Lime(explainer((0, 0, 0, 0)), Encoder(contract)).explain(CUSTOMER, scores(step))
    assert not same.explained.contributions.any()
    assert same.fidelity == pytest.approx(0, abs=1e-9)


def test_a_model_that_says_the_same_of_everybody_is_explained(contract: Contract) -> None:
    told = Lime(explainer((1, 1, 1, 1)), Encoder(contract)).explain(CUSTOMER, lambda rows: np.full(len(rows), 0.3))
    assert np.abs(told.explained.contributions).max() < 1e-12
    assert told.explained.output[0] == pytest.approx(np.log(0.3 / 0.7))
    assert told.fidelity == 1
    for edge in (0.0, 1.0):
        told = Lime(explainer((1, 1, 1, 1)), Encoder(contract)).explain(
            CUSTOMER, lambda rows, p=edge: np.full(len(rows), p)
        )
        assert np.isfinite(told.explained.output).all()


def test_one_row_of_background_will_do(contract: Contract) -> None:
    told = Lime(explainer((1, 1, 1, 1), CUSTOMER), Encoder(contract)).explain(CUSTOMER, scores(step))
    assert not told.explained.contributions.any()


def of(*contributions: float) -> Explained:
    return Explained.of(np.array([contributions]), 0.0, Link(True))


@pytest.mark.parametrize(
    ("one", "other", "rank", "shared"),
    [
        ((4, 3, -2, 1), (8, 6, -4, 2), 1.0, 3),
        ((4, 3, -2, 1), (-4, -3, 2, -1), -1.0, 3),
        ((4, 3, -2, 0), (0, 3, -2, 4), 0.2, 2),
        ((1, 1, 1), (1, 2, 3), None, 3),
        ((0, 0, 5), (0, 0, 7), 1.0, 3),
        ((1, 2), (3, 5), 1.0, 2),
        ((1,), (2,), None, 1),
    ],
)
def test_agreement_is_spearman_s_and_the_top_three(
    one: tuple[float, ...], other: tuple[float, ...], rank: float | None, shared: int
) -> None:
    found = agreement(of(*one), of(*other))
    assert found.rank_correlation == (None if rank is None else pytest.approx(rank))
    assert found.top_3_overlap == shared


def test_ranks_with_ties_are_scipy_s() -> None:
    from scipy.stats import spearmanr

    for _ in range(20):
        one, other = RANDOM.integers(0, 5, (2, 12)).astype(float)
        assert agreement(of(*one), of(*other)).rank_correlation == pytest.approx(spearmanr(one, other)[0])
