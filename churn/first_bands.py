"""The first thresholds of the risk bands, proposed before any model has been trained."""

import logging
from typing import TYPE_CHECKING

from churn.catalogue import BANDS
from churn.encoding import values
from churn.errors import ChurnError

if TYPE_CHECKING:
    import pandas as pd

    from churn.contract import Contract

ROWS = 5_000
"""A quick fit on so many tells thresholds in hundredths."""
FEWEST_ROWS = 200
FEWEST_OF_A_CLASS = 20
_WIDEST = 500
_FOLDS = 3
_SEED = 20
log = logging.getLogger(__name__)


def propose(frame: "pd.DataFrame", contract: "Contract") -> tuple["Contract", str]:
    """The contract with the thresholds that a logistic regression's held-out profit curve suggests,
    and a sentence on where its thresholds come from. Where nothing can be told, they stay.

    Args:
        frame: validated rows with their target.
    """
    from churn.data import features_and_target

    sample = frame if len(frame) <= ROWS else frame.sample(ROWS, random_state=_SEED)
    features, target = features_and_target(sample, contract)
    if why := _too_little(contract, target):
        return contract, f"Usual figures: {why}."
    try:
        high, medium = _curve(contract, features, target)
    except (ChurnError, ValueError, ArithmeticError) as error:  # whatever a fit does not like about the rows
        log.info("no thresholds are proposed: %s", error)
        return contract, "Usual figures: a quick model could not be fitted to these rows."
    told = {
        band: contract.risk[band].model_copy(update={"threshold": start})
        for band, start in zip(BANDS, (high, medium, 0.0), strict=True)
    }
    return contract.model_copy(update={"risk": told}), (
        f"Proposed by the profit curve of a quick logistic regression on {len(sample):,} rows, with usual economics "
        "(docs/bring-your-own-data.md); each training proposes anew in its model card."
    )


def _too_little(contract: "Contract", target: "pd.Series[int]") -> str:
    rarest = int(target.value_counts().reindex([0, 1], fill_value=0).min())
    if len(target) < FEWEST_ROWS or rarest < FEWEST_OF_A_CLASS:
        return f"{len(target):,} rows, {rarest:,} of the rarer class, are too few to propose better ones"
    width = sum(1 if column.is_numeric else len(values(column)) for column in contract.features.values())
    return f"{width:,} values of categories are too many for a quick model" if width > _WIDEST else ""


def _curve(contract: "Contract", features: "pd.DataFrame", target: "pd.Series[int]") -> tuple[float, float]:
    from churn.segmentation import propose_thresholds
    from churn.training import OutOfFold, Plan, cross_validate

    plan = Plan(folds=_FOLDS, seed=_SEED)
    once = OutOfFold.of(list(cross_validate("logistic_regression", contract, features, target, plan)))
    own = contract.risk["high"].threshold, contract.risk["medium"].threshold
    found = propose_thresholds(once.target, once.probability, contract.economics, own)
    return found.high, found.medium
