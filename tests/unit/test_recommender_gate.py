"""The recommender's gate: what passes, what does not, and in what words."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from churn import contract as contracts
from churn import hidden_products, recommender_gate
from churn.contract import Contract
from churn.data import read_rows, validate
from churn.encoding import Encoded, Encoder
from churn.ownership import Ownership
from tests import product_table


@dataclass
class Fixed:
    """Likes the same items in everyone."""

    items: tuple[str, ...]
    scores: np.ndarray

    def liking(self, encoded: Encoded) -> np.ndarray:
        return np.tile(self.scores, (len(encoded), 1))


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> tuple[Contract, Encoded]:
    path = product_table.write(tmp_path_factory.mktemp("bank"), customers=500)
    contract = contracts.load(path)
    rows = validate(read_rows(path.with_name("clients.csv"), contract.rows.format), contract, target="required")
    return contract, Encoder(contract).frame(rows[list(contract.features)])


@pytest.fixture(scope="module")
def usual(bank) -> Fixed:
    contract, encoded = bank
    return Fixed(tuple(contract.products), Ownership(contract).owned(encoded).mean(axis=0))


def contrary(usual: Fixed) -> Fixed:
    return Fixed(usual.items, -usual.scores)


def test_an_equal_challenger_passes(bank, usual: Fixed) -> None:
    verdict = recommender_gate.judge([], *bank, usual, usual, draws=200, seed=1)
    assert verdict.passed
    assert verdict.reasons == []
    assert verdict.figures["ndcg_loss_upper"] == 0
    assert verdict.figures["ndcg_at_5"] == verdict.figures["champion_ndcg_at_5"] > 0.3


def test_a_worse_challenger_is_refused_with_figures(bank, usual: Fixed) -> None:
    verdict = recommender_gate.judge([], *bank, contrary(usual), usual, draws=200, seed=1)
    assert not verdict.passed
    assert len(verdict.reasons) == 1
    lost = verdict.figures["ndcg_loss"]
    assert lost == pytest.approx(verdict.figures["champion_ndcg_at_5"] - verdict.figures["ndcg_at_5"])
    assert verdict.reasons[0].startswith(f"nDCG at 5, against the champion: {lost:+.4f} lost with an upper 95 % bound")
    assert verdict.reasons[0].endswith("not below 0.02")
    assert recommender_gate.judge([], *bank, contrary(usual), usual, margin=0.9, draws=200, seed=1).passed


def test_the_bound_is_one_sided_and_of_paired_differences(bank, usual: Fixed) -> None:
    """By the central limit theorem the 95th percentile is 1.645 standard errors above the mean."""
    contract, encoded = bank
    figures = recommender_gate.judge([], *bank, contrary(usual), usual, draws=4_000, seed=1).figures
    hidden = hidden_products.one_each(Ownership(contract), contract, encoded, seed=1)
    ours, theirs = (recommender_gate.gains(each, hidden, list(usual.items)) for each in (contrary(usual), usual))
    error = (theirs - ours).std() / np.sqrt(len(hidden))
    assert figures["ndcg_loss_upper"] == pytest.approx((theirs - ours).mean() + 1.645 * error, rel=0.02)


def test_without_a_champion_the_folds_alone_decide(bank, usual: Fixed) -> None:
    assert recommender_gate.judge([], *bank, contrary(usual), None, seed=1).passed
    verdict = recommender_gate.judge(["it does not beat EASE"], *bank, usual, None, seed=1)
    assert (verdict.passed, verdict.reasons) == (False, ["it does not beat EASE"])


def test_what_does_not_beat_the_baselines_is_refused_though_it_beats_the_champion(bank, usual: Fixed) -> None:
    verdict = recommender_gate.judge(["it does not beat EASE"], *bank, usual, contrary(usual), seed=1)
    assert verdict.reasons == ["it does not beat EASE"]


def test_too_few_customers_are_refused(bank, usual: Fixed) -> None:
    contract, encoded = bank
    few = encoded.at(np.arange(40))
    verdict = recommender_gate.judge([], contract, few, usual, usual, seed=1)
    assert not verdict.passed
    assert verdict.reasons[0].startswith("the gate set is too small to tell: ")
    assert verdict.reasons[0].endswith("at least 50 are needed")


def test_products_that_a_champion_does_not_know_come_last(bank, usual: Fixed) -> None:
    contract, encoded = bank
    hidden = hidden_products.one_each(Ownership(contract), contract, encoded, seed=1)
    told = recommender_gate.gains(Fixed(usual.items[1:], usual.scores[1:]), hidden, list(usual.items))
    last = Fixed(usual.items, np.append(-1.0, usual.scores[1:]))
    assert (told == recommender_gate.gains(last, hidden, list(usual.items))).all()


def test_what_is_hidden_depends_on_the_seed_alone(bank, usual: Fixed) -> None:
    figures = [recommender_gate.judge([], *bank, usual, None, seed=seed).figures["ndcg_at_5"] for seed in (1, 1, 2)]
    assert figures[0] == figures[1] != figures[2]


def test_the_contract_s_rows_are_read_as_the_bank_writes_them(tmp_path: Path) -> None:
    """Each kind of product column: booleans, tiers, counts; and nobody owns what he could not."""
    path = product_table.write(tmp_path, customers=300)
    contract = contracts.load(path)
    rows = validate(read_rows(path.with_name("clients.csv"), contract.rows.format), contract, target="required")
    ownership, encoded = Ownership(contract), Encoder(contract).frame(rows[list(contract.features)])
    owned = ownership.owned(encoded)
    for place, (name, (_, kind, *_rest)) in enumerate(product_table.PRODUCTS.items()):
        assert (owned[:, place] == rows[name].isin(kind.owned).to_numpy()).all()
        assert 0 < owned[:, place].sum() < 300
    assert not (owned & ~ownership.allowed(encoded)).any()
