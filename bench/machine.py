"""What the figures were measured on."""

import os
import platform
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from churn.provenance import git_revision
from churn.settings import ROOT

LIBRARIES = ("flask", "gunicorn", "lightgbm", "mlflow", "numpy", "onnxruntime", "pandas", "pyarrow", "scikit-learn")


def description() -> dict[str, str]:
    """Names and values, for people."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "Date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "CPU": _cpu(),
        "Cores": str(os.cpu_count()),
        "Memory": f"{pages / 2**30:.1f} GiB",
        "Kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Load before": f"{os.getloadavg()[0]:.2f} (1 minute)",
        "Python": platform.python_version(),
        "Libraries": ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
        "Revision": git_revision(ROOT)[:12] + _uncommitted(),
    }


def _cpu() -> str:
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next(_models(told), platform.processor() or "unknown")


def _models(lines: list[str]) -> Iterator[str]:
    return (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))


def _uncommitted() -> str:
    try:
        told = subprocess.run(
            ["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    return " with uncommitted changes" if told.strip() else ""
