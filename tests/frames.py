"""Customers as the pipeline takes them, by another way than the product's encoder."""

from typing import Any

import pandas as pd

from churn.cells import as_series
from churn.contract import Contract


def to_frame(customers: list[dict[str, Any]], contract: Contract) -> pd.DataFrame:
    """Customers that the request model has read, as a frame of the types that :func:`validate` gives."""
    columns = {
        name: as_series([customer[name] for customer in customers], column)
        for name, column in contract.features.items()
    }
    return pd.DataFrame(columns)
