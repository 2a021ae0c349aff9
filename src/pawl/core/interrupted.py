"""Telling a step that pawl left unfinished from a fault.

After a crash something may be down that pawl itself has stopped: a member between the switch of
its binary and its start, an API server that was drained, a new machine that is still booting. A
plan made then must finish that first instead of refusing because of it. A fault looks alike, so
each predicate asks for evidence that the component was stopped in order (its unit is inactive, not
failed) in the middle of an upgrade (another version lies beside it, or the machine carries a name
that only pawl gives). Without such evidence it is a fault, and the plan is refused.
"""

from __future__ import annotations

from pawl.core import marks
from pawl.core.drift import names
from pawl.core.model import ApiServer, ClusterState, Controller, EtcdMember, Host, Node, Unread
from pawl.core.plan import Target
from pawl.core.version import Version

_ORDERLY = ("inactive", "activating", "deactivating")


def _stopped_in_order(host: Host | None, component: str) -> bool:
    if host is None or not host.reachable:
        return False
    found = host.unit(f"{component}.service") or next(
        (u for u in host.units if component in u.name), None
    )
    return found is not None and found.active in _ORDERLY


def _versions_beside(host: Host | None, component: str) -> bool:
    """Whether more than one version of the component lies on the host."""
    if host is None:
        return False
    lying = set(host.staged.get(component, ()))
    if component in host.current:
        lying.add(host.current[component])
    return len(lying) > 1


def _on_its_way(host: Host | None, m: EtcdMember, state: ClusterState, target: str) -> bool:
    """Whether this host is between two etcd releases on the way to `target`: the release asked
    for, or one in between, lies ready or is switched to already. What an earlier, finished upgrade
    has left on the host is no evidence."""
    if host is None or not target or "etcd" not in host.current:
        return False
    now, end = Version.parse(host.current["etcd"]), Version.parse(target)
    lying = {Version.parse(v) for v in host.staged.get("etcd", ())} | {now}
    if end in lying or any(now < v < end for v in lying):
        return True
    told = [o.cluster_version for o in state.members if o.host != m.host and o.cluster_version]
    return any(Version.parse(v).minor_line < now.minor_line for v in told)


def member(m: EtcdMember, state: ClusterState, target: Target) -> bool:
    """Whether this unhealthy member was left stopped by a swap, or is being rebuilt."""
    if m.healthy:
        return False
    host = state.host(m.host)
    if _stopped_in_order(host, "etcd") and _on_its_way(host, m, state, target.etcd):
        return True
    if target.etcd_strategy != "replace":
        return False
    machine = state.machine(m.host)
    gone = machine is None or not machine.running
    return gone or (machine is not None and machine.versions.get("etcd") == target.etcd)


def server(a: ApiServer, state: ClusterState) -> bool:
    """Whether this API server that does not serve was taken out by an unfinished step."""
    host = state.host(a.host)
    entry = state.balancer_member(a.host)
    ordered_out = entry is None or entry.admin != "ready"
    if state.balancer and not ordered_out and a.ready:
        return False
    ours = (
        _versions_beside(host, "kube-apiserver")
        or marks.made_by_pawl(a.host)
        or replaced(a.host, state)
    )
    if not ours:
        return False
    stopped = _stopped_in_order(host, "kube-apiserver")
    booting = marks.made_by_pawl(a.host) and not a.ready
    return stopped or booting or (bool(state.balancer) and ordered_out)


def controller(c: Controller, state: ClusterState) -> bool:
    """Whether this controller was left stopped by a swap, or its whole machine is not up yet."""
    if c.healthy and c.version is not None:
        return False
    host = state.host(c.host)
    if _stopped_in_order(host, c.component) and (
        _versions_beside(host, c.component) or marks.made_by_pawl(c.host)
    ):
        return True
    return marks.made_by_pawl(c.host) or replaced(c.host, state)


def node(n: Node) -> bool:
    """Whether pawl has cordoned the node, or made its machine and not seen it Ready yet."""
    return marks.ours(n) or (not n.ready and marks.made_by_pawl(n.name))


def replaced(host: str, state: ClusterState) -> bool:
    """Whether another machine has taken this one's place."""
    return any(m.name != host and marks.base(m.name) == marks.base(host) for m in state.machines)


def explained(unread: Unread, state: ClusterState, target: Target) -> bool:
    """Whether a source was not read only because an unfinished step has stopped it."""
    hosts = [m.host for m in state.members if member(m, state, target)]
    hosts += [a.host for a in state.api_servers if server(a, state)]
    hosts += [c.host for c in state.controllers if controller(c, state)]
    hosts += [n.host or n.name for n in state.nodes if node(n)]
    hosts += [n.name for n in state.nodes if node(n)]
    return any(names(unread, h) for h in hosts)
