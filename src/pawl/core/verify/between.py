"""Do two groups of nodes differ more than nodes differ from each other anyway?

Two machines of one kind are never quite equal, so with enough samples any two differ
"significantly". What counts is the difference beside the spread between nodes. With three old
nodes that spread is hardly known, so the observed variance is blended with an expected one, as in
the moderated t-test (Smyth 2004): `spread` is worth `PRIOR` nodes of evidence.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

PRIOR = 4
"""Degrees of freedom that the expected spread counts for."""


def greater_than_nodes_differ(
    first: Sequence[float], second: Sequence[float], spread: float
) -> float:
    """One-sided p-value for the first group's mean being greater. One number for each node;
    `spread` is the standard deviation that is expected between equal nodes."""
    freedom = PRIOR + (len(first) - 1) + (len(second) - 1)
    squares = sum(
        sum((v - statistics.fmean(group)) ** 2 for v in group) for group in (first, second)
    )
    variance = (PRIOR * spread**2 + squares) / freedom
    difference = statistics.fmean(first) - statistics.fmean(second)
    error = math.sqrt(variance * (1 / len(first) + 1 / len(second)))
    if error == 0:
        return 0.0 if difference > 0 else 1.0
    return student_tail(difference / error, freedom)


def student_tail(t: float, freedom: int) -> float:
    """P(T >= t) of Student's t with a whole number of degrees of freedom (Abramowitz and Stegun
    26.7.3 and 26.7.4)."""
    if t < 0:
        return 1.0 - student_tail(-t, freedom)
    angle = math.atan(t / math.sqrt(freedom))
    cosine, sine = math.cos(angle), math.sin(angle)
    if freedom % 2:
        term, total = cosine, 0.0 if freedom == 1 else cosine
        for k in range(3, freedom - 1, 2):
            term *= cosine**2 * (k - 1) / k
            total += term
        inside = 2 / math.pi * (angle + sine * total)
    else:
        term = total = 1.0
        for k in range(2, freedom - 1, 2):
            term *= cosine**2 * (k - 1) / k
            total += term
        inside = sine * total
    return max(0.0, (1.0 - inside) / 2)
