"""What a run found, as Markdown: each bar with what was seen, the tables, the machine."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Bar:
    """What the figures are held against."""

    what: str
    wanted: str
    seen: str
    met: bool


def at_least(what: str, wanted: float, seen: float, unit: str = "×") -> Bar:
    """NaN meets nothing."""
    return Bar(what, f"at least {wanted:g} {unit}", f"{seen:.2f} {unit}", seen >= wanted)


def at_most(what: str, wanted: float, seen: float, unit: str = "×") -> Bar:
    """NaN meets nothing."""
    return Bar(what, f"at most {wanted:g} {unit}", f"{seen:.2f} {unit}", seen <= wanted)


@dataclass
class Section:
    """One table, how it was measured, and its bars."""

    title: str
    text: str
    head: Sequence[str]
    """Two columns of text, then figures."""
    rows: list[Sequence[str]] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)


TITLE = "# Benchmarks\nWritten by `make bench`; do not edit. Each half says when, where and of what it was measured.\n"
_HALF = "\n## "


def markdown(machine: Mapping[str, str], section: Section) -> str:
    """One half of the report: its bars, its figures, and what they were measured on."""
    missed = sum(not bar.met for bar in section.bars)
    verdict = f"{missed} of {len(section.bars)} bars missed." if missed else f"All {len(section.bars)} bars met."
    told = [(bar.what, bar.wanted, bar.seen, "yes" if bar.met else "**no**") for bar in section.bars]
    parts = [
        f"## {section.title}\n{verdict}",
        table(("Bar", "Wanted", "Seen", "Met"), told, texts=1),
        section.text,
        table(section.head, section.rows, texts=2),
        table(("Machine", ""), machine.items(), texts=2),
    ]
    return "\n\n".join(parts) + "\n"


def merged(present: str, halves: Iterable[str]) -> str:
    """The report with these halves in the place of those of the same titles."""
    kept = {half.splitlines()[0]: half.strip() for half in present.split(_HALF)[1:]}
    for half in halves:
        plain = half.removeprefix("## ")
        kept[plain.splitlines()[0]] = plain.strip()
    return TITLE + "".join(f"{_HALF}{half}\n" for half in kept.values())


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int) -> str:
    """A Markdown table; the first columns are texts, the others figures."""
    lines = [head, ["---"] * texts + ["--:"] * (len(head) - texts), *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |" for line in lines)
