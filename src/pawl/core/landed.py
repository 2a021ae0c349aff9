"""Whether a step's end state stands in the cluster: "landed, not ordered".

`satisfied(action, state)` is the one predicate that the planner (to leave out what is done), the
decision (to go on) and the executors (to verify) share. It answers True, False, or None for
"cannot be told from the cluster": not read, or known to the journal alone.

It is monotone over a plan: a step that is finished later never makes an earlier one unsatisfied.
So an upgrade to 1.37.0 stays satisfied at 1.38.0, and the first half of a two-step swap after the
finish. Which way a swap goes is told by its `source` and `target`.
"""

from __future__ import annotations

from typing import assert_never

from pawl.core import marks, skew
from pawl.core.actions import (
    AddControlPlane,
    AddNode,
    AnyAction,
    BackupEtcd,
    CancelEtcdDowngrade,
    CloseNodes,
    ConvergeEtcd,
    EnableEtcdDowngrade,
    FinishEmulation,
    Landed,
    MoveEtcdLeader,
    PointOfNoReturn,
    Preflight,
    ReplaceEtcdMachine,
    RetireControlPlane,
    RetireNode,
    Soak,
    StageBinaries,
    SwapApiServer,
    SwapController,
    SwapEtcdMember,
    SwapKubeProxy,
    SwapNode,
)
from pawl.core.etcd_rules import STORAGE_VERSION_SINCE
from pawl.core.model import ClusterState
from pawl.core.version import Minor, Version

Answer = bool | None


def reached(version: str | None, source: str, target: str) -> Answer:
    """Whether a component that went from `source` to `target` is there, or further that way."""
    if version is None:
        return None
    try:
        now, end = Version.parse(version), Version.parse(target)
        begin = Version.parse(source) if source else end
    except ValueError:
        return None
    return now >= end if begin <= end else now <= end


def goes_up(source: str, target: str) -> bool:
    """Whether a swap is an upgrade (or a repeat); an unknown source counts as one."""
    return not source or Version.parse(source) <= Version.parse(target)


def _all(*answers: Answer) -> Answer:
    """False if any is False, else None if any is None, else True."""
    if any(a is False for a in answers):
        return False
    return None if any(a is None for a in answers) else True


def _unread(state: ClusterState, *sources: str) -> bool:
    """Nothing in the facts is not "no such thing" while the list of it could not be read."""
    return any(u.source in sources for u in state.unread)


def satisfied(action: AnyAction, state: ClusterState) -> Answer:
    """Whether the end state of `action` stands; None when the cluster cannot tell."""
    match action:
        case Preflight() | BackupEtcd() | Soak() | PointOfNoReturn() | Landed():
            return None
        case StageBinaries():
            return _staged(action, state)
        case MoveEtcdLeader():
            leader = state.leader
            return None if leader is None else leader.host != action.away_from
        case SwapEtcdMember() | ReplaceEtcdMachine():
            return _member(action, state)
        case ConvergeEtcd():
            return _converged(action, state)
        case EnableEtcdDowngrade():
            return _lowered(action, state)
        case CancelEtcdDowngrade():
            if not state.members or any(m.version is None for m in state.members):
                return None
            return not any(m.downgrade_target for m in state.members)
        case SwapApiServer():
            return _api_server(action, state)
        case FinishEmulation():
            return _finished(action.host, action.target, state)
        case SwapController():
            return _controller(action, state)
        case AddControlPlane():
            return _all(
                state.api_server(action.machine) is not None,
                _serving(action.machine, state),
                _api_at(action.machine, action.target, state),
            )
        case RetireControlPlane():
            if _unread(state, "machines", "load balancer"):
                return None
            server = state.api_server(action.host)
            return (
                state.machine(action.host) is None
                and state.balancer_member(action.host) is None
                and (server is None or server.version is None)
            )
        case AddNode():
            node = state.node(action.machine)
            if node is None:
                return None if _unread(state, "nodes") else False
            return _all(node.ready, reached(node.kubelet, "", action.target))
        case CloseNodes():
            if _unread(state, "nodes"):
                return None
            return all(marks.closed(n) for n in state.nodes if n.name in action.nodes)
        case RetireNode():
            if _unread(state, "nodes", "machines"):
                return None
            return state.node(action.node) is None and state.machine(action.node) is None
        case SwapNode():
            node = state.node(action.node)
            if node is None:
                return None
            return _all(
                reached(node.kubelet, action.source, action.target),
                node.ready,
                not marks.ours(node),
            )
        case SwapKubeProxy():
            node = next((n for n in state.nodes if (n.host or n.name) == action.host), None)
            if node is None:
                return None
            return reached(node.kube_proxy, action.source, action.target)
        case _:
            assert_never(action)


