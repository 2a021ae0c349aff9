"""An etcd member's machine rebuilt from a newer image; its data disk and address are kept.

etcd is stopped gracefully before the machine goes, because a member that vanishes is noticed by API
servers only after 30 to 40 s, and one that closes its sockets at once. The new machine starts etcd
by itself on the old data. If it came back with another disk, or an empty one, pawl stops etcd as
soon as it can tell: a voter that has forgotten its log, and whom it voted for, may cost the cluster
writes that it has acknowledged. The machine is kept for a look.

etcd itself does not see to it. Tried with 3.5.33, on an empty directory, with cluster state
`existing` and its old peer URL: it takes up its old member id and starts, and panics ("tocommit is
out of range") only when the leader that knew it before sends its next heartbeat.
"""

from __future__ import annotations

from functools import partial

from pawl.core.actions import ReplaceEtcdMachine
from pawl.core.errors import StepFailed, Unclassifiable, Unreachable
from pawl.core.model import ClusterState
from pawl.engine.context import Context, Late, Why
from pawl.engine.executors import component, etcd_health
from pawl.engine.executors.etcd_swap import healthy_at, old_binary_refused, upgraded
from pawl.ports.machines import Image, Machines


def provider(ctx: Context) -> Machines:
    machines = ctx.tools.machines
    if machines is None:
        raise StepFailed(
            "this plan replaces machines, but pawl.yaml names no provider of machines: set "
            "machines.provider, or plan again with --strategy in-place."
        )
    return machines


async def replace_etcd_machine(action: ReplaceEtcdMachine, ctx: Context) -> str:
    host = action.host
    machines = provider(ctx)
    if not await _built(machines, host, action.target):
        await _stop_member(ctx, action)
        async with ctx.effect(
            "replace-machine", f"{host} at {action.target}", on_host=False
        ) as epoch:
            await machines.replace(host, Image(versions={"etcd": action.target}, epoch=epoch))
    try:
        await _comes_up(ctx, host, action.target)
    except Late as late:
        await _go_back(ctx, action, str(late))
    await etcd_health.caught_up(ctx, host)
    return f"etcd member {host} runs {action.target} on a new machine, on its own data."


async def _built(machines: Machines, host: str, version: str) -> bool:
    found = next((m for m in await machines.list() if m.name == host), None)
    return found is not None and found.running and found.versions.get("etcd") == version


async def _stop_member(ctx: Context, action: ReplaceEtcdMachine) -> None:
    """Gracefully, unless the machine is gone already: then an earlier attempt did it."""
    state = await ctx.look(action.host)
    found = state.host(action.host)
    if found is None or not found.reachable:
        machines = provider(ctx)
        known = next((m for m in await machines.list() if m.name == action.host), None)
        if known is not None and known.running:
            found = await component.reachable(ctx, action.host)
        else:
            return
    unit = component.unit_state(ctx, found, "etcd")
    if unit.active not in component.UP:
        return
    planned = ctx.plan.source.disks.get(action.host, "")
    if planned and found.etcd_data not in (None, planned):
        raise StepFailed(
            f"the data of etcd member {action.host} was made anew since the plan: make a new plan."
        )
    await etcd_health.before_stop(ctx, action.host, upgraded(ctx.state, action.target))
    await component.stop(ctx, action.host, "etcd")


async def _comes_up(ctx: Context, host: str, version: str) -> None:
    await component.reachable(ctx, host)
    await claim(ctx, host)
    await _same_disk(ctx, host)
    await ctx.until(
        partial(healthy_at, host, version),
        host,
        seconds=ctx.timeouts.member_healthy + ctx.timeouts.converge,
        times=3,
        stop=_crashes(ctx, host),
    )


async def _same_disk(ctx: Context, host: str) -> None:
    """The disk that the plan knows; where it knew none (it could not be told), nothing is asked."""
    expected = ctx.plan.source.disks.get(host, "")
    found = ctx.state.host(host)
    if not expected or found is None or found.etcd_data in (None, expected):
        return
    await _quarantine(ctx, host)
    what = "another data disk" if found.etcd_data else "an empty data disk"
    raise Unclassifiable(
        f"etcd member {host} came back with {what}: etcd is stopped there, for a voter without "
        "its log may lose what the cluster has acknowledged. The other members serve. Attach the "
        f"disk that it had, start {ctx.layout.unit_of('etcd')} there, then: pawl resume. If that "
        "disk is lost: `member remove`, an empty directory and `member add`, then a new plan."
    )


def _crashes(ctx: Context, host: str) -> Why:
    """Units are started by the machine itself here, so one that is down may only be not up yet:
    a crash loop or a failed unit is what ends the wait."""

    def stop(state: ClusterState) -> str:
        found = state.host(host)
        if found is None or not found.reachable:
            return ""
        unit = component.unit_state(ctx, found, "etcd")
        if unit.restarts >= component.CRASHES or unit.active == "failed":
            return f"etcd on {host} ends at each start ({unit.active}, {unit.restarts} restarts)."
        return ""

    return stop


async def claim(ctx: Context, host: str) -> None:
    """A new machine knows no epoch yet; make ours its own before anybody else's."""
    async with ctx.effect("claim", host) as epoch:
        await ctx.tools.hosts.claim(host, epoch)


async def _go_back(ctx: Context, action: ReplaceEtcdMachine, what: str) -> None:
    """The old image on the same disk; always raises."""
    host = action.host
    new = f"etcd {action.target} on the new machine {host} did not become healthy: {what}"
    state = await ctx.look(host)
    if closed := old_binary_refused(host, action.source, state):
        await _quarantine(ctx, host)
        raise StepFailed(f"{new} The old image is no way back: {closed} etcd is stopped there.")
    try:
        await component.stop(ctx, host, "etcd")
        async with ctx.effect(
            "replace-machine", f"{host} at {action.source}", on_host=False
        ) as epoch:
            image = Image(versions={"etcd": action.source}, epoch=epoch)
            await provider(ctx).replace(host, image)
        await _comes_up(ctx, host, action.source)
    except (Late, Unreachable) as error:
        await _quarantine(ctx, host)
        raise Unclassifiable(
            f"{new} The old image did not help either ({error}), so the data disk of {host} is "
            "most likely empty or damaged. etcd is stopped there, and the disk is kept as "
            "evidence. The other members serve; replace this one by `member remove`, an empty "
            "directory and `member add`, then: pawl resume."
        ) from error
    raise component.WentBack(
        f"{new} The machine was made again from the image of {action.source} and is healthy on "
        "the same data. Find out what is wrong with the new image, then: pawl resume."
    )


async def _quarantine(ctx: Context, host: str) -> None:
    found = (await ctx.look(host)).host(host)
    if found is not None and found.reachable:
        await component.stop(ctx, host, "etcd")
