"""Controller-manager, scheduler, cloud-controller-manager and kube-proxy on one host.

None of them serves requests, so they need no drain: stopped, another holder takes over the Lease,
or rules simply stay as they are for the seconds of the restart. A controller-manager that ends does
not free its Lease, and for its 15 s nobody would make pods or move endpoints: once it has ended for
certain, pawl frees it, and waits until somebody leads.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from pawl.core import flags
from pawl.core.actions import SwapController, SwapKubeProxy
from pawl.core.errors import StepFailed
from pawl.core.holders import host_of
from pawl.core.model import ClusterState, Node
from pawl.engine.context import HOSTS, Context, Late
from pawl.engine.executors import component
from pawl.engine.executors.keeping import nodes_now

CONTROLLER_SECONDS = 60.0
LEADS_SECONDS = 60.0
"""A Lease that could not be freed runs for 15 s, and standbys look at it every 2 s."""


def _controller_at(name: str, host: str, version: str, state: ClusterState) -> str:
    found = state.controller(name, host)
    if found is None or found.version is None:
        return f"{name} on {host} does not answer yet."
    if found.version != version:
        return f"{name} on {host} answers as {found.version}, not {version}."
    return "" if found.healthy else f"{name} on {host} is not healthy yet."


def _controller_runs(name: str, host: str, version: str, state: ClusterState) -> bool | None:
    found = state.controller(name, host)
    return None if found is None or found.version is None else found.version == version


async def swap_controller(action: SwapController, ctx: Context) -> str:
    name, host = action.component, action.host
    found = await component.reachable(ctx, host)
    before = flags.emulated_minor(found.flags.get(name, ()))
    still_old = found.current.get(name) == action.source
    dead: list[str] = []
    await component.perform(
        ctx,
        component.Swap(
            host=host,
            component=name,
            source=action.source,
            target=action.target,
            emulate=action.emulate,
            emulated_before=before if still_old else "",
            runs=partial(_controller_runs, name, host, action.target),
            healthy=partial(_controller_at, name, host, action.target),
            healthy_before=partial(_controller_at, name, host, action.source),
            ended=partial(free_lease, ctx, name, host, dead),
            parts=HOSTS,
            seconds=CONTROLLER_SECONDS,
        ),
    )
    if dead:
        await _led(ctx, name, {"", *dead})
    return f"{name} on {host} runs {action.target}."


async def free_lease(ctx: Context, name: str, host: str, dead: list[str]) -> None:
    """The unit is down, so a Lease of this host is a dead process's. Its identity is added to
    `dead`, "" where nobody has the Lease."""
    holder = await ctx.tools.holders.holder(name)
    if holder is None or host_of(holder) not in ("", host):
        return
    dead.append(holder)
    if holder:
        async with ctx.effect("free-lease", f"{name} of {host}", on_host=False):
            await ctx.tools.holders.free(name, holder)


async def _led(ctx: Context, name: str, dead: Collection[str]) -> None:
    """Until somebody leads who is alive."""

    async def why() -> str:
        holder = await ctx.tools.holders.holder(name)
        return f"no {name} leads; its Lease names {holder or 'nobody'}." if holder in dead else ""

    if await ctx.asked(why, LEADS_SECONDS):
        raise Late(
            f"no {name} has led for {LEADS_SECONDS:.0f} s; look at `journalctl -u "
            f"{ctx.layout.unit_of(name)}` on the control planes, then: pawl resume."
        )


def _node_of(host: str, state: ClusterState) -> Node | None:
    return next((n for n in state.nodes if (n.host or n.name) == host), None)


def _proxy_at(host: str, version: str, state: ClusterState) -> str:
    node = _node_of(host, state)
    if node is None or node.kube_proxy is None:
        return f"kube-proxy on {host} does not answer yet."
    if node.kube_proxy != version:
        return f"kube-proxy on {host} answers as {node.kube_proxy}, not {version}."
    return ""


def _proxy_runs(host: str, version: str, state: ClusterState) -> bool | None:
    node = _node_of(host, state)
    return None if node is None or node.kube_proxy is None else node.kube_proxy == version


async def swap_kube_proxy(action: SwapKubeProxy, ctx: Context) -> str:
    host = action.host
    if _node_of(host, ctx.state) is None and _node_of(host, await nodes_now(ctx)) is None:
        raise StepFailed(f"no node runs on {host}, so there is no kube-proxy to swap there.")
    await component.perform(
        ctx,
        component.Swap(
            host=host,
            component="kube-proxy",
            source=action.source,
            target=action.target,
            runs=partial(_proxy_runs, host, action.target),
            healthy=partial(_proxy_at, host, action.target),
            healthy_before=partial(_proxy_at, host, action.source),
            parts=HOSTS,
            seconds=CONTROLLER_SECONDS,
        ),
    )
    return f"kube-proxy on {host} runs {action.target}."
