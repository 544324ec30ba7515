"""The steps that Airflow, the command line and the tests all call.

Steps hand each other paths and URIs, so that each can run in a process, or on a machine, of its
own: :func:`prepare` → :func:`train_candidate` (each candidate) → :func:`compare` →
:func:`register_and_promote`.
"""

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from churn import contract as contracts
from churn.errors import ChurnError, NoChampion, UnreadableFile
from churn.settings import Settings, make_folder

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


def fingerprint(settings: Settings) -> str:
    """A hash of the contract and the rows that it names: when it changes, a new model is due."""
    return _both(_hash(training_rows(settings)), _hash(settings.contract))


def _both(data_hash: str, contract_hash: str) -> str:
    return hashlib.sha256((data_hash + contract_hash).encode()).hexdigest()


def _hash(path: Path) -> str:
    """A file's hash, taken anew only when its size or time has changed: it is asked for often."""
    seen = path.stat()
    return _hash_once(path, seen.st_size, seen.st_mtime_ns)


@lru_cache(maxsize=8)
def _hash_once(path: Path, _size: int, _changed: int) -> str:
    from churn.data import file_hash

    return file_hash(path)


def training_is_due(settings: Settings) -> bool:
    """Whether there is no champion, or the contract or its rows have changed since it was trained.

    A champion that was trained by hand on other rows stays until then.
    """
    from churn.registry import Registry

    try:
        champion = Registry(settings, patient=False).champion()
    except NoChampion:
        return True
    return champion.provenance.get("fingerprint") != fingerprint(settings)


def prepare(settings: Settings, run: str, rows: Path | None = None) -> Path:
    """Read and validate the training rows; returns the folder that holds them, ready to fit.

    Args:
        run: names the folder; the same name gives the same folder, made anew.
        rows: another file than the contract's.

    Raises:
        InvalidData, UnreadableFile, ContractError: the rows or the contract are at fault.
    """
    parent = settings.home / "prepared"
    make_folder(parent)
    scratch = Path(tempfile.mkdtemp(prefix=".", dir=parent))
    try:
        origin = _prepare(settings, rows, scratch)
        (scratch / "origin.json").write_text(json.dumps(origin), encoding="utf-8")
        folder = parent / _safe(run)
        shutil.rmtree(folder, ignore_errors=True)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    _forget_old(parent)
    return folder


def _prepare(settings: Settings, rows: Path | None, scratch: Path) -> dict[str, str]:
    """Copy first, and then hash and read the copies: what is recorded is what was trained on."""
    from churn.data import file_hash, read_rows, validate

    contract_path = _copy(settings.contract, scratch / "contract.yaml")
    contract = contracts.load(contract_path)
    source = rows or training_rows(settings)
    copy = _copy(source, scratch / f"source{source.suffix}")
    frame = validate(read_rows(copy, contract.rows.format), contract, target="required", source=str(source))
    frame.to_parquet(scratch / "rows.parquet", index=False)
    data_hash, contract_hash = file_hash(copy), file_hash(contract_path)
    copy.unlink()
    return {
        "source": str(source),
        "data_hash": data_hash,
        "contract_hash": contract_hash,
        "fingerprint": _present_fingerprint(settings) if rows else _both(data_hash, contract_hash),
    }


def _present_fingerprint(settings: Settings) -> str:
    """The contract's own rows need not be there for a training on others."""
    try:
        return fingerprint(settings)
    except OSError:
        return ""


def _copy(source: Path, target: Path) -> Path:
    try:
        return Path(shutil.copyfile(source, target))
    except OSError as error:
        raise UnreadableFile(f"{source}: {error.strerror or error}") from error


def _safe(run: str) -> str:
    return "".join(sign if sign.isalnum() or sign in "-_" else "_" for sign in run)


def _forget_old(parent: Path) -> None:
    made = []
    for folder in parent.glob("[!.]*"):
        with suppress(FileNotFoundError):  # another training forgets too
            made.append((folder.stat().st_mtime, folder))
    for _, folder in sorted(made, reverse=True)[KEPT_PREPARATIONS:]:
        shutil.rmtree(folder, ignore_errors=True)


def train_candidate(
    settings: Settings, prepared: Path, candidate: str, *, folds: int, seed: int, advance: Advance = _quietly
) -> str:
    """Cross-validate one candidate, fit it on all rows and log it; returns ``runs:/<id>``."""
    from churn import evaluation, provenance, registry, scoring, training

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
            provenance=provenance.provenance(**origin),
            example=features.head(5),
        )
    )


def _prepared(folder: Path) -> tuple[contracts.Contract, "pd.DataFrame", "pd.Series[int]", dict[str, str]]:
    from churn.data import features_and_target, read_prepared

    contract = contracts.load(folder / "contract.yaml")
    features, target = features_and_target(read_prepared(folder / "rows.parquet", contract), contract)
    try:
        origin = json.loads((folder / "origin.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnreadableFile(f"{folder}: not a prepared training: {error}") from error
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
    prepared = prepare(settings, f"command-line-{uuid4().hex[:8]}", rows)
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

    if target.exists() and source.exists() and target.samefile(source):
        raise UnreadableFile(f"{target}: this is the file that is scored; write to another")
    registry = Registry(settings, patient=False)
    scorer = registry.load(registry.champion())
    form = scorer.contract.rows.format
    done = 0
    with writer(target, form) as write:
        for rows, parsed in checked(read_chunks(source, form), scorer.contract, source=str(source)):
            write(scorer.score(rows, parsed))
            done += len(rows)
            yield done
