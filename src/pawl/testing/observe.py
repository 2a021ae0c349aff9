"""The simulated world as facts: what an observer of a real cluster would read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pawl.core.holders import host_of
from pawl.core.model import (
    ApiServer,
    BalancerMember,
    ClusterState,
    Controller,
    DisruptionBudget,
    EtcdMember,
    Host,
    Machine,
    Node,
    UnitState,
    Unread,
    Workload,
)
from pawl.core.version import Minor
from pawl.testing.etcd import SINCE_STORAGE

if TYPE_CHECKING:
    from pawl.testing.machine import SimHost
    from pawl.testing.world import World

CONTROLLERS = ("kube-controller-manager", "kube-scheduler")


def snapshot(world: World, clock_offset: float = 0.0) -> ClusterState:
    unread: list[Unread] = []
    for name, host in world.hosts.items():
        if not host.up:
            unread.append(Unread(source=f"host {name}", why="no answer over SSH"))
    for member in world.etcd.members:
        if not world.etcd.alive(member):
            unread.append(Unread(source=f"etcd status at {member}", why="connection refused"))
    for name, host in world.hosts.items():
        if "kube-apiserver" in host.units and not world.runs(name, "kube-apiserver"):
            unread.append(Unread(source=f"kube-apiserver on {name}", why="connection refused"))
    unread += [Unread(source=s, why="no answer") for s in sorted(world.silent)]
    if world.has_balancer and not world.balancer_up:
        unread.append(Unread(source="load balancer", why="no answer from its runtime socket"))
    return ClusterState(
        cluster="sim",
        taken_at=world.now + clock_offset,
        hosts=tuple(_host(world, name, clock_offset) for name in sorted(world.hosts)),
        members=()
        if "etcd member list" in world.silent
        else tuple(_member(world, host) for host in sorted(world.etcd.members)),
        api_servers=tuple(
            _api_server(world, name)
            for name in sorted(world.hosts)
            if "kube-apiserver" in world.hosts[name].units
        ),
        controllers=tuple(
            _controller(world, name, component)
            for component in CONTROLLERS
            for name in sorted(world.hosts)
            if component in world.hosts[name].units
        ),
        nodes=()
        if "nodes" in world.silent
        else tuple(_node(world, name) for name in sorted(world.nodes)),
        balancer=_balancer(world),
        machines=_machines(world),
        budgets=_budgets(world),
        workloads=tuple(
            Workload(
                kind="Deployment",
                namespace=d.namespace,
                name=d.name,
                desired=d.replicas,
                ready=world.pods.serving(d),
                nodes=tuple(sorted({p.node for p in world.pods.of(d)})),
            )
            for d in world.pods.deployments
        ),
        unread=tuple(unread),
    )


def _host(world: World, name: str, clock_offset: float) -> Host:
    host = world.hosts[name]
    if not host.up:
        return Host(name=name, address=host.address, roles=host.roles, pool=host.pool)
    return Host(
        name=name,
        address=host.address,
        roles=host.roles,
        pool=host.pool,
        reachable=True,
        machine_id=host.machine_id,
        boot_id=host.boot_id,
        epoch=host.epoch,
        current=dict(host.current),
        running={c: u.version for c, u in host.units.items() if u.up},
        staged={c: tuple(v) for c, v in host.staged.items()},
        flags=dict(host.flags),
        units=tuple(
            UnitState(name=f"{c}.service", active=u.active, restarts=u.restarts, since=u.since)
            for c, u in sorted(host.units.items())
        ),
        etcd_data=_etcd_data(host),
        disk_free={"/": host.disk_free, "/var/lib/etcd": host.disk_free},
        clock_offset=-clock_offset if abs(clock_offset) > 0 else 0.0,
        cgroup_version=2,
        kernel="6.1.0",
    )


def _etcd_data(host: SimHost) -> str | None:
    if "etcd" not in host.current:
        return None
    return f"data-of-{host.name}" if host.disk_has_data else ""


def _member(world: World, host: str) -> EtcdMember:
    etcd = world.etcd
    member = etcd.members[host]
    url = f"https://{world.hosts[host].address}:2379" if host in world.hosts else ""
    if not etcd.alive(host):
        return EtcdMember(name=host, host=host, member_id=member.member_id, client_url=url)
    version = etcd.version(host)
    stores = Minor.parse(version) >= SINCE_STORAGE
    return EtcdMember(
        name=host,
        host=host,
        member_id=member.member_id,
        client_url=url,
        cluster_id="c1",
        version=version,
        cluster_version=f"{etcd.cluster}.0",
        storage_version=f"{etcd.storage}.0" if stores else "",
        downgrade_target=f"{etcd.downgrade}.0" if etcd.downgrade and stores else "",
        leader=etcd.leader == host and etcd.has_quorum(),
        healthy=etcd.has_quorum() and host not in etcd.stalled,
        term=etcd.term,
        raft_index=etcd.index(),
        applied_index=etcd.applied(host),
        db_size=20_000_000,
        db_in_use=10_000_000,
        alarms=etcd.alarms,
    )


def _api_server(world: World, name: str) -> ApiServer:
    host = world.hosts[name]
    unit = host.units["kube-apiserver"]
    url = f"https://{host.address}:6443"
    if not world.runs(name, "kube-apiserver"):
        return ApiServer(host=name, url=url)
    emulated = world.emulates(name) or str(Minor.parse(unit.version))
    entry = world.balancer.get(name)
    quiet = entry is not None and entry.admin != "ready" and world.now - entry.drained_at > 1.0
    return ApiServer(
        host=name,
        url=url,
        version=unit.version,
        emulation_version=emulated,
        min_compatibility_version=emulated,
        ready=world.api_ready(name),
        inflight=1 if quiet else 4,
    )


def _controller(world: World, name: str, component: str) -> Controller:
    if not world.runs(name, component):
        return Controller(component=component, host=name)
    return Controller(
        component=component,
        host=name,
        version=world.hosts[name].units[component].version,
        healthy=True,
        leader=host_of(world.leases.holder(component)) == name,
    )


def _node(world: World, name: str) -> Node:
    node = world.nodes[name]
    return Node(
        name=name,
        host=node.host,
        kubelet=node.kubelet,
        kube_proxy=(node.kube_proxy or None) if world.runs(node.host, "kube-proxy") else None,
        ready=world.pods.ready(node),
        taints=tuple(node.taints),
        unschedulable=node.unschedulable,
        cordoned_by=node.cordoned_by,
        pods=sum(p.node == name for p in world.pods.pods.values()),
        volumes_attached=node.volumes,
        lease_renewed=node.last_report,
    )


def _balancer(world: World) -> tuple[BalancerMember, ...]:
    if not world.has_balancer or not world.balancer_up or "load balancer" in world.silent:
        return ()
    found = []
    for name, entry in sorted(world.balancer.items()):
        check: Literal["up", "down"] = "up" if world.api_ready(name) else "down"
        drained = world.now - entry.drained_at if entry.admin != "ready" else 0.0
        found.append(
            BalancerMember(
                name=name,
                address=f"{world.hosts[name].address}:6443" if name in world.hosts else "",
                host=name,
                admin="ready" if entry.admin == "ready" else "drain",
                check=check,
                sessions=max(0, 10 - int(drained * 5)),
            )
        )
    return tuple(found)


def _machines(world: World) -> tuple[Machine, ...]:
    if not world.machines_provider or "machines" in world.silent:
        return ()
    return tuple(
        Machine(
            name=h.name,
            address=h.address,
            roles=h.roles,
            pool=h.pool,
            identity=h.machine_id,
            running=h.up,
            versions=_image(h.current),
        )
        for h in sorted(world.hosts.values(), key=lambda h: h.name)
    )


def _image(current: dict[str, str]) -> dict[str, str]:
    versions = dict(current)
    kubernetes = {v for c, v in current.items() if c != "etcd"}
    if len(kubernetes) == 1:
        versions["kubernetes"] = kubernetes.pop()
    return versions


def _budgets(world: World) -> tuple[DisruptionBudget, ...]:
    return tuple(
        DisruptionBudget(
            namespace=d.namespace,
            name=f"{d.name}-budget",
            allowed=max(0, world.pods.serving(d) - d.minimum),
            healthy=world.pods.serving(d),
            desired_healthy=d.minimum,
            expected=d.replicas,
            min_available=str(d.minimum),
            selected=tuple(f"{p.namespace}/{p.name}" for p in world.pods.of(d)),
        )
        for d in world.pods.deployments
        if d.minimum is not None
    )
