"""Recommending to many customers with the versions in service: a whole file, or the scored base."""

import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from churn import file_jobs
from churn.errors import NotReady, Unavailable
from churn.kinds import RECOMMENDER
from churn.settings import Settings

if TYPE_CHECKING:
    from churn.batch_advice import BatchAdvice
    from churn.interactions import Counts, Known
    from churn.scoring import Scorer
    from churn.store import Store

log = logging.getLogger(__name__)


def recommend_file(settings: Settings, source: Path, target: Path, k: int = 3) -> Iterator[int]:
    """Write the best ``k`` recommendations for each row of a file; yields the rows done so far.
    ``target`` appears whole or not at all.

    What customers have refused or accepted lately is left out, as far as the store answers; else that is logged.

    Raises:
        InvalidData: with the faults of the whole file; nothing is written.
        NoChampion, RefusedModel, Unavailable: as :func:`churn.file_jobs.champion`.
        NotReady: the recommender takes other rows than the classifier.
    """
    from churn import batch, recommend_batch
    from churn.store import Store

    batch.refuse_onto_itself(source, target)  # before models are loaded for it
    scorer = file_jobs.champion_scorer(settings)
    with closing(Store(settings)) as store:
        advice, notes = advice_in_service(settings, scorer, store)
    for note in notes:
        log.warning("%s", note)
    return recommend_batch.recommend_file(advice, scorer, source, target, k)


def advice_in_service(settings: Settings, scorer: "Scorer", store: "Store") -> "tuple[BatchAdvice, list[str]]":
    """What ranks by the recommender in service; and notes of what it does not know.

    Args:
        scorer: the classifier in service.
        store: holds what customers said to earlier recommendations; a note says so where it does not answer.

    Raises:
        NoChampion, RefusedModel, Unavailable: as :func:`churn.file_jobs.champion`.
        NotReady: the recommender takes other rows than the classifier.
    """
    from churn import interactions
    from churn.advice import Advice
    from churn.batch_advice import BatchAdvice

    recommender = file_jobs.champion(settings, RECOMMENDER)
    counts: dict[str, Counts] = {}
    known: dict[str, Known] = {}
    notes = []
    # each by itself: counts that take too long are no reason to offer anybody what he has refused
    try:
        known = interactions.all_known(store, interactions.held_back_since(settings))
    except (Unavailable, NotReady) as error:
        notes.append(f"{error}: what customers have refused or accepted is not known, and may be recommended to them")
    try:
        counts = interactions.offer_counts(store, recommender.contract.offers)
    except (Unavailable, NotReady) as error:
        notes.append(f"{error}: what became of offers is left out of account, and the contract's acceptance counts")
    held_back = {customer: answers.refused | answers.accepted for customer, answers in known.items()}
    return BatchAdvice(Advice(recommender, scorer, counts), held_back), notes


__all__ = ["advice_in_service", "recommend_file"]
