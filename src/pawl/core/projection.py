"""What each action does to the facts, as a pure projection.

`during(action, state)` is the worst moment inside the step: the member is down, the API server is
out of the balancer. `after(action, state)` is its end. A projection is a model, not the truth:
after every real step the cluster is read again.
"""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace

from pawl.core import edits, flags, marks
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
from pawl.core.model import (
    ApiServer,
    BalancerMember,
    ClusterState,
    Controller,
    EtcdMember,
    Host,
    Machine,
    Node,
    Unread,
)
from pawl.core.version import Minor

CONTROLLERS = ("kube-controller-manager", "kube-scheduler", "cloud-controller-manager")
_OUR_CORDON = marks.OWNER_PREFIX + "projected"


def _is_leader(state: ClusterState, host: str) -> bool:
    member: EtcdMember | None = state.member(host)
    return member is not None and member.leader


def _own_minor(version: str) -> str:
    return str(Minor.parse(version))


def _lag(source: str, away: str) -> Unread:
    return Unread(source=source, why=f"{away} is stopped")


# -- the worst moment inside a step ----------------------------------------------------------------


def during(action: AnyAction, state: ClusterState) -> ClusterState:
    """The facts at the step's worst moment, when whatever it stops is stopped."""
    match action:
        case SwapEtcdMember():
            return _member_down(state, action.host)
        case ReplaceEtcdMachine():
            state = _member_down(state, action.host)
            state = edits.host(state, action.host, reachable=False, current={}, flags={}, units=())
            state = edits.machine(state, action.host, running=False)
            return replace(state, unread=(*state.unread, _lag(f"host {action.host}", action.host)))
        case SwapApiServer() | FinishEmulation() | RetireControlPlane():
            return _api_down(state, action.host)
        case SwapController():
            state = edits.controller(
                state, action.component, action.host, version=None, healthy=False, leader=False
            )
            return edits.unit(state, action.host, action.component, "inactive")
        case AddControlPlane():
            return _new_control_plane(state, action, ready=False)
        case AddNode():
            return _new_node(state, action, ready=False)
        case RetireNode():
            return edits.node(state, action.node, unschedulable=True, cordoned_by=_OUR_CORDON)
        case SwapNode():
            return edits.node(
                state, action.node, ready=False, unschedulable=True, cordoned_by=_OUR_CORDON
            )
        case SwapKubeProxy():
            names = [n.name for n in state.nodes if (n.host or n.name) == action.host]
            for name in names:
                state = edits.node(state, name, kube_proxy=None)
            return edits.unit(state, action.host, "kube-proxy", "inactive")
        case (
            Preflight()
            | StageBinaries()
            | BackupEtcd()
            | MoveEtcdLeader()
            | ConvergeEtcd()
            | EnableEtcdDowngrade()
            | CancelEtcdDowngrade()
            | CloseNodes()
            | Soak()
            | PointOfNoReturn()
            | Landed()
        ):
            return state
        case _:
            assert_never(action)


def _member_down(state: ClusterState, host: str) -> ClusterState:
    if _is_leader(state, host):
        state = edits.leader_away(state, host)
    state = edits.member(
        state,
        host,
        healthy=False,
        leader=False,
        version=None,
        cluster_version=None,
        storage_version=None,
    )
    return edits.unit(state, host, "etcd", "inactive")


def _api_down(state: ClusterState, host: str) -> ClusterState:
    state = edits.balancer(state, host, admin="drain", check="down")
    state = edits.api_server(state, host, ready=False, version=None, emulation_version=None)
    return edits.unit(state, host, "kube-apiserver", "inactive")


