"""Will this customer stay? A form for one customer beside what the model says of them."""

import connection
import streamlit as st
import verdict
import waiting
from connection import Serving, Status
from fields import plain
from form import Form
from verdict import Refusal

from churn.client import Prediction, Refused
from churn.contract import Contract
from churn.errors import Unavailable

_OUTCOME = "outcome"
_SEEN = "version"
# Seconds between two looks at the service. While it serves, what can change is the version.
_SERVING, _NOT_SERVING = 5, 2


def main() -> None:
    now, contract = connection.look()
    if contract is None:
        with st.container(width=640):
            _heading(None)
            _follow(now, None)
        return
    left, right = st.columns([2, 1], gap="large")
    with left:
        _heading(contract)
        _form(contract, now)
    with right:
        _follow(now, contract)


def _heading(contract: Contract | None) -> None:
    with st.container(key="heading" if contract else None, gap="xsmall"):
        st.title("Will this customer stay?", anchor=False)
        if contract:
            st.caption(plain(contract.title or contract.name))


def _form(contract: Contract, now: Status) -> None:
    form = Form(contract)
    outcome = _outcome(contract)
    faults = outcome.faults if isinstance(outcome, Refusal) else {}
    form.draw(faults, lambda: _ask(form), ready=isinstance(now, Serving))


def _ask(form: Form) -> None:
    """Score what the form holds. What comes of it stays with the session, for every drawing."""
    outcome: Prediction | Refusal
    try:
        outcome = connection.client().predict(form.customer())
    except Refused as error:
        outcome = Refusal.of(error)
    except Unavailable as error:
        outcome = Refusal(str(error))
    if isinstance(outcome, Refusal):
        connection.status.clear()  # perhaps there is no model any more: look at once
    st.session_state[_OUTCOME] = form.contract, outcome


def _outcome(contract: Contract | None) -> Prediction | Refusal | None:
    """The session's last answer, unless it was given under another contract."""
    asked, outcome = st.session_state.get(_OUTCOME, (None, None))
    return outcome if asked == contract else None


def _follow(drawn: Status, contract: Contract | None) -> None:
    """The panel, drawn again every few seconds without touching the form."""
    every = _SERVING if isinstance(drawn, Serving) else _NOT_SERVING
    st.fragment(run_every=every)(_panel)(drawn, contract)


def _panel(drawn: Status, contract: Contract | None) -> None:
    now, _ = connection.look()
    if _changed(drawn, now):
        st.rerun()
    _announce(now)
    outcome = _outcome(contract)
    with st.container(border=True, key="panel"):
        if not isinstance(now, Serving):
            waiting.draw(now)
        elif contract:
            verdict.draw(contract, outcome)
    if isinstance(now, Serving):
        verdict.footer(now, outcome)
        verdict.monitored(connection.monitored())


def _changed(drawn: Status, now: Status) -> bool:
    """Whether the page outside the panel has to be drawn anew: form, button, or contract."""
    if isinstance(now, Serving):
        return drawn != now
    return type(drawn) is not type(now)


def _announce(now: Status) -> None:
    """Say once that another version has come into service."""
    if isinstance(now, Serving):
        before = st.session_state.get(_SEEN)
        st.session_state[_SEEN] = now.version
        if before not in (None, now.version):
            st.toast(f"Version {now.version} is in service now", icon=":material/new_releases:")


main()
