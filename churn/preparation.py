"""The rows of a training: read, validated and split once, in a folder that every step reads."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from churn import contract as contracts
from churn import truth
from churn.errors import Fault, InvalidData, UnreadableFile
from churn.settings import Settings, make_folder

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from churn.splits import Part

KEPT = 5
_ORIGIN = "origin.json"
OWN_ROWS = "the contract's"


@dataclass(frozen=True)
class Prepared:
    """The validated rows of a training, and where they came from."""

    contract: contracts.Contract
    origin: dict[str, str]
    frame: "pd.DataFrame"

    def rows(self, part: "Part") -> tuple["pd.DataFrame", "pd.Series[int]"]:
        """The raw features (n, columns) and the target (n,) of one part of the rows."""
        from churn.data import features_and_target

        return features_and_target(self._part(part), self.contract)

    def ids(self, part: "Part") -> "NDArray[np.object_] | None":
        """The ids of the same rows as text, (n,); None where the contract names none."""
        name = self.contract.id
        if not name or name not in self.frame:
            return None
        return self._part(part)[name].map(lambda one: str(one).strip()).to_numpy(dtype=object)

    def _part(self, part: "Part") -> "pd.DataFrame":
        from churn.splits import PARTS, assign

        chosen: pd.DataFrame = self.frame[assign(self.frame, self.contract) == PARTS.index(part)]
        return chosen


def training_rows(settings: Settings) -> Path:
    """The file of the training rows that the contract names."""
    return settings.contract.parent / contracts.load(settings.contract).rows.training


def fingerprint(settings: Settings) -> str:
    """A hash of the contract and the rows that it names: when it changes, a new model is due.

    Outcomes are not of it. They join whatever training comes next; one training for each would never end.
    """
    return _both(hash_now(training_rows(settings)), hash_now(settings.contract))


def _both(data_hash: str, contract_hash: str) -> str:
    return hashlib.sha256((data_hash + contract_hash).encode()).hexdigest()


def hash_now(path: Path) -> str:
    """A file's hash, taken anew only when its size or time has changed: it is asked for often."""
    seen = path.stat()
    return _hash_once(path, seen.st_size, seen.st_mtime_ns)


@lru_cache(maxsize=8)
def _hash_once(path: Path, _size: int, _changed: int) -> str:
    from churn.data import file_hash

    return file_hash(path)


def prepare(settings: Settings, run: str, rows: Path | None = None) -> Path:
    """Read and validate the training rows; returns the folder that holds them, ready to fit.

    Args:
        run: names the folder; the same name gives the same folder, made anew.
        rows: another file than the contract's.

    Raises:
        InvalidData, UnreadableFile, ContractError: the rows or the contract are at fault.
        Unavailable, NotReady: the store does not say what has become of customers.
    """
    parent = settings.home / "prepared"
    make_folder(parent)
    scratch = Path(tempfile.mkdtemp(prefix=".", dir=parent))
    try:
        origin = _prepare(settings, rows, scratch)
        (scratch / _ORIGIN).write_text(json.dumps(origin), encoding="utf-8")
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
    from churn.splits import SPLIT

    contract_path = _copy(settings.contract, scratch / "contract.yaml")
    contract = contracts.load(contract_path)
    source = rows or training_rows(settings)
    copy = _copy(source, scratch / f"source{source.suffix}")
    frame = validate(read_rows(copy, contract.rows.format), contract, target="required", source=str(source))
    frame, joined = truth.join(frame, contract, [] if rows else _outcomes(settings, contract))
    frame.to_parquet(scratch / "rows.parquet", index=False)
    data_hash, contract_hash = file_hash(copy), file_hash(contract_path)
    copy.unlink()
    return {
        "source": str(source),
        "data_hash": data_hash,
        "contract_hash": contract_hash,
        "row_hash": contract.row_hash,
        "fingerprint": _present_fingerprint(settings) if rows else _both(data_hash, contract_hash),
        "split": SPLIT,
        "rows": "other" if rows else OWN_ROWS,
        **joined,
    }


def _outcomes(settings: Settings, contract: contracts.Contract) -> "Iterable[truth.Kept]":
    """What has become of customers, which joins the contract's own rows. A file that somebody names is
    trained on as it is."""
    return truth.kept(settings) if contract.id else []


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
    for _, folder in sorted(made, reverse=True)[KEPT:]:
        shutil.rmtree(folder, ignore_errors=True)


def load(folder: Path) -> Prepared:
    """What :func:`prepare` has left in a folder.

    Raises:
        UnreadableFile: it is missing or broken.
        InvalidData: a class has no rows, so that there is nothing to learn.
    """
    from churn.data import read_prepared

    contract = contracts.load(folder / "contract.yaml")
    frame = read_prepared(folder / "rows.parquet", contract)
    try:
        origin = json.loads((folder / _ORIGIN).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnreadableFile(f"{folder}: not a prepared training: {error}") from error
    if frame[contract.target.column].nunique() < 2:
        raise InvalidData(
            [Fault(None, contract.target.column, None, "every row says the same; there is nothing to learn")]
        )
    return Prepared(contract, origin, frame)
