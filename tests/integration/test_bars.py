"""The bars that the shipped data must meet, by the candidate that a training chooses there, without its search
(which ends by the clock; test_readme.py holds that a training does choose it)."""

import numpy as np
import pandas as pd
import pytest

from churn import contract as contracts
from churn import evaluation, gate, preparation, splits, training
from churn.data import read_rows, validate
from churn.preparation import Prepared
from churn.training import OutOfFold, Plan

SEEDS = range(20)
CHOSEN = "lightgbm"


@pytest.fixture(scope="module")
def prepared(settings) -> Prepared:
    contract = contracts.load(settings.contract)
    rows = read_rows(preparation.training_rows(settings), contract.rows.format)
    return Prepared(contract, {}, validate(rows, contract, target="required"))


@pytest.mark.parametrize("rows", ["training rows", "all rows"])
def test_the_chosen_model_meets_its_bars_over_five_folds_four_times(prepared: Prepared, rows: str) -> None:
    """More is welcome; much more is a leak."""
    contract = prepared.contract
    target: pd.Series[int]
    if rows == "training rows":
        features, target = prepared.rows("train")
    else:
        features, target = prepared.frame[list(contract.features)], prepared.frame[contract.target.column]
    folds = list(training.cross_validate(CHOSEN, contract, features, target, Plan(folds=5, repeats=4)))
    per_fold = [evaluation.metrics(fold.target, fold.probability, contract.economics) for fold in folds]
    told = evaluation.summary(per_fold, 1 / 5)
    held_out = OutOfFold.of(folds)
    told |= evaluation.pooled(held_out.target, held_out.probability, contract.economics)
    print(rows, {name: round(value, 4) for name, value in told.items()})
    assert 0.848 <= told["roc_auc"] < 0.86
    assert 0.667 <= told["pr_auc"] < 0.69
    assert told["brier"] <= 0.1345
    assert told["pooled_calibration_error"] <= 0.02


@pytest.fixture(scope="module")
def judged(prepared: Prepared):
    """Trains the chosen model on some of the training rows; the gate's verdict against the champion."""
    features, target = prepared.rows("train")
    gate_features, gate_target = prepared.rows("gate")

    def probabilities(rows: np.ndarray, seed: int) -> np.ndarray:
        pipeline, _ = training.fit(
            CHOSEN, prepared.contract, features.iloc[rows], target.iloc[rows], seconds=0, seed=seed
        )
        return pipeline.predict_proba(gate_features)[:, 1]

    champion = probabilities(np.arange(len(features)), 1_000)

    def judge(share: float, seed: int) -> gate.Verdict:
        size = int(share * len(features))
        rows = np.random.default_rng(seed).choice(len(features), size, replace=False)
        challenger = probabilities(np.sort(rows), seed)
        economics = prepared.contract.economics
        return gate.judge(gate_target.to_numpy(), challenger, champion, economics, gate.Margins(), seed=seed)

    return judge


def test_the_gate_refuses_challengers_that_saw_a_tenth_of_the_rows(judged) -> None:
    refused = [not judged(0.1, seed).passed for seed in SEEDS]
    print("refused", sum(refused), "of", len(refused))
    assert sum(refused) >= 18


def test_the_gate_passes_challengers_that_are_equal_but_for_the_seed(judged) -> None:
    passed = [judged(1.0, seed).passed for seed in SEEDS]
    print("passed", sum(passed), "of", len(passed))
    assert sum(passed) >= 18


def test_no_customer_of_the_gate_and_report_sets_is_trained_on(prepared: Prepared) -> None:
    ids = {part: set(prepared.frame[prepared.contract.id].loc[prepared.rows(part)[0].index]) for part in splits.PARTS}
    assert sum(map(len, ids.values())) == len(prepared.frame)
    assert len(ids["train"] | ids["gate"] | ids["report"]) == len(prepared.frame)
    for part in ("gate", "report"):
        assert 0.08 < len(ids[part]) / len(prepared.frame) < 0.12


def test_a_customer_s_set_is_his_whatever_else_the_file_holds(prepared: Prepared) -> None:
    frame, contract = prepared.frame, prepared.contract
    whole = splits.assign(frame, contract)
    shuffled = frame.sample(frac=0.3, random_state=1)
    assert (splits.assign(shuffled, contract) == whole[shuffled.index]).all()
    nameless = contract.model_copy(update={"id": None})
    changed = frame.assign(**{contract.id: "x"})
    assert (splits.assign(frame, nameless) == splits.assign(changed, nameless)).all()
    assert len(set(splits.assign(frame, nameless))) == 3
