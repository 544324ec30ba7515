"""What a version said of its own training rows while it had not seen them: by this its customers are listed.

A model knows the rows that it was fitted to too well. Each of them was left out of some fold of the
cross-validation, and what was said of it there stands beside the version's run, under a key of the row.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self
from zipfile import BadZipFile

import numpy as np

from churn.encoding import Encoded, Encoder
from churn.errors import NotReady, UnreadableFile

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from churn.preparation import Prepared
    from churn.training import OutOfFold

FILE = "held_out.npz"
_STEP, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def keys(encoded: Encoded, ids: "ArrayLike | None" = None) -> "NDArray[np.uint64]":
    """64 bits for each row, (n,), of its features and, where it has one, of its id: the same in every process.

    Of the features, since what was said of a row is said of no other: a customer who has changed
    since the training is a new row, which the model never saw, and is listed with its own score.
    Of the id, so that a customer who only equals one of the training is taken for himself.

    The mixing is SplitMix64's (Steele, Lea & Flood 2014, doi:10.1145/2714064.2660195), the hash of
    an id SipHash, as pandas has it.

    Args:
        ids: the ids as text, (n,).
    """
    import pandas as pd

    found = np.zeros(len(encoded), dtype=np.uint64)
    if ids is not None:
        found = pd.util.hash_array(
            np.array([str(one).strip() for one in np.asarray(ids)], dtype=object), categorize=False
        )
    numbers = encoded.numbers + 0.0  # -0.0 is 0.0
    numbers[np.isnan(numbers)] = np.nan  # of which there are many
    for column in (*numbers.T, *encoded.codes.T):
        found = _mixed(found ^ np.ascontiguousarray(column).view(np.uint64))
    return found


def _mixed(bits: "NDArray[np.uint64]") -> "NDArray[np.uint64]":
    bits = bits + np.uint64(_STEP)  # an array overflows without a word
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(_FIRST)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(_SECOND)
    return bits ^ (bits >> np.uint64(31))


@dataclass(frozen=True)
class HeldOut:
    """The rows of a training by their keys, (m,) in ascending order, and what was said of each, (m,)."""

    keys: "NDArray[np.uint64]"
    probability: "NDArray[np.float64]"

    @classmethod
    def none(cls) -> Self:
        """Of a version that has kept nothing of the kind."""
        return cls(np.empty(0, dtype=np.uint64), np.empty(0))

    @classmethod
    def read(cls, path: Path) -> Self:
        """What :func:`write` has written.

        Raises:
            UnreadableFile: it is broken.
        """
        try:
            with np.load(path, allow_pickle=False) as held:
                keys_, probability = held["keys"], held["probability"]
                if keys_.dtype != np.uint64 or keys_.shape != probability.shape:
                    raise ValueError("its two columns do not belong together")
                return cls(keys_, probability.astype(np.float64))
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise UnreadableFile(f"{path.name}: {error}") from error

    def replace(
        self, asked: "NDArray[np.uint64]", probability: "NDArray[np.float64]"
    ) -> "tuple[NDArray[np.float64], NDArray[np.bool_]]":
        """Probabilities, (n,), with those of training rows replaced; and which were."""
        if not len(self.keys):
            return probability, np.zeros(len(asked), dtype=bool)
        place = np.minimum(np.searchsorted(self.keys, asked), len(self.keys) - 1)
        known = self.keys[place] == asked
        return np.where(known, self.probability[place], probability), known


class Runs(Protocol):
    """Where the runs' files are, such as :class:`churn.registry.Registry`."""

    def run_file(self, run_id: str, name: str, folder: Path) -> Path: ...


def of_run(runs: Runs, run_id: str) -> HeldOut:
    """What a version's run has kept.

    Raises:
        NotReady: it has kept nothing of the kind.
        UnreadableFile: that is broken.
    """
    with tempfile.TemporaryDirectory(prefix="churn-") as scratch:
        return HeldOut.read(runs.run_file(run_id, FILE, Path(scratch)))


def if_kept(runs: Runs, run_id: str) -> tuple[HeldOut, str]:
    """The same; of a run that has kept nothing, as those of older versions, none, and why.

    Raises:
        UnreadableFile: as :func:`of_run`.
    """
    try:
        return of_run(runs, run_id), ""
    except NotReady as error:
        return HeldOut.none(), str(error)


def write(folder: Path, prepared: "Prepared", features: "pd.DataFrame", said: "OutOfFold") -> Path:
    """Write what was said of each training row while it was held out, its mean over the repeats.

    Args:
        features: the training rows, (n, columns), as ``prepared`` gives them.
        said: of the same rows.
    """
    own = keys(Encoder(prepared.contract).frame(features), prepared.ids("train"))
    each, place = np.unique(own[said.rows], return_inverse=True)  # rows that are equal share a key
    mean = np.bincount(place, weights=said.probability) / np.bincount(place)
    path = folder / FILE
    np.savez_compressed(path, keys=each, probability=mean)
    return path


__all__ = ["FILE", "HeldOut", "Runs", "if_kept", "keys", "of_run", "write"]
