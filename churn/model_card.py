"""The model card: what a person should know before trusting a version (Mitchell et al. 2019,
doi:10.1145/3287560.3287596)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from churn.evaluation import CHOSEN_BY, SMALLEST_GROUP

if TYPE_CHECKING:
    from churn.economics import Economics

MONEY = ("expected_profit", "empc")
LABELS = {
    "log_loss": ("Log loss", "lower is better"),
    "brier": ("Brier score", "lower is better"),
    "roc_auc": ("ROC AUC", "0.5 is chance, 1 is perfect"),
    "pr_auc": ("Average precision", "the churn rate is chance, 1 is perfect"),
    "lift_top_10": ("Lift in the top 10 %", "churn rate there, as a multiple of everyone's"),
    "capture_top_10": ("Churners in the top 10 %", "share of all churners"),
    "expected_profit": ("Expected profit per customer", "over the range of acceptance rates"),
    "empc": ("EMPC per customer", "the same, had each threshold been the best in hindsight"),
}
GROUP_COLUMNS = {
    "churn_rate": "Churn rate",
    "mean_probability": "Mean probability",
    "contacted": "Contacted",
    "recall": "Recall",
    "false_positive_rate": "False positive rate",
}
INTENDED = (
    "It is made to rank the current customers of the company whose rows it was trained on, so that a retention team "
    "decides whom to contact. It is not made to decide on its own, nor to set prices, credit or terms."
)
LIMITS = (
    "It tells who is likely to leave, not who can be persuaded to stay, and its explanations are no causes.",
    "Its probabilities hold while customers are like those it was trained on; after a change of prices, products or "
    "market, train anew and look at the calibration.",
    "Profits follow from the assumed values and costs; with others the threshold and the figures are others.",
)


@dataclass(frozen=True)
class CardFacts:
    """What a card is written from. A section whose facts are empty is left out."""

    name: str
    """The registered model."""
    chosen: str
    """The label of the candidate that became this version."""
    customers: str
    """Whose customers: the contract's title."""
    predicts: str
    """What the probability is of: the target's label."""
    threshold: float
    economics: "Economics"
    currency: str = ""
    candidates: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """From each candidate's label to its :func:`churn.evaluation.summary`."""
    validation: str = ""
    """How the candidates were compared, such as "5 folds, repeated 3 times"."""
    reason: str = ""
    """Why this one was chosen, where the lowest log loss is not the reason."""
    report: Mapping[str, float] = field(default_factory=dict)
    """:func:`churn.evaluation.metrics` of the report set, which no choice was made on."""
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """:func:`churn.evaluation.bootstrap` of the same."""
    calibration_by_chance: float | None = None
    """:func:`churn.evaluation.calibration_error_by_chance` of the same."""
    contacted: float | None = None
    """The share of the report set at or above the threshold."""
    profit: float | None = None
    """The mean :func:`churn.profit.realised` profit there, at the threshold."""
    profit_of_everyone: float | None = None
    """The same, had everyone been contacted."""
    groups: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """From a sensitive column's label to its :func:`churn.evaluation.by_group`, with readable groups."""
    segments: Mapping[str, str] = field(default_factory=dict)
    """From a title to a section of :mod:`churn.segment_card`."""
    rows: Mapping[str, int] = field(default_factory=dict)
    """From the name of each part of the data to its number of rows."""
    data_hash: str = ""
    outcomes: str = ""
    """How many of the rows have their target from an outcome that came in later; empty where none has."""
    params: Mapping[str, Any] = field(default_factory=dict)
    limits: Sequence[str] = ()
    """Further limits, a sentence each."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """From each library to its version."""
    git: str = ""
    trained_at: str = ""


def card(facts: CardFacts) -> str:
    """The card as Markdown."""
    sections = {
        "Candidates": _candidates(facts),
        "On customers it has not seen": _report(facts),
        "Calibration": _calibration(facts),
        "The decision, in money": _decision(facts),
        **facts.segments,
        "Groups of customers": _groups(facts),
        "Data": _data(facts),
        "Training": as_table(("Parameter", "Value"), facts.params.items()),
        "Limits": "\n".join(f"- {as_text(limit)}" for limit in (*LIMITS, *facts.limits)),
        "Made with": _made_with(facts),
    }
    intro = (
        f"# Model card: {as_text(facts.name)}\n\nThe probability that a customer leaves ({as_text(facts.predicts)}), "
        f"for: {as_text(facts.customers)}. The model is: {as_text(facts.chosen)}. {INTENDED}"
    )
    return "\n\n".join([intro, *(f"## {title}\n\n{body}" for title, body in sections.items() if body)]) + "\n"


def _candidates(facts: CardFacts) -> str:
    if not facts.candidates:
        return ""
    shown = [name for name in LABELS if any(name in figures for figures in facts.candidates.values())]
    ordered = sorted(facts.candidates, key=lambda label: facts.candidates[label].get(CHOSEN_BY, float("inf")))
    rows = []
    for label in ordered:
        figures = facts.candidates[label]
        mark = f"**{label}**" if label == facts.chosen else label
        rows.append([mark, *(_with_interval(name, figures, _from_summary(name, figures), facts) for name in shown)])
    how = f" over {as_text(facts.validation)}" if facts.validation else ""
    table = as_table(("Candidate", *(LABELS[name][0] for name in shown)), rows)
    return f"Means{how}, with 95 % intervals of the mean.\n\n{table}\n\n{_why(facts, ordered)}"


def _why(facts: CardFacts, ordered: Sequence[str]) -> str:
    """Why the chosen one; ``ordered`` is by log loss."""
    if facts.reason or ordered[0] != facts.chosen:
        return f"Chosen: {as_text(facts.chosen)}. {as_text(facts.reason)}".rstrip()
    if len(ordered) == 1:
        return f"Chosen: {as_text(facts.chosen)}, the only candidate."
    first, second = (facts.candidates[label] for label in ordered[:2])
    text = f"Chosen: {as_text(facts.chosen)}, for the lowest log loss, which rewards honest probabilities"
    own, next_one = _from_summary(CHOSEN_BY, first), _from_summary(CHOSEN_BY, second)
    if own and next_one and own[1] >= next_one[0]:
        return f"{text}. Its interval overlaps that of {as_text(ordered[1])}: the lead is not sure."
    return f"{text}."


def _report(facts: CardFacts) -> str:
    rows = [
        [label, _with_interval(name, facts.report, facts.intervals.get(name), facts), how]
        for name, (label, how) in LABELS.items()
        if _is_told(name, facts.report)
    ]
    if not rows:
        return ""
    table = as_table(("Figure", "Value (95 % interval)", "How to read it"), rows)
    return f"Measured once, on the report set, which neither training nor any choice has seen.\n\n{table}"


def _calibration(facts: CardFacts) -> str:
    error, chance = facts.report.get("calibration_error"), facts.calibration_by_chance
    if error is None or error != error:
        return ""
    text = f"On the report set the probabilities are {100 * error:.1f} percentage points off on average, over tenths."
    if chance is None:
        return text
    told = f"{text} True probabilities show up to {100 * chance:.1f} by chance on so many customers"
    return f"{told}: no fault is seen." if error <= chance else f"{told}: take these with care."


def _decision(facts: CardFacts) -> str:
    costs = facts.economics
    text = (
        f"A customer is contacted from a churn probability of {facts.threshold:.3f} on. Assumed: a customer who stays "
        f"is worth {_money(costs.customer_value, facts)}, the offer costs {_money(costs.offer_cost, facts)}, the "
        f"contact {_money(costs.contact_cost, facts)}, and {as_percent(costs.acceptance_rate)} of the churners who are "
        "contacted accept and stay."
    )
    if facts.contacted is not None and facts.profit is not None:
        text += (
            f" On the report set that contacts {as_percent(facts.contacted)} of the customers and brings "
            f"{_money(facts.profit, facts)} per customer"
        )
        if facts.profit_of_everyone is not None:
            text += f", where contacting everyone brings {_money(facts.profit_of_everyone, facts)} and nobody 0"
        text += "."
    return text


def _groups(facts: CardFacts) -> str:
    parts = []
    for column, rows in facts.groups.items():
        head = (column, "Customers", *GROUP_COLUMNS.values(), "ROC AUC")
        parts.append(as_table(head, [_group_row(row) for row in rows]))
    widest = [sentence for name in ("recall", "contacted") if (sentence := _widest(facts, name))]
    return "\n\n".join([*widest, *parts])


def _group_row(row: Mapping[str, Any]) -> list[str]:
    label = "not known" if row["group"] is None else str(row["group"])
    shares = ["–" if row[name] is None else as_percent(row[name]) for name in GROUP_COLUMNS]
    return [label, f"{row['customers']:,}", *shares, "–" if row["roc_auc"] is None else f"{row['roc_auc']:.3f}"]


def _widest(facts: CardFacts, name: str) -> str:
    """A sentence on the two groups of one column that are treated most differently."""
    gaps: list[tuple[float, str, Mapping[str, Any], Mapping[str, Any]]] = []
    for column, rows in facts.groups.items():
        large = [row for row in rows if row["customers"] >= SMALLEST_GROUP and row[name] is not None]
        if len(large) > 1:
            low, high = (pick(large, key=lambda row: row[name]) for pick in (min, max))
            gaps.append((high[name] - low[name], column, high, low))
    gap, column, high, low = max(gaps, key=lambda found: found[0], default=(0.0, "", {}, {}))
    if not gap:
        return ""
    whom = "customers who left" if name == "recall" else "all customers"
    top, bottom = (as_text(_group_row(row)[0]) for row in (high, low))
    return (
        f"The largest gap among {whom}: of {as_text(column)} = {top}, {as_percent(high[name])} are contacted; "
        f"of {as_text(column)} = {bottom}, {as_percent(low[name])} ({100 * gap:.1f} points apart)."
    )


def _data(facts: CardFacts) -> str:
    table = as_table(("Part", "Rows"), [(part, f"{size:,}") for part, size in facts.rows.items()])
    digest = f"SHA-256 of the rows: `{as_text(facts.data_hash)}`" if facts.data_hash else ""
    later = (
        f"Of these rows, {as_text(facts.outcomes)} are customers whose outcome came in later, as they were when last "
        "scored before it."
        if facts.outcomes
        else ""
    )
    return "\n\n".join(part for part in (table, digest, later) if part)


def _made_with(facts: CardFacts) -> str:
    made = {"Trained": facts.trained_at, "Git revision": facts.git, **facts.versions}
    return as_table(("What", "Version"), [(what, version) for what, version in made.items() if version])


def _is_told(name: str, figures: Mapping[str, float]) -> bool:
    return name in figures and figures[name] == figures[name]


def _from_summary(name: str, figures: Mapping[str, float]) -> tuple[float, float] | None:
    if f"{name}_low" not in figures:
        return None
    return figures[f"{name}_low"], figures[f"{name}_high"]


def _with_interval(
    name: str, figures: Mapping[str, float], interval: tuple[float, float] | None, facts: CardFacts
) -> str:
    if not _is_told(name, figures):
        return "–"
    money, form = name in MONEY, ".2f" if name in (*MONEY, "lift_top_10") else ".3f"
    value = _money(figures[name], facts) if money else f"{figures[name]:{form}}"
    return value if interval is None else f"{value} ({interval[0]:{form}} to {interval[1]:{form}})"


def _money(amount: float, facts: CardFacts) -> str:
    return f"{amount:,.2f} {as_text(facts.currency)}".rstrip()


def as_percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def as_table(head: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    """A Markdown table, or nothing if it has no rows."""
    first, *others = ("| " + " | ".join(as_text(cell) for cell in row) + " |" for row in (head, *rows))
    return "\n".join([first, "|---" * len(head) + "|", *others]) if others else ""


def as_text(value: Any) -> str:
    """A text from outside on one line of Markdown, in a table too, where it makes no HTML. Doing it
    twice does no more."""
    return " ".join(str(value).split()).replace("<", "&lt;").replace("|", "&#124;")