def _new_control_plane(
    state: ClusterState, action: AddControlPlane, *, ready: bool
) -> ClusterState:
    """A new machine with an API server, controller-manager and scheduler of the target version,
    all of which emulate what the plan says. Until it is verified, it is not in the balancer."""
    name, version = action.machine, action.target
    emulated = (f"{flags.EMULATED_VERSION}={action.emulate}",) if action.emulate else ()
    components = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    host = Host(
        name=name,
        address="",
        roles=("control-plane",),
        pool=action.pool,
        reachable=ready,
        current=dict.fromkeys(components, version),
        staged=dict.fromkeys(components, (version,)),
        flags=dict.fromkeys(components, emulated),
    )
    server = ApiServer(
        host=name,
        url="",
        version=version if ready else None,
        emulation_version=(action.emulate or _own_minor(version)) if ready else None,
        ready=ready,
    )
    state = replace(
        state,
        hosts=(*(h for h in state.hosts if h.name != name), host),
        api_servers=(*(a for a in state.api_servers if a.host != name), server),
        controllers=(
            *(c for c in state.controllers if c.host != name),
            *(
                Controller(
                    component=c, host=name, version=version if ready else None, healthy=ready
                )
                for c in components[1:]
            ),
        ),
        machines=(
            *(m for m in state.machines if m.name != name),
            Machine(
                name=name,
                address="",
                roles=("control-plane",),
                pool=action.pool,
                versions=dict.fromkeys(components, version),
            ),
        ),
    )
    if state.balancer:
        entry = BalancerMember(
            name=name,
            address="",
            host=name,
            admin="ready" if ready else "maint",
            check="up" if ready else "unknown",
        )
        state = replace(state, balancer=(*(b for b in state.balancer if b.host != name), entry))
    return state


def _new_node(state: ClusterState, action: AddNode, *, ready: bool) -> ClusterState:
    name, version = action.machine, action.target
    proxies = any(n.kube_proxy for n in state.nodes)
    components = ("kubelet", "kube-proxy") if proxies else ("kubelet",)
    return replace(
        state,
        hosts=(
            *(h for h in state.hosts if h.name != name),
            Host(
                name=name,
                address="",
                roles=("worker",),
                pool=action.pool,
                reachable=True,
                current=dict.fromkeys(components, version),
                staged=dict.fromkeys(components, (version,)),
            ),
        ),
        nodes=(
            *(n for n in state.nodes if n.name != name),
            Node(
                name=name,
                host=name,
                kubelet=version,
                kube_proxy=version if proxies else None,
                ready=ready,
            ),
        ),
        machines=(
            *(m for m in state.machines if m.name != name),
            Machine(
                name=name,
                address="",
                roles=("worker",),
                pool=action.pool,
                versions=dict.fromkeys(components, version),
            ),
        ),
    )


# -- the end of a step -----------------------------------------------------------------------------


def after(action: AnyAction, state: ClusterState) -> ClusterState:
    """The facts once the step is done."""
    match action:
        case Preflight() | BackupEtcd() | Soak() | PointOfNoReturn() | Landed():
            return state
        case StageBinaries():
            return _stage(state, action)
        case MoveEtcdLeader():
            if not _is_leader(state, action.away_from):
                return state
            return edits.leader_away(state, action.away_from, action.prefer)
        case SwapEtcdMember() | ReplaceEtcdMachine():
            return _member_up(state, action)
        case ConvergeEtcd():
            return _converge(state, action.minor)
        case EnableEtcdDowngrade():
            return _lower(state, action.minor)
        case CancelEtcdDowngrade():
            return replace(
                state, members=tuple(replace(m, downgrade_target="") for m in state.members)
            )
        case SwapApiServer():
            state = edits.emulation(state, action.host, "kube-apiserver", action.emulate)
            return _api_up(state, action.host, action.target, action.emulate)
        case FinishEmulation():
            state = edits.emulation(state, action.host, "kube-apiserver", "")
            return _api_up(state, action.host, action.target, "")
        case SwapController():
            state = edits.emulation(state, action.host, action.component, action.emulate)
            state = edits.controller(
                state, action.component, action.host, version=action.target, healthy=True
            )
            state = edits.linked(state, action.host, action.component, action.target)
            return edits.unit(state, action.host, action.component, "active")
        case AddControlPlane():
            return _new_control_plane(state, action, ready=True)
        case RetireControlPlane():
            return _gone(state, action.host)
        case AddNode():
            return _new_node(state, action, ready=True)
        case CloseNodes():
            for node in state.nodes:
                if node.name in action.nodes and not marks.closed(node):
                    state = edits.node(state, node.name, taints=(*node.taints, marks.CLOSED))
            return state
        case RetireNode():
            retired = state.node(action.node)
            host = (retired.host if retired else "") or action.node
            state = replace(state, nodes=tuple(n for n in state.nodes if n.name != action.node))
            return _gone(state, host)
        case SwapNode():
            return _node_up(state, action)
        case SwapKubeProxy():
            for node in state.nodes:
                if (node.host or node.name) == action.host:
                    state = edits.node(state, node.name, kube_proxy=action.target)
            state = edits.linked(state, action.host, "kube-proxy", action.target)
            return edits.unit(state, action.host, "kube-proxy", "active")
        case _:
            assert_never(action)


