"""What a page says while no model can answer: training under way, training failed, API down or closed to it."""

import connection
import streamlit as st
from fields import plain

from churn.client import TrainingProgress

_STATES = {
    "queued": "Waiting for its turn",
    "running": "Under way",
    "success": "Finished; the model is being loaded",
}


_SHUT_OUT = {
    401: (
        ":material/key_off: The web app's key is not accepted",
        "It sends the key in the file that `CHURN_API_KEY_FILE` names, and reads it again by itself once another "
        "stands there. A new start of the stack makes one.",
    ),
    403: (
        ":material/lock: The scope of the web app's key is too small",
        "Give it one of a larger scope (`churn keys`), in the file that `CHURN_API_KEY_FILE` names.",
    ),
    429: (
        ":material/hourglass_bottom: Too many requests",
        "All who use this page share its key, which has been used more often than `CHURN_RATE_LIMIT` lets it. "
        "This page comes back by itself.",
    ),
}


def draw(now: connection.Down | connection.ShutOut | connection.Waiting) -> None:
    """The card for the state. It is drawn again and again, until there is a model."""
    if isinstance(now, connection.Down):
        _down(now)
    elif isinstance(now, connection.ShutOut):
        _shut_out(now)
    elif now.training is None:
        _no_training(now)
    elif now.training.state == "failed":
        _failed(now, now.training)
    else:
        _training(now, now.training)


def _down(now: connection.Down) -> None:
    st.subheader(":material/cloud_off: The service does not answer", anchor=False)
    st.markdown(
        f"{_sentence(now.reason)}\n\nStart it in the project's folder with `make up`, or with "
        "`docker compose up` where you use Docker. This page comes back by itself."
    )
    st.button("Try again", icon=":material/refresh:", on_click=connection.status.clear, key="retry")


def _shut_out(now: connection.ShutOut) -> None:
    title, words = _SHUT_OUT[now.status]
    st.subheader(title, anchor=False)
    st.markdown(words)
    _why(now)


def _no_training(now: connection.Waiting) -> None:
    st.subheader(":material/hourglass_top: No model yet", anchor=False)
    st.markdown(
        "The first training has not begun, or its progress cannot be seen right now. "
        "This page turns into the working one as soon as a model serves."
    )
    _why(now)


def _training(now: connection.Waiting, run: TrainingProgress) -> None:
    st.subheader(":material/model_training: The first model is being trained", anchor=False)
    share = min(run.done / run.total, 1.0) if run.total else 0.0
    steps = f"{run.done} of {run.total} steps done" if run.total else "preparing"
    st.progress(share, text=f"{_STATES.get(run.state, plain(run.state))} · {steps}")
    st.markdown(
        "It takes a few minutes. You can fill in the form meanwhile: "
        "nothing is lost, and Predict opens as soon as the model serves."
    )
    if run.state == "success":  # trained, and still not served: only the service knows why
        _why(now)
    _airflow(run, "Follow it in Airflow")


def _failed(now: connection.Waiting, run: TrainingProgress) -> None:
    st.subheader(":material/error: The training has failed", anchor=False)
    st.markdown(
        f"{run.done} of {run.total} steps ended before it stopped, so there is no model to ask. "
        "The run's log in Airflow says why; start it again there once that is mended."
    )
    _why(now)
    _airflow(run, "See why in Airflow")


def _airflow(run: TrainingProgress, words: str) -> None:
    if run.url:
        st.link_button(words, run.url, icon=":material/open_in_new:")


def _why(now: connection.Waiting | connection.ShutOut) -> None:
    if now.reason:
        st.caption(f"The service says: {plain(now.reason)}")


def _sentence(text: str) -> str:
    return plain(text[:1].upper() + text[1:].rstrip(".")) + "."
