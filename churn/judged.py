"""What a recommender and its rivals got on customers that none was fitted on, and whether it is the best.

Every figure is a mean over customers with a 95 % interval from bootstrap draws of them, and so is every
difference between two models, over the same draws. They hold for models fitted on these very folds: what
another training would move is not in them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from churn import bootstrap, ranking_metrics
from churn.ranking_metrics import Ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.hidden_products import Hidden

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

LIGHTFM, EASE, POPULARITY = "lightfm", "ease", "popularity"
RIVALS = (EASE, POPULARITY)
KS = (1, 3, 5)
CHOSEN_BY = "ndcg_at_5"
SERVED = "served"
"""The view in which a recommender must beat its rivals: what a customer could be served."""
SHORT = (CHOSEN_BY, "hit_rate_at_1", "hit_rate_at_3")
"""What is told first; the comparison has it all."""
DRAWS = 1000


@dataclass(frozen=True)
class View:
    """Customers with hidden products, and how each model scores their candidates. Arrays of (m, p)."""

    name: str
    label: str
    relevant: "Bools"
    candidates: "Bools"
    owned: "Bools"
    """Hidden or not."""
    scores: "dict[str, Floats]"
    """Of each model."""
    fold: "Ints"
    """In which each customer was left out, (m,)."""

    @classmethod
    def of(
        cls, name: str, label: str, hidden: "Hidden", candidates: "Bools", scores: "dict[str, Floats]", fold: "Ints"
    ) -> Self:
        """Without the customers none of whose hidden products is a candidate: nobody could find those."""
        kept = (hidden.relevant & candidates).any(axis=1)
        relevant, owned = hidden.relevant & candidates, hidden.known | hidden.relevant
        some = {model: each[kept] for model, each in scores.items()}
        return cls(name, label, relevant[kept], candidates[kept], owned[kept], some, fold[kept])

    def __len__(self) -> int:
        return len(self.relevant)


@dataclass(frozen=True)
class HeldOut:
    """Held-out scores of every customer and product, each with that product hidden. Arrays of (n, p)."""

    score: "Floats"
    owned: "Bools"
    allowed: "Bools"
    """The customer has what the product requires."""


@dataclass(frozen=True)
class Figure:
    """A mean and its 95 % interval; NaN where there is none."""

    mean: float
    low: float
    high: float

    def as_json(self) -> dict[str, float | None]:
        return {name: None if np.isnan(value) else value for name, value in vars(self).items()}


@dataclass(frozen=True)
class ViewJudged:
    """The figures of one view."""

    name: str
    label: str
    customers: int
    models: dict[str, dict[str, Figure]]
    """By model and metric."""
    leads: dict[str, dict[str, Figure]]
    """By rival and metric: by how much LightFM is above it."""

    def as_json(self) -> dict[str, Any]:
        told = {
            which: {who: {name: figure.as_json() for name, figure in some.items()} for who, some in every.items()}
            for which, every in (("models", self.models), ("leads", self.leads))
        }
        return {"label": self.label, "customers": self.customers, **told}

    def flat(self, names: Sequence[str]) -> dict[str, float]:
        """Metrics under their names, a rival's with its own behind; and ``ndcg_at_5_over_`` a rival,
        which is how far LightFM is above it. Of these and of ``ndcg_at_5`` ``_low`` and ``_high``, too."""
        told: dict[str, float] = {}
        for model, some in self.models.items():
            end = "" if model == LIGHTFM else f"_{model}"
            for name in names:
                told |= _flat(f"{name}{end}", some[name], whole=name == CHOSEN_BY)
        for rival, some in self.leads.items():
            told |= _flat(f"{CHOSEN_BY}_over_{rival}", some[CHOSEN_BY], whole=True)
        return {name: value for name, value in told.items() if not np.isnan(value)}


def _flat(name: str, figure: Figure, *, whole: bool) -> dict[str, float]:
    ends = {"": figure.mean} | ({"_low": figure.low, "_high": figure.high} if whole else {})
    return {f"{name}{end}": value for end, value in ends.items()}


@dataclass(frozen=True)
class Judged:
    """All that the folds say."""

    views: dict[str, ViewJudged]
    """By name, :data:`SERVED` first; a view without customers is not there."""
    per_fold: list[dict[str, float]]
    """Each model's means in the view as served, under the names of :meth:`metrics`."""
    held_out: HeldOut
    folds: int
    seed: int

    @classmethod
    def of(cls, views: list[View], popularity: "Floats", held_out: HeldOut, *, folds: int, seed: int) -> Self:
        """Judge these views.

        Args:
            popularity: each product's share of owners, (p,), above 0.
        """
        told = {view.name: _judged(view, popularity, seed) for view in views if len(view)}
        per_fold = [_fold(view, number) for view in views if view.name == SERVED for number in range(folds)]
        return cls(told, per_fold, held_out, folds, seed)

    def metrics(self) -> dict[str, float]:
        """A flat table for a run: the view as served in full, of the others :data:`SHORT` behind their names."""
        told: dict[str, float] = {}
        for name, view in self.views.items():
            served = name == SERVED
            figures = view.flat(list(view.models[LIGHTFM]) if served else SHORT)
            figures["customers"] = float(view.customers)
            told |= figures if served else {f"{name}_{each}": value for each, value in figures.items()}
        return told

    @property
    def not_beaten(self) -> list[str]:
        """Why LightFM is not shown to beat its rivals as served, in words with figures; empty if it is."""
        served = self.views.get(SERVED)
        if served is None:
            return ["no customer owns two products or more, so there is nothing to judge a recommender by"]
        return [
            f"nDCG at 5 {served.models[LIGHTFM][CHOSEN_BY].mean:.4f} does not beat {_told(rival)} "
            f"{served.models[rival][CHOSEN_BY].mean:.4f}: a difference of {lead.mean:+.4f} with a lower 95 % bound of "
            f"{lead.low:+.4f}, not above 0, on {served.customers:,} customers"
            for rival in RIVALS
            if not (lead := served.leads[rival][CHOSEN_BY]).low > 0
        ]

    def as_json(self) -> dict[str, Any]:
        """Every figure of every view, for the comparison that is kept with a version."""
        views = {name: view.as_json() for name, view in self.views.items()}
        return {"folds": self.folds, "seed": self.seed, "views": views, "not_beaten": self.not_beaten}

    def rows(self) -> list[dict[str, Any]]:
        """The comparison as a table: one line per view and model."""
        return [
            {"view": view.label, "customers": view.customers, "model": _told(model)}
            | {name: figure.mean for name, figure in figures.items()}
            for view in self.views.values()
            for model, figures in view.models.items()
        ]


