"""Pictures of how good a model's probabilities are, on customers that it was not fitted on.

Each takes the target (0 or 1) and the churn probability, (n,) arrays, and gives a figure of its
own: no pyplot, and so no state that threads share. The colours are told apart by the colour-blind
(Okabe & Ito 2008). Where a set lacks the classes that a picture needs, the picture says so.
"""

from typing import TYPE_CHECKING, Literal

import numpy as np

from churn import evaluation
from churn import profit as profits

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from churn.economics import Economics

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Corner = Literal["best", "lower right", "upper left", "upper right"]

BLUE, ORANGE, GREY, PALE = "#0072B2", "#D55E00", "#5F6670", "#DCE0E5"
WIDTH, HEIGHT, DPI = 6.0, 4.6, 120
NORMAL_QUANTILE = 1.959964


def all_plots(
    target: "Ints", probability: "Floats", economics: "Economics", threshold: float, currency: str = ""
) -> dict[str, "Figure"]:
    """Every picture under its name."""
    return {
        "roc": roc(target, probability),
        "precision_recall": precision_recall(target, probability),
        "reliability": reliability(target, probability),
        "gain": gain(target, probability),
        "profit": profit(target, probability, economics, threshold, currency),
    }


def roc(target: "Ints", probability: "Floats") -> "Figure":
    """The share of churners found over the share of stayers alarmed, for each threshold."""
    figure, axes = _square("ROC curve", "False positive rate (share of stayers)", "Recall (share of churners)")
    churned, stayed = _picked(target, probability)
    if not (churned[-1] and stayed[-1]):
        return _says(figure, axes, "Needs both churners and stayers")
    x, y = stayed / stayed[-1], churned / churned[-1]
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="Chance")
    axes.plot(x, y, color=BLUE, linewidth=2, label=f"Model, area {np.trapezoid(y, x):.3f}")
    return _with_legend(figure, axes, "lower right")


def precision_recall(target: "Ints", probability: "Floats") -> "Figure":
    """The share of churners among those picked over the share of churners found."""
    title = "Precision and recall"
    figure, axes = _square(title, "Recall (share of churners found)", "Precision (churners among those picked)")
    churned, stayed = _picked(target, probability)
    if not churned[-1]:
        return _says(figure, axes, "Needs churners")
    recall, precision = churned[1:] / churned[-1], churned[1:] / (churned + stayed)[1:]
    average = float(np.diff(recall, prepend=0.0) @ precision)
    rate = float(np.mean(target))
    axes.axhline(rate, color=GREY, linestyle="--", linewidth=1, label=f"Churn rate {rate:.3f}")
    axes.step(recall, precision, where="pre", color=BLUE, linewidth=2, label=f"Model, average precision {average:.3f}")
    return _with_legend(figure, axes, "upper right")


def reliability(target: "Ints", probability: "Floats") -> "Figure":
    """Churn rate over mean probability in ten bins of equal mass, with 95 % Wilson intervals
    (Wilson 1927, doi:10.1080/01621459.1927.10502953), over a histogram of the probabilities."""
    figure = _figure(HEIGHT + 1)
    grid = figure.add_gridspec(2, 1, height_ratios=[4, 1])
    axes, below = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
    dress(axes, "Reliability", "", "Churn rate")
    dress(below, "", "Churn probability", "Customers")
    mean, churned, size = evaluation.reliability(target, probability)
    low, high = _wilson(churned, size)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="Perfectly calibrated")
    axes.vlines(mean, low, high, color=BLUE, linewidth=1.5, alpha=0.6, label="95 % interval")
    axes.plot(mean, churned / size, color=BLUE, marker="o", markersize=5, linewidth=2, label="Model")
    below.hist(probability, bins=np.linspace(0, 1, 41).tolist(), color=BLUE)
    for each in (axes, below):
        each.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.02, 1.02)
    return _with_legend(figure, axes, "upper left")


