"""Changing the binary or the flags of one systemd unit: the part that all swaps share.

    up, and as wanted      -> wait until healthy
    up, otherwise          -> leave (gates, drains) and stop
    down, link is not new  -> switch
    down, flags differ     -> set flags
    down, all as wanted    -> start, wait until healthy

Each turn looks first, so a crash between any two lines, a reboot or a person's hand is found as one
of these states. Stop, switch and start are idempotent, so a command whose answer was lost is safe
to be found done.

When the new binary does not become healthy, the old one is put back on the same data, if that exit
is open, and the step fails with both halves of the story.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from pawl.core import flags
from pawl.core.errors import StepFailed, Temporary, Unreachable
from pawl.core.model import ClusterState, Host, UnitState
from pawl.engine.context import HOSTS, Context, Late, Why
from pawl.ports.observer import Part

CRASHES = 2
"""Restarts by systemd that make a crash loop (field notes, state M6)."""
UP = ("active", "activating", "reloading")
TURNS = 12
"""More than the five states need; a state that keeps coming back is somebody else's doing."""


async def nothing() -> None:
    """For swaps that need nothing before the stop, or after it."""


def always(_: ClusterState) -> str:
    """The exit is open whatever the state."""
    return ""


@dataclass(frozen=True, kw_only=True)
class Swap:
    """`emulate`: the minor for `--emulated-version`, "" for none, None to leave flags alone;
    `emulated_before` the same for the way back. `runs` says whether the live process is the wanted
    one, None when it cannot be asked. `healthy` is the end state; `parts` is what those two and
    `closed` look at beside the host. `closed` says why the old binary is no way back, "" while it
    is one. `leave` comes before the stop, `ended` after it, each again after a crash. `seconds` is
    the deadline for healthy."""

    host: str
    component: str
    source: str
    target: str
    runs: Callable[[ClusterState], bool | None]
    healthy: Why
    parts: frozenset[Part]
    seconds: float
    emulate: str | None = None
    emulated_before: str | None = None
    leave: Callable[[], Awaitable[None]] = nothing
    ended: Callable[[], Awaitable[None]] = nothing
    closed: Why = always
    healthy_before: Why | None = None
    """The end state of the way back; None: there is no way back."""


def silent(host: str, state: ClusterState) -> str:
    """Why the host's facts are not there, "" when they are."""
    found = state.host(host)
    if found is None:
        return f"host {host} is not known."
    return "" if found.reachable else f"host {host} does not answer over SSH."


async def reachable(ctx: Context, host: str, parts: frozenset[Part] = HOSTS) -> Host:
    """The host's facts, once it answers. A host may be rebooting: that takes a while. Nothing else
    is read unless asked for: when a second fault has taken quorum away, what brings it back is the
    start of what is stopped, and that must not wait for machines that are off."""

    try:
        state = await ctx.until(
            partial(silent, host), host, seconds=ctx.timeouts.machine, every=1.0, parts=parts
        )
    except Late as late:
        raise Late(f"{late} Bring it back, then: pawl resume.") from late
    found = state.host(host)
    assert found is not None
    return found


def unit_state(ctx: Context, host: Host, component: str) -> UnitState:
    name = ctx.layout.unit_of(component)
    return host.unit(name) or UnitState(name=name, active="inactive")


def fell(ctx: Context, started: Host, component: str) -> Why:
    """Why it is certain that the unit will not become healthy: it ended, or crashes in a loop.
    `started` is the host as it was before the start: after a reboot its unit tells nothing of that
    start, and the step is looked at again (`Temporary`)."""
    host = started.name

    def stop(state: ClusterState) -> str:
        found = state.host(host)
        if found is None or not found.reachable:
            return ""
        if found.boot_id != started.boot_id:
            raise Temporary(f"{host} was rebooted while {component} started.", delay=2.0)
        unit = unit_state(ctx, found, component)
        if unit.restarts >= CRASHES:
            return f"{component} on {host} crashed {unit.restarts} times after its start."
        if unit.active in ("failed", "inactive"):
            return f"{component} on {host} ended right after its start ({unit.active})."
        return ""

    return stop


async def perform(ctx: Context, swap: Swap) -> None:
    """Bring the unit to the target and wait until it is healthy; else go back and raise."""
    started = await _bring(ctx, swap)
    try:
        await ctx.until(
            swap.healthy,
            swap.host,
            seconds=swap.seconds,
            times=3,
            stop=fell(ctx, started, swap.component),
            parts=swap.parts,
        )
    except Late as late:
        await _go_back(ctx, swap, str(late))


