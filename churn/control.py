"""The control group: a fixed share of the customers to whom nothing is recommended.

What a recommendation does can be told later only by customers who got none and were chosen by chance.
Who is one of them follows from a hash of the contract's name and the customer's id, so that it is
the same in the API, in a batch and in the pipeline, on every machine and after every training. Whoever
is in a group of a share is in that of a larger one.
"""

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from churn.contract import Contract

_BYTES = 8
_ALL = 1 << (8 * _BYTES)


def in_control(contract: "Contract", customer_id: object) -> bool:
    """Whether nothing is recommended to a customer. Of whom no id is known nobody is."""
    return contract.id is not None and _draws(contract, [customer_id])[0] < _bound(contract)


def control_mask(contract: "Contract", ids: Iterable[object]) -> "np.ndarray[Any, Any]":
    """Which customers are in the control group, bool (n,), as :func:`in_control` says of each.

    Args:
        ids: of n customers, texts or whole numbers; None where one is not known.
    """
    import numpy as np

    if contract.id is None:
        return np.zeros(sum(1 for _ in ids), dtype=bool)
    return np.array(_draws(contract, ids), dtype=np.uint64) < np.uint64(_bound(contract))


def _bound(contract: "Contract") -> int:
    return int(contract.recommendation.control * _ALL)


def _draws(contract: "Contract", ids: Iterable[object]) -> list[int]:
    """A number from 0 to 2^64 - 1 for each customer, the largest where no id is known."""
    begun = hashlib.sha256(f"{contract.name}\n".encode())
    found = []
    for one in ids:
        told = "" if one is None else str(one).strip()
        drawn = begun.copy()
        drawn.update(told.encode(errors="surrogatepass"))
        found.append(int.from_bytes(drawn.digest()[:_BYTES]) if told else _ALL - 1)
    return found


__all__ = ["control_mask", "in_control"]
