"""The step of a training that tells customers apart, and what each candidate carries of it.

The personas are found once per training, before the candidates are fitted: they follow from the
rows alone. The bands' figures and the rules follow from a candidate's out-of-fold probabilities.
"""

import hashlib
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from churn import personas, preparation, segments
from churn.encoding import Encoder
from churn.errors import NotReady

if TYPE_CHECKING:
    import pandas as pd

    from churn.contract import Contract
    from churn.registry import Registry, Version
    from churn.training import OutOfFold

_PIPELINE_FILE = "personas.skops"
_NONE_FILE = "no_personas.txt"
log = logging.getLogger(__name__)


def segment(prepared: Path, seed: int) -> None:
    """Find the personas among the training rows and write them into their folder; where there are
    none, why. Whatever keeps them from being found keeps no model from being trained. Safe to repeat."""
    import skops.io

    from churn import clustering

    rows = preparation.load(prepared)
    for name in (personas.FILE, _PIPELINE_FILE, _NONE_FILE):
        (prepared / name).unlink(missing_ok=True)
    try:
        found = clustering.fit(rows.contract, *rows.rows("train"), seed)
        skops.io.dump(found.pipeline, prepared / _PIPELINE_FILE)
        personas.write(prepared / personas.FILE, found.told)  # last: it says that both are whole
    except Exception as error:  # also whatever scikit-learn raises over numbers that nobody has thought of
        log.warning("no personas: %s", error, exc_info=not isinstance(error, NotReady))
        for name in (personas.FILE, _PIPELINE_FILE):
            (prepared / name).unlink(missing_ok=True)
        (prepared / _NONE_FILE).write_text(str(error), encoding="utf-8")
        return
    log.info("personas: %s", "; ".join(persona.name for persona in found.told.personas))


def digest(prepared: Path | None) -> str:
    """The SHA-256 of the personas' file of a prepared training; empty where it has none."""
    path = prepared / personas.FILE if prepared else None
    return hashlib.sha256(path.read_bytes()).hexdigest() if path and path.exists() else ""


def write_parts(
    folder: Path,
    prepared: Path | None,
    contract: "Contract",
    features: "pd.DataFrame",
    once: "OutOfFold",
    seed: int,
) -> tuple[dict[str, str], dict[str, float]]:
    """Make the folder of a version's parts, and write what it carries of its segments.

    Args:
        prepared: the training's folder; without it there are no personas.
        features: the training rows, (n, columns).
        once: a held-out prediction of each of them.

    Returns:
        What the version's decision says of the personas, and the proposed thresholds as metrics.
    """
    from churn import rules, segmentation

    folder.mkdir()
    named = digest(prepared)
    if prepared and named:
        shutil.copyfile(prepared / personas.FILE, folder / personas.FILE)
    own = contract.risk["high"].threshold, contract.risk["medium"].threshold
    proposed = segmentation.propose_thresholds(once.target, once.probability, contract.economics, own)
    encoded = Encoder(contract).frame(features.iloc[once.rows])
    told = segments.Document(
        bands=segmentation.observed(once.target, once.probability, contract),
        proposed=segments.Proposal(**proposed._asdict()),
        rules=rules.find(contract, encoded, once.target, once.probability >= own[0], seed),
        personas="" if named else _why_none(prepared),
    )
    (folder / segments.FILE).write_text(told.model_dump_json(indent=2), encoding="utf-8")
    return {"personas": named} if named else {}, {"proposed_high": proposed.high, "proposed_medium": proposed.medium}


def _why_none(prepared: Path | None) -> str:
    path = prepared / _NONE_FILE if prepared else None
    return path.read_text(encoding="utf-8") if path and path.exists() else "this training did not look for personas"


def register(registry: "Registry", version: "Version", prepared: Path) -> "Version":
    """Register the personas that a version of the classifier carries as one of their own. Safe to repeat."""
    import skops.io

    from churn import persona_models
    from churn.clustering import TYPES

    if not digest(prepared) or persona_models.number_of(version):
        return version
    told = personas.read(prepared / personas.FILE)
    contract = preparation.load(prepared).contract
    pipeline = skops.io.load(prepared / _PIPELINE_FILE, trusted=list(TYPES))
    file = prepared / personas.FILE
    model = persona_models.PersonaModel(pipeline, told, contract, file, digest(prepared), TYPES)
    return persona_models.register(registry, model, version)
