"""Control-plane machines: a new one in, verified, before an old one goes out."""

from __future__ import annotations

from functools import partial

from pawl.core.actions import AddControlPlane, RetireControlPlane
from pawl.core.errors import StepFailed
from pawl.core.flags import EMULATED_VERSION
from pawl.core.model import ClusterState
from pawl.engine.context import Context
from pawl.engine.executors import api_server, component
from pawl.engine.executors.controllers import free_lease
from pawl.engine.executors.etcd_replace import claim, provider
from pawl.ports.machines import Image

CONTROLLERS = ("kube-controller-manager", "kube-scheduler", "cloud-controller-manager")


async def add_control_plane(action: AddControlPlane, ctx: Context) -> str:
    name = action.machine
    machines = provider(ctx)
    known = next((m for m in await machines.list() if m.name == name), None)
    if known is None or not known.running:
        emulate = (f"{EMULATED_VERSION}={action.emulate}",) if action.emulate else ()
        parts = (api_server.COMPONENT, "kube-controller-manager", "kube-scheduler")
        async with ctx.effect("add-machine", name, on_host=False) as epoch:
            image = Image(
                versions={"kubernetes": action.target},
                flags=dict.fromkeys(parts, emulate) if emulate else {},
                epoch=epoch,
            )
            known = await machines.add(name, "control-plane", action.pool, image)
    await claim(ctx, name)
    await ctx.until(
        partial(api_server.ready_as, name, action.target, action.emulate),
        name,
        seconds=ctx.timeouts.apiserver_ready + ctx.timeouts.converge,
        times=3,
    )
    balancer = ctx.tools.balancer
    if balancer is not None:
        if ctx.state.balancer_member(name) is None:
            async with ctx.effect("add-to-balancer", name) as epoch:
                await balancer.add(name, known.address, epoch)
        await api_server.enter_balancer(ctx, name)
    return f"API server {name} runs {action.target} on a new machine and serves."


async def retire_control_plane(action: RetireControlPlane, ctx: Context) -> str:
    """Out of the balancer, stopped gracefully, then removed: in this order no request is lost."""
    host = action.host
    machines = provider(ctx)
    known = any(m.name == host for m in await machines.list())
    if known:
        await _stop_all(ctx, host)
    balancer = ctx.tools.balancer
    entry = await api_server.entry_of(balancer, host, ctx.state) if balancer is not None else None
    if balancer is not None and entry is not None:
        async with ctx.effect("remove-from-balancer", host) as epoch:
            await balancer.remove(entry.name, epoch)
    if known:
        async with ctx.effect("remove-machine", host, on_host=False):
            await machines.remove(host)

    def gone(state: ClusterState) -> str:
        server = state.api_server(host)
        return f"API server {host} still answers." if server and server.version else ""

    await ctx.until(gone, seconds=ctx.timeouts.stop)
    if ctx.state.balancer_member(host) is not None:
        raise StepFailed(f"the balancer still names {host} after it was removed.")
    return f"control-plane machine {host} is gone."


async def _stop_all(ctx: Context, host: str) -> None:
    found = await component.reachable(ctx, host)
    if component.unit_state(ctx, found, api_server.COMPONENT).active in component.UP:
        await api_server.leave_balancer(ctx, host)
        await component.stop(ctx, host, api_server.COMPONENT)
    for name in CONTROLLERS:
        unit = found.unit(ctx.layout.unit_of(name))
        if unit is not None and unit.active in component.UP:
            await component.stop(ctx, host, name)
            await free_lease(ctx, name, host, [])