def _stage(state: ClusterState, action: StageBinaries) -> ClusterState:
    host = state.host(action.host)
    if host is None:
        return state
    there = host.staged.get(action.component, ())
    if action.version in there:
        return state
    staged = {**host.staged, action.component: (*there, action.version)}
    return edits.host(state, action.host, staged=staged)


def _member_up(state: ClusterState, action: SwapEtcdMember | ReplaceEtcdMachine) -> ClusterState:
    if _is_leader(state, action.host):
        state = edits.leader_away(state, action.host)
    now = state.member(action.host)
    beside = next((m for m in state.members if m.host != action.host and m.cluster_version), None)
    told = (now.cluster_version if now else None) or (beside.cluster_version if beside else None)
    state = edits.member(
        state,
        action.host,
        version=action.target,
        healthy=True,
        cluster_version=told or _own_minor(action.target) + ".0",
        storage_version=_storage(action.target, told),
    )
    if state.leader is None:
        state = edits.leader(state, action.host)
    if isinstance(action, ReplaceEtcdMachine):
        state = edits.host(state, action.host, reachable=True)
        state = edits.machine(state, action.host, running=True, versions={"etcd": action.target})
        state = replace(
            state, unread=tuple(u for u in state.unread if u.source != f"host {action.host}")
        )
    state = edits.linked(state, action.host, "etcd", action.target)
    return edits.unit(state, action.host, "etcd", "active")


def _storage(binary: str, cluster: str | None) -> str | None:
    """A member from 3.6 on reports the storage version of the cluster version; before, none."""
    if Minor.parse(binary) < STORAGE_VERSION_SINCE:
        return None
    return cluster or _own_minor(binary) + ".0"


def _converge(state: ClusterState, minor: str) -> ClusterState:
    """The servers raise (or, after a downgrade, end) the cluster version by themselves."""
    version = f"{minor}.0"
    return replace(
        state,
        members=tuple(
            replace(
                m,
                cluster_version=version,
                storage_version=_storage(m.version, version) if m.version else None,
                downgrade_target="",
            )
            for m in state.members
        ),
    )


def _lower(state: ClusterState, minor: str) -> ClusterState:
    version = f"{minor}.0"
    return replace(
        state,
        members=tuple(
            replace(m, cluster_version=version, storage_version=version, downgrade_target=version)
            for m in state.members
        ),
    )


def _api_up(state: ClusterState, host: str, version: str, emulate: str) -> ClusterState:
    state = edits.api_server(
        state,
        host,
        version=version,
        emulation_version=emulate or _own_minor(version),
        ready=True,
    )
    state = edits.balancer(state, host, admin="ready", check="up")
    state = edits.linked(state, host, "kube-apiserver", version)
    return edits.unit(state, host, "kube-apiserver", "active")


def _node_up(state: ClusterState, action: SwapNode) -> ClusterState:
    node = state.node(action.node)
    if node is None:
        return state
    given_back: dict[str, object] = (
        {"unschedulable": False, "cordoned_by": ""} if marks.ours(node) else {}
    )
    state = edits.node(state, action.node, kubelet=action.target, ready=True, **given_back)
    return edits.linked(state, node.host or node.name, "kubelet", action.target)


def _gone(state: ClusterState, host: str) -> ClusterState:
    return replace(
        state,
        hosts=tuple(h for h in state.hosts if h.name != host),
        api_servers=tuple(a for a in state.api_servers if a.host != host),
        controllers=tuple(c for c in state.controllers if c.host != host),
        balancer=tuple(b for b in state.balancer if b.host != host),
        machines=tuple(m for m in state.machines if m.name != host),
    )
