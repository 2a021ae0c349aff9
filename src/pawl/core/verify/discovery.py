"""Many tests at once: Benjamini and Hochberg's control of the false-discovery rate (1995)."""

from __future__ import annotations

from collections.abc import Sequence


def adjusted(p_values: Sequence[float]) -> list[float]:
    """q-values in the order given: calling all with q <= a "found" keeps the expected share of
    false ones among them at a."""
    count = len(p_values)
    order = sorted(range(count), key=lambda i: p_values[i])
    q = [1.0] * count
    least = 1.0
    for place in range(count, 0, -1):
        index = order[place - 1]
        least = min(least, p_values[index] * count / place)
        q[index] = least
    return q
