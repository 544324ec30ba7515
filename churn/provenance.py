"""Where a training came from: the revision of the code, the versions of the tools."""

import platform
from importlib.metadata import version
from pathlib import Path

from churn.settings import ROOT

UNKNOWN = "unknown"


def provenance(**known: str) -> dict[str, str]:
    """What is given, and what this process knows of itself, as tags of a run."""
    return {
        **known,
        "git_revision": git_revision(ROOT),
        "python": platform.python_version(),
        "scikit_learn": version("scikit-learn"),
    }


def git_revision(root: Path) -> str:
    """The commit that a checkout stands on, read from its ``.git``: an image holds that and no git."""
    folder = root / ".git"
    if folder.is_file():  # a worktree's .git names the real one
        folder = root / folder.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
    try:
        head = (folder / "HEAD").read_text(encoding="utf-8").strip()
    except OSError:
        return UNKNOWN
    if not head.startswith("ref: "):
        return head
    return _resolve(folder, head.removeprefix("ref: ")) or UNKNOWN


def _resolve(folder: Path, ref: str) -> str | None:
    common = folder / "commondir"
    shared = folder / common.read_text(encoding="utf-8").strip() if common.exists() else folder
    if (shared / ref).is_file():
        return (shared / ref).read_text(encoding="utf-8").strip()
    packed = shared / "packed-refs"
    lines = packed.read_text(encoding="utf-8").splitlines() if packed.is_file() else []
    return next((line.split()[0] for line in lines if line.endswith(f" {ref}")), None)
