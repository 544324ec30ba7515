"""The usual way to score a file, against which `churn score` is held: no check of any cell, no Arrow.

Says how long reading, scoring and writing took, loading the model left aside, as `churn score` does.

python -m bench.with_pandas FOLDER_OF_A_VERSION ROWS.parquet SCORED.parquet
"""

import sys
import time
from pathlib import Path

CHUNK = 50_000


def main(folder: str, source: str, target: str) -> None:
    """Read in chunks with pandas, ``predict_proba``, add the three columns, write."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile, ParquetWriter

    from churn import contract as contracts
    from churn.scoring import ADDED_COLUMNS, CONTRACT_FILE, load_pipeline

    pipeline = load_pipeline(Path(folder))
    contract = contracts.load(next(Path(folder).rglob(CONTRACT_FILE)))
    bands = [contract.risk[name].threshold for name in ("high", "medium")]
    began = time.monotonic()
    writer = None
    for batch in ParquetFile(source).iter_batches(CHUNK):
        rows: pd.DataFrame = batch.to_pandas()
        probability = pipeline.predict_proba(rows[list(contract.features)])[:, 1]
        risk = np.select([probability >= start for start in bands], ["high", "medium"], "low")
        decided = (probability >= contract.economics.threshold).astype(int)
        added = dict(zip(ADDED_COLUMNS, (probability, decided, risk), strict=True))
        table = pa.Table.from_pandas(rows.assign(**added), preserve_index=False)
        writer = writer or ParquetWriter(target, table.schema)
        writer.write_table(table)
    if writer:
        writer.close()
    print(f"scored in {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
