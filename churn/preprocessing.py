"""From a contract to an unfitted preprocessor. It lives inside the registered pipeline."""

from typing import TYPE_CHECKING

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

if TYPE_CHECKING:
    from churn.columns import Column
    from churn.contract import Contract


def make_preprocessor(contract: "Contract", *, scale: bool) -> ColumnTransformer:
    """Raw contract rows in, a dense float matrix out.

    The categories come from the contract and not from the rows, so that every allowed value has
    its column whichever rows a model was fitted on.

    Args:
        scale: standardise numbers, as linear models want it; trees do not care.
    """
    numbers = [column for column in contract.features.values() if column.is_numeric]
    labels = [column for column in contract.features.values() if not column.is_numeric]
    blocks = []
    for missing in (False, True):
        some = [column for column in numbers if column.may_be_missing == missing]
        if some:
            blocks.append((_name("number", missing), _numeric(scale, missing), [c.name for c in some]))
        some = [column for column in labels if column.may_be_missing == missing]
        if some:
            blocks.append((_name("category", missing), _categorical(some, missing), [c.name for c in some]))
    return ColumnTransformer(blocks, sparse_threshold=0.0, verbose_feature_names_out=False)


def _name(kind: str, missing: bool) -> str:
    return f"imputed_{kind}" if missing else kind


def _numeric(scale: bool, missing: bool) -> Pipeline | StandardScaler | str:
    steps = [*([SimpleImputer(strategy="median")] if missing else []), *([StandardScaler()] if scale else [])]
    if not steps:
        return "passthrough"
    return steps[0] if len(steps) == 1 else make_pipeline(*steps)


def _categorical(columns: "list[Column]", missing: bool) -> Pipeline | OneHotEncoder:
    categories = [[False, True] if column.type == "boolean" else sorted(column.values) for column in columns]
    encoder = OneHotEncoder(
        categories=[np.array(values, dtype=object) for values in categories],
        drop="if_binary",
        handle_unknown="error",
        sparse_output=False,
    )
    if not missing:
        return encoder
    return make_pipeline(SimpleImputer(strategy="most_frequent", missing_values=None), encoder)
