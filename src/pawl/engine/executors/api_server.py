"""One API server's binary or emulated version, without a request lost.

    out of the balancer -> quiet -> stop -> switch, flags -> start -> ready, as planned -> back in

It leaves the balancer before it stops, and enters only when it is ready at its own address with
the version and the emulation that were planned. Stopping then is what the server does best: it
ends its kept connections during its shutdown delay.

The old binary is the way back as long as nothing newer was stored, which emulation sees to. After
the finish of the two-step upgrade the way back of a server that does not come up is the emulated
version again, on the same binary.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from pawl.core import flags, landed
from pawl.core.actions import FinishEmulation, SwapApiServer
from pawl.core.errors import StepFailed, Temporary, Unreachable
from pawl.core.model import BalancerMember, ClusterState
from pawl.core.version import Minor
from pawl.engine.context import Context, Late
from pawl.engine.executors import component
from pawl.ports.balancer import Balancer
from pawl.ports.observer import Part

COMPONENT = "kube-apiserver"
QUIET_TIMES = 2
QUIET_APART = 0.2
SELF = 1
"""Requests in flight that are our own question after them."""
INFLIGHT_SECONDS = 1.0
"""A drained roll answers within 52 ms; 1 s between drain and stop lost none of 2,250 requests. The
gauge tells the most of the last second, so it says nothing sooner. Counted from the drain."""
SERVING: frozenset[Part] = frozenset({"api", "balancer"})
"""What a look at whether API servers serve, and through the balancer, reads."""


async def swap_api_server(action: SwapApiServer, ctx: Context) -> str:
    found = await component.reachable(ctx, action.host)
    before = flags.emulated_minor(found.flags.get(COMPONENT, ()))
    still_old = found.current.get(COMPONENT) == action.source
    await _roll(
        ctx,
        host=action.host,
        source=action.source,
        target=action.target,
        emulate=action.emulate,
        emulated_before=before if still_old else "",
    )
    acting = f", acting as {action.emulate}" if action.emulate else ""
    return f"API server {action.host} runs {action.target}{acting} and serves."


async def finish_emulation(action: FinishEmulation, ctx: Context) -> str:
    found = await component.reachable(ctx, action.host)
    before = flags.emulated_minor(found.flags.get(COMPONENT, ())) or _emulated_elsewhere(ctx)
    await _roll(
        ctx,
        host=action.host,
        source=action.target,
        target=action.target,
        emulate="",
        emulated_before=before,
    )
    return f"API server {action.host} is {action.target} proper."


def _emulated_elsewhere(ctx: Context) -> str:
    """What the other API servers emulate, when this one's flag is gone already."""
    told = {flags.emulated_minor(h.flags.get(COMPONENT, ())) for h in ctx.state.hosts} - {""}
    return min(told, default="")


def ready_as(host: str, version: str, emulate: str, state: ClusterState) -> str:
    server = state.api_server(host)
    if server is None or server.version is None:
        return f"API server {host} does not answer yet."
    if server.version != version:
        return f"API server {host} answers as {server.version}, not {version}."
    if not _emulates(server.emulation_version, version, emulate):
        return (
            f"API server {host} acts as {server.emulation_version}, not {_acts(version, emulate)}."
        )
    if not server.ready:
        failing = ", ".join(c.name for c in server.checks if not c.ok)
        return f"API server {host} is not ready yet{f' ({failing})' if failing else ''}."
    return ""


def _acts(version: str, emulate: str) -> str:
    return emulate or str(Minor.parse(version))


def _emulates(reported: str | None, version: str, emulate: str) -> bool:
    """Servers before 1.33 do not report it; then the flags, which are compared too, must do."""
    return reported is None or Minor.parse(reported) == Minor.parse(_acts(version, emulate))


def runs(host: str, version: str, emulate: str, state: ClusterState) -> bool | None:
    server = state.api_server(host)
    if server is None or server.version is None:
        return None
    return server.version == version and _emulates(server.emulation_version, version, emulate)


async def _roll(
    ctx: Context, *, host: str, source: str, target: str, emulate: str, emulated_before: str
) -> None:
    async def leave() -> None:
        try:
            await leave_balancer(ctx, host)
        except Late:  # it was not stopped, so it may serve as before
            with suppress(StepFailed, Unreachable):
                await enter_balancer(ctx, host)
            raise

    try:
        await component.perform(
            ctx,
            component.Swap(
                host=host,
                component=COMPONENT,
                source=source,
                target=target,
                emulate=emulate,
                emulated_before=emulated_before,
                runs=partial(runs, host, target, emulate),
                healthy=partial(ready_as, host, target, emulate),
                healthy_before=partial(ready_as, host, source or target, emulated_before),
                parts=SERVING,
                seconds=ctx.timeouts.apiserver_ready,
                leave=leave,
            ),
        )
    except component.WentBack:
        await enter_balancer(ctx, host)
        raise
    await enter_balancer(ctx, host)


