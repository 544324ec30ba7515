"""Pictures of how a recommender compares with its rivals, as :mod:`churn.judged` tells it."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure as Picture

from churn.judged import EASE, LIGHTFM, POPULARITY, SERVED
from churn.plots import BLUE, DPI, GREY, HEIGHT, ORANGE, PALE, WIDTH, dress

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from churn.judged import Figure, Judged, ViewJudged

MODELS = {LIGHTFM: ("LightFM", BLUE), EASE: ("EASE", ORANGE), POPULARITY: ("Popularity", GREY)}
METRICS = {
    "ndcg_at_5": "nDCG at 5",
    "mrr": "MRR",
    "hit_rate_at_1": "Hit rate at 1",
    "hit_rate_at_3": "Hit rate at 3",
    "precision_at_3": "Precision at 3",
    "recall_at_5": "Recall at 5",
    "coverage_at_3": "Coverage at 3",
}
_WIDTH_OF_ONE = 0.26


def all_plots(judged: "Judged") -> dict[str, Picture]:
    """Every picture under its name."""
    return {"recommender_comparison": comparison(judged), "recommender_views": views(judged)}


def comparison(judged: "Judged") -> Picture:
    """The metrics of the three models in the view as served, with 95 % intervals where there are any."""
    figure, axes = _wide("On held-out customers, as served", "")
    served = judged.views.get(SERVED)
    if served is None:
        return _nobody(figure, axes)
    for place, model in enumerate(MODELS):
        _bars(axes, place, model, [served.models[model][name] for name in METRICS])
    _named(axes, list(METRICS.values()))
    return figure


def views(judged: "Judged") -> Picture:
    """The nDCG at 5 of the three models for all views: warm, cold, and by band of risk."""
    figure, axes = _wide("nDCG at 5, by what is known and by risk", "nDCG at 5")
    shown = list(judged.views.values())
    if not shown:
        return _nobody(figure, axes)
    for place, model in enumerate(MODELS):
        _bars(axes, place, model, [view.models[model]["ndcg_at_5"] for view in shown])
    _named(axes, [_view_label(view) for view in shown])
    return figure


def _wide(title: str, y: str) -> tuple[Picture, "Axes"]:
    figure = Picture(figsize=(1.6 * WIDTH, HEIGHT), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    dress(axes, title, "", y)
    axes.grid(visible=False, axis="x")
    return figure, axes


def _bars(axes: "Axes", place: int, model: str, figures: "list[Figure]") -> None:
    label, colour = MODELS[model]
    where = np.arange(len(figures)) + (place - 1) * _WIDTH_OF_ONE
    means = np.array([figure.mean for figure in figures])
    reach = np.array([[figure.mean - figure.low, figure.high - figure.mean] for figure in figures]).T
    error = np.clip(np.nan_to_num(reach), 0, None)
    axes.bar(where, means, _WIDTH_OF_ONE, color=colour, label=label)
    axes.errorbar(where, means, yerr=error, fmt="none", ecolor="black", elinewidth=1, capsize=2)
    for x, mean, above in zip(where, means, error[1], strict=True):
        axes.annotate(f"{mean:.2f}", (x, mean + above), (0, 2), textcoords="offset points", ha="center", fontsize=7)


def _named(axes: "Axes", labels: list[str]) -> None:
    axes.set_xticks(np.arange(len(labels)), labels, fontsize=8)
    axes.set_ylim(0, 1.18)
    axes.legend(loc="upper center", ncols=len(MODELS), frameon=True, framealpha=0.9, edgecolor=PALE)


def _view_label(view: "ViewJudged") -> str:
    return f"{view.label}\n({view.customers:,})".replace(", ", ",\n").replace("that is", "that\nis")


def _nobody(figure: Picture, axes: "Axes") -> Picture:
    axes.text(0.5, 0.5, "No customer owns two products or more", ha="center", va="center", color=GREY, fontsize=12)
    return figure
