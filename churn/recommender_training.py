"""A recommender's way into the registry: judged beside its baselines, fitted, packaged, held against the champion.

The training rows judge it by folds and fit it. The gate set, which the classifier's training leaves out
by the same hash, holds it against the recommender in service.
"""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from churn import parity, provenance, recommender_files, recommender_gate, recommender_plots
from churn.encoding import Encoded, Encoder
from churn.gate import Verdict
from churn.item_features import items
from churn.liking import Scaling
from churn.ownership import Ownership
from churn.preparation import Prepared
from churn.recommendation import Fitted, Plan
from churn.recommender import Recommender
from churn.recommender_evaluation import Taken, evaluate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.contract import Contract
    from churn.interactions import Weighted
    from churn.judged import Judged
    from churn.recommender_models import TrainedRecommender

Advance = Callable[[str], None]
NAME = "lightfm"
_NOT_BEATEN = "not_beaten"
_FOLDS_AT_ONCE = 2
_EXAMPLES = 5


def enter(
    prepared: Prepared,
    folder: Path,
    plan: Plan,
    *,
    folds: int | None,
    interactions: "Iterable[Weighted]",
    probability: "NDArray[np.float64] | None",
    advance: Advance,
) -> "TrainedRecommender":
    """Judge a recommender by folds, and fit it to all training rows.

    Args:
        folder: an empty one, where what belongs to the version is written.
        folds: None: as many as suit the number of customers.
        interactions: what customers did with items; of those who are no training customers nothing is taken.
        probability: the churn probability of each training row, (n,), where it is known.
        advance: told what is done.
    """
    from churn.recommender_models import TrainedRecommender

    contract = prepared.contract
    features, _ = prepared.rows("train")
    encoder = Encoder(contract)
    encoded = encoder.frame(features)
    taken, used = _taken(contract, encoded, prepared.ids("train"), interactions)
    judged = evaluate(taken, plan, probability=probability, folds=folds, workers=_FOLDS_AT_ONCE, seed=plan.seed)
    advance(f"judged beside its baselines in {judged.folds} folds")
    told = provenance.provenance(**prepared.origin)
    fitted = taken.fit(plan)
    parts = _write(folder / "recommender", taken, fitted, judged, told)
    advance(f"fitted on all {len(features):,} training rows")
    return TrainedRecommender(
        name=NAME,
        contract=contract,
        folder=parts,
        metrics=judged.metrics(),
        per_fold=judged.per_fold,
        params={"rows": len(features), **asdict(fitted.plan), "folds": judged.folds, "items": len(taken.items), **used},
        provenance=told,
        example=encoder.rows(parity.jitter(encoded, encoder, _EXAMPLES, plan.seed)),
        reports=_reports(folder / "reports", judged),
    )


def _taken(
    contract: "Contract", encoded: Encoded, ids: "NDArray[np.object_] | None", interactions: "Iterable[Weighted]"
) -> tuple[Taken, dict[str, int]]:
    """What each customer took, owned products and accepted items; and how many interactions are in it."""
    owned = Ownership(contract).owned(encoded)
    line = {} if ids is None else {name: place for place, name in enumerate(ids)}
    known = [(line[one.customer_id], one.item, one.weight) for one in interactions if one.customer_id in line]
    names = items(contract, Counter(item for _, item, weight in known if weight >= 1))
    column = {name: place for place, name in enumerate(names)}
    positives = np.zeros((len(encoded), len(names)), dtype=np.float32)
    positives[:, : owned.shape[1]] = owned
    used = [(row, column[item], weight) for row, item, weight in known if item in column]
    for row, place, weight in used:
        positives[row, place] = max(positives[row, place], weight)
    return Taken(contract, encoded, tuple(names), positives), {"interactions": len(used)}


def _write(folder: Path, taken: Taken, fitted: Fitted, judged: "Judged", told: dict[str, str]) -> Path:
    """The version's files, in a folder of their own."""
    held_out = judged.held_out
    scaling = Scaling.fit(held_out.score[held_out.allowed], held_out.owned[held_out.allowed])
    said = {"metrics": judged.metrics(), _NOT_BEATEN: judged.not_beaten, "plan": asdict(fitted.plan)}
    folder.mkdir()
    recommender_files.write_parts(
        folder,
        fitted,
        taken.contract,
        taken.items,
        taken.encoded,
        taken.positives,
        scaling=scaling,
        told=told | said,
        seed=fitted.plan.seed,
    )
    return folder


def _reports(folder: Path, judged: "Judged") -> list[Path]:
    """The comparison as pictures, as a table and with all of its intervals."""
    folder.mkdir()
    for name, figure in recommender_plots.all_plots(judged).items():
        figure.savefig(folder / f"{name}.png")
    rows: list[dict[str, Any]] = judged.rows()
    with (folder / "comparison.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]) if rows else [])
        table.writeheader()
        table.writerows(rows)
    whole = json.dumps(judged.as_json(), indent=2, ensure_ascii=False)
    (folder / "comparison.json").write_text(whole, encoding="utf-8")
    return sorted(folder.iterdir())


def judge(
    challenger: Recommender, champion: Recommender | None, prepared: Prepared, margin: float, seed: int
) -> Verdict:
    """The gate's verdict on a challenger.

    Args:
        champion: None where there is none, or none that these rows can be held against.
        margin: in nDCG at 5.
    """
    features, _ = prepared.rows("gate")
    contract = prepared.contract
    unknown = ["the version does not say how it did beside its baselines"]
    return recommender_gate.judge(
        challenger.told.get(_NOT_BEATEN, unknown),
        contract,
        Encoder(contract).frame(features),
        challenger,
        champion,
        margin=margin,
        seed=seed,
    )
