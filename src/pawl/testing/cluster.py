"""SimCluster: a world with machines in it, and sessions for the operators that work on it."""

from __future__ import annotations

from pathlib import Path

from pawl.core.config import (
    ApiConfig,
    BackupConfig,
    Config,
    EtcdConfig,
    HostConfig,
    LoadBalancerConfig,
    MachinesConfig,
    PolicyConfig,
    SoakConfig,
    SshConfig,
)
from pawl.core.model import ClusterState
from pawl.core.version import Minor
from pawl.engine.gatekeeping import Gating
from pawl.engine.silencing import Silencing
from pawl.ports.journal import Journal
from pawl.ports.lock import Locked, LockNote
from pawl.testing import ports
from pawl.testing.etcd import Member
from pawl.testing.holders import SimHolders
from pawl.testing.journal import MemoryJournal
from pawl.testing.kube import SimKube
from pawl.testing.leeway import SimLeeway
from pawl.testing.machine import SimHost
from pawl.testing.pods import Deployment, SimNode
from pawl.testing.virtual import EPOCH
from pawl.testing.world import LOAD_BALANCER, Entry, World

CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")


class SimLock:
    """The lock file of one machine: shared by the operators that would run there."""

    def __init__(self) -> None:
        self.held = False
        self.last = LockNote()

    def acquire(self) -> LockNote:
        if self.held:
            raise Locked(self.last)
        self.held = True
        return self.last

    def note(self, note: LockNote) -> None:
        self.last = note

    def release(self) -> None:
        self.held = False


class SimSession:
    """`pawl.engine.tools.Tools` of one operator."""

    def __init__(self, world: World, config: Config, journal: Journal, name: str) -> None:
        self.operator = ports.Operator(world, name)
        self.config = config
        self.path = Path("/nowhere/pawl.yaml")
        self.journal = journal
        self.clock = ports.SimClock(self.operator)
        self.observer = ports.SimObserver(self.operator)
        self.hosts = ports.SimHosts(self.operator)
        self.etcd = ports.SimEtcdPort(self.operator)
        self.kube = SimKube(self.operator)
        self.holders = SimHolders(self.operator)
        self.leeway = SimLeeway(self.operator)
        self.workloads = ports.SimWorkloads(self.operator)
        self.lease = ports.SimLease(self.operator)
        self.balancer = ports.SimBalancer(self.operator) if world.has_balancer else None
        self.machines = ports.SimMachines(self.operator) if world.machines_provider else None
        self.artifacts = ports.SimArtifacts(self.operator)
        self.gating: Gating | None = None
        self.silencing: Silencing | None = None


class SimCluster:
    """Build one inside a running virtual loop. `session()` for each operator process."""

    def __init__(
        self,
        *,
        etcd: int = 3,
        control_planes: int = 3,
        workers: int = 3,
        kubernetes: str = "1.36.0",
        etcd_version: str = "3.5.33",
        policy: PolicyConfig | None = None,
        workloads: bool = True,
    ) -> None:
        self.world = World()
        self.journal = MemoryJournal()
        self.lock = SimLock()
        world = self.world
        for i in range(1, etcd + 1):
            self._host(f"etcd-{i}", f"198.18.1.{i}", "etcd", {"etcd": etcd_version})
            world.etcd.members[f"etcd-{i}"] = Member(host=f"etcd-{i}", member_id=f"{i:x}{i:x}{i:x}")
        for i in range(1, control_planes + 1):
            parts = dict.fromkeys(CONTROL_PLANE, kubernetes)
            self._host(f"cp-{i}", f"198.18.2.{i}", "control-plane", parts)
            world.balancer[f"cp-{i}"] = Entry(host=f"cp-{i}")
        for i in range(1, workers + 1):
            parts = dict.fromkeys(("kubelet", "kube-proxy"), kubernetes)
            self._host(f"worker-{i}", f"198.18.3.{i}", "worker", parts)
            world.nodes[f"worker-{i}"] = SimNode(
                name=f"worker-{i}", host=f"worker-{i}", kubelet=kubernetes, kube_proxy=kubernetes
            )
        if control_planes:
            self._host(LOAD_BALANCER, "198.18.4.1", "load-balancer", {})
        else:
            world.has_balancer = False
        minor = Minor.parse(etcd_version)
        world.etcd.cluster = world.etcd.storage = minor
        if workers > 1 and workloads:
            world.pods.deployments.append(
                Deployment(namespace="shop", name="web", replicas=2 * workers, minimum=workers)
            )
            world.pods.deployments.append(
                Deployment(namespace="shop", name="worker", replicas=workers)
            )
        if etcd:
            world.etcd.lead("etcd-1")
            world.etcd.leader_changes = 0
        world.settle()
        for pod in world.pods.pods.values():
            pod.ready_at = EPOCH
        world.violations.clear()
        self.config = self._config(policy)

    def _host(self, name: str, address: str, role: str, parts: dict[str, str]) -> None:
        host = SimHost(
            name=name,
            address=address,
            roles=(role,),
            machine_id=f"machine-{name}",
            boot_id="boot-0",
        )
        for component, version in parts.items():
            host.install(component, version)
            unit = host.units[component]
            unit.active, unit.version, unit.ready_at = "active", version, EPOCH - 3600
            unit.since = EPOCH - 3600
        self.world.hosts[name] = host

    def _config(self, policy: PolicyConfig | None) -> Config:
        balanced = self.world.has_balancer
        return Config(
            cluster="sim",
            hosts=tuple(
                HostConfig(name=h.name, address=h.address, roles=h.roles)  # type: ignore[arg-type]
                for h in self.world.hosts.values()
            ),
            ssh=SshConfig(key="key", known_hosts="known_hosts"),
            etcd=EtcdConfig(ca="ca", cert="cert", key="key"),
            api=ApiConfig(endpoint="https://198.18.4.1:6443", kubeconfig="kubeconfig"),
            load_balancer=LoadBalancerConfig(host=LOAD_BALANCER) if balanced else None,
            machines=MachinesConfig(provider="lab", lab="sim"),
            backup=BackupConfig(directory="backups"),
            policy=policy
            or PolicyConfig(
                approvals=(), soak=SoakConfig(etcd=120.0, control_plane=120.0, node=60.0)
            ),
        )

    def session(self, name: str = "operator") -> SimSession:
        return SimSession(self.world, self.config, self.journal, name)

    def state(self) -> ClusterState:
        from pawl.testing.observe import snapshot

        self.world.advance()
        return snapshot(self.world)
