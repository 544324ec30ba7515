"""``python -m bench``: measure serving, batch, the scored base, explanations and recommendations.

What was seen is written. A full run takes about half an hour, `--only explaining` about two minutes; it
starts its own servers in a temporary folder, and wants a quiet machine.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from bench import base, batch, explaining, machine, recommending, report, serving

PARTS = {"serving": serving, "batch": batch, "base": base, "explaining": explaining, "recommending": recommending}
RESULTS = Path(__file__).with_name("RESULTS.md")


def main(arguments: list[str]) -> int:
    """Exit status 1 where a bar is missed and ``--strict`` was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="does the bench run? its figures say little")
    parser.add_argument("--strict", action="store_true", help="exit status 1 if a bar is missed")
    parser.add_argument("--only", choices=PARTS, help="one part; the others stay as they are")
    parser.add_argument("--output", type=Path, help="where the report goes; bench/RESULTS.md, if it is no quick run")
    asked = parser.parse_args(arguments)
    # MLflow reads these when it is imported
    os.environ.update(MLFLOW_LOGGING_LEVEL="WARNING", MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR="false")
    halves, missed = [], False
    with tempfile.TemporaryDirectory(prefix="churn-bench-") as scratch:
        for name, part in PARTS.items():
            if asked.only in (None, name):
                folder = Path(scratch) / name
                folder.mkdir()
                found = machine.description()
                section = part.run(folder, part.QUICK if asked.quick else part.Effort(), _say)
                halves.append(report.markdown(found, section))
                missed = missed or any(not bar.met for bar in section.bars)
    # a quick run does not take the place of a full one unasked
    if target := asked.output or (None if asked.quick else RESULTS):
        present = target.read_text(encoding="utf-8") if target.exists() else ""
        target.write_text(report.merged(present, halves), encoding="utf-8")
    print("\n".join(halves))
    return int(asked.strict and missed)


def _say(what: str) -> None:
    print(f"bench: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