def gain(target: "Ints", probability: "Floats") -> "Figure":
    """The share of churners reached over the share of customers contacted, highest probability first."""
    title = "Cumulative gain"
    figure, axes = _square(title, "Share of customers contacted, riskiest first", "Share of churners reached")
    churned, stayed = _picked(target, probability)
    if not churned[-1]:
        return _says(figure, axes, "Needs churners")
    x, y = (churned + stayed) / len(target), churned / churned[-1]
    tenth = float(np.interp(evaluation.TOP, x, y))
    axes.plot([0, churned[-1] / len(target), 1], [0, 1, 1], color=ORANGE, linestyle=":", label="Perfect foresight")
    axes.plot(x, y, color=BLUE, linewidth=2, label="Model")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="At random")
    axes.plot([evaluation.TOP], [tenth], color=BLUE, marker="o", linestyle="none")
    told = f"{100 * tenth:.0f} % of churners among the top 10 %"
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 2}
    axes.annotate(told, (evaluation.TOP, tenth), (10, -4), textcoords="offset points", va="top", bbox=behind)
    return _with_legend(figure, axes, "lower right")


def profit(
    target: "Ints", probability: "Floats", economics: "Economics", threshold: float, currency: str = ""
) -> "Figure":
    """The profit per customer over the threshold from which customers are contacted, at the mean
    acceptance rate; the threshold in use and the best in hindsight are marked."""
    figure = _figure(HEIGHT)
    axes = figure.add_subplot()
    unit = f"Profit per customer ({currency})" if currency else "Profit per customer"
    dress(axes, "Profit of a retention campaign", "Contact from this churn probability on", unit)
    axes.axhline(0, color=GREY, linewidth=1)
    axes.plot(*profits.curve(target, probability, economics, points=1001), color=BLUE, linewidth=2)
    chosen = float(profits.realised(target, probability, threshold, economics).mean())
    axes.axvline(threshold, color=ORANGE, linestyle="--", linewidth=1.5)
    axes.plot([threshold], [chosen], color=ORANGE, marker="o", label=f"In use: {threshold:.3f}, profit {chosen:.2f}")
    best, most = profits.best_threshold(target, probability, economics)
    if best <= 1:
        label = f"Best in hindsight: {best:.3f}, profit {most:.2f}"
        axes.plot(
            [best], [most], color=BLUE, marker="D", markersize=10, fillstyle="none", linestyle="none", label=label
        )
    axes.set_xlim(-0.01, 1.01)
    return _with_legend(figure, axes, "best")


def _picked(target: "Ints", probability: "Floats") -> tuple["Floats", "Floats"]:
    """Churners and stayers at or above each distinct probability, highest first, from none to all: (k + 1,)."""
    _, churned, stayed = profits.counted(target, probability)
    return np.cumsum(np.append(0.0, churned[::-1])), np.cumsum(np.append(0.0, stayed[::-1]))


def _wilson(hits: "Floats", size: "Floats") -> tuple["Floats", "Floats"]:
    squared = NORMAL_QUANTILE**2
    middle = (hits + squared / 2) / (size + squared)
    half = NORMAL_QUANTILE / (size + squared) * np.sqrt(hits * (size - hits) / size + squared / 4)
    return middle - half, middle + half


def _figure(height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")


def _square(title: str, x: str, y: str) -> tuple["Figure", "Axes"]:
    """One picture of two shares from 0 to 1."""
    figure = _figure(WIDTH - 0.4)
    axes = figure.add_subplot()
    dress(axes, title, x, y)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal")
    return figure, axes


def dress(axes: "Axes", title: str, x: str, y: str) -> None:
    axes.set_title(title, loc="left", fontsize=13, fontweight="bold", pad=10)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=GREY)


def _with_legend(figure: "Figure", axes: "Axes", where: "Corner") -> "Figure":
    axes.legend(loc=where, frameon=True, framealpha=0.9, edgecolor=PALE)
    return figure


def _says(figure: "Figure", axes: "Axes", text: str) -> "Figure":
    axes.text(0.5, 0.5, text, ha="center", va="center", color=GREY, fontsize=12)
    return figure
