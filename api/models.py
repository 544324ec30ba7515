"""``GET /models``: what is in service."""

from typing import Any

from flask_openapi import APIBlueprint, Tag

from api.replies import ModelsReply
from api.serving import serving

blueprint = APIBlueprint("models", __name__, abp_tags=[Tag(name="models")])


@blueprint.get("/models", operation_id="models", summary="The versions in service", responses={200: ModelsReply})
def models() -> dict[str, Any]:
    """Name, version, since when, metrics and data hash. Empty before the first training has ended."""
    now = serving()
    version = now.version
    if version is None:
        return {"models": [], "warning": now.reason}
    live = {
        "name": version.name,
        "version": version.version,
        "since": version.since.isoformat(),
        "run_id": version.run_id,
        "metrics": version.metrics,
        "data_hash": version.provenance.get("data_hash", ""),
        "provenance": version.provenance,
    }
    return {"models": [live], "warning": now.reason}
