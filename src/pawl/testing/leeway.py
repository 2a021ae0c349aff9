"""The `Leeway` port of one simulated operator."""

from __future__ import annotations

from pawl.ports.kube import Pod
from pawl.ports.leeway import Lent
from pawl.testing.pods import Deployment
from pawl.testing.ports import API, Operator
from pawl.testing.world import World


class SimLeeway:
    def __init__(self, operator: Operator) -> None:
        self._operator = operator

    async def _api(self) -> World:
        world = await self._operator.turn(API)
        world.api()
        return world

    async def scale(self, namespace: str, workload: str, owner: str) -> None:
        world = await self._api()
        d = _found(world, namespace, workload)
        if "scale" not in d.lent:
            d.lent["scale"] = str(d.replicas)
            d.replicas += 1
            if d.most and d.replicas > d.most:
                world.violations.append(f"{d.name} was scaled past its autoscaler's maximum")
            world.changed("scale", d.name)
            world.trigger("after", "scale", d.name)

    async def allow_unhealthy(self, namespace: str, budget: str, owner: str) -> None:
        world = await self._api()
        d = _found(world, namespace, f"PodDisruptionBudget/{budget}")
        if "always-allow" not in d.lent:
            d.lent["always-allow"] = ""
            d.always_allow = True
            world.changed("allow-unhealthy", d.name)
            world.trigger("after", "allow-unhealthy", d.name)

    async def restart(self, namespace: str, workload: str, owner: str) -> None:
        world = await self._api()
        d = _found(world, namespace, workload)
        if "restart" not in d.lent:
            d.lent["restart"] = ""
            d.revision += 1
            world.changed("restart", d.name)
            world.trigger("after", "restart", d.name)

    async def rolled_out(self, namespace: str, workload: str) -> str:
        world = await self._api()
        d = _found(world, namespace, workload)
        own = world.pods.of(d)
        new = [p for p in own if p.revision == d.revision and p.ready_at <= world.now]
        if len(new) < d.replicas:
            return f"{namespace}/{workload}: {len(new)} of {d.replicas} new pods are available"
        left = len(own) - len(new)
        return f"{namespace}/{workload}: {left} old pods are still there" if left else ""

    async def choose(self, pod: Pod) -> None:
        world = await self._api()
        found = world.pods.pods.get(pod.uid)
        if found is not None and not found.victim:
            found.victim = True
            world.changed("choose", pod.uid)

    async def lent(self) -> tuple[Lent, ...]:
        world = await self._api()
        found = [
            Lent(what=what, namespace=d.namespace, object=_name(what, d), was=was, to="pawl:run-1")  # type: ignore[arg-type]
            for d in world.pods.deployments
            for what, was in d.lent.items()
        ]
        found += [
            Lent(what="victim", namespace=p.namespace, object=f"Pod/{p.name}", was="", to="")
            for p in world.pods.pods.values()
            if p.victim
        ]
        return tuple(sorted(found))

    async def give_back(self, lent: Lent) -> None:
        world = await self._api()
        if lent.what == "victim":
            for p in world.pods.pods.values():
                p.victim = p.victim and f"Pod/{p.name}" != lent.object
            return
        d = _found(world, lent.namespace, lent.object)
        was = d.lent.pop(lent.what, None)
        if was is None:
            return
        if lent.what == "scale":
            d.replicas = int(was) if d.replicas == int(was) + 1 else d.replicas
        elif lent.what == "always-allow":
            d.always_allow = False
        world.changed(f"give-back-{lent.what}", d.name)
        world.settle()


def _name(what: str, d: Deployment) -> str:
    if what == "always-allow":
        return f"PodDisruptionBudget/{d.name}-budget"
    return f"Deployment/{d.name}"


def _found(world: World, namespace: str, name: str) -> Deployment:
    _, _, own = name.partition("/")
    return next(
        d
        for d in world.pods.deployments
        if d.namespace == namespace and d.name == own.removesuffix("-budget")
    )
