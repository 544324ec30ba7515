"""The bars that recommendations must meet: on the shipped products, and on a second table of more of both."""

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest

from churn import contract as contracts
from churn import recommender_gate
from churn.data import read_rows, validate
from churn.encoding import Encoded, Encoder
from churn.judged import EASE, LIGHTFM, POPULARITY, Judged, ViewJudged
from churn.recommendation import Fitted, Plan
from churn.recommender_evaluation import Taken, evaluate
from tests import product_table

ROOT = Path(__file__).resolve().parents[2]
SEEDS = range(5)
FOLDS = 3
MOST_SECONDS = 180


def customers(contract_file: Path) -> Taken:
    contract = contracts.load(contract_file)
    rows = read_rows(contract_file.parent / contract.rows.training, contract.rows.format)
    frame = validate(rows, contract, target="required")
    return Taken.owned(contract, Encoder(contract).frame(frame[list(contract.features)]))


def ndcg(view: ViewJudged) -> dict[str, float]:
    return {model: figures["ndcg_at_5"].mean for model, figures in view.models.items()}


@pytest.fixture(scope="module")
def telco() -> Taken:
    return customers(ROOT / "data/telco/contract.yaml")


@pytest.fixture(scope="module")
def shipped(telco: Taken) -> list[Judged]:
    return [evaluate(telco, Plan(seed=seed), folds=FOLDS, workers=2, seed=seed) for seed in SEEDS]


@pytest.mark.parametrize("view", ["all", "served"])
def test_on_the_shipped_products_it_beats_both_baselines_in_every_seed(shipped: list[Judged], view: str) -> None:
    told = [ndcg(judged.views[view]) for judged in shipped]
    leads = {rival: [one[LIGHTFM] - one[rival] for one in told] for rival in (EASE, POPULARITY)}
    print(view, [{model: round(value, 4) for model, value in one.items()} for one in told])
    assert min(leads[EASE]) > 0
    assert min(leads[POPULARITY]) > 0
    assert np.mean(leads[EASE]) >= 0.02
    assert np.mean(leads[POPULARITY]) >= 0.03
    assert np.mean([one[LIGHTFM] for one in told]) < 0.85, "much more is a leak"
    assert all(judged.not_beaten == [] for judged in shipped)


@pytest.mark.parametrize("view", ["cold", "cold_all"])
def test_customers_of_whom_no_product_is_known_are_served_better_than_by_popularity(
    shipped: list[Judged], view: str
) -> None:
    told = [judged.views[view] for judged in shipped]
    print(view, [{model: round(value, 4) for model, value in ndcg(one).items()} for one in told])
    assert all(one.leads[POPULARITY]["ndcg_at_5"].low > 0 for one in told)


@dataclass
class Fit:
    """A fitted model as the gate asks one."""

    items: tuple[str, ...]
    fitted: Fitted

    def liking(self, encoded: Encoded) -> np.ndarray:
        features = self.fitted.features
        return self.fitted.liking(features.traits(encoded), features.owned(encoded))


def test_the_gate_tells_equal_challengers_from_those_that_learned_little(telco: Taken) -> None:
    """On a tenth of the customers, as the gate has them; the little: one epoch over a twentieth of the others."""
    lot = np.random.default_rng(0).permutation(len(telco))
    apart, training = np.split(lot, [len(lot) // 10])
    gate_set = telco.encoded.at(apart)

    def fit(seed: int, share: float = 1.0, epochs: int = 20) -> Fit:
        rows = np.sort(np.random.default_rng(seed).choice(training, int(share * len(training)), replace=False))
        return Fit(telco.items, telco.fit(Plan(seed=seed, epochs=epochs), rows))

    def passes(challenger: Fit, seed: int) -> bool:
        return recommender_gate.judge([], telco.contract, gate_set, challenger, champion, seed=seed).passed

    champion = fit(1_000)
    assert [passes(fit(seed), seed) for seed in range(3)] == [True] * 3
    learned_little = [passes(fit(seed, share=0.05, epochs=1), seed) for seed in range(8)]
    assert sum(learned_little) <= 1


def test_a_second_product_table_works_by_its_contract_alone(tmp_path: Path) -> None:
    """20,000 customers of a bank with 24 products, from its file to the fitted model."""
    contract_file = product_table.write(tmp_path / "bank")
    start = perf_counter()
    taken = customers(contract_file)
    judged = evaluate(taken, Plan(), workers=2)
    taken.fit(Plan())
    seconds = perf_counter() - start
    print({name: ndcg(view) for name, view in judged.views.items()}, f"{seconds:.0f} s")
    assert len(taken) >= 20_000
    assert len(taken.contract.products) >= 20
    assert judged.not_beaten == []
    assert judged.views["cold"].leads[POPULARITY]["ndcg_at_5"].low > 0
    assert seconds < MOST_SECONDS
