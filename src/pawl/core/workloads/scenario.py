"""Which nodes go, which take their place, and how many at a time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec

from pawl.core import marks
from pawl.core.workloads.facts import HOSTNAME, Node, Part, Workloads

CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
_PASSING = (
    "node.kubernetes.io/",
    "node.cloudprovider.kubernetes.io/",
    marks.CLOSED.key,
    marks.LEAVING.key,
)
"""Taints that tell a node's state of the moment; a new node does not inherit them."""


class Scenario(Part, frozen=True, kw_only=True):
    """Old nodes in the order in which they go, each with its successor; `surge` of them in one
    wave, 0 = all. `canary`: the first wave is one node alone."""

    old: tuple[str, ...]
    new: tuple[Node, ...]
    surge: int = 0
    canary: bool = False

    def waves(self) -> list[tuple[int, int]]:
        """Ranges of `old` and `new`."""
        n = len(self.old)
        size = self.surge or n
        first = 1 if self.canary and n > 1 else min(size, n)
        cuts = [0, first] if n else [0]
        while cuts[-1] < n:
            cuts.append(min(n, cuts[-1] + size))
        return list(itertools.pairwise(cuts))


def replace_all(
    facts: Workloads,
    *,
    version: str = "",
    only: Sequence[str] = (),
    surge: int = 0,
    canary: bool = False,
) -> Scenario:
    """Each worker gets a successor of the same size, labels and taints. `version`: nodes that run
    it already stay; `only`: just these nodes. A successor that is there already is taken as it
    is."""
    by_name = {n.name: n for n in facts.nodes}
    old = [
        n
        for n in facts.nodes
        if (n.name in only if only else not any(k in n.labels for k in CONTROL_PLANE))
        and not (version and n.version == version)
    ]
    new = []
    for n in old:
        name = marks.successor(n.name, version) if version else f"{marks.base(n.name)}-new"
        new.append(by_name.get(name) or successor(n, name))
    return Scenario(old=tuple(n.name for n in old), new=tuple(new), surge=surge, canary=canary)


def successor(node: Node, name: str) -> Node:
    labels = {k: name if k == HOSTNAME and v == node.name else v for k, v in node.labels.items()}
    return msgspec.structs.replace(
        node,
        name=name,
        labels=labels,
        taints=tuple(t for t in node.taints if not t.key.startswith(_PASSING)),
        unschedulable=False,
        ready=True,
    )
