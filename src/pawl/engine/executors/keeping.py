"""Marks that must stay while a node is emptied: put back once, then a person is asked.

Somebody who opens a closed node may have a reason. Doing it a second time tells that it was no
accident, and that two wills are at work.
"""

from __future__ import annotations

from pawl.core import marks
from pawl.core.actions import CloseNodes
from pawl.core.errors import Unreachable
from pawl.core.model import ClusterState
from pawl.engine.context import Context
from pawl.ports.observer import Part

NODES: frozenset[Part] = frozenset({"nodes"})
"""What a look at node objects and their Leases reads."""


async def nodes_now(ctx: Context) -> ClusterState:
    """The nodes read again, where it matters that one is not there. A list that could not be read
    has no nodes either: then it is `Unreachable`, and the step is looked at again."""
    state = await ctx.look(parts=NODES)
    lost = next((u.why for u in state.unread if u.source == "nodes"), None)
    if lost is not None:
        raise Unreachable(f"the nodes could not be read: {lost}")
    return state


async def keep_closed(ctx: Context, node: str) -> None:
    """The node that is emptied stays cordoned, and all nodes that the plan closes stay closed. The
    board tells when to look; what is done about it follows a fresh reading."""
    seen = ctx.moving.board.nodes
    closes = [s.action for s in ctx.plan.steps if isinstance(s.action, CloseNodes)]
    opened = {n for c in closes for n in c.nodes if n in seen and not seen[n].closed}
    uncordoned = node in seen and not seen[node].unschedulable
    if not opened and not uncordoned:
        return
    state = await ctx.look(parts=NODES)
    found = state.node(node)
    if uncordoned and found is not None and not found.unschedulable:
        _once(ctx, node, "cordon")
        async with ctx.effect("cordon", node, on_host=False):
            await ctx.tools.kube.cordon(node, ctx.owner)
    for name in sorted(opened):
        found = state.node(name)
        if found is not None and not marks.closed(found):
            _once(ctx, name, "taint")
            async with ctx.effect("taint", name, on_host=False):
                await ctx.tools.kube.taint(name, marks.CLOSED)


def _once(ctx: Context, node: str, what: str) -> None:
    if (node, what) in ctx.moving.reasserted:
        ctx.pause(
            f"Somebody has taken pawl's {what} off node {node} again while it is emptied. Find out "
            "who, then go on with: pawl resume.",
            by="pawl",
        )
        ctx.safe_point()
    ctx.moving.reasserted.add((node, what))
