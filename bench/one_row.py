"""One row at a time through ``pipeline.predict_proba``, in this process, for so many seconds.

python -m bench.one_row FOLDER_OF_A_VERSION CUSTOMERS.parquet SECONDS
"""

import json
import os
import sys
import time
from pathlib import Path

from bench.processes import memory


def main(folder: str, customers: str, seconds: str) -> None:
    """Print milliseconds of each call, seconds of all and bytes of memory as JSON."""
    import pandas as pd

    from churn.scoring import load_pipeline

    pipeline = load_pipeline(Path(folder))
    rows = pd.read_parquet(customers)
    single = [rows.iloc[[number]] for number in range(len(rows))]
    pipeline.predict_proba(single[0])
    latencies: list[float] = []
    began = time.perf_counter()
    while time.perf_counter() - began < float(seconds):
        before = time.perf_counter()
        pipeline.predict_proba(single[len(latencies) % len(single)])
        latencies.append((time.perf_counter() - before) * 1000)
    took = time.perf_counter() - began
    print(json.dumps({"latencies": latencies, "seconds": took, "memory": memory(os.getpid())}))


if __name__ == "__main__":
    main(*sys.argv[1:])
