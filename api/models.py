"""``GET /models``: what is in service."""

from dataclasses import asdict
from typing import Any

from flask_openapi import APIBlueprint, Tag

from api.replies import ModelsReply
from api.serving import serving

blueprint = APIBlueprint("models", __name__, abp_tags=[Tag(name="models")])


@blueprint.get("/models", operation_id="models", summary="The versions in service", responses={200: ModelsReply})
def models() -> dict[str, Any]:
    """Name, version, since when, metrics and data hash; and which version was refused, and why.
    Empty before the first training has ended."""
    return state()


def state() -> dict[str, Any]:
    """What this worker serves."""
    now = serving()
    refused = [asdict(now.refused)] if now.refused else []
    if now.live is None:
        return {"models": [], "refused": refused, "warning": now.reason}
    served, scorer = now.live
    live = {
        **asdict(served),
        "data_hash": served.provenance.get("data_hash", ""),
        "compiled": scorer.is_compiled,
    }
    return {"models": [live], "refused": refused, "warning": now.reason}
