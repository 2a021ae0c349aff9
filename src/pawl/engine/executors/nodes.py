"""Nodes: in place, or a new machine for each old one.

pawl's cordon carries the run's name, so that it is known whose it is; somebody else's is neither
taken over nor lifted. A node that could not be drained gets its cordon back before the step fails.
"""

from __future__ import annotations

from functools import partial

from pawl.core import marks
from pawl.core.actions import AddNode, CloseNodes, RetireNode, SwapNode
from pawl.core.errors import StepFailed, Temporary, Unreachable
from pawl.core.model import ClusterState, Node
from pawl.core.rolled import EVIDENCE as JOINED
from pawl.core.rolled import Joined
from pawl.engine.context import Context, Interrupted
from pawl.engine.executors import component
from pawl.engine.executors.daemons import daemons_ready
from pawl.engine.executors.drain import Stalled, drain
from pawl.engine.executors.etcd_replace import claim, provider
from pawl.engine.executors.keeping import NODES, nodes_now
from pawl.ports.machines import Image
from pawl.ports.watch import Change, VolumeNow

LEASE_FRESH = 40.0
"""Seconds; the kubelet renews its Lease every 10 s, and is called lost after 40 s."""


class LeftBehind(Exception):
    """The node cannot be emptied, stays closed, and the rest goes on without it."""

    def note(self, name: str) -> str:
        return f"node {name} stays behind, closed: {self}"


def node_at(name: str, version: str, state: ClusterState) -> str:
    node = state.node(name)
    if node is None:
        return f"node {name} is not registered yet."
    if node.kubelet != version:
        return f"node {name} reports kubelet {node.kubelet}, not {version}."
    if not node.ready:
        return f"node {name} is not Ready yet."
    if node.lease_renewed is not None and state.taken_at - node.lease_renewed > LEASE_FRESH:
        return f"node {name} has not renewed its Lease for {LEASE_FRESH:.0f} s."
    return ""


def _kubelet_runs(name: str, version: str, state: ClusterState) -> bool | None:
    """The node object keeps the last report, so an old version may mean "not reported yet": then
    the link, which is compared too, decides."""
    node = state.node(name)
    return True if node is not None and node.kubelet == version else None


def host_of(node: Node | None, name: str) -> str:
    return (node.host if node else "") or name


async def swap_node(action: SwapNode, ctx: Context) -> str:
    name = action.node
    node = (await nodes_now(ctx)).node(name)
    if node is None:
        raise StepFailed(f"node {name} is gone from the cluster: make a new plan.")
    host = host_of(node, name)
    found = await component.reachable(ctx, host)
    if _still_old(ctx, action, found.current.get("kubelet"), host):
        try:
            moved = await _empty(ctx, name, leaving=False) if action.drain else 0
        except LeftBehind as left:
            return left.note(name)
    else:
        moved = 0
    try:
        await component.perform(
            ctx,
            component.Swap(
                host=host,
                component="kubelet",
                source=action.source,
                target=action.target,
                runs=partial(_kubelet_runs, name, action.target),
                healthy=partial(node_at, name, action.target),
                healthy_before=partial(node_at, name, action.source),
                parts=NODES,
                seconds=ctx.timeouts.node_ready,
            ),
        )
    except component.WentBack:
        await give_back(ctx, name)
        raise
    await give_back(ctx, name)
    return f"node {name} runs kubelet {action.target}; {moved} pods were moved for it."


def _still_old(ctx: Context, action: SwapNode, linked: str | None, host: str) -> bool:
    """Whether the kubelet still runs the old binary, so that pods must leave first."""
    found = ctx.state.host(host)
    up = found is not None and component.unit_state(ctx, found, "kubelet").active in component.UP
    return linked != action.target and up


async def _empty(ctx: Context, name: str, *, leaving: bool) -> int:
    """Cordon and drain; on failure or interruption the cordon is given back. `leaving`: its machine
    goes afterwards, so load balancers are told first, and have the drain's time to notice. A node
    that stalls is left behind, closed, where the policy has room for one more; else the run pauses.
    """
    await cordon(ctx, name)
    try:
        if leaving:
            await _tell_load_balancers(ctx, name)
        return await drain(ctx, name, comes_back=not leaving)
    except Stalled as stalled:
        if ctx.quarantine(name, str(stalled)):
            await _return_to_load_balancers(ctx, name)
            raise LeftBehind(str(stalled)) from stalled
        ctx.pause(str(stalled), by="pawl")
        await give_back(ctx, name)
        raise Interrupted(str(stalled)) from stalled
    except (Temporary, Unreachable):
        raise  # it goes on from where it stands
    except (StepFailed, Interrupted):
        await give_back(ctx, name)
        raise


async def cordon(ctx: Context, name: str) -> None:
    node = (await nodes_now(ctx)).node(name)
    if node is not None and node.unschedulable:
        return  # ours from before, or somebody else's: closed to new pods either way
    async with ctx.effect("cordon", name, on_host=False):
        await ctx.tools.kube.cordon(name, ctx.owner)


