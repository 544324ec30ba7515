"""What if: a customer's probability after changes that the company can make, and the cheapest that leave the high band.

Only columns that the contract calls actionable are changed, to values that it allows, and no product is
left without what it requires. A proposal moreover holds no two values, one of them changed, that the
version's training rows never held together (:mod:`churn.combinations`), and never raises what the
customer pays. It is what was found cheapest by the contract's costs; a model's probability after a change
is what customers of that kind have, and no promise that the change brings it about.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from churn.change_search import Found, search
from churn.columns import Scalar
from churn.errors import Fault, InvalidData
from churn.options import Option, Options

if TYPE_CHECKING:
    from churn.contract import Contract
    from churn.scoring import Scorer

Customer = Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """What a change, or the proposed one, comes to."""

    before: float
    after: float | None
    """None where nothing was asked and nothing found."""
    each: list[dict[str, Any]]
    proposal: dict[str, Any] | None
    reason: str
    """Why there is no proposal though one was asked for; else empty."""
    warnings: list[str]


def changed(scorer: "Scorer", customer: Customer, changes: Mapping[str, Any]) -> Answer:
    """A customer before and after changes, and after each of them alone.

    Args:
        customer: whose values the contract has read.
        changes: new values by column, as JSON has them.

    Raises:
        InvalidData: a column may not be changed, a value not be had, or a product be left without
            what it requires.
    """
    contract = scorer.contract
    wanted = _read(contract, changes)
    after = {**customer, **wanted}
    faults = [
        Fault(None, f"changes.{name}", wanted[name], message) for name, message in _broken(contract, after, wanted)
    ]
    if faults:
        raise InvalidData(faults)
    before, together, each = _scored(scorer, customer, wanted)
    return Answer(before, together, each, None, "", _warnings(scorer, customer, wanted))


def proposed(scorer: "Scorer", customer: Customer) -> Answer:
    """The cheapest changes found that leave the high band.

    Args:
        customer: whose values the contract has read.
    """
    contract = scorer.contract
    before = scorer.predict([customer])[0]
    if before.risk != "high":
        return Answer(before.churn_probability, None, [], None, "the customer is not in the high band", [])
    options = Options(scorer, customer)
    if not options.all:
        return Answer(before.churn_probability, None, [], None, _why_nothing(contract), [])
    found = search(scorer, customer, options)
    if not found.changes:
        return Answer(before.churn_probability, None, [], None, _why_none(found), [])
    wanted = {option.column: option.value for option in found.changes}
    _, after, each = _scored(scorer, customer, wanted)
    return Answer(before.churn_probability, after, each, _told(scorer, customer, found, after), "", [])


def _read(contract: "Contract", changes: Mapping[str, Any]) -> dict[str, Scalar]:
    """The changes as the contract's values."""
    wanted: dict[str, Scalar] = {}
    faults = []
    for name, given in changes.items():
        column = contract.features.get(name)
        value: Scalar | None = None
        if column is None or not column.actionable:
            fault: str | None = _not_actionable(contract, name)
        else:
            value, fault = column.read(given)
            fault = fault or (column.expectation if value is None else None)  # to take a value away is no change
        if fault or value is None:
            faults.append(Fault(None, f"changes.{name}", given, str(fault)))
        else:
            wanted[name] = value
    if faults:
        raise InvalidData(faults)
    return wanted


def _not_actionable(contract: "Contract", name: str) -> str:
    said = (
        "the contract does not call this actionable" if name in contract.features else "the contract has no such column"
    )
    may = [other for other, column in contract.features.items() if column.actionable]
    return f"{said}; what may be changed: {', '.join(may) or 'nothing'}"


def _broken(contract: "Contract", after: Customer, wanted: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The changes that leave a product without what it requires, and what is wrong."""
    found = []
    for product, entry in contract.products.items():
        if after[product] not in entry.owned:
            continue
        for needed, values in entry.requires.items():
            guilty = [name for name in (needed, product) if name in wanted]
            if guilty and after[needed] not in values:
                title = entry.label or contract.features[product].title
                allowed = " or ".join(repr(value) for value in values)
                found.append((guilty[0], f"{title} ({product}) requires {needed} {allowed}, not {after[needed]!r}"))
    return found


def _scored(
    scorer: "Scorer", customer: Customer, wanted: Mapping[str, Any]
) -> tuple[float, float, list[dict[str, Any]]]:
    """The probabilities before and after all changes, and after each alone, told."""
    rows = [customer, {**customer, **wanted}, *({**customer, name: value} for name, value in wanted.items())]
    # each by itself, as one customer is scored elsewhere: among others the last digit may differ
    before, after, *alone = (scorer.predict([row])[0].churn_probability for row in rows)
    each = [
        {"feature": name, "from": customer[name], "to": value, "churn_probability": probability}
        for (name, value), probability in zip(wanted.items(), alone, strict=True)
    ]
    return before, after, each


def _warnings(scorer: "Scorer", customer: Customer, wanted: Mapping[str, Any]) -> list[str]:
    """What of the changed customer was never seen."""
    options = Options(scorer, customer)
    given = [Option(name, value, 0.0) for name, value in wanted.items() if value != customer[name]]
    return [f"{one}, and none of the rows that the version was trained on was so" for one in options.unseen(given)]


def _told(scorer: "Scorer", customer: Customer, found: Found, after: float) -> dict[str, Any]:
    return {
        "changes": [
            {"feature": one.column, "from": customer[one.column], "to": one.value, "cost": one.cost}
            for one in found.changes
        ],
        "cost": sum(one.cost for one in found.changes),
        "churn_probability": after,
        "risk": scorer.contract.band_of(after),
        "complete": found.complete,
    }


def _why_nothing(contract: "Contract") -> str:
    if not any(column.actionable for column in contract.features.values()):
        return "the contract calls no column actionable"
    return "no actionable column has another value for this customer"


def _why_none(found: Found) -> str:
    tried = "no" if found.complete else "in the time there is, no"
    return f"{tried} set of up to {found.most} actionable changes leaves the high band"
