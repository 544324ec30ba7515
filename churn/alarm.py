"""When what the monitoring has seen calls for a training, and in which words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from churn.monitoring_log import Look

if TYPE_CHECKING:
    from churn.drift import Drift
    from churn.performance import Performance

SCORE, PERFORMANCE = "score", "performance"
"""What calls for a training beside the columns, which are named as the contract names them."""
PATIENCE = timedelta(hours=6)
"""How long a training that was called for may take, before it is called for again."""
_SHOWN = 5
_NOTHING = "there is nothing new to learn from"


@dataclass(frozen=True)
class Limits:
    """From where on a training is called for."""

    columns: int
    performance: float


@dataclass(frozen=True)
class Circumstances:
    """What tells whether a training that was called for before is called for again."""

    version: str
    """In service."""
    current_hash: str
    """Of the customers' file."""
    material: str
    """A hash of the contract and the training rows."""
    joinable: int
    """How many outcomes a training could learn from."""
    enough: int
    """So many new ones are worth another training for causes that called for one before."""
    newest: str
    """The number of the version that was registered last."""


def causes(drift: "Drift", performance: "Performance | None", limits: Limits) -> tuple[list[str], str]:
    """What is past its threshold, none where nothing is, and all that there is to say of it."""
    found: list[str] = []
    told = [_of_columns(drift, limits)]
    if len(drift.drifted) >= limits.columns:
        found += drift.drifted
    if drift.score.drifted:
        found.append(SCORE)
        told.append(f"the scores have moved: {drift.score}")
    if performance and (why := performance.fallen(limits.performance)):
        found.append(PERFORMANCE)
        told.append(why)
    return found, "; ".join(told)


def _of_columns(drift: "Drift", limits: Limits) -> str:
    moved = sorted(drift.drifted.values(), key=lambda one: one.distance / one.threshold, reverse=True)
    if not moved:
        furthest = max(drift.columns.values(), key=lambda one: one.distance)
        return f"no column has drifted; the furthest is {furthest}"
    shown = "; ".join(str(one) for one in moved[:_SHOWN]) + ("; …" if len(moved) > _SHOWN else "")
    few = f", fewer than the {limits.columns} that call for a training" if len(moved) < limits.columns else ""
    return f"drifted: {len(moved)} of {len(drift.columns)} columns{few}: {shown}"


def again(found: Sequence[str], now: Circumstances, calls: Sequence[Look], at: datetime) -> str:
    """Why no training is started for these causes: those before have learned what there is. Else empty.

    Other training rows, or another contract, always call again. While they are as they were at an earlier
    call, there is the more to learn, the more outcomes have come since:

    - causes that have all called before call again once :attr:`Circumstances.enough` have come, however
      many days and files go on showing them;
    - a cause that has not called since then calls at once, if there is anything new to learn from, or the
      customers or the champion are others.

    A training that was called for and has left no version behind does not count: it failed.

    Args:
        calls: the looks that called for a training, newest first.
    """
    recent = [(look, come) for look in calls if (come := _since(look, now, at)) is not None and come < now.enough]
    told = {cause for look, _ in recent for cause in look.figures.get("causes", ())}
    for look, come in recent:
        same = come == 0 and (look.current_hash, look.version) == (now.current_hash, now.version)
        if same or set(found) <= told:
            new = f"only {come:,} outcomes have come since, fewer than {now.enough:,}" if come else _NOTHING
            return f"no training is started: one was on {look.at:%Y-%m-%d %H:%M} UTC, and {new}"
    return ""


def _since(look: Look, now: Circumstances, at: datetime) -> int | None:
    """How many outcomes to learn from have come since a call; None where that does not count any more."""
    told = look.figures
    ended = str(told.get("newest")) != now.newest
    if not told.get("starts") or not (ended or at - look.at < PATIENCE) or told.get("material") != now.material:
        return None
    return max(0, now.joinable - int(told.get("joinable", 0)))
