"""Whole clusters as facts, for tests: `cluster()` is healthy, complete and consistent.

Every other state is made from it by `msgspec.structs.replace` or by projecting steps with
`pawl.core.invariants`.
"""

from __future__ import annotations

from pawl.core.config import (
    ApiConfig,
    BackupConfig,
    Config,
    EtcdConfig,
    HostConfig,
    LoadBalancerConfig,
    MachinesConfig,
    PolicyConfig,
    Role,
    SshConfig,
)
from pawl.core.model import (
    ApiServer,
    BalancerMember,
    ClusterState,
    Controller,
    EtcdMember,
    Host,
    Machine,
    Node,
    UnitState,
)
from pawl.core.version import Minor

TAKEN_AT = 1_790_000_000.0
GB = 1_000_000_000


def _host(name: str, roles: tuple[str, ...], current: dict[str, str], number: int) -> Host:
    return Host(
        name=name,
        address=f"198.18.0.{number}",
        roles=roles,
        reachable=True,
        machine_id=f"machine-{name}",
        boot_id=f"boot-{name}",
        current=current,
        staged={c: (v,) for c, v in current.items()},
        flags={c: (f"--name={name}",) if c == "etcd" else () for c in current},
        units=tuple(UnitState(name=f"{c}.service", active="active") for c in current),
        disk_free={"/": 20 * GB, "/var/lib/etcd": 20 * GB},
        clock_offset=0.0,
        cgroup_version=2,
    )


def cluster(
    *,
    members: int = 3,
    control_planes: int = 3,
    workers: int = 3,
    kubernetes: str = "1.36.0",
    etcd: str = "3.5.33",
    stacked: bool = False,
    control_plane_nodes: bool = False,
    kubelet: str = "",
) -> ClusterState:
    """A healthy cluster: `etcd-N` (or on `cp-N` when stacked), `cp-N`, `worker-N`, one balancer.

    With `stacked`, the number of members is that of the control planes.
    """
    etcd_hosts = [f"cp-{i + 1}" for i in range(control_planes)]
    if not stacked:
        etcd_hosts = [f"etcd-{i + 1}" for i in range(members)]
    cps = [f"cp-{i + 1}" for i in range(control_planes)]
    nodes = [f"worker-{i + 1}" for i in range(workers)]
    cluster_minor = f"{Minor.parse(etcd)}.0"
    on_control = dict.fromkeys(
        ("kube-apiserver", "kube-controller-manager", "kube-scheduler"), kubernetes
    )
    on_node = dict.fromkeys(("kubelet", "kube-proxy"), kubelet or kubernetes)
    hosts: list[Host] = []
    for name in dict.fromkeys(etcd_hosts + cps + nodes):
        current: dict[str, str] = {}
        roles: list[str] = []
        if name in etcd_hosts:
            current["etcd"] = etcd
            roles.append("etcd")
        if name in cps:
            current.update(on_control)
            roles.append("control-plane")
        if name in nodes or (name in cps and control_plane_nodes):
            current.update(on_node)
        if name in nodes:
            roles.append("worker")
        hosts.append(_host(name, tuple(roles), current, len(hosts) + 1))
    address = {h.name: h.address for h in hosts}
    return ClusterState(
        cluster="test",
        taken_at=TAKEN_AT,
        hosts=tuple(hosts),
        members=tuple(
            EtcdMember(
                name=name,
                host=name,
                member_id=f"{0xABC0 + i:x}",
                client_url=f"https://{address[name]}:2379",
                cluster_id="c1",
                version=etcd,
                cluster_version=cluster_minor,
                storage_version=cluster_minor if Minor.parse(etcd) >= Minor(3, 6) else None,
                leader=i == 0,
                healthy=True,
                term=2,
                raft_index=1000,
                applied_index=1000,
                db_size=20_000_000,
                db_in_use=10_000_000,
            )
            for i, name in enumerate(etcd_hosts)
        ),
        api_servers=tuple(
            ApiServer(
                host=name,
                url=f"https://{address[name]}:6443",
                version=kubernetes,
                emulation_version=str(Minor.parse(kubernetes)),
                ready=True,
                inflight=0,
            )
            for name in cps
        ),
        controllers=tuple(
            Controller(component=c, host=name, version=kubernetes, healthy=True, leader=i == 0)
            for c in ("kube-controller-manager", "kube-scheduler")
            for i, name in enumerate(cps)
        ),
        nodes=tuple(
            Node(
                name=name,
                host=name,
                kubelet=kubelet or kubernetes,
                kube_proxy=kubelet or kubernetes,
                ready=True,
            )
            for name in (cps if control_plane_nodes else []) + nodes
        ),
        balancer=tuple(
            BalancerMember(name=name, address=address[name], host=name, check="up") for name in cps
        ),
        machines=tuple(
            Machine(name=h.name, address=h.address, roles=h.roles, pool=h.pool, versions=h.current)
            for h in hosts
        ),
    )


def config(
    state: ClusterState, *, policy: PolicyConfig | None = None, provider: bool = True
) -> Config:
    """A pawl.yaml that fits `state`, with a backup place and, by default, a machine provider."""
    roles: dict[str, Role] = {
        "etcd": "etcd",
        "control-plane": "control-plane",
        "worker": "worker",
    }
    return Config(
        cluster=state.cluster,
        hosts=tuple(
            HostConfig(
                name=h.name,
                address=h.address,
                roles=tuple(roles[r] for r in h.roles),
                pool=h.pool,
            )
            for h in state.hosts
        ),
        ssh=SshConfig(key="id", known_hosts="known_hosts"),
        etcd=EtcdConfig(ca="ca.crt", cert="etcd.crt", key="etcd.key"),
        api=ApiConfig(endpoint="https://198.18.0.100:6443", kubeconfig="kubeconfig"),
        load_balancer=LoadBalancerConfig(host="lb") if state.balancer else None,
        machines=MachinesConfig(provider="lab", lab="test") if provider else MachinesConfig(),
        backup=BackupConfig(directory="backups"),
        policy=policy or PolicyConfig(),
    )
