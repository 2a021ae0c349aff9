"""What was observed: the live cluster as immutable facts, all with one timestamp.

Nothing here decides. A fact that could not be read is `None` and is named in
`ClusterState.unread`, so "not read" can never look like "clean". Versions are strings as the
component reported them, without a leading "v"; `pawl.core.version` gives them an order.
Times are seconds since the epoch (UTC), sizes are bytes, durations are seconds.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Fact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """Base of all facts: frozen, compared by value, encodable to JSON as it is."""


class Unread(Fact, frozen=True, kw_only=True):
    """A source that gave no answer. `why` is a sentence for a person."""

    source: str
    why: str


class EtcdMember(Fact, frozen=True, kw_only=True):
    """One member of the etcd cluster, as it reports itself at its own endpoint.

    `member_id` and `cluster_id` are lower-case hex, as etcdctl prints them. `healthy` is a
    linearizable read answered at this endpoint, which a member without quorum cannot give.
    `storage_version` is empty before 3.6. A member listed but not reachable has
    `version is None`.
    """

    name: str
    host: str
    member_id: str
    client_url: str
    cluster_id: str = ""
    peer_urls: tuple[str, ...] = ()
    version: str | None = None
    cluster_version: str | None = None
    storage_version: str | None = None
    downgrade_target: str = ""
    learner: bool = False
    leader: bool = False
    healthy: bool = False
    term: int = 0
    raft_index: int = 0
    applied_index: int = 0
    db_size: int = 0
    db_in_use: int = 0
    alarms: tuple[str, ...] = ()


class HealthCheck(Fact, frozen=True, kw_only=True):
    """One line of /readyz?verbose."""

    name: str
    ok: bool


class ApiServer(Fact, frozen=True, kw_only=True):
    """One API server, read at its own address, never through the load balancer.

    `emulation_version` and `min_compatibility_version` are minors ("1.36") from /version
    (KEP-4330; None before 1.33 or when not reported).
    """

    host: str
    url: str
    version: str | None = None
    emulation_version: str | None = None
    min_compatibility_version: str | None = None
    ready: bool = False
    checks: tuple[HealthCheck, ...] = ()
    inflight: int | None = None


class Controller(Fact, frozen=True, kw_only=True):
    """A kube-controller-manager, kube-scheduler or cloud-controller-manager on one host."""

    component: str
    host: str
    version: str | None = None
    healthy: bool = False
    leader: bool = False


class Taint(Fact, frozen=True, kw_only=True):
    key: str
    value: str = ""
    effect: str = "NoSchedule"


class Node(Fact, frozen=True, kw_only=True):
    """A Kubernetes node. `cordoned_by` is "pawl:<run>" for ours, "" where unknown."""

    name: str
    host: str = ""
    kubelet: str | None = None
    kube_proxy: str | None = None
    runtime: str = ""
    kernel: str = ""
    os_image: str = ""
    machine_id: str = ""
    ready: bool = False
    conditions: tuple[str, ...] = ()
    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False
    cordoned_by: str = ""
    pods: int = 0
    volumes_attached: int = 0
    lease_renewed: float | None = None


class BalancerMember(Fact, frozen=True, kw_only=True):
    """One server behind the load balancer. `admin` is what was ordered, `check` what it sees."""

    name: str
    address: str
    host: str = ""
    admin: Literal["ready", "drain", "maint"] = "ready"
    check: Literal["up", "down", "unknown"] = "unknown"
    sessions: int = 0


class UnitState(Fact, frozen=True, kw_only=True):
    """A systemd unit: `active` is its ActiveState, `since` when it entered it."""

    name: str
    active: str
    restarts: int = 0
    since: float = 0.0


class Certificate(Fact, frozen=True, kw_only=True):
    """A certificate found on a host or presented by an endpoint."""

    where: str
    subject: str
    not_after: float


class Host(Fact, frozen=True, kw_only=True):
    """What a host itself says. Keys of the mappings are component names.

    `current` is the version that the component's `current` link names, `running` the version whose
    binary its process was started from (absent when it does not run), `staged` the versions
    whose binaries lie on the host, `flags` the flags in the component's file. `boot_id` changes
    with each boot, `machine_id` with each new machine. `epoch` is the highest operator epoch
    that the host has accepted. `etcd_data` tells one data disk of an etcd member from another
    (inode and birth of its data); "" when the disk holds none, None where none is expected.
    """

    name: str
    address: str
    roles: tuple[str, ...] = ()
    pool: str = "default"
    reachable: bool = False
    machine_id: str = ""
    boot_id: str = ""
    epoch: int = 0
    current: dict[str, str] = {}
    running: dict[str, str] = {}
    staged: dict[str, tuple[str, ...]] = {}
    flags: dict[str, tuple[str, ...]] = {}
    units: tuple[UnitState, ...] = ()
    disk_free: dict[str, int] = {}
    etcd_data: str | None = None
    clock_offset: float | None = None
    cgroup_version: int | None = None
    kernel: str = ""
    certificates: tuple[Certificate, ...] = ()

    def unit(self, name: str) -> UnitState | None:
        return next((u for u in self.units if u.name == name), None)


class Machine(Fact, frozen=True, kw_only=True):
    """A machine as its provider sees it. `versions` is what its image holds, by component."""

    name: str
    address: str
    roles: tuple[str, ...]
    pool: str = "default"
    identity: str = ""
    running: bool = True
    versions: dict[str, str] = {}


class DisruptionBudget(Fact, frozen=True, kw_only=True):
    """A PodDisruptionBudget and what it allows now (policy/v1 status)."""

    namespace: str
    name: str
    allowed: int
    healthy: int
    desired_healthy: int
    expected: int
    max_unavailable: str = ""
    min_available: str = ""
    selected: tuple[str, ...] = ()
    """Pods ("namespace/name") that it selects."""
    sync_failed: str = ""
    """Why its controller cannot compute it (condition DisruptionAllowed, reason SyncFailed)."""
    observed: bool = True
    """Whether the controller has computed the numbers at all."""


class Workload(Fact, frozen=True, kw_only=True):
    """A controller of pods and how many of them are ready."""

    kind: str
    namespace: str
    name: str
    desired: int
    ready: int
    nodes: tuple[str, ...] = ()


class Webhook(Fact, frozen=True, kw_only=True):
    """An admission webhook that fails closed, and the nodes its backend's ready pods run on.

    `holds` are resources that it matches and that moving a pod needs ("pods", "leases");
    `own_namespace`: it matches its backend's own namespace, so that its pods cannot come back
    without it.
    """

    name: str
    service: str
    nodes: tuple[str, ...] = ()
    holds: tuple[str, ...] = ("pods",)
    own_namespace: bool = True


class ClusterState(Fact, frozen=True, kw_only=True):
    """All facts of one observation. `complete` is false as soon as anything was not read."""

    cluster: str
    taken_at: float
    hosts: tuple[Host, ...] = ()
    members: tuple[EtcdMember, ...] = ()
    api_servers: tuple[ApiServer, ...] = ()
    controllers: tuple[Controller, ...] = ()
    nodes: tuple[Node, ...] = ()
    balancer: tuple[BalancerMember, ...] = ()
    machines: tuple[Machine, ...] = ()
    budgets: tuple[DisruptionBudget, ...] = ()
    workloads: tuple[Workload, ...] = ()
    webhooks: tuple[Webhook, ...] = ()
    unread: tuple[Unread, ...] = ()

    @property
    def complete(self) -> bool:
        return not self.unread

    def host(self, name: str) -> Host | None:
        return next((h for h in self.hosts if h.name == name), None)

    def member(self, host: str) -> EtcdMember | None:
        return next((m for m in self.members if m.host == host), None)

    def api_server(self, host: str) -> ApiServer | None:
        return next((a for a in self.api_servers if a.host == host), None)

    def controller(self, component: str, host: str) -> Controller | None:
        return next(
            (c for c in self.controllers if c.component == component and c.host == host), None
        )

    def node(self, name: str) -> Node | None:
        return next((n for n in self.nodes if n.name == name), None)

    def balancer_member(self, host: str) -> BalancerMember | None:
        return next((b for b in self.balancer if b.host == host), None)

    def machine(self, name: str) -> Machine | None:
        return next((m for m in self.machines if m.name == name), None)

    @property
    def voters(self) -> tuple[EtcdMember, ...]:
        return tuple(m for m in self.members if not m.learner)

    @property
    def leader(self) -> EtcdMember | None:
        return next((m for m in self.members if m.leader), None)
