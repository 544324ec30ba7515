"""The part of :mod:`churn.client` about recommendations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from churn.client_connection import Connection

Told = dict[str, Any]


@dataclass(frozen=True)
class Recommendations:
    """What to offer a customer, the best first; ``reason`` says why there is nothing."""

    customer_id: str | int | None
    basis: str
    risk: str | None
    control: bool
    reason: str
    recommendations: list[Told]
    refused: list[str]
    accepted: list[str]
    weights: Told
    currency: str
    model: Told
    risk_model: Told
    warnings: list[str]


@dataclass(frozen=True)
class Interactions:
    """A page of what a customer did with what was recommended to him, newest first."""

    customer_id: str
    interactions: list[Told]
    total: int
    page: int
    limit: int


class RecommendPart(Connection):
    """``/recommend`` and ``/interactions``."""

    def recommend(
        self,
        customer: Told | None = None,
        *,
        customer_id: str | int | None = None,
        k: int = 3,
        kinds: Sequence[str] | None = None,
        items: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
        max_cost: float | None = None,
    ) -> Recommendations:
        """The best products and offers for a customer: given in the contract's columns, or, of one who has
        been scored, by his id. Of neither nothing is known: what most customers own."""
        wanted: Told = {"customer": customer, "customer_id": customer_id, "k": k, "max_cost": max_cost}
        wanted |= {"kinds": kinds and list(kinds), "items": items and list(items), "exclude": list(exclude)}
        body = {name: one for name, one in wanted.items() if one is not None}
        return self._one(Recommendations, self._ask("POST", "/recommend", json=body))

    def record_interactions(self, interactions: Sequence[Told], *, key: str | None = None) -> list[Told]:
        """Tell what customers did with recommendations, up to 1,000 objects of customer_id, item, event and,
        if you like, at, version and idempotency_key; they come back as they were kept first.

        Args:
            key: what you call all of them together by, so that they are kept once; instead of a key for each.
        """
        headers = {} if key is None else {"Idempotency-Key": key}
        told: list[Told] = self._part(
            "/interactions", "interactions", "POST", json={"interactions": list(interactions)}, headers=headers
        )
        return told

    def interactions(self, customer_id: str, page: int = 1, limit: int = 50) -> Interactions:
        """What a customer did with what was recommended to him."""
        wanted = {"customer_id": customer_id, "page": page, "limit": limit}
        return self._one(Interactions, self._ask("GET", "/interactions", params=wanted))
