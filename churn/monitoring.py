"""The steps of the monitoring: look at the customers, and say whether a new model is due.

:func:`look` measures how far they have moved from the training rows, and how the version in service
has proved on outcomes; it writes down what it saw, and whether that calls for a training.
"""

import logging
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn import alarm
from churn import contract as contracts
from churn.errors import NotReady
from churn.monitoring_log import Look, calls, keep
from churn.preparation import fingerprint
from churn.settings import Settings

if TYPE_CHECKING:
    from churn.drift import Drift, Moved
    from churn.performance import Performance
    from churn.registry import Registry, Version
    from churn.scoring import Scorer
    from churn.store import Store
    from churn.truth import Known, Proved

log = logging.getLogger(__name__)

PAGE = "report.html"
_NEW_SHARE = 0.01
"""Of the training rows: so many new outcomes, and no fewer than a judgement takes, are worth another training."""


@dataclass(frozen=True)
class _Seen:
    """What a look has found."""

    rows: int
    trained_on: int
    """Rows, of the version in service."""
    drift: "Drift"
    performance: "Performance | None"


def look(settings: Settings, key: str, *, starts: bool = True) -> Look:
    """Look at the current customers and at the outcomes, and write down what there is to see: in the
    store, and with Evidently's page in MLflow.

    The current customers are the contract's ``rows.customers``, or the training rows where it names none.

    Args:
        key: names the run that looks; the same key is one look.
        starts: whether a training follows where it is called for.

    Raises:
        NoChampion: nothing is in service that could be looked at.
        NotReady: the version in service has kept no rows to hold customers against, or the contract
            has changed since it was trained.
        InvalidData, UnreadableFile: the customers' file is at fault.
    """
    from churn.data import file_hash
    from churn.registry import Registry
    from churn.store import Store

    registry = Registry(settings)
    champion = registry.champion()
    scorer = registry.load(champion)
    source = current_customers(settings, scorer.contract, champion)
    limits = alarm.Limits(settings.drift_columns, settings.performance_drop)
    with closing(Store(settings)) as store, tempfile.TemporaryDirectory(prefix="churn-") as scratch:
        page = Path(scratch) / PAGE
        outcomes = _outcomes(store, scorer.contract)
        seen = _see(settings, registry, champion, scorer, source, outcomes.proved, page)
        causes, reason = alarm.causes(seen.drift, seen.performance, limits)
        now = alarm.Circumstances(
            champion.version,
            file_hash(source),
            _material(settings),
            outcomes.joinable,
            _enough(seen.trained_on),
            registry.versions()[0].version,
        )
        at = datetime.now(UTC)
        before = alarm.again(causes, now, calls(store, but=key), at) if causes else ""
        told = _figures(seen, now, causes) | {"starts": starts}
        whole = "; ".join(filter(None, (reason, before)))
        found = Look(key, at, champion.version, now.current_hash, bool(causes) and not before, whole, "", told)
        found = replace(found, report=_log(settings, found, page, _metrics(seen)))
        keep(store, found)
    log.info("%s", found.reason)
    return found


def current_customers(settings: Settings, contract: contracts.Contract, champion: "Version") -> Path:
    """The file of the current customers, as the contract in the settings names it.

    Raises:
        NotReady: that contract asks for other rows than the version in service.
    """
    present = contracts.load(settings.contract)
    if present.row_hash != contract.row_hash:
        raise NotReady(
            f"the contract {settings.contract} asks for other rows than version {champion.version}, which is in "
            "service: nothing can be held against its training rows before a version of this contract serves"
        )
    return settings.contract.parent / (present.rows.customers or present.rows.training)


def _see(
    settings: Settings,
    registry: "Registry",
    champion: "Version",
    scorer: "Scorer",
    source: Path,
    outcomes: "Sequence[Proved]",
    page: Path,
) -> _Seen:
    from churn import drift, held_out, performance, reference, sampling

    folder = page.parent / "run"
    rows = reference.read(registry.run_file(champion.run_id, reference.FILE, folder), scorer.contract)
    held = held_out.of_run(registry, champion.run_id)
    current = sampling.scored(scorer, held, source, settings.seed)
    measured = drift.measure(
        rows,
        current,
        scorer.contract,
        column=settings.drift_distance,
        score=settings.drift_score,
        seed=settings.seed,
        report=page,
    )
    served = champion.name, champion.version
    judged = performance.judge(outcomes, served, champion.metrics, scorer.contract.economics, settings.seed)
    return _Seen(len(current), len(held.keys), measured, judged)


def _outcomes(store: "Store", contract: contracts.Contract) -> "Known":
    from churn import truth

    return truth.known(store, contract) if store.revision() is not None else truth.Known([], 0)


def _material(settings: Settings) -> str:
    """A hash of what a training would learn from now, outcomes aside."""
    try:
        return fingerprint(settings)
    except OSError:  # the training rows are away: nothing could be learned
        return ""


def _enough(trained_on: int) -> int:
    from churn.performance import FEWEST

    return max(FEWEST, round(_NEW_SHARE * trained_on))


def _figures(seen: _Seen, now: alarm.Circumstances, causes: Sequence[str]) -> dict[str, Any]:
    return {
        "rows": seen.rows,
        "against": seen.drift.against,
        "columns": {name: _moved(moved) for name, moved in seen.drift.columns.items()},
        "score": _moved(seen.drift.score),
        "performance": asdict(seen.performance) if seen.performance else None,
        "causes": list(causes),
        "material": now.material,
        "joinable": now.joinable,
        "newest": now.newest,
    }


def _moved(moved: "Moved") -> dict[str, Any]:
    return {**asdict(moved), "drifted": moved.drifted}


def _metrics(seen: _Seen) -> dict[str, float]:
    told = {f"distance/{name}": moved.distance for name, moved in seen.drift.columns.items()}
    told |= {"drifted_columns": float(len(seen.drift.drifted)), "score_distance": seen.drift.score.distance}
    if seen.performance:
        told |= {f"outcomes_{name}": value for name, value in seen.performance.figures.items()}
        told["outcomes"] = float(seen.performance.outcomes)
    return told


def _log(settings: Settings, found: Look, page: Path, metrics: dict[str, float]) -> str:
    from churn.drift_reports import DriftReports

    tags = {"model_version": found.version, "retrain": str(found.retrain).lower(), "reason": found.reason[:4_000]}
    return DriftReports(settings).log(found.key, page, metrics, found.figures, tags)


__all__ = ["PAGE", "Look", "current_customers", "look"]
