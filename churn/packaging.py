"""What a registered version carries besides its pipeline. :func:`churn.scoring.load_scorer` reads it."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn import combinations, explaining, parity
from churn import contract as contracts
from churn.compiled import FILE as COMPILED_FILE
from churn.compiled import Compiled
from churn.compiling import NotCompilable, compile_pipeline
from churn.encoding import Encoded, Encoder, customers
from churn.scoring import CHECK_FILE, CONTRACT_FILE, DECISION_FILE, PipelineSource

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

CHECKED_ROWS = 100
log = logging.getLogger(__name__)


def write_parts(
    folder: Path,
    pipeline: "Pipeline",
    contract: contracts.Contract,
    features: "pd.DataFrame",
    *,
    threshold: float,
    told: Mapping[str, Any],
    seed: int,
) -> list[Path]:
    """Write contract, decision, compiled scorer, explainer and check rows into a folder; returns their paths.

    The compiled scorer is held against the pipeline on all of ``features`` (n, columns), the rows
    that it was trained on, and on :data:`churn.parity.JITTERED` made-up ones. Where it cannot be
    made, or differs, the version says so and carries none: it is served by its pipeline. The same
    holds of the explainer, without which it explains nothing.

    Args:
        told: more for the decision file, such as metrics and provenance.
    """
    encoder = Encoder(contract)
    rows = encoder.frame(features)
    made_up = parity.jitter(rows, encoder, parity.JITTERED, seed)
    outcome = _compile(folder / COMPILED_FILE, pipeline, contract, [rows, made_up])
    outcome |= explaining.write_parts(folder, pipeline, contract, rows, seed)
    combinations.write(folder / combinations.FILE, contract, rows)
    (folder / CONTRACT_FILE).write_text(contracts.dump(contract), encoding="utf-8")
    decision = {"threshold": threshold, **outcome, **told}
    (folder / DECISION_FILE).write_text(json.dumps(decision, indent=2), encoding="utf-8")
    # made-up rows, so that no customer travels with the model
    checked = made_up.at(slice(CHECKED_ROWS))
    check = {
        "customers": customers(checked, encoder),
        "churn_probability": PipelineSource(pipeline, encoder).probabilities(checked).tolist(),
    }
    (folder / CHECK_FILE).write_text(json.dumps(check), encoding="utf-8")
    return sorted(folder.iterdir())


def _compile(path: Path, pipeline: "Pipeline", contract: contracts.Contract, rows: list[Encoded]) -> dict[str, Any]:
    slow = PipelineSource(pipeline, Encoder(contract))
    try:
        path.write_bytes(compile_pipeline(pipeline, contract))
        fast = Compiled(path)
        found = [parity.compare(slow, fast, some) for some in rows]
    except Exception as error:  # whatever keeps a pipeline from being compiled, it can be served as it is
        log.warning("served by its pipeline: %s", error, exc_info=not isinstance(error, NotCompilable))
        path.unlink(missing_ok=True)
        return {"compiled": False, "why_not_compiled": str(error)}
    off = max(one.largest_difference for one in found)
    told = {"rows": sum(one.rows for one in found), "largest_difference": off}
    if all(one.holds for one in found):
        return {"compiled": True, "parity": told}
    log.warning("served by its pipeline: the compiled scorer is off by up to %g", off)
    path.unlink()
    return {"compiled": False, "why_not_compiled": f"off by up to {off:g}", "parity": told}
