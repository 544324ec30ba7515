"""How far customers, and what is said of them, have moved from the rows that a version was trained on.

The distances are Evidently's: Wasserstein's for numbers, in standard deviations of the training rows;
Jensen and Shannon's for categories, from 0 to 0.83. They are sizes of an effect and no p-values: with
many rows a p-value calls every trifle a drift.
"""

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from churn.reference import SCORE

if TYPE_CHECKING:
    import pandas as pd
    from evidently.legacy.calculations.stattests import StatTest
    from numpy.typing import NDArray

    from churn.contract import Contract

ALL, STAYED = "all training rows", "the training rows of those who stayed"
SCORE_LABEL = "Churn probability"
SPLITS = 100
BY_CHANCE = 6.0
"""A distance counts from so many standard deviations above the mean of what random splits of the same
rows show: a small file, or a column of many values, is far from everything by chance."""
_NUMERIC = "wasserstein_standardised"
_GAP = "{} is missing"
_MISSING = "(missing)"


@dataclass(frozen=True)
class Moved:
    """How far one column has moved."""

    label: str
    distance: float
    threshold: float
    """What it is held against: the setting, or what chance explains where that is more."""

    @property
    def drifted(self) -> bool:
        return self.distance > self.threshold

    def __str__(self) -> str:
        return f"{self.label}: {self.distance:.2f} against {self.threshold:.2f}"


@dataclass(frozen=True)
class Drift:
    """How far the columns have moved, by name, and the score; and from which rows."""

    columns: Mapping[str, Moved]
    score: Moved
    against: str

    @property
    def drifted(self) -> dict[str, Moved]:
        return {name: moved for name, moved in self.columns.items() if moved.drifted}


def measure(
    reference: "pd.DataFrame",
    current: "pd.DataFrame",
    contract: "Contract",
    *,
    column: float,
    score: float,
    seed: int,
    report: Path | None = None,
) -> Drift:
    """Hold current customers against training rows.

    The current customers may be like those who once were, of whom some have left since; or those who
    are left over. So they are held against all training rows and against the rows of those who
    stayed, and what counts is the one that they are nearer to.

    Args:
        reference: as :func:`churn.reference.read` gives it.
        current: the features as :func:`churn.data.validate` gives them, and the score as
            :data:`churn.reference.SCORE`.
        column: the distance from which a column has drifted.
        score: the same of the score.
        report: where Evidently's page is written, if anywhere.
    """
    now, limits = _shown(current, contract), _Limits(column, score)
    with _evidently():
        against, shown, distances = _nearest(reference, now, contract, limits)
        if report:
            _write_report(report, shown, now, limits)
        moved = {
            name: _moved(_label(name, contract), distance, limits.of(name), (shown[name], now[name]), seed)
            for name, distance in distances.items()
        }
    said = moved.pop(SCORE)
    return Drift(moved, said, against)


@dataclass(frozen=True)
class _Limits:
    """The distances from which a column, and the score, have drifted."""

    column: float
    score: float

    def of(self, name: str) -> float:
        return self.score if name == SCORE else self.column


def _nearest(
    reference: "pd.DataFrame", now: "pd.DataFrame", contract: "Contract", limits: _Limits
) -> "tuple[str, pd.DataFrame, dict[str, float]]":
    """The training rows that the customers are nearer to: what they are, as they are compared, and how far
    each column is from theirs."""
    tables = {ALL: reference}
    stayed = reference[reference[contract.target.column] == 0]
    if 0 < len(stayed) < len(reference):
        tables[STAYED] = stayed
    found: list[tuple[int, float, str, pd.DataFrame, dict[str, float]]] = []
    for name, rows in tables.items():
        shown = _shown(rows, contract)
        distances = {str(each): _distance(shown[each], now[each], _is_numeric(now[each])) for each in shown}
        drifted = sum(distance > limits.of(each) for each, distance in distances.items())
        found.append((drifted, sum(distances.values()), name, shown, distances))
    return min(found, key=lambda one: one[:2])[2:]


def _moved(
    label: str, distance: float, threshold: float, columns: "tuple[pd.Series[Any], pd.Series[Any]]", seed: int
) -> Moved:
    if distance > threshold:  # only what is suspected is worth the time
        threshold = max(threshold, _by_chance(*columns, seed))
    return Moved(label, distance, threshold)


def _by_chance(reference: "pd.Series[Any]", current: "pd.Series[Any]", seed: int) -> float:
    """The distance that rows of one kind show where they are split at random into two such parts."""
    import pandas as pd

    numeric = _is_numeric(reference)
    pooled = pd.concat([reference, current], ignore_index=True).to_numpy()
    if not numeric:
        pooled = pd.factorize(pooled)[0]  # numbers are counted faster than texts
    random = np.random.default_rng(seed)
    found = []
    for _ in range(SPLITS):
        mixed = pd.Series(random.permutation(pooled))
        found.append(_distance(mixed[: len(reference)], mixed[len(reference) :], numeric))
    return float(np.mean(found) + BY_CHANCE * np.std(found))


