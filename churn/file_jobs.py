"""The jobs over a whole file: counted, held against the contract, scored with the version in service."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from churn import contract as contracts
from churn.errors import NotReady, RefusedModel
from churn.kinds import CLASSIFIER, Kind, Model
from churn.settings import Settings

if TYPE_CHECKING:
    from churn.scoring import Scorer

log = logging.getLogger(__name__)


def count_rows(source: Path) -> int:
    """About how many rows a file has, quickly: lines of a CSV file, the footer of a Parquet file."""
    from churn.reading import is_parquet

    try:
        if is_parquet(source):
            from pyarrow.parquet import read_metadata

            return int(read_metadata(source).num_rows)
        with source.open("rb") as handle:
            return sum(block.count(b"\n") for block in iter(lambda: handle.read(1 << 20), b""))
    except (OSError, ValueError):  # reading it in earnest says what is wrong with it
        return 0


def validate_file(settings: Settings, source: Path) -> Iterator[int]:
    """Hold a file against the contract in the settings, piece by piece; yields the rows done so far.

    Raises:
        InvalidData: with the faults of the whole file.
    """
    from churn import batch

    return batch.validate_file(contracts.load(settings.contract), source)


def score_file(settings: Settings, source: Path, target: Path) -> Iterator[int]:
    """Score a file piece by piece with the champion; yields the rows done so far. ``target``
    appears whole or not at all.

    Raises:
        InvalidData: with the faults of the whole file; nothing is written.
    """
    from churn import batch

    batch.refuse_onto_itself(source, target)  # before a model is loaded for it
    return batch.score_file(champion_scorer(settings), source, target)


def champion_scorer(settings: Settings) -> "Scorer":
    """The classifier in service, as :func:`champion` finds it."""
    return champion(settings, CLASSIFIER)


def champion(settings: Settings, kind: Kind[Model]) -> Model:
    """The version in service: this machine's copy, where it has one that is the registry's champion.

    Raises:
        NoChampion, RefusedModel, Unavailable: as :class:`churn.registry.Registry`.
    """
    from churn import peek
    from churn.shelf import Shelf

    shelf = Shelf(settings.home, kind)
    if named := peek.champion(settings, kind):
        with suppress(FileNotFoundError, RefusedModel):  # the registry says what is wrong with it
            return shelf.load(named)
    from churn.registry import Registry

    registry = Registry(settings, patient=False, kind=kind)
    found = registry.champion()
    try:
        with shelf.locked():
            shelf.fetch(registry, found)
            shelf.prune(shelf.read(), found)
            return shelf.load(found)
    except NotReady as error:  # a home that cannot be written keeps no copy
        log.info("%s", error)
        return registry.load(found)
