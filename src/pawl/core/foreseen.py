"""What a plan's nodes will ask for when they are emptied, worked out before the plan is made.

    facts of the workloads + nodes that are to be emptied ──workloads.plan──> obstacles
        resolved by the plan itself ──> a warning, and where something is loosened for it: `loosens`
        a person's to decide        ──> refuses the plan, with the ways that are open

The scenario is the run's own: one node after the other. Replaced, each has its successor first and
all old ones are closed; in place, each takes pods again when it is back, so that what has no other
place waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from pawl.core.findings import Finding, Severity
from pawl.core.loosening import Loosening
from pawl.core.model import ClusterState, Unread
from pawl.core.pace import Pace
from pawl.core.workloads.facts import Workloads
from pawl.core.workloads.moves import WorkloadPlan
from pawl.core.workloads.obstacles import Obstacle
from pawl.core.workloads.planner import plan
from pawl.core.workloads.scenario import Scenario, replace_all, successor

if TYPE_CHECKING:
    from pawl.core.plan import Target

SAID_ELSEWHERE = frozenset({"W101", "W102", "W109", "W113", "W116", "W117", "W119"})
"""Codes that a check of the state says in its own words (PAWL-W001 to W005), or that are
no matter of the plan."""
SOFT = frozenset({"W112"})
"""What a run meets with a pause, and no harm done: warned of, not refused."""
COMES_BACK = frozenset({"W104", "W106"})
"""No trouble for long where the node comes back with its disk."""


class Foreseen(msgspec.Struct, frozen=True, kw_only=True):
    """`budgets`: the verdict on each budget ("namespace/name") that would never allow an eviction;
    `pods`: on each pod ("namespace/name") of two budgets. `down`: the workloads that miss pods
    while they move. `emptying`: seconds until each node's pods are Ready elsewhere, and have gone.
    `unread`: why nothing is known, and then nothing else is."""

    budgets: dict[str, Obstacle] = {}
    pods: dict[str, Obstacle] = {}
    down: frozenset[str] = frozenset()
    emptying: dict[str, float] = {}
    others: tuple[Obstacle, ...] = ()
    loosens: tuple[Loosening, ...] = ()
    unread: tuple[Unread, ...] = ()

    @property
    def known(self) -> bool:
        return not self.unread

    def findings(self) -> Iterator[Finding]:
        for o in self.others:
            yield o.finding()


def nodes_to_empty(state: ClusterState, target: Target) -> tuple[str, ...]:
    """The nodes whose kubelet the target changes."""
    if not target.kubernetes or (target.only and "nodes" not in target.only):
        return ()
    found = []
    for n in state.nodes:
        host = state.host(n.host or n.name)
        pool = host.pool if host else "default"
        if n.kubelet != target.kubernetes and (not target.pool or pool == target.pool):
            found.append(n.name)
    return tuple(found)


def foresee(
    facts: Workloads,
    state: ClusterState,
    target: Target,
    *,
    pace: Pace | None = None,
    patience: float,
) -> Foreseen:
    """`patience`: seconds that a drain waits for one pod (policy.timeouts.eviction)."""
    if not facts.complete:
        return Foreseen(unread=facts.unread)
    nodes = nodes_to_empty(state, target)
    if not nodes:
        return Foreseen()
    replaced = target.node_strategy == "replace"
    made = plan(facts, _scenario(facts, nodes, target), pace=pace, patience=patience)
    moving = [w for w in made.workloads if w.moving]
    budgets: dict[str, Obstacle] = {}
    pods: dict[str, Obstacle] = {}
    others = []
    for o in made.obstacles:
        if o.code == "W101":
            worse = budgets.get(o.subject)
            if worse is None or worse.resolution:
                budgets[o.subject] = o
        elif o.code == "W102":
            pods.update({p.key: o for p in facts.pods if p.owner == o.workload})
        elif o.code not in SAID_ELSEWHERE:
            soft = o.code in SOFT or (not replaced and o.code in COMES_BACK)
            others.append(replace(o, severity=_softer(o.severity)) if soft else o)
    return Foreseen(
        budgets={k.removeprefix("PodDisruptionBudget "): o for k, o in budgets.items()},
        pods=pods,
        down=frozenset(w.key for w in moving if w.dip > 0 or w.method in ("wait", "decide")),
        emptying={node: round(w.moving, 1) for w in made.waves for node in w.old},
        others=tuple(others),
        loosens=tuple(sorted(_loosens(moving))),
    )


def missing(plan_loosens: Sequence[Loosening], now: Foreseen) -> tuple[Loosening, ...]:
    """What would have to be loosened now, and was not when the plan was made."""
    return tuple(x for x in now.loosens if x not in plan_loosens)


def _scenario(facts: Workloads, nodes: Sequence[str], target: Target) -> Scenario:
    there = {n.name for n in facts.nodes}
    only = [n for n in nodes if n in there]
    if target.node_strategy == "replace":
        return replace_all(facts, version=target.kubernetes, only=only, surge=1)
    old = [n for n in facts.nodes if n.name in only]
    back = tuple(successor(n, f"{n.name} again") for n in old)
    return Scenario(old=tuple(n.name for n in old), new=back, surge=1)


def _softer(severity: Severity) -> Severity:
    return Severity.WARNING if severity is Severity.BLOCKER else severity


def _loosens(moving: Sequence[WorkloadPlan]) -> Iterator[Loosening]:
    for w in moving:
        restarts = w.method == "surge-restart"
        if restarts:
            yield Loosening(what="restart", workload=w.key)
        # Where its pods have come to be on several nodes by then, a restart would move too many.
        if restarts or "scale" in w.resolutions:
            yield Loosening(what="scale", workload=w.key)
        if "always-allow" in w.resolutions:
            yield Loosening(what="always-allow", workload=w.key)
