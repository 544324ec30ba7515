"""A half-circle gauge of a probability over the contract's risk bands, and the list of the bands.

Both are HTML whose shapes and colours stand in style.css, so that one drawing fits the light and
the dark theme. Every colour is doubled by a word, for whoever cannot tell it apart.
"""

import math
from html import escape

from churn.contract import BANDS, Band, Contract

NAMES: dict[str, str] = {"high": "High risk", "medium": "Medium risk", "low": "Low risk"}
# Where a tick's label stands, in radii from the centre.
_TICK = 1.15


def draw(contract: Contract) -> str:
    """The scale alone, before there is anything to show on it."""
    said = '<div class="reading"><strong class="none">–</strong><span>No prediction yet</span></div>'
    return _gauge(contract, said, "No prediction yet", "")


def draw_reading(contract: Contract, probability: float, band: str, threshold: float) -> str:
    """The scale with a probability on it, its band in words, and the decision threshold."""
    name = NAMES.get(band, band)
    said = f"<strong>{escape(percent(probability))}</strong><span>{escape(name)}</span>"
    content = (
        f'<div class="arc value {escape(band)}"></div><div class="arc decision"></div><div class="reading">{said}</div>'
    )
    spoken = f"Churn probability {percent(probability)}, {name}"
    return _gauge(contract, content, spoken, f"--value:{probability:.4f};--decision:{threshold:.4f};")


def bands(contract: Contract, current: str | None = None) -> str:
    """The bands with their thresholds and strategies; the current one is marked."""
    rows = "".join(
        f'<li class="{band}"{" aria-current=true" if band == current else ""}>'
        f"<i></i><b>{NAMES[band]}</b><span>{_range(low, high)}</span>"
        f"<em>{escape(contract.risk[band].action)}</em></li>"
        for band, low, high in _limits(contract)
    )
    return f'<ul class="bands">{rows}</ul>'


def percent(share: float) -> str:
    """A probability: one decimal, and never a certainty that is only rounding."""
    if 0 < share < 0.001:
        return "< 0.1%"
    if 0.999 < share < 1:
        return "> 99.9%"
    return f"{share:.1%}"


def setting(share: float) -> str:
    """A threshold, with as many digits as it was given: 60%, 42.5%."""
    return f"{share * 100:.4g}%"


def _gauge(contract: Contract, content: str, spoken: str, style: str) -> str:
    lows = {band: contract.risk[band].threshold for band in BANDS}
    scale = f"--medium-from:{lows['medium']:.4f};--high-from:{lows['high']:.4f};"
    ticks = "".join(_tick(low) for low in lows.values() if low > 0)
    return (
        f'<div class="gauge" role="img" aria-label="{escape(spoken)}" style="{scale}{style}">'
        f'<div class="arc scale"></div>{ticks}{content}</div>'
    )


def _tick(share: float) -> str:
    left = 50 - 50 * _TICK * math.cos(math.pi * share)
    top = 100 - 100 * _TICK * math.sin(math.pi * share)
    return f'<span class="tick" style="left:{left:.1f}%;top:{top:.1f}%">{setting(share)}</span>'


def _limits(contract: Contract) -> list[tuple[Band, float, float]]:
    """Each band with its lowest probability and the one where the next begins, from high to low."""
    lows = [contract.risk[band].threshold for band in BANDS]
    return list(zip(BANDS, lows, [1.0, *lows[:-1]], strict=True))


def _range(low: float, high: float) -> str:
    if low == 0:
        return f"below {setting(high)}"
    return f"from {setting(low)}" if high == 1 else f"{setting(low)} to {setting(high)}"
