"""Has somebody changed the cluster while a plan was waiting or running?

A planned end state that somebody else has reached is fine: the step is simply done. A component at
a version that the plan knows neither as its source nor as its target is not: the reasons for the
order of the steps no longer hold, so the run halts and asks for a new plan.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pawl.core import landed
from pawl.core.actions import (
    AddControlPlane,
    AddNode,
    AnyAction,
    FinishEmulation,
    ReplaceEtcdMachine,
    RetireControlPlane,
    StageBinaries,
    SwapApiServer,
    SwapController,
    SwapEtcdMember,
    SwapKubeProxy,
    SwapNode,
)
from pawl.core.model import ClusterState, Unread
from pawl.core.plan import Plan, Step
from pawl.core.version import Version


def still_there(action: AnyAction, state: ClusterState) -> bool:
    """For a step that was done: its version still runs, though it may be unwell just now.

    Health is no drift: the next start waits for it. True where versions are not the point.
    """
    source, target, version = versions(action, state)
    if not target:
        return True
    return landed.reached(version, source, target) is not False


def versions(action: AnyAction, state: ClusterState) -> tuple[str, str, str | None]:
    """(planned source, planned target, version that runs now or None) of what an action swaps."""
    match action:
        case SwapEtcdMember() | ReplaceEtcdMachine():
            member = state.member(action.host)
            return action.source, action.target, member.version if member else None
        case SwapApiServer():
            server = state.api_server(action.host)
            return action.source, action.target, server.version if server else None
        case FinishEmulation():
            server = state.api_server(action.host)
            return action.target, action.target, server.version if server else None
        case SwapController():
            controller = state.controller(action.component, action.host)
            return action.source, action.target, controller.version if controller else None
        case SwapNode():
            node = state.node(action.node)
            return action.source, action.target, node.kubelet if node else None
        case SwapKubeProxy():
            found = next((n for n in state.nodes if (n.host or n.name) == action.host), None)
            return action.source, action.target, found.kube_proxy if found else None
        case _:
            return "", "", None


def strayed(plan: Plan, left: Sequence[Step], state: ClusterState) -> str:
    """What no longer is as the plan has it, as a sentence; "" when all is."""
    ids = {m.host: m.member_id for m in state.members}
    rebuilt = {s.action.host for s in plan.steps if isinstance(s.action, ReplaceEtcdMachine)}
    for host, member_id in plan.source.members.items():
        if ids and host not in ids and host not in rebuilt:
            return (
                f"etcd member {host} of the plan is gone from the member list: somebody changed "
                "the membership. Look at it, then make a new plan."
            )
        if host in ids and member_id and ids[host] != member_id and host not in rebuilt:
            return (
                f"etcd member {host} has the id {ids[host]}, but had {member_id}: it was removed "
                "and added meanwhile. Look at it, then make a new plan."
            )
    told: set[tuple[str, ...]] = set()
    for step in left:
        key = _what(step.action)
        if not key or key in told:
            continue  # a later hop of the same component starts where the earlier one ends
        told.add(key)
        source, target, version = versions(step.action, state)
        if not target or not source or version is None:
            continue
        if not _between(version, source, target):
            return (
                f"{' on '.join(key)} runs {version}, but the plan takes it from {source} to "
                f"{target}: somebody changed it. Make a new plan."
            )
    return ""


def _what(action: AnyAction) -> tuple[str, ...]:
    match action:
        case SwapEtcdMember() | ReplaceEtcdMachine():
            return ("etcd", action.host)
        case SwapApiServer() | FinishEmulation():
            return ("kube-apiserver", action.host)
        case SwapController():
            return (action.component, action.host)
        case SwapNode():
            return ("kubelet", action.node)
        case SwapKubeProxy():
            return ("kube-proxy", action.host)
        case _:
            return ()


def _between(version: str, source: str, target: str) -> bool:
    """Exactly one of both ends; anything else was done by somebody else."""
    return Version.parse(version) in (Version.parse(source), Version.parse(target))


def unread_elsewhere(actions: Sequence[AnyAction], state: ClusterState) -> tuple[Unread, ...]:
    """Sources that were not read and that are not simply what these actions have stopped."""
    mine = [name for action in actions for name in _names(action)]
    return tuple(u for u in state.unread if not any(names(u, name) for name in mine))


def names(unread: Unread, name: str) -> bool:
    """Whether the source is about the machine `name` ("host cp-1" names cp-1, not cp-10)."""
    return bool(re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", unread.source))


def _names(action: AnyAction) -> tuple[str, ...]:
    match action:
        case (
            SwapEtcdMember()
            | ReplaceEtcdMachine()
            | SwapApiServer()
            | FinishEmulation()
            | SwapController()
            | SwapKubeProxy()
            | RetireControlPlane()
            | StageBinaries()
        ):
            return (action.host,)
        case AddControlPlane() | AddNode():
            return (action.machine,)
        case SwapNode():
            return (action.node,)
        case _:
            node = getattr(action, "node", "")
            return (node,) if node else ()