def _distance(reference: "pd.Series[Any]", current: "pd.Series[Any]", numeric: bool) -> float:
    """NaN nowhere: of a column that has no values at all on one side, what is missing tells."""
    from evidently.legacy.calculations.stattests import jensenshannon_stat_test
    from evidently.legacy.core import ColumnType

    one, other = reference.dropna(), current.dropna()
    if one.empty or other.empty:
        return 0.0
    test = _wasserstein() if numeric else jensenshannon_stat_test
    kind = ColumnType.Numerical if numeric else ColumnType.Categorical
    found = float(test(reference_data=one, current_data=other, feature_type=kind, threshold=None).drift_score)
    return 0.0 if np.isnan(found) else found  # of equal columns rounding may take the root of less than nothing


@cache
def _wasserstein() -> "StatTest":
    """Evidently's test of numbers, of standardised ones. By itself it divides by 0.001 at least, which hides
    every move of a column of small numbers, and the deviation of large ones overflows."""
    from evidently.legacy.calculations.stattests import StatTest, register_stattest, wasserstein_stat_test
    from evidently.legacy.core import ColumnType

    def test(reference: Any, current: Any, kind: ColumnType, threshold: float) -> Any:
        return wasserstein_stat_test.func(*_standardised(reference, current), kind, threshold)

    shown = wasserstein_stat_test.display_name
    ours = StatTest(_NUMERIC, shown, [ColumnType.Numerical], wasserstein_stat_test.default_threshold)
    register_stattest(ours, test)  # so that the page can name it
    return ours


def _standardised(
    reference: "pd.Series[Any]", current: "pd.Series[Any]"
) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """Both by the mean and the standard deviation of the reference; where that is all one value, by the
    deviation of the two together."""
    one, other = reference.to_numpy(np.float64), current.to_numpy(np.float64)
    largest = max(np.abs(one).max(), np.abs(other).max()) or 1.0
    one, other = one / largest, other / largest  # squares of what is left do not overflow
    spread = np.std(one) if one.min() < one.max() else 0.0  # of equal numbers rounding may leave some
    spread = spread or np.std(np.concatenate([one, other])) or 1.0
    middle = np.mean(one)
    return (one - middle) / spread, (other - middle) / spread


def _shown(rows: "pd.DataFrame", contract: "Contract") -> "pd.DataFrame":
    """The columns as they are compared: numbers, and texts; a column of its own says where a number is missing."""
    import pandas as pd

    shown: dict[str, Any] = {}
    for name, column in contract.features.items():
        if column.is_numeric:
            shown[name] = rows[name].astype("float64")
            if column.may_be_missing:
                shown[_GAP.format(name)] = rows[name].isna().map({True: "yes", False: "no"})
        else:
            shown[name] = pd.Series([_MISSING if v is None else str(v) for v in rows[name]], index=rows.index)
    shown[SCORE] = rows[SCORE].astype("float64")
    return pd.DataFrame(shown)


def _is_numeric(column: "pd.Series[Any]") -> bool:
    return bool(column.dtype == np.float64)


def _label(name: str, contract: "Contract") -> str:
    if name == SCORE:
        return SCORE_LABEL
    for own, column in contract.features.items():
        if name == own:
            return column.title
        if name == _GAP.format(own):
            return _GAP.format(column.title)
    return name


def _write_report(path: Path, reference: "pd.DataFrame", current: "pd.DataFrame", limits: _Limits) -> None:
    """Evidently's page, which needs nothing from elsewhere."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    empty = [name for name in reference if reference[name].isna().all() or current[name].isna().all()]
    reference, current = reference.drop(columns=empty), current.drop(columns=empty)
    numeric = [name for name in reference if _is_numeric(reference[name])]
    told = DataDefinition(
        numerical_columns=numeric, categorical_columns=[name for name in reference if name not in numeric]
    )
    preset = DataDriftPreset(
        num_method=_wasserstein().name,
        cat_method="jensenshannon",
        num_threshold=limits.column,
        cat_threshold=limits.column,
        per_column_threshold={SCORE: limits.score},
    )
    rows = [Dataset.from_pandas(table.reset_index(drop=True), data_definition=told) for table in (current, reference)]
    Report([preset]).run(*rows).save_html(str(path))


@contextmanager
def _evidently() -> Iterator[None]:
    """Evidently as it can be used here: it tells nobody of its use, and can be imported beside pandas 3."""
    os.environ.setdefault("DO_NOT_TRACK", "1")  # its user interface would report; what is used here does not
    from pandas.core.dtypes import common

    if not hasattr(common, "infer_dtype_from_object"):
        # Evidently 0.7.23 imports it for one of its tests of types, which nothing here uses; pandas 3.1 lacks it
        common.infer_dtype_from_object = _absent  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of deprecations within its own code
        yield


def _absent(*_: object) -> None:
    raise NotImplementedError("pandas has no infer_dtype_from_object any more")
