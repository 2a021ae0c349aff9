"""What the nodes that stay still have, beside what has yet to move there.

Kept current by changes, in sums, so that a look costs no more with twenty thousand pods. It finds
what can hold in no placement (too little of a resource in all), and never more: whether one pod
finds its place is the scheduler's to say.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable

from pawl.core.workloads import quantity
from pawl.ports.kube import Pod
from pawl.ports.watch import Change, Gone, Listed, NodeNow, Put

AMOUNTS: dict[str, Callable[[int], str]] = {
    "cpu": quantity.cpu,
    "memory": quantity.size,
    "pods": lambda count: f"{count} places for pods",
}
Amount = Counter[str]


class Room:
    def __init__(self) -> None:
        self._nodes: dict[str, NodeNow] = {}
        self._pods: dict[str, Pod] = {}
        self._asked: dict[str, Amount] = defaultdict(Counter)
        """By node: what all its pods ask for."""
        self._moves: dict[str, Amount] = defaultdict(Counter)
        """By node: what those of them ask for whose successor is not made yet."""
        self._owners: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
        """By node: whose pods leave it, also those whose successor is made."""
        self._homeless: set[str] = set()
        """UIDs of pods without a node."""

    def take(self, change: Change) -> bool:
        """Whether it changed a sum: most events only say how a pod or a node is."""
        match change:
            case Listed(what="nodes", items=items):
                self._nodes = {i.name: i for i in items if isinstance(i, NodeNow)}
            case Listed(what="pods", items=items):
                for known in list(self._pods.values()):
                    self._forget(known)
                for i in items:
                    if isinstance(i, Pod):
                        self._learn(i)
            case Put(item=NodeNow() as node):
                if self._nodes.get(node.name) == node:
                    return False
                self._nodes[node.name] = node
            case Gone(item=NodeNow() as node):
                self._nodes.pop(node.name, None)
            case Put(item=Pod() as pod):
                before = self._pods.get(pod.uid)
                if before is not None and _weight(before) == _weight(pod):
                    return False
                self._forget(pod)
                self._learn(pod)
            case Gone(item=Pod() as pod):
                self._forget(pod)
            case _:
                return False
        return True

    def short(self, leaving: set[str]) -> str:
        """What the open nodes lack to hold the pods that still have to move from `leaving`, "" if
        nothing, or where a node does not tell what it has."""
        leaving = leaving & self._nodes.keys()
        stay = [n for n in self._nodes.values() if _open(n) and n.name not in leaving]
        if not leaving or not all(n.pods for n in stay):
            return ""
        need: Amount = Counter()
        for name in leaving:
            need.update(self._moves[name])
        for uid in self._homeless:
            pod = self._pods[uid]
            if any(self._owners[name][_owner(pod)] for name in leaving):
                need.update(_asks(pod))
        for what, said in AMOUNTS.items():
            free = sum(max(0, getattr(n, what) - self._asked[n.name][what]) for n in stay)
            if need[what] > free:
                return (
                    f"The {len(stay)} nodes that take pods have {said(free)} left in all, and what "
                    f"still has to leave {', '.join(sorted(leaving))} asks for {said(need[what])}."
                )
        return ""

    def _learn(self, pod: Pod) -> None:
        self._pods[pod.uid] = pod
        if pod.finished:
            return
        if not pod.node:
            self._homeless.add(pod.uid)
            return
        self._asked[pod.node].update(_asks(pod))
        self._owners[pod.node][_owner(pod)] += not pod.stays
        if _moves(pod):
            self._moves[pod.node].update(_asks(pod))

    def _forget(self, pod: Pod) -> None:
        known = self._pods.pop(pod.uid, None)
        if known is None or known.finished:
            return
        self._homeless.discard(known.uid)
        if known.node:
            self._asked[known.node].subtract(_asks(known))
            self._owners[known.node][_owner(known)] -= not known.stays
            if _moves(known):
                self._moves[known.node].subtract(_asks(known))


def _open(node: NodeNow) -> bool:
    return node.ready and not node.unschedulable and not node.closed


def _moves(pod: Pod) -> bool:
    """One that is released or ends has a successor, which counts by itself."""
    return not (pod.stays or pod.terminating or pod.released)


def _weight(pod: Pod) -> object:
    """All of a pod that a sum depends on."""
    return pod.node, pod.finished, pod.stays, _moves(pod), _owner(pod), pod.cpu, pod.memory


def _owner(pod: Pod) -> tuple[str, str]:
    return pod.namespace, pod.controller


def _asks(pod: Pod) -> dict[str, int]:
    return {"cpu": pod.cpu, "memory": pod.memory, "pods": 1}
