"""The gate: what passes, what does not, and in what words."""

import numpy as np
import pytest

from churn import evaluation, gate, profit
from churn.economics import Economics
from churn.gate import Margins

USUAL, MARGINS = Economics(), Margins()


def customers(n: int = 1_400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Targets drawn from the probabilities, so that no model can be better."""
    random = np.random.default_rng(seed)
    probability = 1 / (1 + np.exp(-random.normal(-1.3, 1.6, n)))
    return (random.random(n) < probability).astype(int), probability


def shaken(probability: np.ndarray, by: float, seed: int) -> np.ndarray:
    """The same probabilities with noise on their log odds, as another training would move them."""
    odds = np.log(probability / (1 - probability)) + np.random.default_rng(seed).normal(0, by, len(probability))
    return 1 / (1 + np.exp(-odds))


def test_an_equal_challenger_passes_whatever_the_noise() -> None:
    target, truth = customers()
    for seed in range(8):
        champion, challenger = shaken(truth, 0.05, seed), shaken(truth, 0.05, seed + 100)
        verdict = gate.judge(target, challenger, champion, USUAL, MARGINS, draws=500, seed=seed)
        assert verdict.passed, verdict.reasons
        assert verdict.reasons == []


def test_a_worse_challenger_is_refused_with_figures() -> None:
    target, truth = customers()
    for seed in range(8):
        verdict = gate.judge(target, shaken(truth, 1.0, seed), truth, USUAL, MARGINS, draws=500, seed=seed)
        assert not verdict.passed
        assert verdict.reasons[0].startswith("log loss, against the champion: +0.0")
        assert verdict.figures["log_loss_difference_upper"] > 0.005


def test_a_lead_that_is_not_sure_does_not_pass() -> None:
    """On few customers a bound is wide: not shown to be no worse is refused, though the means are equal."""
    target, truth = customers(60)
    verdict = gate.judge(target, shaken(truth, 0.6, 2), shaken(truth, 0.6, 3), USUAL, MARGINS, draws=500, seed=1)
    assert not verdict.passed


def test_the_upper_bounds_are_one_sided_and_of_paired_differences() -> None:
    """By the central limit theorem the 95th percentile is 1.645 standard errors above the mean."""
    target, truth = customers()
    worse = shaken(truth, 0.5, 1)
    figures = gate.judge(target, worse, truth, USUAL, MARGINS, draws=4_000, seed=1).figures
    loss = evaluation.log_losses(target, worse) - evaluation.log_losses(target, truth)
    lost = profit.expected(target, truth, USUAL) - profit.expected(target, worse, USUAL)
    lost /= profit.expected(target, truth, USUAL).mean()
    for name, differences in (("log_loss_difference", loss), ("profit_loss", lost)):
        error = differences.std() / np.sqrt(len(target))
        assert figures[name] == pytest.approx(differences.mean())
        assert (figures[f"{name}_upper"] - figures[name]) / error == pytest.approx(1.645, abs=0.12)


def test_probabilities_that_are_too_low_are_refused_for_their_calibration() -> None:
    target, truth = customers()
    verdict = gate.judge(target, truth * 0.7, None, USUAL, MARGINS, draws=500, seed=1)
    assert [reason.split(":")[0] for reason in verdict.reasons] == ["calibration"]
    assert verdict.figures["calibration_error"] > verdict.figures["calibration_error_by_chance"] + 0.02


def test_true_probabilities_are_not_refused_for_chance() -> None:
    for seed in range(20):
        target, truth = customers(80, seed)
        figures = gate.judge(target, truth, None, USUAL, MARGINS, draws=200, seed=seed).figures
        assert figures["calibration_error"] < figures["calibration_error_by_chance"] + 0.02


def test_without_a_champion_the_rival_is_the_churn_rate() -> None:
    target, truth = customers()
    assert gate.judge(target, truth, None, USUAL, MARGINS, draws=500, seed=1).passed
    flat = gate.judge(target, np.full(len(target), target.mean()), None, USUAL, MARGINS, draws=500, seed=1)
    assert not flat.passed
    assert flat.reasons == [
        "log loss, against the churn rate for everyone: +0.0000 with an upper 95 % bound of +0.0000, not below 0"
    ]
    assert "profit_loss" not in flat.figures


def test_profit_is_lost_as_a_share_of_the_champion_s() -> None:
    target, truth = customers()
    timid = truth / 3
    found = gate.judge(target, timid, truth, USUAL, Margins(log_loss=9, calibration=9), draws=500, seed=1)
    lost = 1 - found.figures["expected_profit"] / found.figures["champion_expected_profit"]
    assert found.figures["profit_loss"] == pytest.approx(lost)
    assert [reason.split(":")[0] for reason in found.reasons] == ["expected profit, share lost"]


def test_a_champion_that_loses_money_can_be_beaten_and_is_no_free_pass() -> None:
    target, truth = customers()
    ruinous = 1 - truth
    only_profit = Margins(log_loss=99, calibration=9)
    economics = Economics(offer_cost=60, contact_cost=10)
    better = gate.judge(target, truth, ruinous, economics, only_profit, draws=500, seed=1)
    assert better.figures["champion_expected_profit"] < 0
    assert better.passed
    assert better.figures["profit_loss"] < 0
    worse = gate.judge(target, np.ones(len(target)), ruinous, economics, only_profit, draws=500, seed=1)
    assert worse.figures["expected_profit"] < worse.figures["champion_expected_profit"]
    assert not worse.passed


def test_where_no_contact_pays_no_profit_is_lost() -> None:
    target, truth = customers()
    verdict = gate.judge(target, truth, truth, Economics(contact_cost=500), MARGINS, draws=100, seed=1)
    assert verdict.passed
    assert verdict.figures["profit_loss_upper"] == 0


@pytest.mark.parametrize("target", [[], [0, 1] * 20, [0] * 100, [1] * 200 + [0] * 9])
def test_a_set_that_is_too_small_to_tell_is_refused(target: list[int]) -> None:
    probability = np.full(len(target), 0.5)
    verdict = gate.judge(np.array(target), probability, probability, USUAL, MARGINS, seed=1)
    assert not verdict.passed
    assert verdict.reasons[0].startswith(f"the gate set is too small to tell: {len(target)} customers, ")
    assert verdict.figures["customers"] == len(target)


def test_a_probability_that_is_no_number_is_an_error_and_no_verdict() -> None:
    target, truth = customers()
    broken = np.where(np.arange(len(truth)) == 7, np.nan, truth)
    for challenger, champion in ((broken, truth), (truth, broken), (broken, None)):
        with pytest.raises(ValueError, match="not a number"):
            gate.judge(target, challenger, champion, USUAL, MARGINS, seed=1)


def test_a_margin_that_is_no_number_lets_nothing_pass() -> None:
    target, truth = customers()
    assert not gate.judge(target, truth, truth, USUAL, Margins(log_loss=float("nan")), draws=50, seed=1).passed


def test_a_verdict_is_repeatable_and_fits_into_tags() -> None:
    target, truth = customers()
    worse = shaken(truth, 1.0, 1)
    verdict = gate.judge(target, worse, truth, USUAL, MARGINS, draws=200, seed=1)
    assert verdict == gate.judge(target, worse, truth, USUAL, MARGINS, draws=200, seed=1)
    tags = verdict.as_tags()
    assert tags["gate"] == "refused"
    assert tags["gate_reason"] == "; ".join(verdict.reasons)
    assert float(tags["gate_log_loss_difference"]) == pytest.approx(verdict.figures["log_loss_difference"], rel=1e-4)
    assert gate.judge(target, truth, truth, USUAL, MARGINS, draws=50, seed=1).as_tags()["gate"] == "passed"
    assert all(isinstance(text, str) and len(text) < 1_000 for text in tags.values())
