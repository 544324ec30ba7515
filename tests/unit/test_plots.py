"""The pictures: that they show the figures that the metrics give."""

import sys
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest

from churn import evaluation, plots, profit
from churn.economics import Economics

USUAL = Economics()
NAMES = {"roc", "precision_recall", "reliability", "gain", "profit"}


def customers(n: int = 600) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    probability = np.round(1 / (1 + np.exp(-random.normal(-1.3, 1.6, n))), 3)
    return (random.random(n) < probability).astype(int), probability


def texts(figure) -> str:
    """All that a figure says, legends included."""
    said = [text.get_text() for axes in figure.axes for text in axes.texts]
    for axes in figure.axes:
        said += [axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()]
        said += [text.get_text() for text in axes.get_legend().get_texts()] if axes.get_legend() else []
    return "\n".join(said)


def png(figure) -> bytes:
    target = BytesIO()
    figure.savefig(target, format="png")
    return target.getvalue()


def test_the_legends_give_the_figures_of_the_metrics() -> None:
    target, probability = customers()
    told = evaluation.metrics(target, probability, USUAL)
    figures = plots.all_plots(target, probability, USUAL, USUAL.threshold, "EUR")
    assert set(figures) == NAMES
    assert f"area {told['roc_auc']:.3f}" in texts(figures["roc"])
    assert f"average precision {told['pr_auc']:.3f}" in texts(figures["precision_recall"])
    assert f"{100 * told['capture_top_10']:.0f} % of churners among the top 10 %" in texts(figures["gain"])
    assert "Profit per customer (EUR)" in texts(figures["profit"])
    realised = profit.realised(target, probability, USUAL.threshold, USUAL).mean()
    assert f"In use: {USUAL.threshold:.3f}, profit {realised:.2f}" in texts(figures["profit"])


def test_the_best_threshold_is_never_worse_than_the_one_in_use() -> None:
    target, probability = customers()
    _, most = profit.best_threshold(target, probability, USUAL)
    assert most >= max(profit.realised(target, probability, t, USUAL).mean() for t in np.linspace(0, 1, 400))
    assert f"profit {most:.2f}" in texts(plots.profit(target, probability, USUAL, 0.5))


def test_where_no_contact_pays_no_best_threshold_is_marked() -> None:
    target, probability = customers()
    hopeless = Economics(contact_cost=500)
    assert profit.best_threshold(target, probability, hopeless) == (np.inf, 0)
    assert "Best in hindsight" not in texts(plots.profit(target, probability, hopeless, 1.0))


def test_every_axis_is_titled_and_every_picture_has_one_title() -> None:
    for name, figure in plots.all_plots(*customers(), USUAL, 0.2).items():
        assert figure.axes[0].get_title(loc="left"), name
        assert all(axes.get_ylabel() for axes in figure.axes), name
        assert figure.axes[-1].get_xlabel(), name


def test_the_intervals_of_the_reliability_are_wilson_s() -> None:
    low, high = plots._wilson(np.array([0.0, 5.0]), np.array([10.0, 10.0]))
    assert low == pytest.approx([0, 0.236593], abs=1e-6)
    assert high == pytest.approx([0.277533, 0.763407], abs=1e-6)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_says_so_in_the_picture(label: int) -> None:
    target = np.full(9, label)
    figures = plots.all_plots(target, np.linspace(0, 1, 9), USUAL, 0.2)
    assert "Needs both churners and stayers" in texts(figures["roc"])
    assert ("Needs churners" in texts(figures["gain"])) == (label == 0)
    assert all(png(figure).startswith(b"\x89PNG") for figure in figures.values())


def test_threads_draw_the_same_pictures_as_one() -> None:
    target, probability = customers(100)
    alone = png(plots.roc(target, probability))
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda _: png(plots.roc(target, probability)), range(8)))
    assert set(drawn) == {alone}
    assert "churn.plots" in sys.modules
    assert "pyplot" not in vars(plots)


def test_what_is_no_probability_is_refused() -> None:
    for draw in (plots.roc, plots.precision_recall, plots.reliability, plots.gain):
        with pytest.raises(ValueError, match="not a number"):
            draw(np.array([0, 1]), np.array([0.2, np.nan]))
