"""What drift is measured against: some of a version's training rows, with what was said of each while held out."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from churn.errors import UnreadableFile

if TYPE_CHECKING:
    import pandas as pd

    from churn.contract import Contract
    from churn.preparation import Prepared
    from churn.training import OutOfFold

FILE = "reference.parquet"
MOST_ROWS = 5_000
SCORE = "churn_probability"
"""The column of the score. A contract has no column of this name."""


def write(folder: Path, prepared: "Prepared", features: "pd.DataFrame", said: "OutOfFold", seed: int) -> Path:
    """Write at most :data:`MOST_ROWS` training rows, drawn at random: the features, the target (0 and
    1), and the mean of what was said of the row out of fold.

    Args:
        features: the training rows, (n, columns), as ``prepared`` gives them.
        said: of the same rows.
    """
    target = prepared.contract.target.column
    count = np.bincount(said.rows, minlength=len(features))
    total = np.bincount(said.rows, weights=said.probability, minlength=len(features))
    rows = features.assign(**{target: prepared.frame.loc[features.index, target]})
    rows[SCORE] = total / count
    path = folder / FILE
    rows.sample(min(MOST_ROWS, len(rows)), random_state=seed).to_parquet(path, index=False)
    return path


def read(path: Path, contract: "Contract") -> "pd.DataFrame":
    """What :func:`write` has written, in the types that :func:`churn.data.validate` gives.

    Raises:
        UnreadableFile: it is broken, or was written under another contract.
    """
    from churn.data import read_prepared, read_rows

    try:
        rows = read_prepared(path, contract)
        scores = read_rows(path, contract.rows.format)[SCORE].astype("float64")
        return rows[[*contract.features, contract.target.column]].assign(**{SCORE: scores})
    except (KeyError, ValueError) as error:
        raise UnreadableFile(f"{path.name}: not the reference of these rows: {error}") from error
