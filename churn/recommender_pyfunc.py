"""A recommender as MLflow's own tools load it: ``mlflow models serve``, ``pyfunc.load_model``.

They read the files as serving reads them, so this package must be installed where they run.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from churn.kinds import RECOMMENDER
from churn.recommender import Recommender, load_recommender
from churn.scoring import ModelVersion

if TYPE_CHECKING:
    import pandas as pd


class Propensities:
    """A recommender, asked with a frame."""

    def __init__(self, recommender: Recommender) -> None:
        self._recommender = recommender

    def predict(self, rows: "pd.DataFrame") -> "pd.DataFrame":
        """How likely each customer takes each product, (n, products), 0 to 1; 0 for what he owns, since JSON has
        no NaN. Offers are left out: how many accept them is counted after the training, and no part of a version.

        Args:
            rows: the raw features, (n, columns).
        """
        import pandas as pd

        told = self._recommender
        encoded = told.encoder.frame(rows)
        products = told.ownership.products  # the first items
        found = told.propensity(told.liking(encoded))[:, : len(products)]
        found[told.ownership.owned(encoded)] = 0.0
        return pd.DataFrame(found, columns=products)


def _load_pyfunc(path: str) -> Propensities:
    """By this name MLflow asks for it."""
    return Propensities(load_recommender(Path(path), ModelVersion(RECOMMENDER.name, "")))
