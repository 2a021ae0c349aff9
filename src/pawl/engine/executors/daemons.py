"""A new machine is asked whether its DaemonSet pods are Ready, before any pod is moved onto it.

Ready on all other nodes     it must be Ready here too; past the deadline the run pauses
on some of them, or unknown  waited for as long, then told
on none                      told: it was broken before this machine came
"""

from __future__ import annotations

from collections.abc import Sequence

from pawl.core.actions import AddNode
from pawl.core.workloads.daemons import Lack, lacking
from pawl.engine.context import Context, Interrupted


async def daemons_ready(ctx: Context, node: str) -> str:
    """Returns what to say of those that are not, "" for none. `Interrupted` where one that is Ready
    everywhere else is not in time: the run is paused."""
    seconds = ctx.timeouts.daemons
    if not seconds:
        return ""
    asked = _Asked(ctx, node)
    late = await asked.until_ready(seconds)
    only_here = [x for x in asked.waits if x.only_here] if late else []
    if only_here:
        why = (
            f"{only_here[0]}. This did not change for {seconds:.0f} s, so no pod is moved to "
            f"{node}. Mend it, then: pawl resume."
        )
        ctx.pause(why, by="pawl")
        raise Interrupted(why)
    return "".join(f"; {x}" for x in asked.lacks) + asked.unread


class _Asked:
    """All facts are read at first, and again when the pods that were lacking are Ready: a node
    whose network has come takes others that its taints had kept away."""

    def __init__(self, ctx: Context, node: str) -> None:
        self.ctx, self.node = ctx, node
        self.lacks: Sequence[Lack] = ()
        self.unread = ""

    @property
    def waits(self) -> list[Lack]:
        """Those that are worth waiting for."""
        return [x for x in self.lacks if not x.everywhere]

    async def until_ready(self, seconds: float) -> str:
        await self._read()
        return await self.ctx.asked(self._why, seconds)

    async def _why(self) -> str:
        self.ctx.safe_point()
        if not self.waits:
            return ""
        pods = await self.ctx.tools.kube.pods_on(self.node)
        ready = {f"{p.namespace}/{p.owner}" for p in pods if p.ready and not p.terminating}
        if unready := [x for x in self.waits if _kind(x.daemon) not in ready]:
            return f"{unready[0]}."
        await self._read()
        return f"{self.waits[0]}." if self.waits else ""

    async def _read(self) -> None:
        facts = await self.ctx.workloads()
        if not facts.complete:
            self.unread = f"; whose DaemonSets it needs is not known ({facts.unread[0].source})"
        coming = [s.action.machine for s in self.ctx.plan.steps if isinstance(s.action, AddNode)]
        self.lacks = lacking(facts, self.node, coming)


def _kind(daemon: str) -> str:
    """ "kube-system/cni" -> "kube-system/DaemonSet/cni", as a pod's namespace and owner."""
    namespace, _, name = daemon.partition("/")
    return f"{namespace}/DaemonSet/{name}"