async def _bring(ctx: Context, swap: Swap) -> Host:
    """Until the process was started as wanted; the host as it was then. What fails before its stop
    (a gate, a drain) fails the step as it is: then there is nothing to go back from."""
    for _ in range(TURNS):
        host = await reachable(ctx, swap.host)
        unit = unit_state(ctx, host, swap.component)
        linked = host.current.get(swap.component) == swap.target
        flagged = _flags_as_wanted(host, swap.component, swap.emulate)
        fresh = host.running.get(swap.component, swap.target) == swap.target
        as_wanted = unit.active in UP and linked and flagged and fresh
        if unit.active == "deactivating":
            await _stopped(ctx, swap)
        elif as_wanted and _may_be(swap, await ctx.look(swap.host, parts=swap.parts)):
            return host
        elif unit.active in UP:
            await swap.leave()
            await stop(ctx, swap.host, swap.component)
        elif not linked:
            await swap.ended()
            await switch(ctx, swap.host, swap.component, swap.target)
        elif not flagged:
            await set_emulation(ctx, host, swap.component, swap.emulate or "")
        else:
            try:
                await start(ctx, swap.host, swap.component)
            except Late as late:
                await _go_back(ctx, swap, str(late))
            return host
    raise StepFailed(
        f"{swap.component} on {swap.host} does not stay as it was put: somebody or something "
        "else changes it. Find out who, then: pawl resume."
    )


async def _stopped(ctx: Context, swap: Swap) -> None:
    """Until a stop that was ordered before is over: its answer was lost, or somebody else's it is.
    That takes as long as the component needs, and is no turn that leads nowhere."""

    def why(state: ClusterState) -> str:
        found = state.host(swap.host)
        if found is None or not found.reachable:
            return silent(swap.host, state)
        stopping = unit_state(ctx, found, swap.component).active == "deactivating"
        return f"{swap.component} on {swap.host} is stopping." if stopping else ""

    try:
        await ctx.until(why, swap.host, seconds=ctx.timeouts.stop, parts=HOSTS)
    except Late as late:
        raise Temporary(str(late), delay=5.0) from late


def _may_be(swap: Swap, state: ClusterState) -> bool:
    return swap.runs(state) is not False


def _flags_as_wanted(host: Host, component: str, emulate: str | None) -> bool:
    return emulate is None or flags.emulated_minor(host.flags.get(component, ())) == emulate


async def _go_back(ctx: Context, swap: Swap, what: str) -> None:
    """Old binary, same data. Always raises: the step has failed, whatever state it is left in."""
    state = await ctx.look(swap.host, parts=swap.parts)
    new = f"{swap.component} {swap.target} on {swap.host} did not become healthy: {what}"
    same_binary = swap.healthy_before is None or swap.source in ("", swap.target)
    if same_binary and swap.emulated_before in (None, swap.emulate):
        raise StepFailed(f"{new} There is no older binary to go back to.")
    if closed := swap.closed(state):
        raise StepFailed(f"{new} The old binary is no way back: {closed}")
    back = swap.healthy_before or swap.healthy
    try:
        await stop(ctx, swap.host, swap.component)
        await switch(ctx, swap.host, swap.component, swap.source or swap.target)
        host = await reachable(ctx, swap.host)
        if swap.emulated_before is not None:
            await set_emulation(ctx, host, swap.component, swap.emulated_before)
        await start(ctx, swap.host, swap.component)
        await ctx.until(
            back,
            swap.host,
            seconds=swap.seconds,
            times=3,
            stop=fell(ctx, host, swap.component),
            parts=swap.parts,
        )
    except Temporary:
        raise
    except (StepFailed, Unreachable) as error:
        raise StepFailed(
            f"{new} Going back to {swap.source or swap.target} did not succeed either: {error} "
            f"Look at `journalctl -u {ctx.layout.unit_of(swap.component)}` on {swap.host}."
        ) from error
    raise WentBack(
        f"{new} {swap.component} {swap.source or swap.target} runs there again, healthy, on the "
        f"same data. Look at `journalctl -u {ctx.layout.unit_of(swap.component)}` on "
        f"{swap.host}, mend the cause, then: pawl resume."
    )


class WentBack(StepFailed):
    """The step failed, but what it touched works again as before."""


async def stop(ctx: Context, host: str, component: str) -> None:
    unit = ctx.layout.unit_of(component)
    async with ctx.effect("stop", f"{host}/{component}") as epoch:
        await ctx.tools.hosts.stop(host, unit, ctx.timeouts.stop, epoch)


async def switch(ctx: Context, host: str, component: str, version: str) -> None:
    async with ctx.effect("switch", f"{host}/{component} to {version}") as epoch:
        await ctx.tools.hosts.switch(host, component, version, epoch)


async def set_emulation(ctx: Context, host: Host, component: str, minor: str) -> None:
    wanted = flags.with_emulation(host.flags.get(component, ()), minor)
    if flags.emulated_minor(host.flags.get(component, ())) == minor:
        return
    async with ctx.effect("set-flags", f"{host.name}/{component} emulate {minor or 'none'}") as e:
        await ctx.tools.hosts.set_flags(host.name, component, wanted, e)


async def start(ctx: Context, host: str, component: str) -> None:
    """Start; a unit that systemd could not start is `Late`, so that the way back is taken."""
    async with ctx.effect("start", f"{host}/{component}") as epoch:
        try:
            await ctx.tools.hosts.start(host, ctx.layout.unit_of(component), epoch)
        except Temporary:
            raise
        except StepFailed as error:
            raise Late(str(error)) from error
