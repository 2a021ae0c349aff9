"""Is a bound passed twice in a row, and was it not before?"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from pawl.core.verify.curve import curve
from pawl.core.verify.gates import Gate, shown
from pawl.core.verify.hypothesis import what
from pawl.core.verify.reading import Reading, Verdict
from pawl.core.verify.series import Line, Sides, pooled

CONFIRM = 2
"""Samples in a row beyond a limit: one may be a hiccup of the measurement."""


def limit(sides: Sides) -> Reading:
    """Fails for the first new subject that passes the limit, unless it did before, or old nodes
    do too; recorded then, and blamed only if it got worse by the gate's ratio."""
    gate = sides.gate
    known = ""
    for line in sides.treated:
        run = _longest(gate, line)
        if run < CONFIRM:
            continue
        where = f" on {line.subject}" if gate.by != "cluster" else ""
        sign = "below" if gate.worse == "down" else "above"
        said = (
            f"{what(sides)} is {shown(_worst(gate, line.values), gate.unit)}{where}, {sign} "
            f"{shown(gate.limit, gate.unit)}, {run} samples in a row"
        )
        excuse = _excuse(gate, line, sides)
        if not excuse:
            return _made(sides, "fail", f"{said}.", line)
        known = known or f"{said}; {excuse}: recorded, not blamed."
    if known:
        return _made(sides, "pass", known, sides.treated[0], known=True)
    if all(len(line.values) < CONFIRM for line in sides.treated):
        why = f"{what(sides)}: {CONFIRM} samples are needed."
        return _made(sides, "inconclusive", why, sides.treated[0])
    sign_of = -1 if gate.worse == "down" else 1
    line = max(sides.treated, key=lambda one: sign_of * _worst(gate, one.values))
    at_worst = shown(_worst(gate, line.values), gate.unit)
    return _made(sides, "pass", f"{what(sides)} is at worst {at_worst}.", line)


def _worst(gate: Gate, values: Sequence[float]) -> float:
    return min(values) if gate.worse == "down" else max(values)


def _longest(gate: Gate, line: Line) -> int:
    """The longest run of samples beyond the limit."""
    longest = run = 0
    for value in line.values:
        run = run + 1 if gate.beyond(value) else 0
        longest = max(longest, run)
    return longest


def _excuse(gate: Gate, line: Line, sides: Sides) -> str:
    """Why a passed limit is no news, "" when it is."""
    now = statistics.median(line.values)
    before = [
        (b, "it was so before")
        for b in sides.before
        if b.subject == line.subject or gate.by == "pod"  # pods move, workloads stay
    ]
    beside = [(c, f"it is so on {c.subject} too") for c in sides.control]
    for other, said in [*before, *beside]:
        if _longest(gate, other) < CONFIRM:
            continue
        then = statistics.median(other.values)
        worse = now < then / gate.ratio if gate.worse == "down" else now > then * gate.ratio
        if not worse:
            return said
    return ""


def _made(sides: Sides, verdict: Verdict, why: str, line: Line, *, known: bool = False) -> Reading:
    control = pooled("old", sides.control) if sides.control else None
    return Reading(
        gate=sides.gate.name,
        group=sides.group,
        kind="limit",
        unit=sides.gate.unit,
        verdict=verdict,
        why=why,
        against=sides.against,
        subject=line.subject if sides.gate.by != "cluster" else "",
        treated=statistics.median(line.values) if line.values else None,
        control=statistics.median(control.values) if control and control.values else None,
        samples=(len(line.values), len(control.values) if control else 0),
        known=known,
        required=sides.gate.required,
        limit=sides.gate.limit,
        new=curve(line),
        old=curve(control) if control else None,
    )
