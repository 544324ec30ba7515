"""Explanations by ``shap.TreeExplainer``, called plainly on a version's pipeline, as most projects do.

The explainer is made once; each call takes a customer as a frame, preprocesses it and explains it.
Then many in one call, and the same many through our own arrays.

python -m bench.plain_shap FOLDER_OF_A_VERSION CUSTOMERS.parquet SECONDS
"""

import json
import os
import sys
import time
from pathlib import Path

from bench.processes import memory


def main(folder: str, customers: str, seconds: str) -> None:
    """Print as JSON: milliseconds of each call, bytes of memory, rows per second of one call for many
    rows, ours and SHAP's, and how far apart they are at most."""
    import pandas as pd

    from churn.explaining import by_shap
    from churn.scoring import ModelVersion, load_pipeline, load_scorer

    rows = pd.read_parquet(customers)
    scorer = load_scorer(Path(folder), ModelVersion("bench", "1"))
    encoded = scorer.encoder.frame(rows)
    began = time.perf_counter()
    ours = scorer.explain(encoded)
    our_rate = len(rows) / (time.perf_counter() - began)
    pipeline = load_pipeline(Path(folder))
    preprocess, model = (step for _, step in pipeline.steps)
    began = time.perf_counter()
    values, _ = by_shap(model, preprocess.transform(rows[:50]))
    began = time.perf_counter()
    values, _ = by_shap(model, preprocess.transform(rows))
    shap_rate = len(rows) / (time.perf_counter() - began)
    if scorer.explainer is None:
        raise RuntimeError("the version carries no explainer")
    off = float(abs(ours.contributions - values @ scorer.explainer.owners.sums).max())
    latencies = _one_by_one(model, preprocess, rows, float(seconds))
    told = {"latencies": latencies, "memory": memory(os.getpid()), "ours": our_rate, "shap": shap_rate, "off": off}
    print(json.dumps(told))


def _one_by_one(model: object, preprocess: object, rows: object, seconds: float) -> list[float]:
    import warnings

    import shap

    explainer = shap.TreeExplainer(model)
    single = [rows.iloc[[number]] for number in range(min(100, len(rows)))]  # type: ignore[attr-defined, arg-type]
    found: list[float] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            before = time.perf_counter()
            explainer.shap_values(preprocess.transform(single[len(found) % len(single)]))  # type: ignore[attr-defined]
            found.append((time.perf_counter() - before) * 1000)
    return sorted(found)


if __name__ == "__main__":
    main(*sys.argv[1:])
