"""Two sets of customers that no model is trained on, frozen by a hash of who they are.

A customer belongs to the same set in every training, today's and next year's, so that a challenger
and the champion of last month have both never seen the customers that judge between them.
"""

import hashlib
import json
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from churn.contract import Contract

Part = Literal["train", "gate", "report"]
PARTS: tuple[Part, ...] = get_args(Part)
GATE_SHARE = 0.1
REPORT_SHARE = 0.1
SPLIT = f"sha256-gate{GATE_SHARE:g}-report{REPORT_SHARE:g}"
"""Names this way of splitting. No setting: a champion and its challengers must share it."""


def assign(frame: "pd.DataFrame", contract: "Contract") -> "NDArray[np.int64]":
    """To which of :data:`PARTS` each row belongs, (n,), as its place there.

    Rows with an id go by the id; rows without one by their features, so that equal rows fall into
    the same set and none is known from its twin.

    Args:
        frame: as :func:`churn.data.validate` gives it.
    """
    place = np.array([_place(key) for key in _keys(frame, contract)])
    return np.where(place < GATE_SHARE, 1, np.where(place < GATE_SHARE + REPORT_SHARE, 2, 0)).astype(np.int64)


def _keys(frame: "pd.DataFrame", contract: "Contract") -> list[str]:
    if contract.id and contract.id in frame:
        return [str(value).strip() for value in frame[contract.id]]
    columns = [frame[name].tolist() for name in contract.features]
    return [json.dumps(row) for row in zip(*columns, strict=True)]


def _place(key: str) -> float:
    """Where a key falls, evenly, between 0 and 1."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
