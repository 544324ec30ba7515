"""The whole customer base scored into the store, by the version in service.

The file of the current customers (the contract's ``rows.customers``, else its training rows) is read,
held against the contract and scored piece by piece; others read the run before until the new one is
whole. Customers whose target says that they have left are counted and not listed, and so are those of
whom the newest outcome says so; a row that the model was trained on is listed with what was said of
it while it was held out.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn import contract as contracts
from churn import peek
from churn.errors import ChurnError, Fault, InvalidData, NoChampion, NotReady, RefusedModel, UnreadableFile
from churn.file_jobs import champion_scorer, count_rows
from churn.kinds import CLASSIFIER, RECOMMENDER, Kind, Loaded
from churn.preparation import hash_now
from churn.settings import Settings

if TYPE_CHECKING:
    from churn.base_scoring import BaseScorer
    from churn.batch_advice import BatchAdvice
    from churn.customer_scores import Portfolio, Run
    from churn.scoring import Scorer
    from churn.store import Store

log = logging.getLogger(__name__)


def customers_file(settings: Settings) -> Path:
    """The file of the current customers that the contract names."""
    rows = contracts.load(settings.contract).rows
    return settings.contract.parent / (rows.customers or rows.training)


def score_base(settings: Settings, key: str) -> Iterator[int]:
    """Score the customer base into the store; yields the rows done so far.

    A key that names a whole run already is done: nothing is yielded. What an earlier process has
    left unfinished, under this key or another, is removed first.

    Args:
        key: names the run.

    Raises:
        InvalidData: with the faults of the whole file.
        UnreadableFile: the file cannot be read, or has changed while it was read.
        NoChampion: nothing is in service.
        Refused: another process scores the base at this moment.
        Unavailable, NotReady: as :class:`churn.store.Store` and :class:`churn.registry.Registry`.
            However it ends, the run before stays in place.
    """
    from churn import scoring_runs

    with _store(settings) as store, scoring_runs.alone(store):
        known = _run(store, key)
        if known:
            log.warning("the run %r is whole already, with %d customers: nothing is done", key, known.customers)
            return
        yield from _score(settings, store, key)


def _score(settings: Settings, store: "Store", key: str) -> Iterator[int]:
    from churn.scoring_runs import Writing, clear

    source = customers_file(settings)
    before = _stamp(source)
    base, told = _base(settings, store, source)
    writing = Writing(store, {"key": key, "source": str(source), "data_hash": before, **told})
    done = left = 0
    each_once = True
    try:
        for piece in base.pieces(source):
            if each_once:
                each_once = all(writing.add(lines) for lines in piece.lines())
            done, left = done + piece.rows, left + piece.left
            yield done
        if not each_once:  # the reading has told, but where it takes other signs for spaces
            raise InvalidData([Fault(None, str(base.contract.id), None, "an id stands twice")], source=str(source))
        if _stamp(source) != before:
            raise UnreadableFile(f"{source}: it has changed while it was read; score it again")
        writing.finish(left, settings.scoring_runs)
    except BaseException:
        with suppress(ChurnError):  # else the next run removes what there is of this one
            clear(store)
        raise


def _base(settings: Settings, store: "Store", source: Path) -> "tuple[BaseScorer, dict[str, Any]]":
    """What scores, and what the run's line says of it."""
    from churn.base_scoring import FEW, ONE_OF, BaseScorer, is_quick
    from churn.held_out import if_kept
    from churn.registry import Registry

    scorer = champion_scorer(settings)
    registry = Registry(settings, patient=False)
    version = registry.version(scorer.model.version)
    notes = []
    held_out, why_none = if_kept(registry, version.run_id)
    if why_none:
        notes.append(f"{why_none}: its training rows are listed with its own scores, which know them too well")
    # the version says what a row is and what it is worth; where the rows are and how they are written, the data set
    present = contracts.load(settings.contract).rows
    contract = scorer.contract.model_copy(update={"rows": present})
    scorer = replace(scorer, contract=contract)
    every = is_quick(scorer) or count_rows(source) <= FEW
    named = _in_service(settings, RECOMMENDER)  # asked before it is loaded: a newer one is then due, and not overlooked
    advice = _advice(settings, scorer, store, notes)
    base = BaseScorer(scorer, held_out, _gone(store) if contract.id else frozenset(), every, advice)
    if not base.explains:
        notes.append(f"version {version.version} carries no explainer: there are no reasons")
    elif not every:
        notes.append(
            f"version {version.version} explains slowly: one customer of {ONE_OF}, the likeliest to leave, has reasons"
        )
    for note in notes:
        log.warning("%s", note)
    facts = {
        "columns": list(contract.features),
        "bands": {band: entry.threshold for band, entry in contract.risk.items()},
        "monthly_value": contract.monthly_value,
        "currency": contract.currency,
        "months": contract.economics.months,
        "recommender": named and {"version": named.version, "run": named.run_id},
        "items": {} if advice is None else advice.labels,
        "notes": notes,
    }
    told = {"model": scorer.model.name, "version": version.version, "model_run": version.run_id, "facts": facts}
    return base, told


