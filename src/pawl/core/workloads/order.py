"""The order in which workloads move: infrastructure first, then providers before consumers.

Workloads that depend on one another in a cycle are one tier. Inside a cycle the weakest edges are
left out, one by one, until an order remains; that only orders, it promises nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from pawl.core.workloads.facts import Part
from pawl.core.workloads.graph import Edge
from pawl.core.workloads.tiers import components, levels, lowered


class Place(Part, frozen=True, kw_only=True):
    """Where a workload stands. `tier` counts from 0 over the whole order; `group` is the cycle it
    is in (just itself without one); `inner` its place inside; `after` whom it waits for."""

    rank: int
    level: int
    tier: int
    inner: int
    group: tuple[str, ...]
    after: tuple[str, ...]


def arrange(
    workloads: Iterable[str], edges: Iterable[Edge], ranks: Mapping[str, int]
) -> dict[str, Place]:
    """Every workload's place, in the order of moving: by rank, level, and inside a cycle."""
    keys = sorted(workloads)
    known = set(keys)
    between = [e for e in edges if e.consumer in known and e.provider in known]
    providers: dict[str, list[str]] = defaultdict(list)
    for e in between:
        providers[e.consumer].append(e.provider)
    groups = components(keys, providers)
    level = levels(groups, providers)
    rank = lowered(ranks, groups, providers)
    group_of = {m: g for g in groups for m in g}
    inner: dict[str, int] = dict.fromkeys(keys, 0)
    after: dict[str, list[str]] = defaultdict(list)
    inside: dict[tuple[str, ...], list[Edge]] = defaultdict(list)
    for e in between:
        if group_of[e.consumer] is group_of[e.provider]:
            inside[group_of[e.consumer]].append(e)
        else:
            after[e.consumer].append(e.provider)
    for group, own in inside.items():
        kept = _acyclic(group, own)
        for e in kept:
            after[e.consumer].append(e.provider)
        below: dict[str, list[str]] = defaultdict(list)
        for e in kept:
            below[e.consumer].append(e.provider)
        inner.update(levels(components(group, below), below))
    steps = sorted({(rank[k], level[k]) for k in keys})
    tier = {step: i for i, step in enumerate(steps)}
    placed = {
        k: Place(
            rank=rank[k],
            level=level[k],
            tier=tier[rank[k], level[k]],
            inner=inner[k],
            group=group_of[k],
            after=tuple(sorted(after[k])),
        )
        for k in keys
    }
    return dict(sorted(placed.items(), key=lambda x: (x[1].tier, x[1].group, x[1].inner, x[0])))


def _acyclic(group: tuple[str, ...], edges: list[Edge]) -> list[Edge]:
    """The edges that remain when, as long as there is a cycle, its weakest edge is left out."""
    kept = sorted(edges, key=lambda e: (-e.strength, e.consumer, e.provider))
    while kept:
        providers: dict[str, list[str]] = defaultdict(list)
        for e in kept:
            providers[e.consumer].append(e.provider)
        cyclic = {m for g in components(group, providers) if len(g) > 1 for m in g}
        if not cyclic:
            break
        worst = next(e for e in reversed(kept) if e.consumer in cyclic and e.provider in cyclic)
        kept.remove(worst)
    return kept
