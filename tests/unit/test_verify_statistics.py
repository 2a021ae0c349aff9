"""The statistics against complete enumeration, published tables and other people's programs."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pawl.core.verify import between, discovery, robust
from pawl.core.verify.mann_whitney import EXACT_UP_TO, mann_whitney

# R: wilcox.test(x, y, alternative = "greater"); Hollander and Wolfe 1973, placental permeability.
PERMEABILITY = (
    [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46],
    [1.15, 0.88, 0.90, 0.74, 1.21],
)


def test_the_example_of_r() -> None:
    found = mann_whitney(*PERMEABILITY)
    assert found.exact
    assert found.u == 35
    assert found.greater == pytest.approx(0.1272, abs=5e-5)


def test_the_example_of_scipy() -> None:
    # scipy.stats.mannwhitneyu's documentation: U1 = 17, two-sided p = 1/9
    found = mann_whitney([19, 22, 16, 29, 24], [20, 11, 17, 12])
    assert found.u == 17
    assert 2 * found.greater == pytest.approx(1 / 9)


@pytest.mark.parametrize(
    ("n", "m", "critical"),
    # The largest U that is significant at 5 %, two-sided; e.g. Siegel 1956, table K.
    [(5, 5, 2), (6, 8, 8), (7, 7, 8), (8, 8, 13), (9, 10, 20), (10, 10, 23)],
)
def test_the_critical_values_of_the_tables(n: int, m: int, critical: int) -> None:
    assert 2 * _p_of(n, m, critical) <= 0.05 < 2 * _p_of(n, m, critical + 1)


def _p_of(n: int, m: int, u: int) -> float:
    """P(U <= u), through samples without ties that have exactly this U."""
    first = [float(2 * i) for i in range(n)]  # all below the second: U = 0
    second = [float(100 + 2 * i) for i in range(m)]
    left = u
    for i in reversed(range(n)):  # lift the greatest over as many of the second as needed
        over = min(left, m)
        first[i] = 99.0 + 2 * over + i / 1000
        left -= over
        if not left:
            break
    found = mann_whitney(first, second)
    assert found.u == u
    return found.less


small = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=5)


@given(small, small)
def test_the_exact_distribution_is_complete_enumeration(a: list[float], b: list[float]) -> None:
    found = mann_whitney(a, b)
    values = [*a, *b]
    us = []
    for chosen in itertools.combinations(range(len(values)), len(a)):
        first = [values[i] for i in chosen]
        second = [v for i, v in enumerate(values) if i not in chosen]
        us.append(sum((x > y) + (x == y) / 2 for x in first for y in second))
    assert found.u == sum((x > y) + (x == y) / 2 for x in a for y in b)
    assert found.greater == pytest.approx(sum(u >= found.u for u in us) / len(us))
    assert found.less == pytest.approx(sum(u <= found.u for u in us) / len(us))


def test_the_normal_approximation_meets_the_exact_one() -> None:
    """At the size where it takes over, with ties, to the few thousandths that are promised."""
    a = [1, 2, 3, 3, 5, 6, 7, 8, 9, 10]
    b = [2, 4, 4, 5, 6, 6, 7, 9, 11, 12]
    assert len(a) + len(b) == EXACT_UP_TO
    exact = mann_whitney(a, b)
    doubled = mann_whitney([*a, 50], [*b, 0.5])  # two more values: now the approximation
    assert exact.exact
    assert not doubled.exact
    again = mann_whitney([*a, *a], [*b, *b])
    assert again.u == 4 * exact.u
    # 40 values, by hand: mean 200, variance with ties, continuity correction
    counts = {v: 2 * ([*a, *b].count(v)) for v in {*a, *b}}
    variance = 400 / 12 * (41 - sum(t**3 - t for t in counts.values()) / (40 * 39))
    z = (again.u - 200 - 0.5) / math.sqrt(variance)
    assert again.greater == pytest.approx(0.5 * math.erfc(z / math.sqrt(2)))


def test_equal_values_tell_nothing() -> None:
    found = mann_whitney([1.0] * 30, [1.0] * 30)
    assert found.greater == found.less == 1.0


def test_an_empty_side_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        mann_whitney([], [1.0])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_q_values_are_benjamini_and_hochbergs(p_values: list[float]) -> None:
    """Against the definition: reject the k smallest, k the largest with p(k) <= k a / m."""
    q = discovery.adjusted(p_values)
    for a in (0.01, 0.05, 0.2):
        ordered = sorted(p_values)
        m = len(ordered)
        k = max((i for i in range(1, m + 1) if ordered[i - 1] * m / i <= a), default=0)
        assert sum(x <= a for x in q) == k
    assert all(x >= p - 1e-12 for x, p in zip(q, p_values, strict=True))


@pytest.mark.parametrize(
    ("t", "freedom", "p"),
    # Student's table, one-sided
    [
        (6.314, 1, 0.05), (4.303, 2, 0.025), (3.365, 5, 0.01), (2.764, 10, 0.01),
        (2.042, 30, 0.025), (3.182, 3, 0.025), (0.0, 7, 0.5), (-2.015, 5, 0.95),
    ],
)  # fmt: skip
def test_students_tail(t: float, freedom: int, p: float) -> None:
    assert between.student_tail(t, freedom) == pytest.approx(p, abs=2e-4)


def test_nodes_that_differ_as_much_among_themselves_prove_nothing() -> None:
    unequal = between.greater_than_nodes_differ([130.0], [70.0, 100.0, 130.0, 100.0], 5.0)
    equal = between.greater_than_nodes_differ([130.0], [99.0, 100.0, 101.0, 100.0], 5.0)
    assert equal < 0.01 < 0.05 < unequal


def test_shift_and_slope_ignore_an_outlier() -> None:
    assert robust.shift([11, 12, 13, 900], [1, 2, 3, 4]) == pytest.approx(10, abs=1)
    assert robust.slope(range(10), [2.0 * i for i in range(9)] + [500.0]) == pytest.approx(2)


def test_blocks_are_as_long_as_samples_depend_on_each_other() -> None:
    smooth, value = [], 0.0
    noise = [math.sin(12.9898 * i) * 43758.5453 % 1 - 0.5 for i in range(400)]
    for n in noise:
        value = 0.8 * value + n
        smooth.append(value)
    assert robust.block_length([noise]) == 1
    assert 5 <= robust.block_length([smooth]) <= robust.LONGEST_BLOCK
    assert robust.blocks([1, 2, 3, 4, 5, 6, 7], 3) == [2, 5]
    assert robust.blocks([1, 2, 3, 4, 5, 6, 7, 8], 3) == [2, 5, 7.5]


def test_a_line_is_no_dependence() -> None:
    noise = [math.sin(78.233 * i) * 43758.5453 % 1 for i in range(200)]
    assert robust.block_length([[i + n for i, n in enumerate(noise)]]) == 1


def test_rising() -> None:
    assert robust.rising([float(i) for i in range(12)]) < 1e-4
    assert robust.rising([float(-i) for i in range(12)]) > 0.99
    assert robust.rising([1.0] * 12) == 1.0
    assert robust.rising([1.0, 2.0]) == 1.0
