"""Robust descriptions of samples: level, spread, shift, slope, and how many are independent."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise

PAIRS = 40_000
"""Pairwise differences computed at most; longer samples are thinned evenly first."""
LONGEST_BLOCK = 8


def shift(first: Sequence[float], second: Sequence[float]) -> float:
    """Hodges-Lehmann: the median of all differences first - second."""
    a, b = _thinned(first), _thinned(second)
    return statistics.median(x - y for x in a for y in b)


def _thinned(values: Sequence[float]) -> Sequence[float]:
    most = math.isqrt(PAIRS)
    if len(values) <= most:
        return values
    return [values[i * len(values) // most] for i in range(most)]


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Theil-Sen: the median slope over all pairs of points, in units of value per second."""
    slopes = [
        (values[j] - values[i]) / (times[j] - times[i])
        for i in range(len(values))
        for j in range(i + 1, len(values))
        if times[j] != times[i]
    ]
    return statistics.median(slopes) if slopes else 0.0


def rising(values: Sequence[float]) -> float:
    """Mann-Kendall: the one-sided p-value for a rise, by the normal approximation with ties.
    1.0 below four values, from which nothing can be told."""
    n = len(values)
    if n < 4:
        return 1.0
    score = sum(
        (values[j] > values[i]) - (values[j] < values[i]) for i in range(n) for j in range(i + 1, n)
    )
    ties = [values.count(v) for v in set(values)]
    variance = (n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties)) / 18
    if variance <= 0:
        return 1.0
    return 0.5 * math.erfc((score - 1) / math.sqrt(2 * variance))


def persistence(samples: Sequence[Sequence[float]]) -> float:
    """Lag-1 autocorrelation, pooled over the samples, each around its own straight line (so that
    a trend is not taken for it). 0 when there is nothing to tell it from; never negative."""
    product = square = 0.0
    for values in samples:
        rest = _detrended(values)
        product += sum(a * b for a, b in pairwise(rest))
        square += sum(v * v for v in rest[:-1])
    return min(max(product / square, 0.0), 0.99) if square > 0 else 0.0


def block_length(samples: Sequence[Sequence[float]]) -> int:
    """How many neighbouring samples make one that is nearly independent of the next:
    (1 + r) / (1 - r), the variance inflation of a first-order autoregressive series."""
    r = persistence(samples)
    return max(1, min(LONGEST_BLOCK, math.ceil((1 + r) / (1 - r) - 0.5)))


def blocks(values: Sequence[float], length: int) -> list[float]:
    """Means of neighbouring samples; a rest shorter than half a block is left out."""
    return [
        statistics.fmean(part)
        for start in range(0, len(values), length)
        if len(part := values[start : start + length]) * 2 >= length
    ]


def _detrended(values: Sequence[float]) -> list[float]:
    n = len(values)
    if n < 3:
        return []
    middle, mean = (n - 1) / 2, statistics.fmean(values)
    steep = sum((i - middle) * (v - mean) for i, v in enumerate(values)) / (n * (n * n - 1) / 12)
    return [v - mean - steep * (i - middle) for i, v in enumerate(values)]
