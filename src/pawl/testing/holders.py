"""Simulated Leases of controller-managers and schedulers, as client-go keeps them.

A process that ends leaves its Lease as it is: for 15 s nobody works, unless somebody frees it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pawl.core.holders import host_of

if TYPE_CHECKING:
    from pawl.testing.ports import Operator
    from pawl.testing.world import World

CALL = 0.01
RUNS = 15.0


@dataclass
class Held:
    identity: str = ""
    seen: float = 0.0


class Leases:
    def __init__(self, world: World) -> None:
        self._world = world
        self._held: dict[str, Held] = {}

    def holder(self, component: str) -> str:
        """The identity in the Lease now; who is free to take it has it at once."""
        world, held = self._world, self._held.setdefault(component, Held())
        if held.identity and self._identity(host_of(held.identity), component) == held.identity:
            held.seen = world.now
        elif not held.identity or world.now >= held.seen + RUNS:
            first = next((h for h in sorted(world.hosts) if world.runs(h, component)), "")
            held.identity, held.seen = self._identity(first, component), world.now
        return held.identity

    def free(self, component: str, identity: str) -> bool:
        held = self._held.get(component)
        if held is None or not identity or held.identity != identity:
            return False
        held.identity = ""
        return True

    def _identity(self, host: str, component: str) -> str:
        """Of the process that runs there, "" for none."""
        if not self._world.runs(host, component):
            return ""
        return f"{host}_{self._world.hosts[host].units[component].since:.3f}"


class SimHolders:
    def __init__(self, operator: Operator) -> None:
        self._operator = operator

    async def holder(self, component: str) -> str | None:
        world = await self._operator.turn(CALL)
        world.api()
        return world.leases.holder(component)

    async def free(self, component: str, holder: str) -> bool:
        world = await self._operator.turn(CALL)
        world.api()
        freed = world.leases.free(component, holder)
        if freed:
            world.changed("free-lease", f"{component} of {host_of(holder)}")
        return freed
