"""The jobs over a whole file: counted, held against the contract, scored with the version in service."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from churn import contract as contracts
from churn.errors import NotReady, RefusedModel, UnreadableFile
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

    if target.exists() and source.exists() and target.samefile(source):
        raise UnreadableFile(f"{target}: this is the file that is scored; write to another")
    return batch.score_file(champion_scorer(settings), source, target)


def champion_scorer(settings: Settings) -> "Scorer":
    """The version in service: this machine's copy, where it has one that is the registry's champion.

    Raises:
        NoChampion, RefusedModel, Unavailable: as :class:`churn.registry.Registry`.
    """
    from churn import peek
    from churn.shelf import Shelf

    shelf = Shelf(settings.home)
    if named := peek.champion(settings):
        with suppress(FileNotFoundError, RefusedModel):  # the registry says what is wrong with it
            return shelf.load(named)
    from churn.registry import Registry

    registry = Registry(settings, patient=False)
    champion = registry.champion()
    try:
        with shelf.locked():
            shelf.fetch(registry, champion)
            shelf.prune(shelf.read(), champion)
            return shelf.load(champion)
    except NotReady as error:  # a home that cannot be written keeps no copy
        log.info("%s", error)
        return registry.load(champion)