def _staged(action: StageBinaries, state: ClusterState) -> Answer:
    host = state.host(action.host)
    if host is None or not host.reachable:
        return None
    return (
        action.version in host.staged.get(action.component, ())
        or host.current.get(action.component) == action.version
    )


def _member(action: SwapEtcdMember | ReplaceEtcdMachine, state: ClusterState) -> Answer:
    member = state.member(action.host)
    if member is None:
        return False
    return _all(
        reached(member.version, action.source, action.target),
        member.healthy and not member.learner,
    )


def _minors(values: list[str | None]) -> list[Minor | None]:
    return [None if v is None else skew.minor_of(v) for v in values]


def _converged(action: ConvergeEtcd, state: ClusterState) -> Answer:
    """Cluster version, and storage version where there is one, of every member. Upwards it may
    have gone on since; downwards the binaries must be down too."""
    wanted = Minor.parse(action.minor)
    if not state.members or any(m.version is None for m in state.members):
        return None
    clusters = _minors([m.cluster_version for m in state.members])
    if any(c is None for c in clusters):
        return None
    if action.down:
        binaries = _minors([m.version for m in state.members])
        return all(b is not None and b <= wanted for b in binaries) and all(
            c is not None and c <= wanted for c in clusters
        )
    if wanted >= STORAGE_VERSION_SINCE:
        stored = _minors([m.storage_version or None for m in state.members])
        if not all(s is not None and s >= wanted for s in stored):
            return False
    return all(c is not None and c >= wanted for c in clusters)


def _lowered(action: EnableEtcdDowngrade, state: ClusterState) -> Answer:
    """Every storage version is down. Members of 3.5 and before report none, and count as down."""
    wanted = Minor.parse(action.minor)
    if not state.members or any(m.version is None for m in state.members):
        return None
    for member in state.members:
        storage = skew.minor_of(member.storage_version) if member.storage_version else None
        if storage is not None and storage > wanted:
            return False
        cluster = skew.minor_of(member.cluster_version) if member.cluster_version else None
        if cluster is None or cluster > wanted:
            return False
        binary = skew.minor_of(member.version or "")
        if storage is None and binary is not None and binary > wanted:
            return False
    return True


def in_balancer(host: str, state: ClusterState) -> bool:
    """Whether the balancer sends traffic to this host; True where there is no balancer."""
    if not state.balancer:
        return True
    entry = state.balancer_member(host)
    return entry is not None and entry.admin == "ready" and entry.check != "down"


def _serving(host: str, state: ClusterState) -> Answer:
    server = state.api_server(host)
    return server is not None and server.ready and in_balancer(host, state)


def _api_at(host: str, target: str, state: ClusterState) -> Answer:
    server = state.api_server(host)
    return False if server is None else reached(server.version, "", target)


def _api_server(action: SwapApiServer, state: ClusterState) -> Answer:
    server = state.api_server(action.host)
    if server is None:
        return False
    there = reached(server.version, action.source, action.target)
    if there is not True:
        return there
    acts_as = skew.effective(server, state)
    least = Minor.parse(action.emulate or action.target)
    speaks = not goes_up(action.source, action.target) or (acts_as is not None and acts_as >= least)
    return _all(speaks, _serving(action.host, state))


def _finished(host: str, target: str, state: ClusterState) -> Answer:
    server = state.api_server(host)
    if server is None:
        return False
    acts_as = skew.effective(server, state)
    if acts_as is None:
        return None
    return _all(
        reached(server.version, "", target),
        acts_as >= Minor.parse(target),
        _serving(host, state),
    )


def _controller(action: SwapController, state: ClusterState) -> Answer:
    controller = state.controller(action.component, action.host)
    if controller is None:
        return None
    there = reached(controller.version, action.source, action.target)
    if there is not True:
        return there
    acts_as = skew.effective_controller(controller, state)
    least = Minor.parse(action.emulate or action.target)
    speaks = not goes_up(action.source, action.target) or (acts_as is not None and acts_as >= least)
    return _all(speaks, controller.healthy)
