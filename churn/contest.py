"""A candidate's way into the registry: searched, cross-validated, fitted, judged, told of.

The training rows compare candidates and fit them. The gate set judges the chosen one against the
champion. The report set is looked at last, and decides nothing.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from churn import (
    evaluation,
    explanation_plots,
    explanation_summary,
    gate,
    model_card,
    packaging,
    parity,
    plots,
    profit,
    provenance,
    segment_card,
    segmentation,
    segmenting,
    training,
)
from churn.candidates import CANDIDATES
from churn.encoding import Encoder, customers
from churn.errors import RefusedModel
from churn.held_out import write as write_held_out
from churn.kinds import Model
from churn.preparation import Prepared
from churn.reference import write as write_reference
from churn.scoring import Scorer
from churn.segments import BandSeen
from churn.splits import PARTS, assign
from churn.training import Fold, OutOfFold, Plan

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from churn.contract import Contract
    from churn.tracking import Candidate
    from churn.versions import Version

Advance = Callable[[str], None]
_TOLD_LIBRARIES = ("scikit-learn", "lightgbm", "onnxruntime", "pandas", "skops")


def enter(
    name: str, prepared: Prepared, folder: Path, plan: Plan, advance: Advance, groups: Path | None = None
) -> "Candidate":
    """Cross-validate a candidate by nested search, and fit it to all training rows.

    Args:
        folder: an empty one, where what belongs to the candidate is written.
        advance: told each fold that is done.
        groups: the folder in which :func:`churn.segmenting.segment` has left the personas, if it has.
    """
    from churn.tracking import Candidate

    contract, economics = prepared.contract, prepared.contract.economics
    features, target = prepared.rows("train")
    done: list[Fold] = []
    per_fold = []
    for fold in training.cross_validate(name, contract, features, target, plan):
        done.append(fold)
        per_fold.append(_defined(evaluation.metrics(fold.target, fold.probability, economics)))
        advance(f"{name}: fold {len(done)} of {plan.fits - 1}")
    pipeline, tuned = training.fit(name, contract, features, target, seconds=plan.seconds_per_fit, seed=plan.seed)
    advance(f"{name}: fitted on all {len(features):,} training rows")
    held_out = OutOfFold.of(done)
    figures = evaluation.summary(per_fold, 1 / plan.folds)
    figures |= _defined(evaluation.pooled(held_out.target, held_out.probability, economics))
    params = {"candidate": name, "rows": len(features), **asdict(plan)}
    params |= {"calibrated": tuned.calibrate, "trials": tuned.trials, **tuned.params}
    told = provenance.provenance(**prepared.origin)
    parts = folder / "parts"
    carried, proposed = segmenting.write_parts(parts, groups, contract, features, held_out.first(), plan.seed)
    figures |= proposed
    return Candidate(
        name=name,
        pipeline=pipeline,
        contract=contract,
        parts=_parts(parts, pipeline, contract, features, told | carried | {"metrics": figures}, plan.seed),
        metrics=figures,
        per_fold=per_fold,
        params=params | {"trials_in_folds": sum(fold.tuned.trials for fold in done)},
        provenance=told,
        example=_made_up(contract, features, plan.seed),
        reports=[
            *_reports(folder / "reports", contract, features, held_out.first()),
            *explanation_plots.draw(parts / explanation_summary.FILE, folder / "pictures"),
            write_held_out(folder, prepared, features, held_out),
            write_reference(folder, prepared, features, held_out, plan.seed),
        ],
    )


def _made_up(contract: "Contract", features: "pd.DataFrame", seed: int) -> "pd.DataFrame":
    """A few rows to show, of nobody."""
    encoder = Encoder(contract)
    return encoder.rows(parity.jitter(encoder.frame(features), encoder, 5, seed))


def _parts(
    folder: Path, pipeline: Any, contract: "Contract", features: "pd.DataFrame", told: dict[str, Any], seed: int
) -> list[Path]:
    threshold = contract.economics.threshold
    return packaging.write_parts(folder, pipeline, contract, features, threshold=threshold, told=told, seed=seed)


def _reports(folder: Path, contract: "Contract", features: "pd.DataFrame", once: OutOfFold) -> list[Path]:
    """Plots, and the figures of groups, of each training row's first held-out prediction."""
    folder.mkdir()
    economics = contract.economics
    drawn = plots.all_plots(once.target, once.probability, economics, economics.threshold, contract.currency)
    for name, figure in drawn.items():
        figure.savefig(folder / f"{name}.png")
    groups = by_group(contract, features.iloc[once.rows], once.target, once.probability)
    (folder / "groups.json").write_text(json.dumps(groups, indent=2, ensure_ascii=False), encoding="utf-8")
    return sorted(folder.iterdir())


def _defined(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if np.isfinite(value)}


def by_group(
    contract: "Contract",
    features: "pd.DataFrame",
    target: "NDArray[np.int64]",
    probability: "NDArray[np.float64]",
) -> dict[str, list[dict[str, Any]]]:
    """How the model treats the groups of each sensitive category, by the column's label."""
    told = {}
    for column in contract.features.values():
        if column.sensitive and not column.is_numeric:
            labels = [None if value is None else column.label_of(value) for value in features[column.name]]
            groups = np.array(labels, dtype=object)
            told[column.title] = evaluation.by_group(target, probability, groups, contract.economics.threshold)
    return told


