"""The commands of the recommender: ``churn train-recommender`` and ``churn recommend``."""

import time
from pathlib import Path

import click

from churn.cli_progress import follow, hush_mlflow, progress

MOST = 50


@click.command(short_help="What to offer each customer of a file.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="A .csv or .parquet file.")
@click.option("--k", type=click.IntRange(1, MOST), default=3, show_default=True, help="How many for each customer.")
def recommend(file: Path, output: Path, k: int) -> None:
    """What to offer each customer of FILE (CSV or Parquet), by the recommender in service.

    The output carries every column of FILE, in order, and adds recommendation_1,
    recommendation_1_score and so on, best first, and recommendation_control: who is of the control
    group, and so gets none. It appears whole or not at all. Left out is what a customer owns, may not
    have, or has refused or accepted lately.

    Unlike POST /recommend this asks no model what a product would do to a customer's risk: the scores
    of products lack that part, and those of offers count their acceptance instead.

    \b
    churn recommend customers.csv -o offers.csv
    churn recommend customers.parquet -o offers.parquet --k 5
    """
    from churn import advice_jobs, jobs
    from churn.settings import load

    settings = load()
    hush_mlflow()
    recommended = advice_jobs.recommend_file(settings, file, output, k)  # the models are loaded by now
    began = time.monotonic()
    done = follow("Recommending", jobs.count_rows(file), recommended)
    click.echo(f"{output}: {done:,} rows with recommendations in {time.monotonic() - began:.1f} s")


@click.command("train-recommender", short_help="Train the recommender; it goes into service past the gate.")
@click.option("--rows", type=click.Path(path_type=Path), help="Train on this file, not the contract's.")
@click.option("--folds", type=click.IntRange(2, 50), help="Folds of its judgement; by the number of customers.")
def train_recommender(rows: Path | None, folds: int | None) -> None:
    """Train the recommender, and hold it against what needs no learning.

    It learns from what customers own and from what they did with offers. Popularity and EASE are
    judged beside it, by owned products that none of the three was told of. It goes into service if
    it beats both, and is no worse than the one there. Its run, with all figures, goes to MLflow's
    experiment churn-recommender.

    \b
    churn train-recommender
    """
    from churn import recommender_jobs
    from churn.settings import load

    settings = load()
    hush_mlflow()
    with progress("Training", recommender_jobs.STEPS) as advance:
        version = recommender_jobs.train_recommender(settings, rows, advance, folds=folds)
    click.echo(f"{version.name} version {version.version} is in service")
    for label, end in (("nDCG at 5", ""), ("  of EASE", "_ease"), ("  of popularity", "_popularity")):
        mean, low, high = (version.metrics[f"ndcg_at_5{end}{which}"] for which in ("", "_low", "_high"))
        click.echo(f"  {label:<16} {mean:.4f} (95 % interval {low:.4f} to {high:.4f})")


COMMANDS = (recommend, train_recommender)

__all__ = ["COMMANDS"]