async def _tell_load_balancers(ctx: Context, name: str) -> None:
    node = (await nodes_now(ctx)).node(name)
    if node is not None and not any(t.key == marks.LEAVING.key for t in node.taints):
        async with ctx.effect("leave-load-balancers", name, on_host=False):
            await ctx.tools.kube.taint(name, marks.LEAVING)


async def _return_to_load_balancers(ctx: Context, name: str) -> None:
    node = (await nodes_now(ctx)).node(name)
    if node is not None and marks.leaving(node):
        async with ctx.effect("return-to-load-balancers", name, on_host=False):
            await ctx.tools.kube.untaint(name, marks.LEAVING.key)


async def give_back(ctx: Context, name: str) -> None:
    await _return_to_load_balancers(ctx, name)
    node = (await nodes_now(ctx)).node(name)
    if node is not None and marks.ours(node):
        async with ctx.effect("uncordon", name, on_host=False):
            await ctx.tools.kube.uncordon(name, node.cordoned_by)


async def add_node(action: AddNode, ctx: Context) -> str:
    machines, ordered = provider(ctx), None
    if not any(m.name == action.machine and m.running for m in await machines.list()):
        ordered = ctx.now()
        async with ctx.effect("add-machine", action.machine, on_host=False) as epoch:
            image = Image(versions={"kubernetes": action.target}, epoch=epoch)
            await machines.add(action.machine, "worker", action.pool, image)
    await claim(ctx, action.machine)
    await ctx.until(
        partial(node_at, action.machine, action.target),
        seconds=ctx.timeouts.node_ready,
        times=2,
        parts=NODES,
    )
    silent = await _proxied(ctx, action.machine)
    lacking = await daemons_ready(ctx, action.machine)
    if ordered is not None:
        seconds = round(ctx.now() - ordered, 2)
        ctx.evidence(JOINED, Joined(machine=action.machine, seconds=seconds))
    return f"node {action.machine} is Ready at {action.target}{silent}{lacking}."


async def _proxied(ctx: Context, host: str) -> str:
    """Until kube-proxy on a new machine answers health checks, as load balancers ask for it too:
    before, no Service is reached from there. A kube-proxy that is a pod is asked by nobody here.
    Returns what to say of one that does not answer."""
    seconds, port = ctx.timeouts.proxy, ctx.layout.proxy_health
    if not seconds or not any(n.kube_proxy for n in ctx.state.nodes if n.host != host):
        return ""

    async def why() -> str:
        silent = await ctx.tools.hosts.listens(host, port) is False
        return f"kube-proxy on {host} does not answer health checks yet." if silent else ""

    if await ctx.asked(why, seconds):
        return f"; its kube-proxy opened no port {port} within {seconds:.0f} s"
    return ""


async def close_nodes(action: CloseNodes, ctx: Context) -> str:
    state = await nodes_now(ctx)
    for name in action.nodes:
        node = state.node(name)
        if node is not None and not marks.closed(node):
            async with ctx.effect("taint", name, on_host=False):
                await ctx.tools.kube.taint(name, marks.CLOSED)
    return f"{len(action.nodes)} old nodes take no new pods."


async def retire_node(action: RetireNode, ctx: Context) -> str:
    name = action.node
    machines = provider(ctx)
    node = (await nodes_now(ctx)).node(name)
    host = host_of(node, name)
    moved = 0
    if node is not None:
        if node.ready:
            try:
                moved = await _empty(ctx, name, leaving=True)
            except LeftBehind as left:
                return left.note(name)
        else:
            await _not_lost(ctx, name)
        await _detached(ctx, name)
        async with ctx.effect("delete-node", name, on_host=False):
            await ctx.tools.kube.delete_node(name)
    if any(m.name == host for m in await machines.list()):
        async with ctx.effect("remove-machine", host, on_host=False):
            await machines.remove(host)
    return f"node {name} is gone; {moved} pods moved from it."


async def _not_lost(ctx: Context, name: str) -> None:
    """A node that is not Ready may still run its pods: without word from it nothing is deleted,
    unless no pod is left to lose."""
    moving = [p for p in await ctx.tools.kube.pods_on(name) if p.owner and not p.stays]
    if moving:
        raise StepFailed(
            f"node {name} is not Ready and still has {len(moving)} pods, which may run on "
            "unseen: bring it back or delete it by hand, then: pawl resume."
        )


async def _detached(ctx: Context, name: str) -> None:
    """Until no VolumeAttachment names the node: a machine that goes before its volumes are let go
    keeps them from every other node, for six minutes or for ever."""

    def about(change: Change) -> bool:
        item = getattr(change, "item", None)
        return item is None or (isinstance(item, VolumeNow) and item.node == name)

    ctx.moving.begin()
    most = ctx.timeouts.detach
    deadline = ctx.now() + most
    with ctx.moving.board.listening(about) as ear:
        while True:
            ear.clear()
            count = await ctx.tools.kube.volumes_attached(name)
            if not count:
                return
            ctx.safe_point()
            ctx.waiting(f"{count} volumes are still attached to {name}.")
            if ctx.now() >= deadline:
                raise StepFailed(
                    f"{count} volumes are still attached to {name} after {most:.0f} s: "
                    "look at their VolumeAttachments; the machine is kept. Then: pawl resume."
                )
            await ear.wait(deadline - ctx.now())
