"""Which pod may be taken out of its ReplicaSet for its successor, and how it is given back."""

from __future__ import annotations

from pawl.core.workloads.surroundings import Method
from pawl.engine.context import Context
from pawl.ports.kube import Pod


def surges(pod: Pod, method: Method) -> bool:
    """A pod that is not Ready has no service to keep: it goes by eviction."""
    return method == "surge" and pod.ready and bool(pod.template)


async def take_back(ctx: Context, node: str = "") -> list[str]:
    """Give every released pod (of `node`) back to its ReplicaSet, which ends the one too many."""
    told = []
    for p in await ctx.tools.kube.released():
        if not p.terminating and (not node or p.node == node):
            async with ctx.effect("take-back", f"{p.namespace}/{p.name}", on_host=False):
                await ctx.tools.kube.take_back(p)
            told.append(f"{p.namespace}/{p.name} is {p.released}'s again.")
    return told
