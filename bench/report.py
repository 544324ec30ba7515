"""What a run found, as Markdown: the machine, the tables, each bar with what was seen."""

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


def markdown(machine: Mapping[str, str], command: str, sections: Sequence[Section]) -> str:
    """The whole report."""
    bars = [bar for section in sections for bar in section.bars]
    missed = sum(not bar.met for bar in bars)
    verdict = f"{missed} of {len(bars)} bars missed" if missed else f"All {len(bars)} bars met"
    parts = [
        f"# Benchmarks\nWritten by `{command}`; do not edit. {verdict}.",
        table(("Machine", ""), machine.items(), texts=2),
    ]
    for section in sections:
        parts += [f"## {section.title}\n{section.text}", table(section.head, section.rows, texts=2)]
    told = [(bar.what, bar.wanted, bar.seen, "yes" if bar.met else "**no**") for bar in bars]
    parts += ["## Bars", table(("Bar", "Wanted", "Seen", "Met"), told, texts=1)]
    return "\n\n".join(parts) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int) -> str:
    """A Markdown table; the first columns are texts, the others figures."""
    lines = [head, ["---"] * texts + ["--:"] * (len(head) - texts), *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |" for line in lines)
