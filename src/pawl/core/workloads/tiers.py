"""Cycles and levels of a dependency graph: who must be settled before whom.

Workloads that depend on one another in a cycle are one group (a strongly connected component). The
graph of groups has no cycles; a group's level is the longest way down to a group that depends on
nothing, so every provider has a lower level than its consumers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def components(
    nodes: Iterable[str], providers: Mapping[str, Iterable[str]]
) -> list[tuple[str, ...]]:
    """Strongly connected components, providers before consumers (Tarjan, without recursion)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    found: list[tuple[str, ...]] = []
    for root in nodes:
        if root in index:
            continue
        work = [(root, iter(sorted(providers.get(root, ()))))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, rest = work[-1]
            for nxt in rest:
                if nxt not in index:
                    index[nxt] = low[nxt] = len(index)
                    stack.append(nxt)
                    on_stack.add(nxt)
                    work.append((nxt, iter(sorted(providers.get(nxt, ())))))
                    break
                if nxt in on_stack:
                    low[node] = min(low[node], index[nxt])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    group: list[str] = []
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        group.append(member)
                        if member == node:
                            break
                    found.append(tuple(sorted(group)))
    return found


def levels(groups: list[tuple[str, ...]], providers: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """The level of every node; `groups` as `components` gives them, providers first."""
    group_of = {member: i for i, group in enumerate(groups) for member in group}
    level: list[int] = []
    for i, group in enumerate(groups):
        below = {group_of[p] for member in group for p in providers.get(member, ())} - {i}
        level.append(1 + max((level[b] for b in below), default=-1))
    return {member: level[i] for i, group in enumerate(groups) for member in group}


def lowered(
    ranks: Mapping[str, int],
    groups: list[tuple[str, ...]],
    providers: Mapping[str, Iterable[str]],
) -> dict[str, int]:
    """Ranks such that nobody waits for a later one: a group has the lowest rank among its members
    and all who depend on it, directly or not. Sorting by (rank, level) is then an order in which
    providers come first."""
    group_of = {member: i for i, group in enumerate(groups) for member in group}
    rank = [min(ranks[m] for m in group) for group in groups]
    for i in range(len(groups) - 1, -1, -1):
        for member in groups[i]:
            for p in providers.get(member, ()):
                below = group_of[p]
                rank[below] = min(rank[below], rank[i])
    return {member: rank[i] for i, group in enumerate(groups) for member in group}
