"""Is the level on new nodes another than the control's? Samples and nodes must both say so."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from pawl.core.verify import between, robust
from pawl.core.verify.gates import Gate
from pawl.core.verify.hypothesis import LEAST, LEAST_ALONE, Test, level, lines_of, too_few
from pawl.core.verify.mann_whitney import mann_whitney
from pawl.core.verify.series import Sides


def compare(sides: Sides) -> list[Test]:
    """A test of all new nodes together, and of each alone, in each direction that is worse."""
    gate = sides.gate
    length = robust.block_length([line.values for line in lines_of(sides)])
    new = {t.subject: robust.blocks(t.values, length) for t in sides.treated}
    old = {c.subject: robust.blocks(c.values, length) for c in sides.control}
    counts = (sum(map(len, new.values())), sum(map(len, old.values())))
    if min(counts) < LEAST:
        return [too_few(sides, counts, length)]
    tests = []
    for up in {"up": (True,), "down": (False,), "both": (True, False)}[gate.worse]:
        tests.append(_test(gate, "", list(new.values()), old, up))
        if len(new) > 1:
            tests += [
                _test(gate, subject, [values], old, up)
                for subject, values in new.items()
                if len(values) >= LEAST_ALONE
            ]
    return tests


def _test(
    gate: Gate,
    subject: str,
    new: Sequence[Sequence[float]],
    old: Mapping[str, Sequence[float]],
    up: bool,
) -> Test:
    treated = [v for values in new for v in values]
    control = [v for values in old.values() for v in values]
    base = level(gate, control)
    effect = (
        statistics.fmean(treated) - statistics.fmean(control)
        if gate.level == "mean"
        else robust.shift(treated, control)
    )
    spread = max(gate.spread * abs(base), gate.change / 4)
    nodes = ([level(gate, v) for v in new if v], [level(gate, v) for v in old.values() if v])
    ranks = mann_whitney(treated, control)
    if up:
        p = max(ranks.greater, between.greater_than_nodes_differ(nodes[0], nodes[1], spread))
    else:
        p = max(ranks.less, between.greater_than_nodes_differ(nodes[1], nodes[0], spread))
    return Test(
        subject=subject,
        p=min(1.0, p * (2 if gate.worse == "both" else 1)),
        effect=effect,
        level=base + effect,
        base=base,
        beyond=beyond(gate, effect, base, up),
        counts=(len(treated), len(control)),
        smallest=_smallest(base, spread, treated, control, len(nodes[0]), len(nodes[1])),
    )


def beyond(gate: Gate, effect: float, base: float, up: bool) -> bool:
    """Past both bounds, the relative and the absolute one, in the direction asked about."""
    if abs(effect) < gate.change or effect == 0 or (effect > 0) != up:
        return False
    if base <= 0:
        return up
    ratio = (base + effect) / base
    return ratio > gate.ratio if up else ratio < gate.ratio_down


def _smallest(
    base: float,
    spread: float,
    treated: Sequence[float],
    control: Sequence[float],
    nodes: int,
    controls: int,
) -> float:
    """The relative change that would have been told nine times of ten, by the usual sum of the
    two quantiles (2.05 for 2 % and 1.28 for 90 %) over the noise between samples and nodes."""
    if base <= 0:
        return math.inf
    noise = (
        statistics.pvariance(treated) / len(treated)
        + statistics.pvariance(control) / len(control)
        + spread**2 * (1 / nodes + 1 / controls)
    )
    return 3.3 * math.sqrt(noise) / base
