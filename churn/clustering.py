"""Personas are found by K-Means over the pipeline's features: numbers standardised, categories one-hot."""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score, silhouette_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler
from threadpoolctl import threadpool_limits

from churn.encoding import MISSING, Encoded, Encoder, values
from churn.errors import NotReady
from churn.naming import name_groups
from churn.personas import MOST, Category, Document, Number, Persona, Trait, Trial
from churn.preprocessing import make_preprocessor
from churn.trust import TRUSTED_TYPES

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from sklearn.compose import ColumnTransformer

    from churn.contract import Contract

FEWEST = 3
STABLE = 0.8
"""The mean adjusted Rand index from which on groups count as the same ones, found again."""
TYPES = (
    *TRUSTED_TYPES,
    "sklearn.cluster._kmeans.KMeans",
    "sklearn.preprocessing._data.MaxAbsScaler",
)
"""What the pipeline's skops file holds. Serving does not read it."""
_ROWS_PER_GROUP = 20
_SMALLEST_SHARE = 0.01
_ROWS_FITTED = 20_000
_ROWS_OF_SILHOUETTE = 2_000
_ROWS_OF_BOOTSTRAP = 3_000
_BOOTSTRAPS = 8
_STARTS = 4
_LARGEST = 1e100


@dataclass(frozen=True)
class Fitted:
    """The groups as scikit-learn has found them, and as serving reads them."""

    pipeline: Pipeline
    """Raw contract rows in, a group's number out."""
    told: Document


def fit(contract: "Contract", features: "pd.DataFrame", target: "pd.Series[int]", seed: int) -> Fitted:
    """Find groups of customers. The same rows give the same groups, in whatever order they come.

    Of :data:`FEWEST` to :data:`churn.personas.MOST` groups, the number is taken whose silhouette is
    best (Rousseeuw 1987, doi:10.1016/0377-0427(87)90125-7) among those that are stable: refits on
    bootstrapped rows give much the same groups (Hennig 2007, doi:10.1016/j.csda.2006.11.025). Where
    none is stable, the most stable one is taken, and the file says so.

    Args:
        features, target: raw rows (n, columns) and 0 or 1 for each (n,).

    Raises:
        NotReady: there are too few customers to tell groups apart, or all but a few are alike.
    """
    encoder = Encoder(contract)
    encoded = encoder.frame(features)
    order = _canonical(encoded)
    features, encoded = features.iloc[order], encoded.at(order)
    left = np.asarray(target)[order]
    units = _units(encoded.numbers)
    encoded = Encoded(encoded.numbers / units, encoded.codes)
    wide = {encoder.numeric[place].name: encoded.numbers[:, place] for place in np.flatnonzero(units != 1)}
    features = features.assign(**wide)
    # sums by several threads would differ in their last digits from one fit to the next
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # there may be fewer different rows than groups
        space = _space(contract, features)
        points = space.transform(features)
        random = np.random.default_rng(seed)
        sample = np.sort(random.permutation(len(points))[:_ROWS_FITTED])
        trials = _trials(points[sample], seed, random)
        best, groups, means = _best(trials, points, sample)
    _in_own_units(space.named_steps["preprocess"], {c.name: units[i] for i, c in enumerate(encoder.numeric)})
    pipeline = Pipeline([*space.steps, ("groups", means)])
    told = Document(
        row_hash=contract.row_hash,
        rows=len(points),
        seed=seed,
        stable=best.stability >= STABLE,
        trials=[trial for trial, _ in trials],
        personas=_personas(contract, encoded, units, groups, left, sample, best.k),
        **_arrays(space, means.cluster_centers_, encoder),
    )
    return Fitted(pipeline, told)


def _canonical(rows: Encoded) -> "NDArray[np.intp]":
    """An order of rows that depends on their values alone."""
    return np.lexsort([*rows.numbers.T, *rows.codes.T])


def _space(contract: "Contract", features: "pd.DataFrame") -> Pipeline:
    """The pipeline's features, so scaled that two values of a category are as far apart as two
    numbers that differ by one standard deviation, whatever the number of its columns."""
    preprocess = make_preprocessor(contract, scale=True).fit(features)
    weights = np.concatenate([np.full(width, 1 / np.sqrt(min(width, 2))) for _, width in _layout(preprocess)])
    # it divides by the largest absolute value of what it was fitted on
    return Pipeline([("preprocess", preprocess), ("weigh", MaxAbsScaler().fit(1 / weights[None, :]))])


