"""Small pictures of a reading: a sparkline for the terminal, an SVG for the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from pawl.core.verify import robust
from pawl.core.verify.curve import Curve
from pawl.core.verify.gates import shown
from pawl.core.verify.reading import Reading

BARS = "▁▂▃▄▅▆▇█"
WIDTH, HEIGHT = 320.0, 72.0


def sparkline(values: Sequence[float], low: float, high: float, width: int) -> str:
    """The values as at most `width` bars between `low` and `high`."""
    if not values:
        return ""
    length = max(1, math.ceil(len(values) / width))
    span = (high - low) or 1.0
    last = len(BARS) - 1
    return "".join(
        BARS[min(last, max(0, round((v - low) / span * last)))]
        for v in robust.blocks(values, length)
    )


def bounds(reading: Reading) -> tuple[float, float]:
    """What both lines are drawn between. Zero is the floor, unless the lines are far above it."""
    curves = [c for c in (reading.new, reading.old) if c is not None and c.values]
    values = [v for c in curves for v in c.values]
    if reading.limit is not None:
        values.append(reading.limit)
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    return (min(low, 0.0), high) if low < 0.7 * high or low < 0 else (low - (high - low), high)


def text(reading: Reading, width: int = 16) -> str:
    """ "▅▅▆▇ / ▃▃▃▃": new and old on one scale."""
    low, high = bounds(reading)
    new = sparkline(reading.new.values, low, high, width) if reading.new else ""
    old = sparkline(reading.old.values, low, high, width) if reading.old else ""
    return f"{new} / {old}" if old else new


def svg(reading: Reading) -> str:
    """Both lines over time; classes `new`, `old` and `bound`, so that a page's colours apply."""
    curves = [(c, css) for c, css in ((reading.old, "old"), (reading.new, "new")) if c is not None]
    if not curves:
        return ""
    low, high = bounds(reading)
    start = min(c.at[0] for c, _ in curves if c.at)
    end = max(c.at[-1] for c, _ in curves if c.at)
    parts = []
    if reading.limit is not None:
        y = _y(reading.limit, low, high)
        parts.append(f'<path class="bound" d="M0 {y:.1f}H{WIDTH:.0f}"/>')
    for line, css in curves:
        points = " ".join(
            f"{_x(t, start, end):.1f},{_y(v, low, high):.1f}"
            for t, v in zip(line.at, line.values, strict=True)
        )
        parts.append(f'<polyline class="{css}" points="{points}"><title>{_said(line, reading)}')
        parts.append("</title></polyline>")
    label = escape(f"{reading.gate} of {reading.group}: {reading.verdict}")
    return (
        f'<svg class="gate" viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" '
        f'aria-label="{label}">{"".join(parts)}</svg>'
    )


def _x(at: float, start: float, end: float) -> float:
    return (at - start) / ((end - start) or 1.0) * WIDTH


def _y(value: float, low: float, high: float) -> float:
    return HEIGHT - 4 - (value - low) / ((high - low) or 1.0) * (HEIGHT - 8)


def _said(line: Curve, reading: Reading) -> str:
    top = shown(max(line.values), reading.unit) if line.values else ""
    return escape(f"{line.subject}: up to {top}")
