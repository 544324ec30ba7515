"""The steps that Airflow, the command line and the tests all call.

Steps hand each other paths, URIs and version numbers, so that each can run in a process, or on a
machine, of its own: :func:`prepare` → :func:`segment` → :func:`train_candidate` (each candidate) →
:func:`compare` → :func:`register` → :func:`judge` → :func:`promote`.
"""

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from churn import preparation
from churn.errors import ChurnError, NoChampion
from churn.file_jobs import champion_scorer, count_rows, score_file, validate_file
from churn.preparation import fingerprint, prepare, training_rows
from churn.settings import Settings

if TYPE_CHECKING:
    from churn.gate import Verdict
    from churn.kinds import Loaded
    from churn.registry import Registry, Version
    from churn.training import Plan

log = logging.getLogger(__name__)

Advance = Callable[[str], None]
"""Told the name of each step that is done."""


def _quietly(step: str) -> None:
    log.info("%s", step)


def training_is_due(settings: Settings) -> bool:
    """Whether there is no champion, or no model yet of the contract and its rows as they are.

    One that the gate refused counts: the same rows would give the same again. A champion that was
    trained by hand on other rows stays until the contract's own change.
    """
    from churn.registry import Registry

    registry = Registry(settings, patient=False)
    try:
        champion = registry.champion()
    except NoChampion:
        return True
    present = fingerprint(settings)
    return champion.provenance.get("fingerprint") != present and not registry.trained_on(present, champion)


def segment(settings: Settings, prepared: Path, seed: int | None = None) -> Path:
    """Find the personas of a training, which its candidates carry; returns its folder. Safe to repeat.

    Args:
        seed: left out, that of the settings.
    """
    from churn import segmenting

    segmenting.segment(prepared, settings.seed if seed is None else seed)
    return prepared


def train_candidate(
    settings: Settings, prepared: Path, candidate: str, plan: "Plan | None" = None, advance: Advance = _quietly
) -> str:
    """Cross-validate one candidate, fit it on the training rows and log it; returns ``runs:/<id>``.

    Args:
        plan: left out, that of the settings.
    """
    from churn import contest
    from churn.registry import Registry

    with tempfile.TemporaryDirectory(prefix="churn-") as scratch:
        rows = preparation.load(prepared)
        entered = contest.enter(candidate, rows, Path(scratch), plan or plan_of(settings), advance, prepared)
        return Registry(settings).log_candidate(entered)


def plan_of(settings: Settings, **other: Any) -> "Plan":
    """The plan of the settings, with other folds, repeats, seconds or seed where they are given."""
    from churn.training import Plan

    plan = Plan(settings.folds, settings.repeats, settings.tuning_seconds, settings.seed)
    return replace(plan, **other)


def compare(settings: Settings, run_uris: Sequence[str]) -> str:
    """The URI of the better run, by :data:`churn.evaluation.CHOSEN_BY`."""
    from churn.evaluation import CHOSEN_BY
    from churn.registry import Registry

    if not run_uris:
        raise ChurnError("no candidate was trained, so there is none to choose")
    registry = Registry(settings)
    figures = {uri: registry.run_metrics(uri)[CHOSEN_BY] for uri in run_uris}
    return min(figures, key=lambda uri: figures[uri])


def register(settings: Settings, run_uri: str, prepared: Path) -> str:
    """Register the chosen run as the challenger, and its personas; returns its number. Safe to repeat."""
    from churn import segmenting
    from churn.registry import FINGERPRINT, Registry

    origin = preparation.load(prepared).origin
    own = origin["rows"] == preparation.OWN_ROWS
    registry = Registry(settings)
    version = registry.register(run_uri, {FINGERPRINT: origin["fingerprint"]} if own else {})
    return segmenting.register(registry, version, prepared).version


