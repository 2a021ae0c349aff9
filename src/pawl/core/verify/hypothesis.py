"""One hypothesis about one subject, and what the samples say to it. Internal to the judge."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import msgspec

from pawl.core.verify.gates import Gate
from pawl.core.verify.series import Line, Sides, within

ALPHA = 0.02
"""Share of false discoveries accepted; 0.98 is Kayenta's confidence."""
LEAST = 8
"""Independent samples that a side needs: with 8 on each, fully separate groups have p = 0.0001."""
LEAST_ALONE = 4
"""The same for one node by itself, against a whole side: 4 against 20 can still reach 0.0001."""


class Test(msgspec.Struct, frozen=True, kw_only=True):
    """Is this subject ("" for all together) worse? `effect` is treated - control, `level` and
    `base` are the two, in the gate's unit (an hour's growth for a trend). `counts` are independent
    samples. `early` says why it cannot be told yet, and then the rest says nothing."""

    subject: str = ""
    p: float = 1.0
    effect: float = 0.0
    level: float = 0.0
    base: float = 0.0
    beyond: bool = False
    counts: tuple[int, int] = (0, 0)
    smallest: float = math.inf
    early: str = ""
    optional: bool = False
    """Nothing is held back for it: it is not measured rather than not known yet."""


def what(sides: Sides) -> str:
    """What is judged, as the subject of a sentence."""
    if sides.gate.by != "cluster":
        return f"{sides.gate.title} of {sides.group}"
    return f"{sides.gate.title} ({sides.group})" if "=" in sides.group else sides.gate.title


def level(gate: Gate, values: Sequence[float]) -> float:
    return statistics.fmean(values) if gate.level == "mean" else statistics.median(values)


def same_minutes(sides: Sides) -> Sides:
    """The control in the minutes in which there is something to compare it with, and no others."""
    if sides.against not in ("old nodes", "same age") or not sides.treated:
        return sides
    start = min(t.at[0] for t in sides.treated)
    end = max(t.at[-1] for t in sides.treated)
    cut = [within(line, start, end) for line in sides.control]
    return msgspec.structs.replace(sides, control=tuple(line for line in cut if line.at))


def too_few(sides: Sides, counts: tuple[int, int], length: int) -> Test:
    if not sides.control:
        why = f"{what(sides)}: there is nothing to compare with, neither old nodes nor history."
    else:
        dependent = f" ({length} neighbouring ones count as one)" if length > 1 else ""
        why = (
            f"{what(sides)}: too few samples{dependent}: {counts[0]} on new nodes and {counts[1]} "
            f"for {sides.against}, {LEAST} of each are needed."
        )
    return Test(counts=counts, early=why)


def lines_of(sides: Sides) -> list[Line]:
    return [*sides.treated, *sides.control]
