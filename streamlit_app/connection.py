"""What the pages know of the API: whether it answers, which model serves, what a customer row is."""

from dataclasses import dataclass

import streamlit as st

from churn.client import NOT_LET_IN, Client, Refused, TrainingProgress
from churn.contract import Contract
from churn.errors import ChurnError

_KNOWN = "contract"


@dataclass(frozen=True)
class Down:
    """The API does not answer, or not as it should."""

    reason: str


@dataclass(frozen=True)
class ShutOut:
    """The API answers, and does not let this app in: by its HTTP status, on account of its key."""

    status: int
    reason: str


@dataclass(frozen=True)
class Waiting:
    """The API answers and has no model to serve; ``training`` is the newest run, if one is known."""

    reason: str
    training: TrainingProgress | None


@dataclass(frozen=True)
class Serving:
    """A champion serves. ``since`` is ISO 8601."""

    name: str
    version: str
    since: str


@dataclass(frozen=True)
class Monitored:
    """What the monitoring has seen last. ``at`` is ISO 8601, ``report`` an address in MLflow's pages."""

    at: str
    version: str
    moved: bool
    """Whether any column or the scores are past their threshold."""
    calls: bool
    """Whether that has called for a training."""
    reason: str
    report: str


Status = Down | ShutOut | Waiting | Serving


@st.cache_resource(show_spinner=False)
def client() -> Client:
    """One client for all sessions: its connections are kept open and are safe to share."""
    return Client.from_settings()


# A moment's cache, so that a hundred open pages ask the API no more often than one.
@st.cache_data(ttl=2, show_spinner=False)
def status() -> Status:
    """What the API can do right now."""
    try:
        api = client()
        readiness = api.readiness()
        champion = next(iter(api.models()), None) if readiness.ready else None
        if champion is None:
            return Waiting(readiness.detail, api.training())
        return Serving(champion["name"], str(champion["version"]), champion.get("since", ""))
    except ChurnError as error:
        return _trouble(error)


# It looks once a day.
@st.cache_data(ttl=30, show_spinner=False)
def monitored() -> Monitored | None:
    """The last look at the customers; None before the first, and where the API does not tell."""
    try:
        last = next(iter(client().monitoring()), None)
    except ChurnError:
        return None
    if last is None:
        return None
    moved = any(one["drifted"] for one in [*last["columns"].values(), last["score"]])
    return Monitored(last["at"], str(last["version"]), moved, last["retrain"], last["reason"], last["report"])


def _trouble(error: ChurnError) -> Down | ShutOut:
    if isinstance(error, Refused) and error.status in NOT_LET_IN:
        return ShutOut(error.status, str(error))
    return Down(str(error))


def look() -> tuple[Status, Contract | None]:
    """The status with the contract in force. While the API does not answer, or not to us, that is the
    contract which this session saw last, so that a form half filled in stays on the page; None if it
    never saw one."""
    now = status()
    if not isinstance(now, Down | ShutOut):
        try:
            st.session_state[_KNOWN] = _contract_of(now.version if isinstance(now, Serving) else "")
        except ChurnError as error:
            now = _trouble(error)
    known: Contract | None = st.session_state.get(_KNOWN)
    return now, known


# A contract belongs to a model version: a new version brings its own at once.
@st.cache_resource(ttl=30, max_entries=4, show_spinner=False)
def _contract_of(version: str) -> Contract:  # noqa: ARG001 (the key of the cache)
    return client().contract()
