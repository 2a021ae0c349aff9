"""An etcd member's binary in place: same data, same member id.

Killed anywhere, the next attempt finds which of the states of `component.perform` holds, because
process, link, health and leadership decide it. A member that is already stopped is finished first:
with it down nothing else may be.
"""

from __future__ import annotations

from functools import partial

from pawl.core import skew
from pawl.core.actions import SwapEtcdMember
from pawl.core.model import ClusterState
from pawl.core.version import Minor
from pawl.engine.context import Context
from pawl.engine.executors import component, etcd_health


def upgraded(state: ClusterState, version: str) -> tuple[str, ...]:
    return tuple(m.host for m in state.voters if m.version == version)


def old_binary_refused(host: str, source: str, state: ClusterState) -> str:
    """Why `source` cannot start on this data: the cluster version has gone past its minor."""
    told = [m.cluster_version for m in state.members if m.host != host and m.cluster_version]
    minors = [minor for text in told if (minor := skew.minor_of(text))]
    if minors and source and max(minors) > Minor.parse(source):
        return f"the cluster version is {max(minors)} already, and etcd {source} refuses that."
    return ""


def healthy_at(host: str, version: str, state: ClusterState) -> str:
    member = state.member(host)
    if member is None or member.version is None:
        return f"etcd member {host} does not answer yet."
    if member.version != version:
        return f"etcd member {host} answers as {member.version}, not {version}."
    return "" if member.healthy else f"etcd member {host} cannot serve a linearizable read yet."


def runs(host: str, version: str, state: ClusterState) -> bool | None:
    member = state.member(host)
    return None if member is None or member.version is None else member.version == version


async def swap_etcd_member(action: SwapEtcdMember, ctx: Context) -> str:
    host = action.host

    async def leave() -> None:
        await etcd_health.before_stop(ctx, host, upgraded(ctx.state, action.target))

    await component.perform(
        ctx,
        component.Swap(
            host=host,
            component="etcd",
            source=action.source,
            target=action.target,
            runs=partial(runs, host, action.target),
            healthy=partial(healthy_at, host, action.target),
            healthy_before=partial(healthy_at, host, action.source),
            parts=etcd_health.ETCD,
            seconds=ctx.timeouts.member_healthy,
            leave=leave,
            closed=partial(old_binary_refused, host, action.source),
        ),
    )
    await etcd_health.caught_up(ctx, host)
    return f"etcd member {host} runs {action.target} on its own data."
