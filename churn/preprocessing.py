"""From a contract to an unfitted preprocessor. It lives inside the registered pipeline."""

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

if TYPE_CHECKING:
    from churn.columns import Column
    from churn.contract import Contract

_GAP = ""


def make_preprocessor(contract: "Contract", *, scale: bool) -> ColumnTransformer:
    """Raw contract rows in, a dense float matrix out.

    The categories come from the contract and not from the rows, so that every allowed value has
    its column whichever rows a model was fitted on.

    Args:
        scale: standardise numbers, as linear models want it; trees do not care.
    """
    columns = list(contract.features.values())
    blocks: list[tuple[str, Any, list[str]]] = []

    def add(name: str, step: Any, *some: "Column") -> None:
        if some:
            blocks.append((name, step, [column.name for column in some]))

    numbers = [column for column in columns if column.is_numeric]
    add("number", _numeric(scale, False), *(column for column in numbers if not column.may_be_missing))
    add("imputed_number", _numeric(scale, True), *(column for column in numbers if column.may_be_missing))
    labels = [column for column in columns if not column.is_numeric and not column.may_be_missing]
    coded = [column for column in labels if _is_coded(column)]
    words = [column for column in labels if not _is_coded(column)]
    add("category", _one_hot(words), *words)
    add("coded_category", make_pipeline(_replace(None, _GAP), _one_hot(coded)), *coded)
    gapped = [column for column in columns if not column.is_numeric and column.may_be_missing]
    for place, column in enumerate(gapped):  # each on its own: what stands in for an empty column differs
        add(f"imputed_category_{place}", _imputed_one_hot(column), column)
    return ColumnTransformer(blocks, sparse_threshold=0.0, verbose_feature_names_out=False)


def _is_coded(column: "Column") -> bool:
    """Whether its values are whole numbers.

    Validated rows hold them as objects, MLflow's own server reads int64, and an encoder takes
    only what it was fitted on. An imputer turns the one into the other; it has nothing to fill.
    """
    return bool(column.values) and isinstance(column.values[0], int)


def _numeric(scale: bool, missing: bool) -> Pipeline | StandardScaler | str:
    # A column may be empty in the rows of one fold: it is kept, as zeros.
    imputer = SimpleImputer(strategy="median", keep_empty_features=True)
    steps = [*([imputer] if missing else []), *([StandardScaler()] if scale else [])]
    if not steps:
        return "passthrough"
    return steps[0] if len(steps) == 1 else make_pipeline(*steps)


def _one_hot(columns: "list[Column]") -> OneHotEncoder:
    return OneHotEncoder(
        categories=[np.array(_values(column), dtype=object) for column in columns],
        drop="if_binary",
        handle_unknown="error",
        sparse_output=False,
    )


def _values(column: "Column") -> list[Any]:
    return [False, True] if column.type == "boolean" else sorted(column.values)


def _imputed_one_hot(column: "Column") -> Pipeline:
    """The most frequent value where there is none, then one-hot.

    A gap is None in rows that are validated and NaN in what MLflow's own server reads, and an
    imputer knows one kind: both become a blank text, which is no category's value. Only parts of
    scikit-learn, so that a version can be read without this package.
    """
    steps = [
        _replace(np.nan, _GAP),
        _replace(None, _GAP),
        SimpleImputer(missing_values=_GAP, strategy="most_frequent", keep_empty_features=True),
    ]
    values = _values(column)
    if 0 not in values:  # which is what that imputer says of a column that is empty; False is 0
        steps.append(_replace(0, values[0]))
    return make_pipeline(*steps, _one_hot([column]))


def _replace(value: Any, by: Any) -> SimpleImputer:
    return SimpleImputer(missing_values=value, strategy="constant", fill_value=by, keep_empty_features=True)