def _advice(settings: Settings, scorer: "Scorer", store: "Store", notes: list[str]) -> "BatchAdvice | None":
    """What recommends; None, with a note, where nothing does: the scores do not wait for that."""
    from churn.advice_jobs import advice_in_service

    try:
        advice, unknown = advice_in_service(settings, scorer, store)
    except (NoChampion, RefusedModel, NotReady) as error:
        if scorer.contract.products:
            notes.append(f"nothing is recommended: {error}")
        return None
    notes += unknown
    return advice


def _gone(store: "Store") -> frozenset[str]:
    """The customers of whom the newest outcome says that they have left."""
    from churn.customer_scores import CustomerScores

    return CustomerScores(store).gone()


def _stamp(path: Path) -> str:
    try:
        return hash_now(path)
    except OSError as error:
        raise UnreadableFile(f"{path}: {error.strerror or error}") from error


@dataclass(frozen=True)
class Due:
    """What the customer base is to be scored with: the versions in service, and a file."""

    model: str
    version: str
    model_run: str
    data_hash: str
    recommender: str = ""
    """Its version; with the next, empty where none is in service."""
    recommender_run: str = ""


def due(settings: Settings) -> Due | None:
    """What the newest whole run was not made of: another champion of either kind, or another file; None
    where it is up to date.

    Raises:
        UnreadableFile, ContractError, Unavailable, NotReady: it cannot be told.
    """
    named = _in_service(settings, CLASSIFIER)
    if named is None:
        return None
    other = _in_service(settings, RECOMMENDER)
    recommends = (other.version, other.run_id) if other else ("", "")
    wanted = Due(named.name, named.version, named.run_id, _stamp(customers_file(settings)), *recommends)
    newest = latest(settings)
    return None if newest and wanted == _made_of(newest) else wanted


def _made_of(run: "Run") -> Due:
    told = run.facts.get("recommender") or {"version": "", "run": ""}
    return Due(run.model, run.version, run.model_run, run.data_hash, told["version"], told["run"])


def _in_service(settings: Settings, kind: "Kind[Loaded]") -> peek.Named | None:
    return peek.champion(settings, kind) or _champion(settings, kind)


def _champion(settings: Settings, kind: "Kind[Loaded]") -> peek.Named | None:
    from churn.registry import Registry

    try:
        champion = Registry(settings, patient=False, kind=kind).champion()
    except NoChampion:
        return None
    return peek.Named(champion.name, champion.version, champion.run_id)


def latest(settings: Settings) -> "Run | None":
    """The newest whole run."""
    from churn.customer_scores import CustomerScores

    with _store(settings) as store:
        return CustomerScores(store).latest()


def find(settings: Settings, key: str) -> "Run | None":
    """The run of a key, if it is whole."""
    with _store(settings) as store:
        return _run(store, key)


def summary(settings: Settings, limit: int = 1) -> "list[Portfolio]":
    """What the newest runs add up to, newest first."""
    from churn.customer_scores import CustomerScores

    with _store(settings) as store:
        return CustomerScores(store).portfolio(limit)


def _run(store: "Store", key: str) -> "Run | None":
    from churn.customer_scores import RUNNING, CustomerScores

    found = CustomerScores(store).run(key)
    return None if found is None or found.state == RUNNING else found


@contextmanager
def _store(settings: Settings) -> "Iterator[Store]":
    from churn.store import Store

    store = Store(settings)
    try:
        yield store
    finally:
        store.close()


__all__ = ["Due", "customers_file", "due", "find", "latest", "score_base", "summary"]
