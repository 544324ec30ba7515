"""What a model card says of risk bands, personas and the rules of the high band."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from churn.model_card import as_percent, as_table, as_text
from churn.segmentation import stand_apart

if TYPE_CHECKING:
    from churn.scoring import Scorer
    from churn.segments import BandSeen, Document, Observed


def sections(scorer: "Scorer", report: "Sequence[BandSeen]") -> dict[str, str]:
    """From the title of each section to its Markdown.

    Args:
        report: the bands as the report set shows them; empty where it has no customers.
    """
    return {
        "Risk bands": "\n\n".join(_bands(scorer, report)),
        "The high band in rules": _rules(scorer.segments) if scorer.segments else "",
        "Personas": _personas(scorer),
    }


def _bands(scorer: "Scorer", report: "Sequence[BandSeen]") -> Iterator[str]:
    told = scorer.segments
    if not told:
        return
    measured = {seen.band: seen.observed for seen in report}
    rows = [
        [
            seen.band,
            f"{seen.threshold:g}",
            scorer.contract.risk[seen.band].action,
            *_observed(measured.get(seen.band)),
            *_observed(seen.observed),
        ]
        for seen in told.bands
    ]
    head = ("Band", "From", "What is done", "Report set", "Left (95 % interval)", "Out of fold", "Left (95 % interval)")
    yield as_table(head, rows)
    if report:
        apart = "do not overlap" if stand_apart(report) else "overlap: the bands are not told apart for sure"
        yield f"On the report set the bands' intervals {apart}."
    if told.proposed.source == "profit curve":
        yield (
            f"The profit curve of out-of-fold probabilities proposes {told.proposed.medium:g} for medium, where the "
            f"profit is largest, and {told.proposed.high:g} for high, from where half of it is earned."
        )
    else:
        yield "Contacting pays at no threshold of the profit curve, so that it proposes none."


def _observed(observed: "Observed | None") -> list[str]:
    if observed is None or observed.churn_rate is None:
        return [f"{observed.customers if observed else 0:,} customers", "–"]
    low, high = 100 * (observed.low or 0.0), 100 * (observed.high or 0.0)
    return [f"{observed.customers:,} customers", f"{as_percent(observed.churn_rate)} ({low:.1f} to {high:.1f})"]


def _rules(told: "Document") -> str:
    if told.rules.fidelity is None:
        return as_text(told.rules.note)
    fidelity = told.rules.fidelity
    rows = [
        [as_text(rule.text), f"{rule.customers:,}", as_percent(rule.share), as_percent(rule.precision)]
        for rule in told.rules.rules
    ]
    return (
        f"A small decision tree imitates the band. Of the {fidelity.customers:,} customers that it was not fitted to, "
        f"one of the rules holds of {as_percent(fidelity.recall)} of the band, and {as_percent(fidelity.precision)} of "
        f"those of whom one holds are in it; rules and band agree on {as_percent(fidelity.accuracy)}.\n\n"
        + as_table(("Rule", "Customers", "Share", "In the high band"), rows)
    )


def _personas(scorer: "Scorer") -> str:
    if scorer.personas is None:
        return as_text(scorer.segments.personas) if scorer.segments else ""
    told = scorer.personas.told
    taken = next(trial for trial in told.trials if trial.k == len(told.personas))
    rows = [
        [as_text(one.name), f"{one.customers:,}", as_percent(one.share), as_percent(one.churn_rate)]
        for one in told.personas
    ]
    sure = "" if told.stable else " No number of groups was stable, so take these with care."
    return (
        f"Groups of like customers among the {told.rows:,} training rows, by K-Means; the silhouette is "
        f"{taken.silhouette:.2f}, and refits agree by {taken.stability:.2f} (adjusted Rand index).{sure}\n\n"
        + as_table(("Persona", "Customers", "Share", "Left"), rows)
    )
