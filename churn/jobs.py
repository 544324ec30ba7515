"""The steps that Airflow, the command line and the tests all call.

Steps hand each other paths and URIs, so that each can run in a process, or on a machine, of its
own: :func:`prepare` → :func:`train_candidate` (each candidate) → :func:`compare` →
:func:`register_and_promote`.
"""

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn import contract as contracts
from churn.errors import ChurnError, NoChampion, UnreadableFile
from churn.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from churn.registry import Version

KEPT_PREPARATIONS = 5
log = logging.getLogger(__name__)

Advance = Callable[[str], None]
"""Told the name of each step that is done."""


def _quietly(step: str) -> None:
    log.info("%s", step)


def training_rows(settings: Settings) -> Path:
    """The file of the training rows that the contract names."""
    return settings.contract.parent / contracts.load(settings.contract).rows.training


def fingerprint(settings: Settings, rows: Path | None = None) -> str:
    """A hash of the training rows and the contract: when it changes, a new model is due."""
    import hashlib

    from churn.data import file_hash

    both = file_hash(rows or training_rows(settings)) + file_hash(settings.contract)
    return hashlib.sha256(both.encode()).hexdigest()


def training_is_due(settings: Settings, rows: Path | None = None) -> bool:
    """Whether there is no champion, or the rows or the contract have changed since it was trained."""
    from churn.registry import Registry

    try:
        champion = Registry(settings, patient=False).champion()
    except NoChampion:
        return True
    return champion.provenance.get("fingerprint") != fingerprint(settings, rows)


def prepare(settings: Settings, run: str, rows: Path | None = None) -> Path:
    """Read and validate the training rows; returns the folder that holds them, ready to fit.

    Args:
        run: names the folder; the same name gives the same folder, made anew.
        rows: another file than the contract's.

    Raises:
        InvalidData, UnreadableFile, ContractError: the rows or the contract are at fault.
    """
    from churn.data import file_hash, read_rows, validate

    contract = contracts.load(settings.contract)
    source = rows or training_rows(settings)
    frame = validate(read_rows(source, contract.rows.format), contract, target="required", source=str(source))
    folder = settings.home / "prepared" / _safe(run)
    scratch = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    frame.to_parquet(scratch / "rows.parquet", index=False)
    shutil.copyfile(settings.contract, scratch / "contract.yaml")
    origin = {
        "source": str(source),
        "data_hash": file_hash(source),
        "contract_hash": file_hash(settings.contract),
        "fingerprint": fingerprint(settings, source),
    }
    (scratch / "origin.json").write_text(json.dumps(origin), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    scratch.rename(folder)  # whole or not at all
    _forget_old(folder.parent)
    return folder


def _safe(run: str) -> str:
    return "".join(sign if sign.isalnum() or sign in "-_" else "_" for sign in run)


def _forget_old(parent: Path) -> None:
    made = sorted(parent.glob("[!.]*"), key=lambda folder: folder.stat().st_mtime, reverse=True)
    for folder in made[KEPT_PREPARATIONS:]:
        shutil.rmtree(folder, ignore_errors=True)


def train_candidate(
    settings: Settings, prepared: Path, candidate: str, *, folds: int, seed: int, advance: Advance = _quietly
) -> str:
    """Cross-validate one candidate, fit it on all rows and log it; returns ``runs:/<id>``."""
    from churn import evaluation, registry, scoring, training

    contract, features, target, origin = _prepared(prepared)
    pipeline = training.build(candidate, contract, seed)
    per_fold = []
    for fold in training.cross_validate(pipeline, features, target, folds=folds, seed=seed):
        per_fold.append(evaluation.metrics(fold.target, fold.probability))
        advance(f"{candidate}: fold {len(per_fold)} of {folds}")
    pipeline.fit(features, target)
    advance(f"{candidate}: fitted on all {len(features):,} rows")
    return registry.Registry(settings).log_candidate(
        registry.Candidate(
            name=candidate,
            pipeline=pipeline,
            contract=contract,
            threshold=scoring.DEFAULT_THRESHOLD,
            metrics=evaluation.summary(per_fold),
            per_fold=per_fold,
            params={"candidate": candidate, "folds": folds, "seed": seed, "rows": len(features)}
            | _told_params(pipeline),
            provenance=registry.provenance(**origin),
            example=features.head(5),
        )
    )


def _prepared(folder: Path) -> tuple[contracts.Contract, "pd.DataFrame", "pd.Series[int]", dict[str, str]]:
    import pandas as pd

    from churn.data import features_and_target

    try:
        frame = pd.read_parquet(folder / "rows.parquet")
        origin = json.loads((folder / "origin.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnreadableFile(f"{folder}: not a prepared training: {error}") from error
    contract = contracts.load(folder / "contract.yaml")
    features, target = features_and_target(frame, contract)
    return contract, features, target, origin


def _told_params(pipeline: Any) -> dict[str, Any]:
    model = pipeline.named_steps["model"]
    return {"model": type(model).__name__, **model.get_params()}


def compare(settings: Settings, run_uris: Sequence[str]) -> str:
    """The URI of the better run, by :data:`churn.evaluation.CHOSEN_BY`."""
    from churn.evaluation import CHOSEN_BY
    from churn.registry import Registry

    if not run_uris:
        raise ChurnError("no candidate was trained, so there is none to choose")
    registry = Registry(settings)
    figures = {uri: registry.run_metrics(uri)[CHOSEN_BY] for uri in run_uris}
    return min(figures, key=lambda uri: figures[uri])


def register_and_promote(settings: Settings, run_uri: str) -> "Version":
    """Register the chosen run and put it into service. Safe to repeat."""
    from churn.registry import Registry

    registry = Registry(settings)
    version = registry.register(run_uri)
    registry.load(version)  # what serving would refuse is not put into service
    return registry.promote(version)


def train(settings: Settings, rows: Path | None = None, advance: Advance = _quietly) -> "Version":
    """The whole training in this process, as the command line runs it."""
    prepared = prepare(settings, "command-line", rows)
    advance("rows validated")
    uris = [
        train_candidate(settings, prepared, name, folds=settings.folds, seed=settings.seed, advance=advance)
        for name in settings.candidates
    ]
    version = register_and_promote(settings, compare(settings, uris))
    advance("registered and promoted")
    return version


def steps(settings: Settings) -> int:
    """How often :func:`train` calls ``advance``."""
    return 2 + len(settings.candidates) * (settings.folds + 1)


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
    from churn.data import checked, read_chunks

    contract = contracts.load(settings.contract)
    done = 0
    for rows, _ in checked(read_chunks(source, contract.rows.format), contract, source=str(source)):
        done += len(rows)
        yield done


def score_file(settings: Settings, source: Path, target: Path) -> Iterator[int]:
    """Score a file piece by piece; yields the rows done so far. ``target`` appears whole or not at all.

    Raises:
        InvalidData: with the faults of the whole file; nothing is written.
    """
    from churn.data import checked, read_chunks
    from churn.registry import Registry
    from churn.tables import writer

    registry = Registry(settings, patient=False)
    scorer = registry.load(registry.champion())
    form = scorer.contract.rows.format
    done = 0
    with writer(target, form) as write:
        for rows, parsed in checked(read_chunks(source, form), scorer.contract, source=str(source)):
            write(scorer.score(rows, parsed))
            done += len(rows)
            yield done
