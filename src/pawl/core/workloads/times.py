"""How long one pod's way takes: as predicted, and at best; and what says so.

    a surge      |-- the successor starts --|-- handover --|-- the old pod ends --|
    an eviction  |-- the old pod ends --|-- volumes --|-- the successor starts --|

At best, the two parts of an eviction overlap where a ReplicaSet makes the successor at once. What
the workload's own pods tell is believed: the quickest of them at best, a low quartile as predicted.
"""

from __future__ import annotations

from collections.abc import Sequence

from pawl.core.pace import Pace
from pawl.core.workloads.facts import Controller, Part, Pod
from pawl.core.workloads.surroundings import Method

WATCH = 600.0
"""Longest start-to-Ready that is believed: a Ready condition that flapped later looks longer."""
SURGES = ("surge", "surge-restart")
ALIKE = ("Deployment", "Rollout", "ReplicaSet", "ReplicationController")
"""Kinds that make another pod as soon as one is asked to end."""


class Times(Part, frozen=True, kw_only=True):
    """One move in seconds: `ready` until the successor is Ready, `hold` how much longer the old pod
    must stay, `gone` until it has gone, counted from the start. `ready_by` and `gone_by`: what says
    so."""

    ready: float
    hold: float = 0.0
    gone: float = 0.0
    ready_by: str = ""
    gone_by: str = ""


def predicted(
    c: Controller, method: Method, every: Sequence[Pod], claims: int, pace: Pace
) -> Times:
    """`every`: the workload's pods, `claims`: volumes of one of them that move with it."""
    seen = _seen(every)
    # From a pod's start to Ready its images were pulled, where they had to be.
    start, by = (seen[len(seen) // 4], _told(seen)) if seen else _assumed(c, pace)
    up = pace.schedule + start + c.min_ready
    end, end_by = _end(c, pace)
    if method in SURGES:
        hold = _hold(c, method, pace)
        return Times(ready=up, hold=hold, gone=up + hold + end, ready_by=by, gone_by=end_by)
    down = end + claims * (pace.detach + pace.attach)
    return Times(ready=down + up, gone=end, ready_by=f"{end_by}, {by}", gone_by=end_by)


def at_best(c: Controller, method: Method, every: Sequence[Pod], claims: int, pace: Pace) -> Times:
    """The same, but never longer than it takes: what may overlap does, and of what is seen only
    the quickest counts. An operator's pods are waited for until they have gone."""
    seen = _seen(every)
    up, by = (seen[0], _told(seen, "the quickest")) if seen else _assumed(c, pace)
    end, end_by = _end(c, pace)
    if method in SURGES:
        hold = _hold(c, method, pace)
        return Times(ready=up, hold=hold, gone=up + hold + end, ready_by=by, gone_by=end_by)
    if method == "operator":
        return Times(ready=end, gone=end, ready_by=end_by, gone_by=end_by)
    if c.kind in ALIKE and not claims:
        return Times(ready=up, gone=end, ready_by=by, gone_by=end_by)
    volumes = 0.0 if seen else claims * (pace.detach + pace.attach)
    by = f"{end_by}{', policy.pace.detach and attach' if volumes else ''}, {by}"
    return Times(ready=end + volumes + up, gone=end, ready_by=by, gone_by=end_by)


def _seen(every: Sequence[Pod]) -> list[float]:
    return sorted(
        p.ready_after for p in every if p.ready_after is not None and p.ready_after <= WATCH
    )


def _told(seen: Sequence[float], which: str = "a low quartile") -> str:
    return f"{which} of its {len(seen)} pods" if len(seen) > 1 else "its pod"


def _assumed(c: Controller, pace: Pace) -> tuple[float, str]:
    probe = " and its probe's delay" if c.shape.first_probe else ""
    seconds = pace.pull + pace.ready + c.shape.first_probe
    return seconds, f"policy.pace.pull and ready{probe}"


def _hold(c: Controller, method: Method, pace: Pace) -> float:
    """A Deployment's own rolling update knows of no handover."""
    return pace.handover if method == "surge" and c.replicas == 1 else 0.0


def _end(c: Controller, pace: Pace) -> tuple[float, str]:
    """What a hook sleeps, or what is assumed; no longer than its grace period."""
    grace, sleeps = c.shape.grace, c.shape.pre_stop
    if sleeps >= pace.stop:
        return min(grace, sleeps), "its preStop sleep"
    return min(grace, pace.stop), "policy.pace.stop" if grace > pace.stop else "its grace period"