def _units(numbers: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Of each column, (n, columns), the power of two to divide it by, so that no sum of its squares overflows."""
    largest = np.fmax.reduce(np.abs(numbers), axis=0, initial=0.0)  # 0 of a column that is always missing
    return np.where(largest > _LARGEST, 2.0 ** np.frexp(largest)[1], 1.0)


def _in_own_units(preprocess: "ColumnTransformer", units: dict[str, float]) -> None:
    """Let what was fitted to divided numbers take them as they come."""
    for block, step, columns in preprocess.transformers_:
        if block not in ("number", "imputed_number"):
            continue
        by = np.array([units[name] for name in columns])
        imputer, scaler = (step[0], step[-1]) if block == "imputed_number" else (None, step)
        if imputer is not None:
            imputer.statistics_ = imputer.statistics_ * by
        scaler.mean_, scaler.scale_ = scaler.mean_ * by, scaler.scale_ * by


def _layout(preprocess: "ColumnTransformer") -> list[tuple[str, int]]:
    """Each column and how many features it became, in the order of the features."""
    found = []
    for _, step, columns in preprocess.transformers_:
        last = step[-1] if isinstance(step, Pipeline) else step
        categories = getattr(last, "categories_", None)
        widths = [1] * len(columns) if categories is None else [len(some) for some in categories]
        found += [(name, 1 if width == 2 else width) for name, width in zip(columns, widths, strict=True)]
    return found


def _trials(points: "NDArray[np.float64]", seed: int, random: np.random.Generator) -> list[tuple[Trial, KMeans]]:
    distinct = len(np.unique(points, axis=0))
    largest = min(MOST, len(points) // _ROWS_PER_GROUP, distinct)
    if largest < FEWEST:
        message = f"{len(points):,} customers, {distinct:,} of them different, are too few for {FEWEST} groups"
        raise NotReady(f"{message}: {FEWEST * _ROWS_PER_GROUP} customers and {FEWEST} different ones are needed")
    told = random.permutation(len(points))[:_ROWS_OF_SILHOUETTE]
    found = []
    for k in range(FEWEST, largest + 1):
        means = KMeans(k, n_init=_STARTS, random_state=seed).fit(points)
        drawn = means.labels_[told]
        apart = silhouette_score(points[told], drawn) if 1 < len(np.unique(drawn)) < len(drawn) else -1.0
        stability = _stability(points, means, seed, random)
        smallest = int(np.bincount(means.labels_, minlength=k).min())
        found.append((Trial(k=k, silhouette=float(apart), stability=stability, smallest=smallest), means))
    return found


def _stability(points: "NDArray[np.float64]", means: KMeans, seed: int, random: np.random.Generator) -> float:
    agreement = []
    for place in range(_BOOTSTRAPS):
        drawn = random.integers(0, len(points), min(len(points), _ROWS_OF_BOOTSTRAP))
        again = KMeans(means.n_clusters, n_init=_STARTS, random_state=seed + place).fit(points[drawn])
        agreement.append(adjusted_rand_score(means.labels_, again.predict(points)))
    return float(np.mean(agreement))


def _rank(trial: Trial, rows: int) -> tuple[bool, bool, float]:
    """Stable before unstable, then without a group of a handful; then what tells groups apart best."""
    stable = trial.stability >= STABLE
    roomy = trial.smallest >= rows * _SMALLEST_SHARE
    return stable, roomy, trial.silhouette if stable else trial.stability


def _best(
    trials: list[tuple[Trial, KMeans]], points: "NDArray[np.float64]", sample: "NDArray[np.intp]"
) -> tuple[Trial, "NDArray[np.int64]", KMeans]:
    """The trial to take, and the group of each point. K-Means leaves groups empty where all points but a few
    are as good as one: such a trial is passed over."""
    for trial, means in sorted(trials, key=lambda one: _rank(one[0], len(sample)), reverse=True):
        groups, numbered = _by_size(means, points)
        if len(np.unique(groups[sample])) == trial.k:
            return trial, groups, numbered
    raise NotReady(f"{len(points):,} customers fall into fewer than {FEWEST} groups: all but a few are too alike")


def _by_size(means: KMeans, points: "NDArray[np.float64]") -> tuple["NDArray[np.int64]", KMeans]:
    """Number the groups from the largest to the smallest; K-Means numbers them by chance."""
    sizes = np.bincount(means.predict(points), minlength=means.n_clusters)
    means.cluster_centers_ = means.cluster_centers_[np.argsort(-sizes, kind="stable")]
    groups = means.predict(points)
    means.labels_ = groups[:0]  # no list of customers travels with the groups
    return groups.astype(np.int64), means


def _arrays(space: Pipeline, centers: "NDArray[np.float64]", encoder: Encoder) -> dict[str, Any]:
    preprocess = space.named_steps["preprocess"]
    places: dict[str, slice] = {}
    start = 0
    for name, width in _layout(preprocess):
        places[name] = slice(start, start + width)
        start += width
    numbers = {number.column: number for number in _numbers(preprocess)}
    names = [column.name for column in encoder.numeric]
    return {
        "numbers": [numbers[name] for name in names],
        "centroids": [[float(center[places[name]][0]) for name in names] for center in centers],
        "categories": _categories(space, centers, encoder, places),
    }


def _numbers(preprocess: "ColumnTransformer") -> list[Number]:
    found = []
    for block, step, columns in preprocess.transformers_:
        if block == "number":
            fills, scaler = np.zeros(len(columns)), step
        elif block == "imputed_number":
            fills, scaler = step[0].statistics_, step[-1]
        else:
            continue
        told = zip(columns, fills.tolist(), scaler.mean_.tolist(), scaler.scale_.tolist(), strict=True)
        found += [Number(column=name, fill=fill, mean=mean, scale=scale) for name, fill, mean, scale in told]
    return found


def _categories(
    space: Pipeline, centers: "NDArray[np.float64]", encoder: Encoder, places: dict[str, slice]
) -> list[Category]:
    """Ask the fitted features for each value of each category, and note how far it is from each centroid."""
    found = []
    for place, column in enumerate(encoder.categorical):
        asked = [*([MISSING] if column.may_be_missing else []), *range(len(values(column)))]
        codes = np.zeros((len(asked), len(encoder.categorical)), dtype=np.int64)
        codes[:, place] = asked
        rows = encoder.rows(Encoded(np.zeros((len(asked), len(encoder.numeric))), codes))
        features = space.transform(rows)[:, places[column.name]]
        distances = ((features[:, None, :] - centers[None, :, places[column.name]]) ** 2).sum(axis=2)
        if not column.may_be_missing:  # nobody asks for it
            distances = np.vstack([np.zeros(len(centers)), distances])
        found.append(Category(column=column.name, distances=distances.tolist()))
    return found


def _personas(
    contract: "Contract",
    rows: Encoded,
    units: "NDArray[np.float64]",
    groups: "NDArray[np.int64]",
    left: "NDArray[np.int64]",
    sample: "NDArray[np.intp]",
    count: int,
) -> list[Persona]:
    named = name_groups(contract, rows.at(sample), groups[sample], count)
    found = []
    for group, (name, traits) in enumerate(named):
        inside = groups == group
        found.append(
            Persona(
                name=name,
                traits=traits,
                customers=int(inside.sum()),
                share=float(inside.mean()),
                churn_rate=float(left[inside].mean()),
                profile=_profile(contract, rows, units, inside),
            )
        )
    return found


def _profile(
    contract: "Contract", rows: Encoded, units: "NDArray[np.float64]", inside: "NDArray[np.bool_]"
) -> list[Trait]:
    encoder = Encoder(contract)
    found: dict[str, Trait] = {}
    for place, column in enumerate(encoder.numeric):
        own, everyone = (_mean(rows.numbers[some, place], units[place]) for some in (inside, slice(None)))
        found[column.name] = Trait(feature=column.name, label=column.title, mean=own, mean_of_all=everyone)
    for place, column in enumerate(encoder.categorical):
        own_shares, all_shares = (
            {column.label_of(v): round(float((codes == code).mean()), 6) for code, v in enumerate(values(column))}
            for codes in (rows.codes[inside, place], rows.codes[:, place])
        )
        found[column.name] = Trait(feature=column.name, label=column.title, shares=own_shares, shares_of_all=all_shares)
    return [found[name] for name in contract.features]


def _mean(numbers: "NDArray[np.float64]", unit: float) -> float | None:
    known = numbers[~np.isnan(numbers)]
    return float(known.mean() * unit) if len(known) else None
