"""The judge: sides in, readings out. Pure, and the same for a live run, for history and for bench.

A compared metric fails only when all of these hold:
  1. the samples say so: Mann-Whitney over blocks that are long enough to be independent;
  2. the nodes say so: the difference is larger than equal nodes differ among themselves
     (`between`); the larger of the two p-values counts;
  3. it survives the correction for all tests made at once (Benjamini-Hochberg);
  4. the effect itself passes the gate's bounds, the relative and the absolute one.
Each new node is also tested alone, so that one bad node of many is not averaged away.

It passes when the effect is within its bounds. It is inconclusive when there are too few samples,
no control, or an effect beyond the bounds that the data do not prove. What was beyond its bounds
before anything was changed is `known`: recorded, and blamed only if it got worse again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pawl.core.verify import discovery
from pawl.core.verify.curve import curve
from pawl.core.verify.gates import shown
from pawl.core.verify.hypothesis import ALPHA, LEAST, Test, level, same_minutes, what
from pawl.core.verify.levels import beyond, compare
from pawl.core.verify.limits import limit
from pawl.core.verify.reading import Reading, Verdict
from pawl.core.verify.series import Sides, pooled
from pawl.core.verify.trends import trend

Told = tuple[Test, float]
"""A test with its q-value."""


def judge(sides: Sequence[Sides], *, alpha: float = ALPHA) -> tuple[Reading, ...]:
    """One reading for each of `sides`, in order."""
    cut = [same_minutes(one) for one in sides]
    tests = [_tests(one) for one in cut]
    known = [t for own in tests for t in own if not t.early]
    q_values = iter(discovery.adjusted([t.p for t in known]))
    readings = []
    for one, own in zip(cut, tests, strict=True):
        told = [(t, next(q_values)) for t in own if not t.early]
        if not one.treated:
            readings.append(_missing(one))
        elif one.gate.kind == "limit":
            readings.append(limit(one))
        elif not told:
            verdict: Verdict = "absent" if own[0].optional else "inconclusive"
            readings.append(_made(one, verdict, own[0].early, None))
        else:
            readings.append(_reading(one, told, alpha))
    return tuple(readings)


def _tests(sides: Sides) -> list[Test]:
    if not sides.treated or sides.gate.kind == "limit":
        return []
    return trend(sides) if sides.gate.kind == "trend" else compare(sides)


def _reading(sides: Sides, told: Sequence[Told], alpha: float) -> Reading:
    proven = [(t, q) for t, q in told if t.beyond and q <= alpha]
    if proven:
        # the group as a whole where it failed, else its worst node
        worst = min(proven, key=lambda tq: (tq[0].subject != "", tq[1]))
        if was := _was_so(sides, worst[0]):
            return _made(sides, "pass", was, worst, known=True)
        return _made(sides, "fail", _sentence(sides, worst), worst)
    whole = next((tq for tq in told if not tq[0].subject and tq[0].beyond), told[0])
    said = _sentence(sides, whole)
    if whole[0].beyond:
        said += " That is beyond the bound, but not proven: it needs more time or more nodes."
        return _made(sides, "inconclusive", said, whole)
    return _made(sides, "pass", said, whole)


def _was_so(sides: Sides, test: Test) -> str:
    """Whether these very nodes were as far off from the control's before the change, as a sentence:
    a slow disk is no fault of the new kubelet. Both are compared at that earlier time, so that a
    busier hour excuses nothing."""
    gate, up = sides.gate, test.effect > 0
    blamed = {test.subject} if test.subject else {t.subject for t in sides.treated}
    others = {c.subject for c in sides.control}
    past = [v for b in sides.before if b.subject in blamed for v in b.values]
    beside = [v for b in sides.before if b.subject in others for v in b.values]
    if min(len(past), len(beside)) < LEAST or gate.kind == "trend":
        return ""
    was, base = level(gate, past), level(gate, beside)
    if not beyond(gate, was - base, base, up):
        return ""
    expected = was / base * test.base if base > 0 else was
    if beyond(gate, test.level - expected, expected, up):
        return ""
    return (
        f"{what(sides)} is {shown(test.level, gate.unit)} beside {shown(test.base, gate.unit)}, "
        f"and was {shown(was, gate.unit)} beside {shown(base, gate.unit)} before anything was "
        "changed: recorded, not blamed."
    )


def _missing(sides: Sides) -> Reading:
    """Nothing on the new side. That something is there on the other, or was before, matters."""
    if sides.control or sides.before:
        told = (
            "is measured on old nodes, and not on new ones"
            if sides.control
            else "was measured before, and no longer is"
        )
        why = f"{what(sides)} {told}: no data never passes."
        return _made(sides, "inconclusive", why, None)
    held = ", and it is required" if sides.gate.required else ""
    return _made(sides, "absent", f"{sides.gate.title} is not measured here{held}.", None)


_WHERE = {
    "old nodes": "on old nodes",
    "same age": "on old nodes at that age",
    "earlier weeks": "in earlier weeks",
    "none": "before",
}


def _sentence(sides: Sides, told: Told) -> str:
    (test, q), gate = told, sides.gate
    where = f" on {test.subject}" if test.subject else ""
    if not where and sides.against in ("old nodes", "same age"):
        where = " on new nodes"
    now, was = shown(test.level, gate.unit), shown(test.base, gate.unit)
    if gate.kind == "trend":
        said = f"grows by {now} an hour{where}, by {was} {_WHERE[sides.against]}"
    else:
        change = f" ({test.effect / test.base:+.0%})" if test.base > 0 else ""
        said = f"is {now}{where}, {was} {_WHERE[sides.against]}{change}"
    return f"{what(sides)} {said}; q={q:.2g}, {test.counts[0]} and {test.counts[1]} samples."


def _made(
    sides: Sides, verdict: Verdict, why: str, told: Told | None, *, known: bool = False
) -> Reading:
    test, q = told if told else (None, None)
    treated = sides.treated
    if test is not None and test.subject:
        treated = tuple(t for t in treated if t.subject == test.subject)
    return Reading(
        gate=sides.gate.name,
        group=sides.group,
        kind=sides.gate.kind,
        unit=sides.gate.unit,
        verdict=verdict,
        why=why,
        against=sides.against,
        subject=test.subject if test else "",
        treated=test.level if test else None,
        control=test.base if test else None,
        p=test.p if test else None,
        q=q,
        samples=test.counts if test else (0, 0),
        smallest=test.smallest if test and math.isfinite(test.smallest) else None,
        known=known,
        required=sides.gate.required,
        new=curve(pooled("new", treated)) if treated else None,
        old=curve(pooled("old", sides.control)) if sides.control else None,
    )
