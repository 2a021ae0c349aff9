"""The Mann-Whitney U test: are values of one group greater than those of another?

It looks at ranks alone, so neither a skewed latency nor a single outlier misleads it.

Own code, about sixty lines, because the libraries that have it (scipy, and all that build on it)
weigh 40 MB and more with numpy, for a tool whose other dependencies together weigh less. The
tests compare it with complete enumeration, with published tables and with values that R and
scipy print.

Sources: Mann and Whitney 1947; the exact distribution with ties by the shift algorithm
(Streitberg and Röhmel 1986), here over doubled mid-ranks so that all sums are whole numbers;
the variance with ties as in Lehmann, Nonparametrics, 1.4.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import msgspec

EXACT_UP_TO = 20
"""Values in both groups together up to which the exact distribution is counted out; above it the
normal approximation is right to a few thousandths, and below it that would not be enough."""


class MannWhitney(msgspec.Struct, frozen=True, kw_only=True):
    """`u` counts the pairs in which the first group's value is greater (a tie counts half).
    `greater` and `less` are the one-sided p-values for the first group being so."""

    u: float
    greater: float
    less: float
    exact: bool


def mann_whitney(first: Sequence[float], second: Sequence[float]) -> MannWhitney:
    """Compare two groups of finite numbers. Raises ValueError when one is empty."""
    n, m = len(first), len(second)
    if not n or not m:
        raise ValueError("the Mann-Whitney test needs at least one value on each side")
    doubled, ties = _doubled_ranks([*first, *second])
    rank_sum = sum(doubled[:n])  # twice the rank sum
    u = (rank_sum - n * (n + 1)) / 2
    if n + m <= EXACT_UP_TO:
        greater, less = _exact(doubled, n, rank_sum)
        return MannWhitney(u=u, greater=greater, less=less, exact=True)
    size = n + m
    variance = n * m / 12 * (size + 1 - sum(t**3 - t for t in ties) / (size * (size - 1)))
    mean = n * m / 2
    return MannWhitney(
        u=u,
        greater=_tail(u - mean, variance),
        less=_tail(mean - u, variance),
        exact=False,
    )


def _doubled_ranks(values: Sequence[float]) -> tuple[list[int], list[int]]:
    """Twice the mid-rank of each value, and the sizes of the groups of equal values."""
    counts = Counter(values)
    rank: dict[float, int] = {}
    below = 0
    for value in sorted(counts):
        rank[value] = 2 * below + counts[value] + 1
        below += counts[value]
    return [rank[v] for v in values], [c for c in counts.values() if c > 1]


def _exact(doubled: Sequence[int], n: int, observed: int) -> tuple[float, float]:
    """(P(sum >= observed), P(sum <= observed)) when any `n` of the ranks are equally likely."""
    ways: list[dict[int, int]] = [{0: 1}, *({} for _ in range(n))]
    for rank in doubled:
        for taken in range(n - 1, -1, -1):
            more = ways[taken + 1]
            for total, count in ways[taken].items():
                more[total + rank] = more.get(total + rank, 0) + count
    counted = ways[n]
    everything = math.comb(len(doubled), n)
    above = sum(c for total, c in counted.items() if total >= observed)
    below = sum(c for total, c in counted.items() if total <= observed)
    return above / everything, below / everything


def _tail(distance: float, variance: float) -> float:
    """P(U - mean >= distance) by the normal approximation with continuity correction."""
    if variance <= 0:  # all values are equal
        return 1.0
    return 0.5 * math.erfc((distance - 0.5) / math.sqrt(2 * variance))
