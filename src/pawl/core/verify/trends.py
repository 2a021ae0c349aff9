"""Does something keep growing on new nodes that does not on old ones?

Growth is told by Theil-Sen and Mann-Kendall over blocks; the later half alone must be beyond the
bound too. What has just been started grows by itself, while its caches fill, so the right control
is the same workload's pods on old nodes when they were as young, out of the metrics' history. Where
history does not reach back so far, pods on old nodes now are all there is. Then growth must not
have slowed down, and nothing is told before `PATIENCE`: a cache that fills with a time constant of
some minutes looks like a leak for as long.
"""

from __future__ import annotations

import statistics

import msgspec

from pawl.core.verify import between, robust
from pawl.core.verify.hypothesis import Test, lines_of, too_few, what
from pawl.core.verify.series import Line, Sides, pooled

LEAST_BLOCKS = 8
STEADY = 0.4
"""The later half must grow at least at this share of the earlier half. A cache that fills slows
down by more within one time constant (exp(-1) = 0.37); a leak does not slow down, and what fills
beside it hides it only for a while."""
HOUR = 3600.0
PATIENCE = 2400.0
"""Seconds of measurement without a control of the same age."""


class _Growth(msgspec.Struct, frozen=True, kw_only=True):
    """Growth an hour: over all, over the earlier and the later half. `p` is that of any rise."""

    whole: float
    early: float
    late: float
    p: float


def trend(sides: Sides) -> list[Test]:
    """A test of all new nodes together, and of each alone."""
    gate = sides.gate
    length = max(robust.block_length([line.values for line in lines_of(sides)]), 2)
    long_enough = length * LEAST_BLOCKS
    treated = [t for t in sides.treated if len(t.values) >= long_enough]
    controls = [c for c in sides.control if len(c.values) >= long_enough]
    if not treated or not controls:
        counts = (
            max((len(t.values) // length for t in sides.treated), default=0),
            max((len(c.values) // length for c in sides.control), default=0),
        )
        why = (
            f"{what(sides)}: a trend needs {LEAST_BLOCKS} blocks of {length} samples on each "
            f"side, and has {counts[0]} and {counts[1]}."
        )
        return [msgspec.structs.replace(too_few(sides, counts, length), early=why)]
    if sides.against != "same age" and max(t.at[-1] - t.at[0] for t in treated) < PATIENCE:
        why = (
            f"{what(sides)}: the metrics' history does not reach back to when pods on old nodes "
            f"were young; beside old pods a trend is told after {PATIENCE / 60:.0f} min."
        )
        return [Test(early=why, optional=True)]
    old = [_growth(c, length) for c in controls]
    base = statistics.median([v for c in controls for v in c.values])
    spread = max((gate.ratio - 1) / 4 * abs(base), gate.change / 4)
    new = {line.subject: _growth(line, length) for line in treated}
    whole = _growth(pooled("", treated), length)
    counts = (len(treated[0].values) // length, len(controls[0].values) // length)
    tests = [_test(sides, "", whole, list(new.values()), old, base, spread, counts)]
    if len(new) > 1:
        tests += [
            _test(sides, subject, own, [own], old, base, spread, counts)
            for subject, own in new.items()
        ]
    return tests


def _test(
    sides: Sides,
    subject: str,
    line: _Growth,
    new: list[_Growth],
    old: list[_Growth],
    base: float,
    spread: float,
    counts: tuple[int, int],
) -> Test:
    gate = sides.gate
    grown = statistics.median([o.whole for o in old])
    later = statistics.median([o.late for o in old])
    bound = max((gate.ratio - 1) * abs(base), gate.change)
    nodes = max(
        between.greater_than_nodes_differ([n.whole for n in new], [o.whole for o in old], spread),
        between.greater_than_nodes_differ([n.late for n in new], [o.late for o in old], spread),
    )
    steady = sides.against == "same age" or line.late > STEADY * line.early
    return Test(
        subject=subject,
        p=max(line.p, nodes),
        effect=line.whole - grown,
        level=line.whole,
        base=grown,
        beyond=line.whole - grown > bound and line.late - later > bound and steady,
        counts=counts,
    )


def _growth(line: Line, length: int) -> _Growth:
    at, values = robust.blocks(line.at, length), robust.blocks(line.values, length)
    half = len(at) // 2
    return _Growth(
        whole=robust.slope(at, values) * HOUR,
        early=robust.slope(at[:half], values[:half]) * HOUR,
        late=robust.slope(at[half:], values[half:]) * HOUR,
        p=robust.rising(values),
    )
