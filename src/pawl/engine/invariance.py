"""Invariants of moving pods, looked at on every change; a breach pauses the run within that event.

    no pod lands on a node that is closed
    Ready pods of a workload that surges are never fewer than when its surge began
    a node that was Ready stays Ready, unless pawl works on it
    the nodes that stay have room for what still has to move there

A pause lets what is half done come to a safe point and begins nothing more. That is right even
where somebody else is the cause: two causes of disruption at once are one too many.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio
from anyio.abc import TaskGroup

from pawl.core.errors import PawlError
from pawl.engine.board import Board
from pawl.engine.room import Room
from pawl.ports.kube import Kube, Pod
from pawl.ports.watch import Change, Gone, Listed, NodeNow, Put

APART = 2.0
"""Seconds by which two watches may be apart: each is begun anew now and then, over a connection and
a TLS handshake of its own, which a busy API server takes a second for."""
GRACE = 2.0
"""Seconds for which a pod may still appear on a node that was just closed: it was bound before."""
Key = tuple[str, str]
"""(namespace, "ReplicaSet/name")."""


class Invariance:
    """`busy`: the nodes that are worked on. `leaving`: those whose pods must find room elsewhere
    now, and `behind` those that stay behind. `pause`: what a breach does. `now`: the run's clock.
    """

    def __init__(
        self,
        board: Board,
        kube: Kube,
        group: TaskGroup,
        *,
        busy: Callable[[], set[str]],
        leaving: Callable[[], set[str]],
        behind: Callable[[], set[str]],
        pause: Callable[[str], None],
        now: Callable[[], float],
    ) -> None:
        self._board, self._kube, self._group = board, kube, group
        self._busy, self._leaving, self._behind = busy, leaving, behind
        self._pause, self._now = pause, now
        self._room = Room()
        self._looking = False
        """Whether a lack of room is being confirmed."""
        self._surging: dict[Key, int] = {}
        self._closed: dict[str, float] = {}
        """Closed nodes, and since when that is known."""
        self._old: set[str] = set()
        """UIDs that are no news on a closed node."""
        self._ready: set[str] = set()
        board.also(self.take)

    def surges(self, namespace: str, owner: str) -> None:
        """From now on its Ready pods are watched; those of now are what must stay."""
        self._surging.setdefault((namespace, owner), self._serving((namespace, owner)))

    def rests(self, namespace: str, owner: str) -> None:
        """Its surge is over: what happens to it now is not pawl's doing."""
        self._surging.pop((namespace, owner), None)

    def take(self, change: Change) -> None:
        if self._room.take(change) and not self._looking and not self._board.blind:
            self._looking = bool(self._room.short(self._leaving()))
            if self._looking:
                self._group.start_soon(self._confirm_short)
        match change:
            case Listed(what="pods", items=items):
                self._old = {i.uid for i in items if isinstance(i, Pod)}
            case Listed(what="nodes", items=items):
                for i in items:
                    if isinstance(i, NodeNow):
                        self._node(i)
            case Put(item=NodeNow() as node):
                self._node(node)
            case Gone(item=Pod() as gone):
                self._old.discard(gone.uid)
                self._thinned(gone)
            case _ if isinstance(pod := getattr(change, "item", None), Pod):
                self._landed(pod)
                self._thinned(pod)

    def _node(self, node: NodeNow) -> None:
        if node.closed or node.unschedulable:
            self._closed.setdefault(node.name, self._now())
        else:
            self._closed.pop(node.name, None)
        if node.ready:
            self._ready.add(node.name)
        elif node.name in self._ready and node.name not in self._busy():
            self._ready.discard(node.name)
            self._pause(f"Node {node.name} was Ready and is not any more. Look at it.")

    def _landed(self, pod: Pod) -> None:
        if not pod.node or pod.uid in self._old:
            return
        since = self._closed.get(pod.node)
        self._old.add(pod.uid)
        if since is not None and not pod.stays and self._now() - since > GRACE:
            self._group.start_soon(self._confirm_landed, pod, since)

    async def _confirm_landed(self, pod: Pod, since: float) -> None:
        """Pods and nodes come by two watches: that the node is open again may be on its way."""
        await anyio.sleep(APART)
        if self._closed.get(pod.node) == since:
            self._pause(
                f"Pod {pod.namespace}/{pod.name} landed on {pod.node}, which is closed: it would "
                "have to move twice. Look at what it tolerates, and who has placed it there."
            )

    async def _confirm_short(self) -> None:
        """A new node and the pods that are bound to it come by two watches."""
        await anyio.sleep(APART)
        self._looking = False
        if short := self._room.short(self._leaving() - self._behind()):
            self._pause(f"{short} Make room or add a node, then: pawl resume.")

    def _thinned(self, pod: Pod) -> None:
        key = (pod.namespace, pod.controller)
        floor = self._surging.get(key)
        if floor is not None and self._serving(key) < floor:
            self._group.start_soon(self._confirm, key, floor)

    async def _confirm(self, key: Key, floor: int) -> None:
        """Fewer may be wanted by now (an autoscaler, a person): that is no breach."""
        try:
            wanted = (await self._kube.standing(*key)).wanted
        except PawlError:
            return  # the next change asks again
        serving = self._serving(key)
        if key not in self._surging or serving >= floor:
            return
        if serving >= wanted:
            self._surging[key] = wanted
            return
        self._surging[key] = serving
        self._pause(
            f"{serving} of {wanted} pods of {key[0]}/{key[1]} are Ready while it surges: one was "
            "lost beside the move. Look at its pods."
        )

    def _serving(self, key: Key) -> int:
        return sum(
            p.ready and not p.terminating and (p.namespace, p.controller) == key
            for p in self._board.pods.values()
        )
