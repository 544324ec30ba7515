"""``GET /health/live`` and ``/health/ready``."""

from flask_openapi import APIBlueprint, Tag

from api.access import needs
from api.document import PROBLEMS
from api.models import warning
from api.replies import HealthReply
from api.serving import serving

blueprint = APIBlueprint("health", __name__, url_prefix="/health", abp_tags=[Tag(name="health")])


@blueprint.get("/live", operation_id="live", summary="Whether the process answers", responses={200: HealthReply})
@needs(None)
def live() -> dict[str, str]:
    """200 as long as the process answers."""
    return {"status": "ok"}


@blueprint.get(
    "/ready",
    operation_id="ready",
    summary="Whether a champion serves",
    responses={200: HealthReply, 503: PROBLEMS[503]},
)
@needs(None)
def ready() -> dict[str, str]:
    """200 once the classifier's champion serves, else 503 with the reason. What keeps the recommender
    from serving stands in `detail`, and is no reason to send requests elsewhere."""
    serving().scorer()
    return {"status": "ok", "detail": warning()}
