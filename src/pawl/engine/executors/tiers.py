"""Which tier of a node's pods may leave now: the lowest, once what left before it is whole again.

    tier 0 leaves ──> Ready again ──> settles, where tier 1 depends on it ──> tier 1 leaves ──> ...

What settles is a provider: once whole, it stays Ready for `policy.pace.settle` before its consumers
follow, however many tiers are between them.
"""

from __future__ import annotations

from collections.abc import Callable

from pawl.engine.context import Context
from pawl.engine.executors.turns import Turns
from pawl.ports.kube import Pod, Standing

COUNTED = ("ReplicaSet/", "StatefulSet/")
"""Owners whose Ready pods can be counted."""


class Tiers:
    """`aloft`: whether a pod of (namespace, owner) that left is on its way still."""

    def __init__(self, ctx: Context, order: Turns, aloft: Callable[[str, str], bool]) -> None:
        self.ctx, self.order, self.aloft = ctx, order, aloft
        self.now = -1
        """The tier whose turn it is, and all below it."""
        self.settled = 0.0
        """Seconds in which nothing happened but a provider staying Ready."""
        self.settling: tuple[float, float] | None = None
        """Since when, and until when, that lasts."""
        self._leaving: dict[tuple[str, str], int] = {}
        """(namespace, owner) of the tier that leaves -> Ready pods that it had before."""
        self._leavers: set[str] = set()
        """Their workloads."""
        self._whole: dict[str, float] = {}
        """Workload that has left -> since when it is whole again."""

    async def why_not(self, pods: list[Pod]) -> str:
        """Why the next tier must still wait, "" when its turn has come. What is ending holds nobody
        up when its successors can be counted."""
        held = [p for p in pods if not (p.terminating and p.controller.startswith(COUNTED))]
        tier = min((self.order.of(p).tier for p in held), default=self.now)
        if tier <= self.now:
            return ""
        for (namespace, owner), before in self._leaving.items():
            standing = await self.ctx.tools.kube.standing(namespace, owner)
            if standing.ready < min(before, standing.wanted) or self.aloft(namespace, owner):
                self.settling = None
                for workload in self._leavers:
                    self._whole.pop(workload, None)
                return (
                    f"what depends on {namespace}/{owner} waits until it is Ready again: "
                    f"{of_wanted(standing)}"
                )
        for workload in self._leavers:
            self._whole.setdefault(workload, self.ctx.now())
        if why := self._settles(pods, tier):
            return why
        await self._begin(pods, tier)
        return ""

    def _settles(self, pods: list[Pod], tier: int) -> str:
        after = {v for p in pods if (t := self.order.of(p)).tier == tier for v in t.providers}
        moved = sorted(after & self._whole.keys(), key=lambda w: (self._whole[w], w))
        if not moved:
            return ""
        now, settle = self.ctx.now(), self.ctx.moving.pace.settle
        end = self._whole[moved[-1]] + settle
        since = self.settling[0] if self.settling else now
        if now < end - 0.001:
            self.settling = (since, end)
            return f"what depends on {moved[-1]} waits {settle:.0f} s, in which it stays Ready"
        self.settled += now - since
        return ""

    async def _begin(self, pods: list[Pod], tier: int) -> None:
        self.now, self.settling = tier, None
        self._leaving, self._leavers = {}, set()
        for p in pods:
            if self.order.of(p).tier != tier:
                continue
            self._leavers.add(self.order.of(p).workload)
            key = (p.namespace, p.controller)
            if p.controller.startswith(COUNTED) and key not in self._leaving:
                self._leaving[key] = (await self.ctx.tools.kube.standing(*key)).ready


def of_wanted(now: Standing) -> str:
    """ "2 of 3 are", and which one has no place."""
    pending = f"; {now.pending}" if now.pending else ""
    return f"{now.ready} of {now.wanted} are{pending}"