def judge(
    challenger: Scorer, champion: Scorer | None, prepared: Prepared, margins: gate.Margins, seed: int
) -> gate.Verdict:
    """The gate's verdict on a challenger, by customers that neither model was trained on.

    Args:
        champion: None where there is none, or none that these rows can be held against.
    """
    features, target = prepared.rows("gate")

    def probabilities(scorer: Scorer) -> "NDArray[np.float64]":
        return scorer.probabilities(scorer.encoder.frame(features)) if len(features) else np.empty(0)

    return gate.judge(
        np.asarray(target, dtype=np.int64),
        probabilities(challenger),
        probabilities(champion) if champion else None,
        prepared.contract.economics,
        margins,
        seed=seed,
    )


def why_not_comparable(champion: "Version", contract: "Contract", prepared: Prepared) -> str:
    """Why the gate cannot hold a challenger against this champion, of this contract; empty where it can."""
    if champion.provenance.get("split") != prepared.origin["split"]:
        return f"version {champion.version}, in service, may have been trained on customers of the gate set"
    if contract.row_hash != prepared.contract.row_hash and not _reads(contract, prepared):
        return f"version {champion.version}, in service, takes other rows"
    return ""


def _reads(contract: "Contract", prepared: Prepared) -> bool:
    """Whether every customer of the gate set is one under this contract too, such as one with a narrower range."""
    features, _ = prepared.rows("gate")
    encoder = Encoder(prepared.contract)
    return not any(contract.read(row)[1] for row in customers(encoder.frame(features), encoder))


def report(
    scorer: Scorer,
    prepared: Prepared,
    candidates: Mapping[str, Mapping[str, float]],
    params: Mapping[str, str],
    chosen: "Version",
    seed: int,
) -> tuple[dict[str, float], str]:
    """Figures of the report set under ``report_<name>``, their intervals under ``_low`` and
    ``_high``; and the model card.

    Args:
        candidates: the figures of every candidate of the training, by name.
        params: of the chosen one.
    """
    contract, economics = prepared.contract, prepared.contract.economics
    features, series = prepared.rows("report")
    target = np.asarray(series, dtype=np.int64)
    facts: dict[str, Any] = {}
    figures: dict[str, float] = {}
    bands: list[BandSeen] = []
    if len(target):
        probability = scorer.probabilities(scorer.encoder.frame(features))
        found = _defined(evaluation.metrics(target, probability, economics))
        intervals = evaluation.bootstrap(target, probability, economics, seed=seed)
        figures = {f"report_{name}": value for name, value in found.items()}
        for name, (low, high) in intervals.items():
            figures |= _defined({f"report_{name}_low": low, f"report_{name}_high": high})
        facts = {
            "report": found,
            "intervals": intervals,
            "calibration_by_chance": evaluation.calibration_error_by_chance(probability, seed=seed),
            "contacted": float(np.mean(probability >= scorer.threshold)),
            "profit": float(profit.realised(target, probability, scorer.threshold, economics).mean()),
            "profit_of_everyone": float(profit.realised(target, probability, 0.0, economics).mean()),
            "groups": by_group(contract, features, target, probability),
        }
        bands = segmentation.observed(target, probability, contract)
        figures |= segmentation.as_metrics(bands, segmentation.REPORTED)
    facts["segments"] = segment_card.sections(scorer, bands)
    return figures, model_card.card(_facts(prepared, candidates, params, chosen, scorer.threshold, facts))


def _facts(
    prepared: Prepared,
    candidates: Mapping[str, Mapping[str, float]],
    params: Mapping[str, str],
    chosen: "Version",
    threshold: float,
    measured: dict[str, Any],
) -> model_card.CardFacts:
    contract = prepared.contract
    counts = np.bincount(assign(prepared.frame, contract), minlength=len(PARTS))
    shown = {name: value for name, value in params.items() if name not in ("candidate", "rows")}
    return model_card.CardFacts(
        name=f"{chosen.name} version {chosen.version}",
        chosen=_label(chosen.provenance.get("candidate", "")),
        customers=contract.title or contract.name,
        predicts=contract.target.label or contract.target.column,
        threshold=threshold,
        economics=contract.economics,
        currency=contract.currency,
        candidates={_label(name): figures for name, figures in candidates.items()},
        validation=_validation(params),
        rows={part: int(count) for part, count in zip(PARTS, counts, strict=True)},
        data_hash=prepared.origin["data_hash"],
        outcomes=prepared.origin.get("outcomes", ""),
        params=shown,
        versions={name: installed(name) for name in _TOLD_LIBRARIES},
        git=chosen.provenance.get("git_revision", ""),
        trained_at=chosen.since.isoformat(timespec="seconds"),
        **measured,
    )


def _validation(params: Mapping[str, str]) -> str:
    repeats = params.get("repeats", "1")
    return f"{params.get('folds', '?')} folds" + (f", repeated {repeats} times" if repeats != "1" else "")


def _label(name: str) -> str:
    return CANDIDATES[name].label if name in CANDIDATES else name


def champion_to_beat(
    load: Callable[["Version"], Model], champion: "Version", prepared: Prepared
) -> tuple[Model | None, str]:
    """The champion, loaded, or None and why a challenger is not held against it."""
    try:
        loaded = load(champion)
    except RefusedModel as error:
        return None, f"the version in service cannot be read: {error}"
    why = why_not_comparable(champion, loaded.contract, prepared)
    return (None, why) if why else (loaded, "")