def _judged(view: View, popularity: "Floats", seed: int) -> ViewJudged:
    every = {model: _measured(view, scores, popularity) for model, scores in view.scores.items()}
    names = list(every[LIGHTFM][0])
    stacked = np.column_stack([each[name] for each, _ in every.values() for name in names])
    drawn = bootstrap.means(stacked, DRAWS, seed).reshape(DRAWS, len(every), len(names))
    means = stacked.mean(axis=0).reshape(len(every), len(names))
    place = {model: at for at, model in enumerate(every)}
    ours = place[LIGHTFM]
    models = {model: _figures(names, means[at], drawn[:, at]) | every[model][1] for model, at in place.items()}
    leads = {
        rival: _figures(names, means[ours] - means[place[rival]], drawn[:, ours] - drawn[:, place[rival]])
        for rival in RIVALS
    }
    return ViewJudged(view.name, view.label, len(view), models, leads)


def _measured(view: View, scores: "Floats", popularity: "Floats") -> "tuple[dict[str, Floats], dict[str, Figure]]":
    """Every metric that each customer has one of, (m,) each; and those of all customers together, which are
    no mean over them and so have no interval."""
    at_k = {
        "precision": ranking_metrics.precision,
        "recall": ranking_metrics.recall,
        "hit_rate": ranking_metrics.hit_rate,
        "ndcg": ranking_metrics.ndcg,
    }
    ranking = Ranking.of(scores, view.relevant, view.candidates)
    each = {f"{name}_at_{k}": metric(ranking, k) for name, metric in at_k.items() for k in KS}
    each["mrr"] = ranking_metrics.reciprocal_rank(ranking)
    together: dict[str, float] = {}
    for k in KS:
        shown = ranking.shown(k)
        each[f"novelty_at_{k}"] = ranking_metrics.novelty(shown, popularity)
        together[f"coverage_at_{k}"] = ranking_metrics.coverage(shown)
        together[f"popularity_bias_at_{k}"] = ranking_metrics.popularity_bias(shown, popularity, view.owned)
    return each, {name: Figure(value, float("nan"), float("nan")) for name, value in together.items()}


def _figures(names: list[str], means: "Floats", drawn: "Floats") -> dict[str, Figure]:
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    found = zip(names, means.tolist(), low.tolist(), high.tolist(), strict=True)
    return {name: Figure(*figures) for name, *figures in found}


def _fold(view: View, number: int) -> dict[str, float]:
    """Each model's :data:`SHORT` in one fold; empty where no customer of it is judged."""
    there = view.fold == number
    told: dict[str, float] = {}
    for model, scores in view.scores.items() if there.any() else ():
        ranking = Ranking.of(scores[there], view.relevant[there], view.candidates[there])
        figures = {
            "ndcg_at_5": ranking_metrics.ndcg(ranking, 5),
            "hit_rate_at_1": ranking_metrics.hit_rate(ranking, 1),
            "hit_rate_at_3": ranking_metrics.hit_rate(ranking, 3),
        }
        told |= {name if model == LIGHTFM else f"{name}_{model}": float(v.mean()) for name, v in figures.items()}
    return told


def _told(model: str) -> str:
    return {LIGHTFM: "LightFM", EASE: "EASE", POPULARITY: "popularity"}[model]
