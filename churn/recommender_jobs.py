"""The steps of a recommender's training, which Airflow, the command line and the tests all call.

As in :mod:`churn.jobs` they hand each other paths, URIs and version numbers: :func:`prepare` →
:func:`train` → :func:`register` → :func:`judge` → :func:`promote`.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from churn import contract as contracts
from churn import jobs, preparation
from churn.catalogue import nothing_to_recommend
from churn.errors import ContractError, NoChampion, Refused, RefusedModel
from churn.jobs import Advance, in_service
from churn.kinds import RECOMMENDER
from churn.preparation import fingerprint
from churn.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from churn.contract import Contract
    from churn.preparation import Prepared
    from churn.recommendation import Plan
    from churn.recommender import Recommender
    from churn.registry import Registry, Version

STEPS = 5
"""How often :func:`train_recommender` calls ``advance``."""
LEAST_OWNERS = 50
"""Training customers who own a product; with fewer a fold may have none, and the gate's set, which is a
fraction of them, is too small in any case."""
_ROWS = "row_hash"
_NOTHING_LEARNED = "recommender-nothing-to-learn"
"""The file of a home that names the fingerprint of rows in which too few own anything."""


def _quietly(step: str) -> None:
    jobs.log.info("%s", step)


def why_not_yet(settings: Settings) -> str:
    """Why no recommender is trained by itself as things stand; empty where nothing speaks against it.

    It waits for a classifier that takes the contract's rows: what it recommends is looked at by that one.
    """
    from churn.registry import Registry

    contract = contracts.load(settings.contract)
    if why := nothing_to_recommend(contract.products):
        return why
    try:
        champion = Registry(settings, patient=False).champion()
    except NoChampion as error:
        return str(error)
    if champion.provenance.get(_ROWS, contract.row_hash) != contract.row_hash:  # one of before tells no such hash
        return f"{champion.name} version {champion.version}, in service, takes other rows than the contract has"
    return ""


def training_is_due(settings: Settings) -> bool:
    """Whether there is no recommender yet of the contract and its rows as they are, and nothing speaks against one.

    One that the gate refused counts: the same rows would give the same again. So do rows in which hardly
    anybody owns anything.
    """
    from churn.registry import FINGERPRINT

    if why_not_yet(settings):
        return False
    registry = _registry(settings, patient=False)
    champion, present = in_service(registry), fingerprint(settings)
    if present == _nothing_learned(settings):
        return False
    if champion and champion.provenance.get(FINGERPRINT) == present:
        return False
    return not registry.trained_on(present, champion)


def _registry(settings: Settings, *, patient: bool = True) -> "Registry[Recommender]":
    from churn.registry import Registry

    return Registry(settings, patient=patient, kind=RECOMMENDER)


def prepare(settings: Settings, run: str, rows: Path | None = None) -> Path:
    """As :func:`churn.preparation.prepare`, under a name of its own.

    Raises:
        Refused: the contract names fewer than two products, or too few customers own any of them.
    """
    if why := nothing_to_recommend(contracts.load(settings.contract).products):
        raise Refused(why)
    prepared = preparation.prepare(settings, f"recommender-{run}", rows)
    loaded = preparation.load(prepared)
    if (owners := _owners(loaded)) < LEAST_OWNERS:
        if loaded.origin["rows"] == preparation.OWN_ROWS:
            (settings.home / _NOTHING_LEARNED).write_text(loaded.origin["fingerprint"], encoding="utf-8")
        raise Refused(
            f"{owners} training customers own any of the contract's products, and a recommender needs "
            f"{LEAST_OWNERS}: there is nothing to learn"
        )
    return prepared


def _owners(prepared: "Prepared") -> int:
    """How many training customers own a product."""
    from churn.encoding import Encoder
    from churn.ownership import Ownership

    features, _ = prepared.rows("train")
    owned = Ownership(prepared.contract).owned(Encoder(prepared.contract).frame(features))
    return int(owned.any(axis=1).sum())


def _nothing_learned(settings: Settings) -> str:
    """The fingerprint of the rows that were found to teach nothing last; empty where none were."""
    try:
        return (settings.home / _NOTHING_LEARNED).read_text(encoding="utf-8")
    except OSError:
        return ""


def plan_of(settings: Settings, **other: Any) -> "Plan":
    """The plan, with the seed of the settings; other components, epochs or seed where they are given and not None."""
    from churn.recommendation import Plan

    return replace(Plan(seed=settings.seed), **{name: value for name, value in other.items() if value is not None})


def train(
    settings: Settings,
    prepared: Path,
    plan: "Plan | None" = None,
    folds: int | None = None,
    advance: Advance = _quietly,
) -> str:
    """Judge a recommender beside its baselines, fit it on the training rows and log it; returns ``runs:/<id>``.

    Args:
        plan: left out, that of the settings.
        folds: left out, as many as suit the number of customers.
    """
    from churn import interactions, recommender_models, recommender_training
    from churn.tracking import Tracking

    rows = preparation.load(prepared)
    with tempfile.TemporaryDirectory(prefix="churn-") as scratch:
        entered = recommender_training.enter(
            rows,
            Path(scratch),
            plan or plan_of(settings),
            folds=folds,
            interactions=interactions.for_training(settings),
            probability=_risk(settings, rows),
            advance=advance,
        )
        return recommender_models.log(Tracking(settings), entered)


def _risk(settings: Settings, prepared: "Prepared") -> "NDArray[np.float64] | None":
    """The churn probability of each training row, (n,), by the classifier in service: what it said before it had
    seen the row. None where there is none that takes these rows."""
    from churn.held_out import if_kept, keys
    from churn.registry import Registry

    registry = Registry(settings)
    champion = in_service(registry)
    if champion is None:
        return None
    scorer = registry.load(champion)
    if scorer.contract.row_hash != prepared.contract.row_hash:
        return None
    held_out, _ = if_kept(registry, champion.run_id)
    features, _ = prepared.rows("train")
    encoded = scorer.encoder.frame(features)
    return held_out.replace(keys(encoded, prepared.ids("train")), scorer.probabilities(encoded))[0]


def register(settings: Settings, run_uri: str, prepared: Path) -> str:
    """Register a run as the challenger; returns its number. Safe to repeat."""
    from churn.registry import FINGERPRINT

    origin = preparation.load(prepared).origin
    own = origin["rows"] == preparation.OWN_ROWS
    return _registry(settings).register(run_uri, {FINGERPRINT: origin[FINGERPRINT]} if own else {}).version


def judge(settings: Settings, number: str, prepared: Path) -> "Version":
    """Hold a version against its baselines and against the champion, and write down the verdict.

    Raises:
        RefusedModel: serving could not read the version.
    """
    from churn import contest, recommender_training

    registry, rows = _registry(settings), preparation.load(prepared)
    version = registry.version(number)
    challenger, champion = registry.load(version), in_service(registry)
    rival, note = (
        contest.champion_to_beat(registry.load, champion, rows) if champion else (None, "nothing is in service")
    )
    if champion and rival:
        ours, theirs = challenger.contract, rival.contract
        same = ours.row_hash == theirs.row_hash
        note = _other_products(ours, theirs, champion) if same else f"version {champion.version} takes other rows"
        rival = None if note else rival
    verdict = recommender_training.judge(challenger, rival, rows, settings.gate_ndcg, settings.seed)
    return jobs.record(registry, version, verdict, champion if rival else None, note)


def _other_products(ours: "Contract", theirs: "Contract", champion: "Version") -> str:
    if set(ours.products) == set(theirs.products):  # their order is nobody's business
        return ""
    return f"version {champion.version}, in service, recommends other products"


def promote(settings: Settings, number: str, *, by: str, source: str = "airflow") -> "Version":
    """Put a version into service that the gate has passed.

    Never one that it has refused, not even the first: what does not beat its baselines is of no use. One that
    asks for other rows follows the classifier, once that asks for the same; and one for other products,
    which no champion of the products of before could be held against, follows the contract.

    Args:
        by: who or what asks for it; goes into the history and the audit trail.
        source: from where; goes into the audit trail.

    Raises:
        Refused: the gate, or another contract, speaks against it.
    """
    from churn import audit
    from churn.promoter import Promoter
    from churn.registry import Registry

    registry = _registry(settings)
    version, champion = registry.version(number), in_service(registry)
    overruled, accepted = "", False
    if champion and champion.version != version.version:
        ours, classifier = registry.contract(version), in_service(Registry(settings))
        overruled, other_rows = _differences(registry, version, champion, ours)
        accepted = other_rows and classifier is not None and classifier.provenance.get(_ROWS) == ours.row_hash
    promoter = Promoter(registry, audit.writer(settings), by=by, source=source)
    return promoter.promote(number, despite_gate=overruled, accept_contract=accepted).version


def _differences(
    registry: "Registry[Recommender]", version: "Version", champion: "Version", ours: "Contract"
) -> tuple[str, bool]:
    """Why a version that has passed the gate need not have been held against the champion, empty where it
    must have been; and whether it asks for other rows, or for what cannot be told from those of before."""
    try:
        theirs = registry.contract(champion)
    except (RefusedModel, ContractError):
        return "", True
    if theirs.row_hash != ours.row_hash:
        return "", True
    if version.tags.get("gate") != "passed":
        return "", False
    why = _other_products(ours, theirs, champion)
    if not why and not version.tags.get("gate_against"):
        try:
            registry.load(champion)
        except RefusedModel as error:
            why = f"version {champion.version}, in service, cannot be read ({error})"
    return why, False


def train_recommender(
    settings: Settings,
    rows: Path | None = None,
    advance: Advance = _quietly,
    *,
    plan: "Plan | None" = None,
    folds: int | None = None,
    by: str = "",
) -> "Version":
    """The whole training in this process, as the command line runs it.

    Raises:
        Refused: there is nothing to recommend; or the new version is registered, and the gate keeps it out of service.
    """
    from churn import audit

    prepared = prepare(settings, f"command-line-{uuid4().hex[:8]}", rows)
    advance("rows validated")
    number = register(settings, train(settings, prepared, plan, folds, advance), prepared)
    judge(settings, number, prepared)
    advance("registered and judged")
    by = by or f"{audit.person()}: churn train-recommender"
    version = promote(settings, number, by=by, source="command line")
    advance("in service")
    return version