async def entry_of(balancer: Balancer, host: str, state: ClusterState) -> BalancerMember | None:
    """The server's entry, asked of the balancer itself when the facts have none: a balancer that
    does not answer is Unreachable, not empty."""
    found = state.balancer_member(host)
    if found is not None:
        return found
    return next((m for m in await balancer.members() if m.host == host), None)


async def leave_balancer(ctx: Context, host: str) -> None:
    """Out of the balancer, confirmed, and nothing in flight. Refuses to be the last one out."""

    def others_serve(state: ClusterState) -> str:
        out = [
            a.host
            for a in state.api_servers
            if a.host != host and not (a.ready and landed.in_balancer(a.host, state))
        ]
        return f"API server {', '.join(out)} does not serve; {host} must stay." if out else ""

    state = await ctx.until(others_serve, seconds=ctx.policy.patience, safe=True, parts=SERVING)
    balancer = ctx.tools.balancer
    if balancer is None:
        return
    entry = await entry_of(balancer, host, state)
    if entry is None:
        return
    if entry.admin == "ready":
        async with ctx.effect("drain-balancer", host) as epoch:
            await balancer.drain(entry.name, epoch)

    def out(now: ClusterState) -> str:
        mine = now.balancer_member(host)
        if mine is None:
            return f"the load balancer does not say whether {host} is out."
        return f"{host} still takes new connections." if mine.admin == "ready" else ""

    await ctx.until(out, seconds=ctx.timeouts.apiserver_ready, parts=SERVING)
    await _quiet(ctx, host)


async def _quiet(ctx: Context, host: str) -> None:
    """Until no new connection comes, and what was in flight at the drain has had time to end.

    Kept connections carry new requests for as long as their clients like (kubelets, controllers,
    HTTP/2), so a busy server never falls silent by itself. It ends them when it is stopped, after
    its shutdown delay and with a GOAWAY; waiting longer only lengthens the time with one less.
    """
    seen: list[int] = []
    left = ctx.now()

    def settled(state: ClusterState) -> str:
        entry = state.balancer_member(host)
        if entry is not None and entry.admin == "ready":
            raise Temporary(f"{host} was put back into the balancer by somebody.", 1.0)
        sessions = entry.sessions if entry else 0
        grew = bool(seen) and sessions > seen[-1]
        seen.append(sessions)
        if len(seen) == 1:
            return f"{host} has just left the balancer."
        return f"{host} was given a new connection." if grew else ""

    def quiet(state: ClusterState) -> str:
        server = state.api_server(host)
        inflight = server.inflight if server else None
        if inflight is not None and inflight > SELF:
            return f"{host} still answers {inflight - SELF} requests."
        return ""

    try:
        await ctx.until(
            settled,
            seconds=ctx.timeouts.lb_drain,
            times=QUIET_TIMES,
            every=QUIET_APART,
            parts=SERVING,
        )
        rest = max(0.0, left + INFLIGHT_SECONDS - ctx.now())
        await ctx.until(quiet, seconds=rest, every=QUIET_APART, parts=SERVING)
    except Late:
        ctx.waiting(
            f"{host} is still asked {ctx.now() - left:.0f} s after it left the balancer. Its kept "
            "connections are ended by its own graceful stop."
        )


async def enter_balancer(ctx: Context, host: str) -> None:
    """Into the balancer once it is ready, confirmed by the balancer's own check."""
    state = await ctx.look(parts=SERVING)
    balancer = ctx.tools.balancer
    if balancer is None:
        return
    entry = await entry_of(balancer, host, state)
    if entry is None:
        return

    def ready(now: ClusterState) -> str:
        server = now.api_server(host)
        well = server is not None and server.ready
        return "" if well else f"API server {host} is not ready, so it does not enter the balancer."

    await ctx.until(ready, seconds=ctx.timeouts.apiserver_ready, parts=SERVING)
    if entry.admin != "ready":
        async with ctx.effect("enable-balancer", host) as epoch:
            await balancer.enable(entry.name, epoch)

    def up(now: ClusterState) -> str:
        mine = now.balancer_member(host)
        if mine is None or mine.admin != "ready":
            return f"{host} is not in the balancer yet."
        return f"the balancer's own check does not see {host} yet." if mine.check != "up" else ""

    await ctx.until(up, seconds=ctx.timeouts.apiserver_ready, parts=SERVING)
