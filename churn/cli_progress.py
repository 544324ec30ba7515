"""What every command of ``churn`` shows while it works."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar


@contextmanager
def progress(label: str, length: int, unit: str = "") -> Iterator[Callable[..., None]]:
    """A progress bar on standard error, so that standard output stays for answers."""
    shown: dict[str, str] = {"step": unit}
    bar: ProgressBar[int]
    with click.progressbar(
        length=length, label=label, file=sys.stderr, show_pos=True, item_show_func=lambda _: shown["step"]
    ) as bar:

        def advance(step: str = "", count: int = 1) -> None:
            shown["step"] = step or shown["step"]
            bar.update(count)

        bar.render_progress()
        yield advance


def follow(label: str, length: int, counts: Iterator[int]) -> int:
    """Show how far a file is done; returns the number of its rows."""
    done = 0
    with progress(label, length, unit="rows") as advance:
        for now in counts:
            advance("", now - done)
            done = now
    return done


def hush_mlflow() -> None:
    """MLflow tells of every migration and upload at level INFO; it reads this when imported."""
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


__all__ = ["follow", "hush_mlflow", "progress"]
