"""Which DaemonSets a node still lacks: those that belong there and have no Ready pod on it.

A node is Ready when its kubelet is; network, volumes, logs and metrics come by DaemonSets, seconds
or minutes later. How a DaemonSet does elsewhere tells whose fault it is that it lacks here.
"""

from __future__ import annotations

from collections.abc import Collection

from pawl.core.workloads.admission import DAEMON_TOLERATIONS, admits
from pawl.core.workloads.facts import Controller, Part, Workloads


class Lack(Part, frozen=True, kw_only=True):
    """`daemon` is "namespace/name"; `pod` is its pod there, "" where there is none yet, and `why`
    what holds that up. `ready` of its pods on `others` other nodes are Ready."""

    daemon: str
    node: str
    pod: str = ""
    why: str = ""
    others: int = 0
    ready: int = 0

    @property
    def everywhere(self) -> bool:
        """It is Ready on no other node either: to wait for it is no use."""
        return self.others > 0 and not self.ready

    @property
    def only_here(self) -> bool:
        """It is Ready on all other nodes, so it is this node that is not fit yet."""
        return self.others > 0 and self.ready == self.others

    def __str__(self) -> str:
        why = f" ({self.why})" if self.why else ""
        what = f"pod {self.pod} on {self.node} is not Ready{why}" if self.pod else ""
        what = what or f"{self.node} has no pod of it yet"
        return f"DaemonSet {self.daemon}: {what}; {self.ready} of {self.others} elsewhere are"


def lacking(facts: Workloads, node: str, apart: Collection[str] = ()) -> tuple[Lack, ...]:
    """`apart`: nodes that tell nothing about others, because they are new too."""
    here = next((n for n in facts.nodes if n.name == node), None)
    if here is None:
        return ()
    others = {n.name for n in facts.nodes if n.ready} - {node, *apart}
    daemons = [
        c
        for c in facts.controllers
        if c.kind == "DaemonSet" and not admits(here, c.shape, DAEMON_TOLERATIONS)
    ]
    return tuple(lack for c in daemons if (lack := _lack(facts, c, node, others)))


def _lack(facts: Workloads, c: Controller, node: str, others: Collection[str]) -> Lack | None:
    own = [p for p in facts.pods if p.owner == c.key and not p.finished]
    there = [p for p in own if p.node == node]
    if any(p.ready and not p.terminating for p in there):
        return None
    elsewhere = [p for p in own if p.node in others]
    return Lack(
        daemon=f"{c.namespace}/{c.name}",
        node=node,
        pod=there[0].key if there else "",
        why=there[0].waiting if there else "",
        others=len(elsewhere),
        ready=sum(p.ready for p in elsewhere),
    )
