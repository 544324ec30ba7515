"""What the platform's DAGs share: how each runs, and what an error of a step means to Airflow."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from airflow.sdk import dag
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from churn.errors import ChurnError, InvalidData, Unavailable

Errors = tuple[type[ChurnError], ...]

pipeline = partial(dag, catchup=False, max_active_runs=1, is_paused_upon_creation=False, tags=["churn"])
"""Airflow's ``dag`` as ours use it: one run at a time, on from the first start. By its tag the API knows it."""


@contextmanager
def told(*, passing: Errors = (), idle: Errors = ()) -> Iterator[None]:
    """Fail at once by what stays wrong however often one tries, such as wrong rows.

    Args:
        passing: errors that pass by themselves, beside an outage of another service: they are tried again.
        idle: errors by which nothing is to do; the task is skipped.
    """
    try:
        yield
    except (Unavailable, *passing):
        raise
    except idle as error:
        raise AirflowSkipException(str(error)) from error
    except InvalidData as error:
        raise AirflowFailException(error.report()) from error
    except ChurnError as error:
        raise AirflowFailException(str(error)) from error
