"""Pictures of what a version's explanations say as a whole, from its ``explanation.json``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from churn.plots import BLUE, DPI, GREY, ORANGE, PALE, WIDTH, dress

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Summary = dict[str, Any]
_MOST_FEATURES = 20
_CURVES = 6
_LABEL_LENGTH = 28


def draw(summary: Path, folder: Path) -> list[Path]:
    """Draw every picture into a folder, which is made; none where the version has no summary."""
    if not summary.exists():
        return []
    told = json.loads(summary.read_text(encoding="utf-8"))
    folder.mkdir(exist_ok=True)
    drawn = []
    for name, figure in all_plots(told).items():
        drawn.append(folder / f"{name}.png")
        figure.savefig(drawn[-1])
    return drawn


def all_plots(told: Summary) -> dict[str, "Figure"]:
    """Every picture under its name."""
    return {
        "explanation_importance": importance(told),
        "explanation_beeswarm": beeswarm(told),
        "explanation_dependence": dependence(told),
    }


def importance(told: Summary) -> "Figure":
    """How many points of probability each feature moves on average, up or down."""
    shown = told["features"][:_MOST_FEATURES]
    figure, axes = _rows(len(shown), "What moves the churn probability", "Points of probability, on average")
    size = [100 * feature["importance_points"] for feature in shown]
    axes.barh(range(len(shown)), size, color=BLUE)
    _name_rows(axes, shown)
    return figure


def beeswarm(told: Summary) -> "Figure":
    """Each feature's contributions in the sample, coloured by the value, low to high."""
    shown = told["features"][:_MOST_FEATURES]
    title = f"Contribution to the {told['space']}"
    figure, axes = _rows(len(shown), "Contributions in the sample, by value", title)
    axes.axvline(0, color=GREY, linewidth=1)
    random = np.random.default_rng(0)
    for row, feature in enumerate(shown):
        contribution = np.array([pair[1] for pair in feature["beeswarm"]])
        place = row + random.uniform(-0.3, 0.3, len(contribution))
        drawn = axes.scatter(contribution, place, c=_heights(feature), cmap="cividis", vmin=0, vmax=1, s=5, alpha=0.7)
    _name_rows(axes, shown)
    if shown:
        bar = figure.colorbar(drawn, ax=axes, ticks=[0, 1], fraction=0.03)
        bar.ax.set_yticklabels(["low, or first", "high, or last"])
    return figure


def _heights(feature: Summary) -> list[float]:
    """How high each value is among its feature's, 0 to 1; a missing one is in the middle."""
    known = sorted({pair[0] for pair in feature["beeswarm"] if pair[0] is not None})
    if feature["dependence"]["kind"] == "category":
        known = [each["value"] for each in feature["dependence"]["values"] if each["value"] is not None]
    rank = {value: place / max(len(known) - 1, 1) for place, value in enumerate(known)}
    return [rank.get(pair[0], 0.5) for pair in feature["beeswarm"]]


def dependence(told: Summary) -> "Figure":
    """How the contributions of the most important features depend on the value."""
    from matplotlib.figure import Figure

    shown = told["features"][:_CURVES]
    lines = max(1, (len(shown) + 1) // 2)
    figure = Figure(figsize=(2 * WIDTH, 3.4 * lines), dpi=DPI, layout="constrained")
    for place, feature in enumerate(shown):
        axes = figure.add_subplot(lines, 2, place + 1)
        unit = f" ({feature['unit']})" if feature["unit"] else ""
        dress(axes, _short(feature["label"]), "", f"Contribution ({told['space']})")
        axes.axhline(0, color=GREY, linewidth=1)
        if feature["dependence"]["kind"] == "number":
            _curve(axes, feature)
            axes.set_xlabel(_short(feature["label"]) + unit)
        else:
            _values(axes, feature)
    return figure


def _curve(axes: "Axes", feature: Summary) -> None:
    points = [(value, contribution) for value, contribution in feature["beeswarm"] if value is not None]
    axes.scatter([x for x, _ in points], [y for _, y in points], color=BLUE, s=5, alpha=0.4)
    curve = feature["dependence"]["curve"]
    axes.plot([one["mean_value"] for one in curve], [one["contribution"] for one in curve], color=ORANGE, linewidth=2)


def _values(axes: "Axes", feature: Summary) -> None:
    found = feature["dependence"]["values"]
    axes.bar(range(len(found)), [one["contribution"] for one in found], color=BLUE)
    axes.set_xticks(range(len(found)), [_short(one["label"]) for one in found], fontsize=8)
    if len(found) > len("abcd"):
        axes.tick_params(axis="x", rotation=60)


def _rows(count: int, title: str, x: str) -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH + 2, 1.4 + 0.3 * max(count, 3)), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    dress(axes, title, x, "")
    axes.grid(axis="y", color=PALE, alpha=0)
    return figure, axes


def _name_rows(axes: "Axes", shown: list[Summary]) -> None:
    axes.set_yticks(range(len(shown)), [_short(feature["label"]) for feature in shown])
    axes.invert_yaxis()


def _short(text: str) -> str:
    """A label that leaves room for the picture; what would start a formula is taken literally."""
    text = text.replace("$", r"\$")
    return text if len(text) <= _LABEL_LENGTH else text[: _LABEL_LENGTH - 1] + "…"
