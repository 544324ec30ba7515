"""The part of :mod:`churn.client` about customers: why, what if, whom to keep, and what became of them.

Large replies are objects of their main figures; what is a list of many columns stays as it came, by the
names that `docs/api.md` has.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from churn.client_connection import Connection

Told = dict[str, Any]


@dataclass(frozen=True)
class Explanation:
    """Base value and contributions add up to the output value, in ``space``."""

    churn_probability: float
    method: str
    space: str
    base_value: float
    output_value: float
    contributions: list[Told]
    agreement: Told
    model: Told
    fidelity: float | None = None


@dataclass(frozen=True)
class GlobalExplanation:
    """What moves the probability as a rule; the most important feature first."""

    space: str
    base_value: float
    rows: int
    features: list[Told]
    model: Told


@dataclass(frozen=True)
class WhatIf:
    """Probabilities before and after changes; ``proposal`` where none were given and one was found."""

    before: float
    after: float | None
    risk: Told
    each: list[Told]
    proposal: Told | None
    reason: str
    warnings: list[str]
    model: Told


@dataclass(frozen=True)
class Segments:
    """Bands with their strategies, personas, and the high band in rules."""

    bands: list[Told]
    personas: list[Told]
    rules: Told | None
    model: Told


@dataclass(frozen=True)
class ScoredCustomers:
    """A page of the scored customer base."""

    customers: list[Told]
    total: int
    page: int
    limit: int
    model: Told
    scored: str


@dataclass(frozen=True)
class Portfolio:
    """What the scored customer base adds up to; ``history`` is newest first."""

    customers: int
    left: int
    monthly_revenue: float | None
    revenue_at_risk: float | None
    expected_profit: float
    expected_churners: float
    by_risk: list[Told]
    by_persona: list[Told]
    history: list[Told]
    currency: str
    months: int
    notes: list[str]
    model: Told
    scored: str


@dataclass(frozen=True)
class Plan:
    """Whom to contact with what, the highest expected profit first."""

    budget: float
    spent: float
    customers: int
    expected_profit: float
    expected_churners_kept: float
    baseline: Told
    by_offer: list[Told]
    note: str
    plan: list[Told]
    model: Told
    scored_at: str
    currency: str


@dataclass(frozen=True)
class Recorded:
    """What became of outcomes that were told."""

    new: int
    known: int
    unscored: int


class CustomersPart(Connection):
    """``/explain``, ``/whatif``, ``/segments``, ``/customers``, ``/portfolio``, ``/campaigns``, ``/outcomes``
    and ``/monitoring``."""

    def explain(self, customer: Told, method: str = "shap") -> Explanation:
        """Why a customer has this probability, by ``shap`` or ``lime``."""
        return self._one(Explanation, self._ask("POST", "/explain", json={"customer": customer, "method": method}))

    def explain_global(self) -> GlobalExplanation:
        """What moves the probability as a rule."""
        return self._one(GlobalExplanation, self._ask("GET", "/explain/global"))

    def whatif(self, customer: Told, changes: Told | None = None) -> WhatIf:
        """A customer after changes; without any, after the cheapest that leave the high band."""
        body = {"customer": customer, **({"changes": changes} if changes else {})}
        return self._one(WhatIf, self._ask("POST", "/whatif", json=body))

    def segments(self) -> Segments:
        """How the version in service tells customers apart."""
        return self._one(Segments, self._ask("GET", "/segments"))

    def customers(self, **wanted: str | float) -> ScoredCustomers:
        """A page of the scored customers; ``wanted`` are the parameters of ``GET /customers``."""
        return self._one(ScoredCustomers, self._ask("GET", "/customers", params=wanted))

    def customer(self, customer_id: str) -> Told:
        """One scored customer: the score, its reasons, the row that was scored, and the scores before."""
        return self._ask("GET", f"/customers/{quote(customer_id, safe='')}")

    def portfolio(self, runs: int = 30) -> Portfolio:
        """What the scored customer base adds up to, with a history of so many scorings."""
        return self._one(Portfolio, self._ask("GET", "/portfolio", params={"runs": runs}))

    def plan(
        self, budget: float, *, offers: Sequence[str] | None = None, risk: Sequence[str] | None = None,
        limit: int = 1_000,
    ) -> Plan:  # fmt: skip
        """The list of contacts that brings the most under a budget."""
        wanted = {"budget": budget, "limit": limit}
        narrowed = {name: list(given) for name, given in (("offers", offers), ("risk", risk)) if given is not None}
        # an optimum over a large customer base takes its time
        timeout = max(self._http.timeout.read or 0, 60.0)
        return self._one(Plan, self._ask("POST", "/campaigns/plan", json={**wanted, **narrowed}, timeout=timeout))

    def record_outcomes(self, outcomes: Sequence[Told]) -> Recorded:
        """Tell who left and who stayed: up to 1,000 objects of customer_id, churned and, if not now, at."""
        return self._one(Recorded, self._ask("POST", "/outcomes", json={"outcomes": list(outcomes)}))

    def outcomes(self) -> Told:
        """How many outcomes are known, from when to when."""
        return self._ask("GET", "/outcomes")

    def monitoring(self) -> list[Told]:
        """The newest looks at drift and performance, newest first."""
        found: list[Told] = self._part("/monitoring", "looks")
        return found