def judge(settings: Settings, number: str, prepared: Path, run_uris: Sequence[str] = ()) -> "Version":
    """Hold a version against the champion, write down the verdict, and report on it.

    Args:
        run_uris: the runs of all candidates, which the model card compares.

    Raises:
        RefusedModel: serving could not read the version.
    """
    from churn import contest
    from churn.gate import Margins
    from churn.registry import Registry

    registry = Registry(settings)
    version, rows = registry.version(number), preparation.load(prepared)
    challenger = registry.load(version)
    champion = in_service(registry)
    rival, note = (
        contest.champion_to_beat(registry.load, champion, rows) if champion else (None, "nothing is in service")
    )
    margins = Margins(settings.gate_log_loss, settings.gate_profit, settings.gate_calibration)
    verdict = contest.judge(challenger, rival, rows, margins, settings.seed)
    version = record(registry, version, verdict, champion if rival else None, note)
    run_uri = f"runs:/{version.run_id}"
    candidates = {registry.run_params(uri)["candidate"]: registry.run_metrics(uri) for uri in run_uris}
    params = registry.run_params(run_uri)
    figures, card = contest.report(challenger, rows, candidates, params, version, settings.seed)
    registry.log_report(run_uri, figures, card)
    return registry.version(number)


def in_service(registry: "Registry[Loaded]") -> "Version | None":
    """The champion, if there is one."""
    try:
        return registry.champion()
    except NoChampion:
        return None


def record(
    registry: "Registry[Loaded]", version: "Version", verdict: "Verdict", rival: "Version | None", note: str
) -> "Version":
    """Write a verdict down on a version.

    Args:
        rival: the champion that it was held against.
        note: why it was held against none.
    """
    told = {
        "gate_reason": "",
        **verdict.as_tags(),
        "gate_against": rival.version if rival else "",
        "gate_note": f"not held against a champion: {note}"[:1_000] if note else "",
    }
    return registry.judged(version, told)


def promote(
    settings: Settings, number: str, *, by: str, source: str = "airflow", accept_contract: bool = False
) -> "Version":
    """Put a version into service that the gate has passed; the first one in any case.

    Args:
        by: who or what asks for it; goes into the history and the audit trail.
        source: from where; goes into the audit trail.

    Raises:
        Refused: the gate, or another contract, speaks against it.
    """
    from churn import audit
    from churn.promoter import Promoter
    from churn.registry import Registry

    registry = Registry(settings)
    first = "" if in_service(registry) else "nothing is in service yet"
    promoter = Promoter(registry, audit.writer(settings), by=by, source=source)
    return promoter.promote(number, despite_gate=first, accept_contract=accept_contract).version


def train(
    settings: Settings,
    rows: Path | None = None,
    advance: Advance = _quietly,
    *,
    by: str = "",
    accept_contract: bool = False,
) -> "Version":
    """The whole training in this process, as the command line runs it.

    Raises:
        Refused: the new version is registered, and the gate keeps it out of service.
    """
    from churn import audit

    prepared = prepare(settings, f"command-line-{uuid4().hex[:8]}", rows)
    advance("rows validated")
    segment(settings, prepared)
    advance("customers told apart")
    uris = [train_candidate(settings, prepared, name, advance=advance) for name in settings.candidates]
    number = register(settings, compare(settings, uris), prepared)
    judge(settings, number, prepared, uris)
    advance("registered and judged")
    by = by or f"{audit.person()}: churn train"
    version = promote(settings, number, by=by, source="command line", accept_contract=accept_contract)
    advance("in service")
    return version


def steps(settings: Settings) -> int:
    """How often :func:`train` calls ``advance``."""
    return 4 + len(settings.candidates) * (settings.folds * settings.repeats + 1)


__all__ = [
    "champion_scorer",
    "compare",
    "count_rows",
    "fingerprint",
    "in_service",
    "judge",
    "plan_of",
    "prepare",
    "promote",
    "record",
    "register",
    "score_file",
    "segment",
    "steps",
    "train",
    "train_candidate",
    "training_is_due",
    "training_rows",
    "validate_file",
]
