"""``GET /segments``: how the version in service tells customers apart."""

from typing import Any

from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, Field

from api.access import needs
from api.document import said
from api.replies import Model
from api.serving import serving
from churn.contract import BANDS, Band
from churn.personas import Persona, Personas, Trial
from churn.scoring import Scorer
from churn.segmentation import REPORTED, of_metrics
from churn.segments import Observed, Proposal, Rules

blueprint = APIBlueprint("segments", __name__, abp_tags=[Tag(name="segments")])


class BandReply(BaseModel):
    band: Band
    threshold: float = Field(description="The lowest probability that belongs to the band")
    action: str = Field(description="The strategy")
    out_of_fold: Observed | None = Field(description="Who left of it among the training rows, each held out once")
    report: Observed | None = Field(description="The same of the report set, which no training has seen")


class PersonasFit(BaseModel):
    rows: int = Field(description="Customers that the personas were found among")
    seed: int
    stable: bool = Field(description="Whether refits on bootstrapped rows give much the same groups")
    trials: list[Trial] = Field(description="Each number of groups that was tried")


class SegmentsReply(BaseModel):
    """What an older version does not carry is null, or empty."""

    bands: list[BandReply]
    ranked_by: str = Field(description="The order of customers inside a band, the largest first")
    proposed: Proposal | None = Field(description="Thresholds that the profit curve suggests")
    personas: list[Persona] = Field(description="From the largest to the smallest")
    personas_fit: PersonasFit | None
    personas_note: str = Field(description="Why there are no personas; empty where there are")
    rules: Rules | None = Field(description="The high band in rules, and how well they tell it")
    model: Model


@blueprint.get(
    "/segments",
    operation_id="segments",
    summary="Risk bands, personas and the high band in rules",
    responses={200: SegmentsReply, 503: said("No model in service")},
)
@needs("read")
def segments() -> dict[str, Any]:
    """The bands with their strategies and how many customers of each left (95 % intervals by
    Wilson); the personas with their profiles; rules that tell the high band; of the version in service."""
    now = serving()
    scorer = now.scorer()
    # asked once more for its figures: a request does not mix two versions
    metrics = now.live[0].metrics if now.live and now.live[1] is scorer else {}
    told, groups = scorer.segments, scorer.personas
    note = "this version tells of no personas" if told is None else told.personas
    return {
        "bands": _bands(scorer, metrics),
        "ranked_by": "revenue_at_risk",
        "proposed": told and told.proposed.model_dump(),
        "personas": [persona.model_dump() for persona in groups.told.personas] if groups else [],
        "personas_fit": _fit(groups) if groups else None,
        "personas_note": "" if groups else note,
        "rules": told and told.rules.model_dump(),
        "model": {"name": scorer.model.name, "version": scorer.model.version},
    }


def _bands(scorer: Scorer, metrics: dict[str, float | None]) -> list[dict[str, Any]]:
    seen = {one.band: one.observed.model_dump() for one in scorer.segments.bands} if scorer.segments else {}
    reported = {band: observed.model_dump() for band, observed in of_metrics(metrics, REPORTED).items()}
    return [
        {
            "band": band,
            "threshold": scorer.contract.risk[band].threshold,
            "action": scorer.contract.risk[band].action,
            "out_of_fold": seen.get(band),
            "report": reported.get(band),
        }
        for band in BANDS
    ]


def _fit(groups: Personas) -> dict[str, Any]:
    return groups.told.model_dump(include=set(PersonasFit.model_fields))
