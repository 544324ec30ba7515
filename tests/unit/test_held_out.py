"""What a version's run has kept of its training rows, and a run that has kept nothing."""

from pathlib import Path

import numpy as np
import pytest

from churn.errors import NotReady, UnreadableFile
from churn.held_out import FILE, if_kept, of_run


class Runs:
    """One run, which has kept one file or none."""

    def __init__(self, content: bytes | None) -> None:
        self.content = content

    def run_file(self, run_id: str, name: str, folder: Path) -> Path:
        if self.content is None:
            raise NotReady(f"the run {run_id} has no {name}")
        (folder / name).write_bytes(self.content)
        return folder / name


def test_what_was_kept_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / FILE, keys=np.array([3, 7], dtype=np.uint64), probability=np.array([0.2, 0.4]))
    runs = Runs((tmp_path / FILE).read_bytes())
    held, why_none = if_kept(runs, "one")
    assert (held.keys.tolist(), held.probability.tolist(), why_none) == ([3, 7], [0.2, 0.4], "")
    assert of_run(runs, "one").keys.tolist() == [3, 7]


def test_a_run_that_has_kept_nothing_is_told_apart_from_a_broken_file() -> None:
    held, why_none = if_kept(Runs(None), "one")
    assert (len(held.keys), why_none) == (0, f"the run one has no {FILE}")
    with pytest.raises(NotReady):
        of_run(Runs(None), "one")
    for ask in (of_run, if_kept):
        with pytest.raises(UnreadableFile):
            ask(Runs(b"torn"), "one")
