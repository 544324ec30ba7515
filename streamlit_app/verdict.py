"""The answer about one customer: gauge, strategy, decision, what was imputed, which model."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from html import escape
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import gauge
import streamlit as st
from connection import Monitored, Serving
from fields import plain

from churn.client import Prediction, Refused
from churn.contract import Contract


@dataclass(frozen=True)
class Refusal:
    """Why a customer was not scored; ``faults`` by column."""

    reason: str
    faults: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, error: Refused) -> "Refusal":
        return cls(str(error), {fault.field: fault.message for fault in error.faults})


def draw(contract: Contract, outcome: Prediction | Refusal | None) -> None:
    """The panel's content: an answer, a refusal, or the scale alone."""
    if isinstance(outcome, Prediction):
        _prediction(contract, outcome)
    elif isinstance(outcome, Refusal):
        _refusal(contract, outcome)
    else:
        st.html(gauge.draw(contract))
        st.markdown("Describe a customer and choose **Predict**.", text_alignment="center")
        st.html(gauge.bands(contract))


def footer(now: Serving, outcome: Prediction | Refusal | None) -> None:
    """Which model answers, and whether another one has answered before it."""
    since = f" · in service since {_moment(now.since)}" if now.since else ""
    st.caption(f":material/verified: Model {plain(now.name)} · version {plain(now.version)}{since}")
    if isinstance(outcome, Prediction) and outcome.model_version != now.version:
        st.info(
            f"This answer is from version {plain(outcome.model_version)}. "
            f"Version {plain(now.version)} is in service now: choose Predict to ask it.",
            icon=":material/new_releases:",
        )


def monitored(last: Monitored | None) -> None:
    """What the monitoring has seen last, with its page; nothing before it has looked."""
    if last is None:
        return
    icon, word = ("warning", "customers have drifted") if last.moved else ("monitoring", "no drift")
    if last.calls:
        icon, word = "warning", f"{word}, a training was called for" if last.moved else "a training was called for"
    st.caption(
        f":material/{icon}: Monitoring: {word} · version {plain(last.version)} · {_moment(last.at)} · "
        f"[report]({last.report})",
        help=plain(last.reason),
    )


def _prediction(contract: Contract, told: Prediction) -> None:
    if told.customer_id is not None:
        st.markdown(f"Customer **{plain(str(told.customer_id))}**", text_alignment="center")
    st.html(gauge.draw_reading(contract, told.churn_probability, told.risk, told.threshold))
    st.html(f'<p class="action {escape(told.risk)}"><span>Next step</span>{escape(told.action)}</p>')
    if told.persona:
        st.markdown(f":material/group: Among customers like these: **{plain(told.persona)}**.")
    pays, reaches = ("pays", "reaches") if told.prediction else ("does not pay", "is below")
    st.markdown(
        f"Contacting **{pays}**: {gauge.percent(told.churn_probability)} {reaches} the decision "
        f"threshold of {gauge.percent(told.threshold)}, the line on the gauge."
    )
    if told.imputed:
        names = ", ".join(f"**{plain(_title(contract, name))}**" for name in told.imputed)
        st.markdown(f":material/auto_fix_high: Not known, so the model filled in: {names}.")
    st.html(gauge.bands(contract, told.risk))


def _refusal(contract: Contract, refusal: Refusal) -> None:
    st.error("This customer was not scored.", icon=":material/error:")
    for name, message in refusal.faults.items():
        st.markdown(f"- **{plain(_title(contract, name))}**: {plain(message)}")
    if not refusal.faults:
        st.markdown(plain(refusal.reason))


def _title(contract: Contract, name: str) -> str:
    return contract.features[name].title if name in contract.features else name or "Customer"


def _moment(iso: str) -> str:
    """An ISO 8601 moment in the time zone of the browser; in UTC where this machine knows no zones."""
    try:
        zone: tzinfo = ZoneInfo(st.context.timezone or "UTC")
    except (ValueError, ZoneInfoNotFoundError):
        zone = UTC
    return f"{datetime.fromisoformat(iso).astimezone(zone):%d %b %Y, %H:%M} ({zone})"
