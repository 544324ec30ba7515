"""A file of numpy's arrays, read without trust: no object is unpickled, and none unpacked beyond a bound."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def read(path: Path, largest: int, holds: Callable[[set[str]], bool]) -> "dict[str, NDArray[Any]]":
    """The arrays by name.

    Args:
        largest: bytes of all arrays together, before they are unpacked.
        holds: whether a file of such a kind has arrays of these names.

    Raises:
        Exception: whatever numpy raises over a broken file.
        ValueError: it is too large, holds other arrays, or objects.
    """
    with zipfile.ZipFile(path) as file:
        size = sum(part.file_size for part in file.infolist())
    if size > largest:
        raise ValueError(f"{path.name} holds {size:,} bytes, which is more than {largest:,}")
    with np.load(path, allow_pickle=False) as file:
        if not holds(set(file.files)):
            raise ValueError(f"{path.name} holds other arrays than it should: {', '.join(sorted(file.files))[:200]}")
        return {name: file[name] for name in file.files}
