"""``GET /models``: what is in service, of each kind of model."""

from dataclasses import asdict
from typing import Any

from flask_openapi import APIBlueprint, Tag

from api.replies import ModelsReply
from api.serving import Serving, servings
from churn.catalogue import nothing_to_recommend
from churn.kinds import RECOMMENDER, Loaded
from churn.scoring import Scorer
from churn.shelf import Served

blueprint = APIBlueprint("models", __name__, abp_tags=[Tag(name="models")])


@blueprint.get("/models", operation_id="models", summary="The versions in service", responses={200: ModelsReply})
def models() -> dict[str, Any]:
    """Name, version, since when, metrics and data hash; and which version was refused, and why.
    Empty before the first training has ended. The classifier comes first."""
    return state()


def state() -> dict[str, Any]:
    """What this worker serves."""
    every = servings()
    return {
        "models": [_told(*one.live, one.kind.label) for one in every if one.live],
        "refused": [asdict(one.refused) for one in every if one.refused],
        "warning": warning(),
    }


def warning() -> str:
    """Why a kind is not served, or not by the newest version; empty where all is well."""
    first, *others = servings()
    told = [(one.kind.name, _reason(one, first.live)) for one in others]
    return "; ".join(filter(None, [first.reason, *(f"{name}: {reason}" for name, reason in told if reason)]))


def _reason(other: Serving[Loaded], classifier: "tuple[Served, Loaded] | None") -> str:
    """Why another kind is not served; under a contract that gives it nothing to do, nobody need train one."""
    if other.kind is RECOMMENDER and classifier and not other.live and not other.refused:
        return nothing_to_recommend(classifier[1].contract.products) or other.reason
    return other.reason


def _told(served: Served, model: Loaded, label: str) -> dict[str, Any]:
    return {
        **asdict(served),
        "label": label,
        "data_hash": served.provenance.get("data_hash", ""),
        "compiled": model.is_compiled if isinstance(model, Scorer) else None,
    }
