"""The `Kube` port of one simulated operator."""

from __future__ import annotations

from collections.abc import Callable

from pawl.core import marks
from pawl.core.errors import Unreachable
from pawl.core.model import Taint
from pawl.ports.kube import Evicted, Pod, Standing
from pawl.ports.watch import (
    Blind,
    BudgetNow,
    Change,
    Gone,
    Item,
    Listed,
    NodeNow,
    Put,
    VolumeNow,
    What,
)
from pawl.testing.pods import TEMPLATE, SimPod
from pawl.testing.ports import API, Operator
from pawl.testing.world import World

SEES = 0.05
"""Seconds until a watch tells what has happened."""


class SimKube:
    def __init__(self, operator: Operator) -> None:
        self._operator = operator

    async def _api(self) -> World:
        world = await self._operator.turn(API)
        world.api()
        return world

    async def pods_on(self, node: str) -> tuple[Pod, ...]:
        world = await self._api()
        world.settle()
        return tuple(_pod(p, world) for p in world.pods.pods.values() if p.node == node)

    async def release(self, pod: Pod, owner: str) -> bool:
        world = await self._api()
        found = world.pods.pods.get(pod.uid)
        if found is None or found.ends_at is not None:
            return False
        if not found.released:
            found.released = True
            world.changed("release", pod.uid)
        world.settle()
        return True

    async def take_back(self, pod: Pod) -> None:
        world = await self._api()
        found = world.pods.pods.get(pod.uid)
        if found is not None and found.released:
            found.released = False
            world.changed("take-back", pod.uid)
        world.settle()

    async def released(self) -> tuple[Pod, ...]:
        world = await self._api()
        return tuple(_pod(p, world) for p in world.pods.pods.values() if p.released)

    async def standing(self, namespace: str, owner: str) -> Standing:
        world = await self._api()
        ready, wanted = world.pods.standing(namespace, owner)
        pending = world.pods.without_place(namespace, owner)
        return Standing(ready=ready, wanted=wanted, pending=pending)

    async def cordon(self, node: str, owner: str) -> bool:
        world = await self._api()
        found = world.nodes[node]
        if found.unschedulable:
            return found.cordoned_by == owner
        found.unschedulable, found.cordoned_by = True, owner
        world.changed("cordon", node)
        return True

    async def uncordon(self, node: str, owner: str) -> None:
        world = await self._api()
        found = world.nodes.get(node)
        if found is not None and found.cordoned_by == owner:
            found.unschedulable, found.cordoned_by = False, ""
            world.changed("uncordon", node)

    async def taint(self, node: str, taint: Taint) -> None:
        world = await self._api()
        found = world.nodes[node]
        if taint not in found.taints:
            found.taints.append(taint)
            world.changed("taint", f"{node}/{taint.key}")

    async def untaint(self, node: str, key: str) -> None:
        world = await self._api()
        found = world.nodes[node]
        if any(t.key == key for t in found.taints):
            found.taints = [t for t in found.taints if t.key != key]
            world.changed("untaint", f"{node}/{key}")

    async def evict(self, pod: Pod) -> Evicted:
        world = await self._api()
        target = f"{pod.namespace}/{pod.name}"
        world.trigger("before", "evict", target)
        before = world.pods.pods.get(pod.uid)
        fresh = before is not None and before.ends_at is None
        answer = world.pods.evict(pod.uid)
        if answer.ok and fresh:
            world.changed("evict", pod.uid)
            world.trigger("after", "evict", target)
        return answer

    async def watch(self, tell: Callable[[Change], None]) -> None:
        """Looks at the world every few hundredths of a second, which nobody else may do. While the
        API is away it says so, and lists everything anew."""
        known: dict[What, dict[str, Item]] = {}
        while True:
            world = await self._operator.turn(SEES)
            try:
                world.api()
            except Unreachable as lost:
                if known:
                    tell(Blind(what="pods", why=str(lost)))
                known = {}
                continue
            now = _seen(world)
            for what, items in now.items():
                before = known.get(what)
                if before is None:
                    tell(Listed(what=what, items=tuple(items.values())))
                    continue
                for key in before.keys() - items.keys():
                    tell(Gone(what=what, item=before[key]))
                for key, item in items.items():
                    if before.get(key) != item:
                        tell(Put(what=what, item=item))
            known = now

    async def loads(self, namespace: str) -> dict[str, float]:
        return dict((await self._api()).pods.loads)

    async def delete(self, pod: Pod) -> None:
        world = await self._api()
        if world.pods.end(pod.uid):
            world.changed("delete", pod.uid)

    async def allowances(self, pod: Pod) -> dict[str, int]:
        world = await self._api()
        return world.pods.allowances(pod.uid)

    async def delete_node(self, node: str) -> None:
        world = await self._api()
        if world.nodes.pop(node, None) is not None:
            world.changed("delete-node", node)

    async def volumes_attached(self, node: str) -> int:
        world = await self._api()
        found = world.nodes.get(node)
        return found.volumes if found else 0


def _pod(p: SimPod, world: World) -> Pod:
    return Pod(
        namespace=p.namespace,
        name=p.name,
        uid=p.uid,
        node=p.node,
        owner="" if p.released else p.owner,
        ready=p.ready_at <= world.now,
        terminating=p.ends_at is not None,
        priority=p.priority,
        released=p.owner if p.released else "",
        template=TEMPLATE if p.owner.startswith("ReplicaSet/") else "",
        victim=p.victim,
        cpu=p.cpu,
    )


def _seen(world: World) -> dict[What, dict[str, Item]]:
    pods = world.pods
    return {
        "nodes": {
            n.name: NodeNow(
                name=n.name,
                ready=pods.ready(n),
                unschedulable=n.unschedulable,
                cordoned_by=n.cordoned_by,
                closed=any(t.key == marks.CLOSED.key for t in n.taints),
                cpu=n.cpu,
                memory=1 << 40,
                pods=110,
            )
            for n in world.nodes.values()
        },
        "budgets": {
            f"{d.namespace}/{d.name}": BudgetNow(
                namespace=d.namespace, name=f"{d.name}-budget", allowed=pods.allowed(d)
            )
            for d in pods.deployments
            if d.minimum is not None
        },
        "volumes": {
            f"{n.name}-{i}": VolumeNow(name=f"{n.name}-{i}", node=n.name)
            for n in world.nodes.values()
            for i in range(n.volumes)
        },
        "pods": {p.uid: _pod(p, world) for p in pods.pods.values()},
    }
