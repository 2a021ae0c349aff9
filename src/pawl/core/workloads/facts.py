"""What was read of the workloads: small immutable facts, shared wherever they repeat.

A cluster has tens of thousands of pods and a few hundred templates, so everything that pods of one
template have in common is a `Shape`, held once. CPU is in thousandths of a core, memory and disk in
bytes, durations in seconds, times in seconds since the epoch. A workload's key is
"namespace/Kind/name", a pod's, service's or claim's "namespace/name".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from pawl.core.model import Taint, Unread

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
PRIMARY_LABELS = ("cnpg.io/instanceRole", "spilo-role", "role", "mysql.oracle.com/cluster-role")
"""Labels by which database operators name a group's primary (value primary, master or PRIMARY)."""


class Part(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of the facts: frozen, compared by value. Never in a reference cycle, hence gc=False."""


class Requirement(Part, frozen=True, kw_only=True):
    """One line of a label or node selector: In, NotIn, Exists, DoesNotExist, Gt, Lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value in self.values
            case "NotIn":
                return value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
            case "Gt" | "Lt":
                if value is None or not self.values:
                    return False
                try:
                    a, b = int(value), int(self.values[0])
                except ValueError:
                    return False
                return a > b if self.operator == "Gt" else a < b
            case _:
                return False


class Selector(Part, frozen=True, kw_only=True):
    """A label selector; an empty one selects everything."""

    labels: tuple[tuple[str, str], ...] = ()
    expressions: tuple[Requirement, ...] = ()

    @property
    def empty(self) -> bool:
        return not self.labels and not self.expressions

    def matches(self, labels: Mapping[str, str]) -> bool:
        get = labels.get
        for key, value in self.labels:
            if get(key) != value:
                return False
        return all(e.holds(labels) for e in self.expressions)

    def names(self, key: str) -> bool:
        return any(k == key for k, _ in self.labels) or any(e.key == key for e in self.expressions)


class NodeTerm(Part, frozen=True, kw_only=True):
    """One alternative of a required node affinity: labels, and `metadata.name` as `fields`."""

    expressions: tuple[Requirement, ...] = ()
    fields: tuple[Requirement, ...] = ()

    def matches(self, node: Node) -> bool:
        """An empty term selects no node (the API's rule for nodeSelectorTerms)."""
        if not self.expressions and not self.fields:
            return False
        own = {"metadata.name": node.name}
        return all(e.holds(node.labels) for e in self.expressions) and all(
            f.holds(own) for f in self.fields
        )


class PodTerm(Part, frozen=True, kw_only=True, cache_hash=True):
    """A required (anti-)affinity to other pods, in domains of `key`.

    `namespaces` are resolved: those that the term names, or the pod's own; `everywhere` when a
    namespace selector is empty, which selects all of them.
    """

    selector: Selector
    key: str
    namespaces: tuple[str, ...]
    everywhere: bool = False

    def covers(self, namespace: str, labels: Mapping[str, str]) -> bool:
        return (self.everywhere or namespace in self.namespaces) and self.selector.matches(labels)


class Spread(Part, frozen=True, kw_only=True, cache_hash=True):
    """A topology spread constraint with DoNotSchedule.

    `honors_taints` is `nodeTaintsPolicy: Honor`. The default, Ignore, counts closed nodes as
    domains too, which is what makes a half-empty old node hold back the new ones.
    """

    key: str
    max_skew: int
    selector: Selector
    min_domains: int = 1
    honors_affinity: bool = True
    honors_taints: bool = False
    label_keys: tuple[str, ...] = ()


class Toleration(Part, frozen=True, kw_only=True):
    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""

    def tolerates(self, taint: Taint) -> bool:
        if self.effect and self.effect != taint.effect:
            return False
        if not self.key:
            return self.operator == "Exists"
        return self.key == taint.key and (self.operator == "Exists" or self.value == taint.value)


class Shape(Part, frozen=True, kw_only=True, cache_hash=True):
    """What the pods of one template have in common: what the scheduler asks, and how they end."""

    cpu: int = 0
    memory: int = 0
    disk: int = 0
    extended: tuple[tuple[str, int], ...] = ()
    node_selector: tuple[tuple[str, str], ...] = ()
    node_terms: tuple[NodeTerm, ...] = ()
    affinity: tuple[PodTerm, ...] = ()
    anti_affinity: tuple[PodTerm, ...] = ()
    spread: tuple[Spread, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    host_ports: tuple[tuple[str, int], ...] = ()
    scheduler: str = "default-scheduler"
    priority: int = 0
    grace: float = 30.0
    pre_stop: float = 0.0
    """Seconds that a preStop hook sleeps before a container is asked to end."""
    readiness: bool = False
    first_probe: float = 0.0
    gates: tuple[str, ...] = ()
    scratch: bool = False
    """Has an emptyDir on disk or in memory, which does not move."""
    scratch_limit: int = 0
    host_paths: tuple[str, ...] = ()
    images: tuple[str, ...] = ()


class Pod(Part, frozen=True, kw_only=True):
    """One pod. `owner` is the key of its workload, "" for a bare pod.

    `ready_after` is how long it took from its start to Ready, None where it is not Ready.
    `waiting` is the reason why a container does not run ("CrashLoopBackOff").
    `kept` names the annotation that asks not to be evicted.
    """

    namespace: str
    name: str
    uid: str = ""
    node: str = ""
    ips: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    owner: str = ""
    shape: Shape = Shape()
    claims: tuple[str, ...] = ()
    mirror: bool = False
    ready: bool = True
    phase: str = "Running"
    terminating: bool = False
    finalizers: tuple[str, ...] = ()
    waiting: str = ""
    ready_after: float | None = None
    kept: str = ""

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def finished(self) -> bool:
        return self.phase in ("Succeeded", "Failed")

    @property
    def ordinal(self) -> int:
        """A StatefulSet's pod's number, -1 for others."""
        tail = self.name.rpartition("-")[2]
        return int(tail) if tail.isdigit() else -1

    @property
    def primary(self) -> bool:
        return any(
            self.labels.get(k, "").lower() in ("primary", "master", "leader")
            for k in PRIMARY_LABELS
        )


class Text(Part, frozen=True, kw_only=True):
    """A value in a template that may name a Service, and where it stands ("env REDIS of app")."""

    where: str
    value: str
    waits: bool = False
    """It belongs to an init container, which holds the pod back until it is content."""


class Controller(Part, frozen=True, kw_only=True):
    """An object that makes pods: its kind, its template, and how it changes them.

    `owner` is "Kind/name" of the object that made it (a CronJob, or an operator's resource).
    `pinned` is `spec.nodeName` in the template. `configs` are ConfigMaps that the template reads.
    """

    kind: str
    namespace: str
    name: str
    replicas: int = 1
    ready: int = 0
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    pod_labels: dict[str, str] = {}
    shape: Shape = Shape()
    texts: tuple[Text, ...] = ()
    configs: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    claim_templates: tuple[str, ...] = ()
    pinned: str = ""
    strategy: str = ""
    max_surge: str = ""
    max_unavailable: str = ""
    partition: int = 0
    ordered: bool = True
    min_ready: float = 0.0
    paused: bool = False
    suspended: bool = False
    owner: str = ""
    backoff_limit: int = 6
    ignores_disruption: bool = False
    deadline: float | None = None
    restart_policy: str = "Always"

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.kind}/{self.name}"


class Budget(Part, frozen=True, kw_only=True):
    """A PodDisruptionBudget. `min_available` and `max_unavailable` are "2", "50%" or ""."""

    namespace: str
    name: str
    selector: Selector | None = None
    min_available: str = ""
    max_unavailable: str = ""
    always_allow: bool = False
    allowed: int | None = None
    """What its status allows now; None where it has no status (a manifest)."""
    sync_failed: str = ""

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


class Autoscaler(Part, frozen=True, kw_only=True):
    """A HorizontalPodAutoscaler: whose replicas it sets, and between what."""

    namespace: str
    name: str
    target: str
    minimum: int = 1
    maximum: int = 1


class Claim(Part, frozen=True, kw_only=True):
    """A PersistentVolumeClaim. `volume` is "" while it is not bound."""

    namespace: str
    name: str
    volume: str = ""
    modes: tuple[str, ...] = ()
    storage_class: str = ""

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


class Volume(Part, frozen=True, kw_only=True):
    """A PersistentVolume: where it can be reached from, and who attaches it.

    `local` is a `local` or `hostPath` volume, whose data stays on its node. `driver` is the CSI
    driver, "" where nothing is attached (NFS).
    """

    name: str
    node_terms: tuple[NodeTerm, ...] = ()
    driver: str = ""
    local: bool = False


class StorageClass(Part, frozen=True, kw_only=True):
    name: str
    provisioner: str = ""
    waits: bool = False
    """volumeBindingMode: WaitForFirstConsumer."""
    topologies: tuple[NodeTerm, ...] = ()


class Service(Part, frozen=True, kw_only=True):
    """`selector` is () for one without, whose backends are outside or made by hand."""

    namespace: str
    name: str
    selector: tuple[tuple[str, str], ...] = ()
    ports: tuple[int, ...] = ()
    ips: tuple[str, ...] = ()
    type: str = "ClusterIP"
    external_name: str = ""

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


class Peer(Part, frozen=True, kw_only=True):
    """Pods that a policy lets through. `namespaces` None: the policy's own."""

    pods: Selector
    namespaces: Selector | None = None


class Policy(Part, frozen=True, kw_only=True):
    """A NetworkPolicy: its subject may reach `egress` and be reached from `ingress`."""

    namespace: str
    name: str
    subject: Selector
    egress: tuple[Peer, ...] = ()
    ingress: tuple[Peer, ...] = ()


class Mention(Part, frozen=True, kw_only=True):
    """A Service that a text names. `how` is address, host or word, from strong to weak."""

    service: str
    how: Literal["address", "host", "word"]
    text: str


class ConfigText(Part, frozen=True, kw_only=True):
    """The Services that the values of a ConfigMap name; the values themselves are not kept."""

    namespace: str
    name: str
    mentions: tuple[tuple[str, Mention], ...] = ()
    """(key of the ConfigMap, what it names)."""


class FluxUnit(Part, frozen=True, kw_only=True):
    """A Flux Kustomization or HelmRelease and the units that it waits for ("namespace/name")."""

    kind: str
    namespace: str
    name: str
    depends_on: tuple[str, ...] = ()


class Hook(Part, frozen=True, kw_only=True):
    """An admission webhook with a Service of the cluster as its backend.

    `evictions`: its rules match the creation of `pods/eviction`, so it decides over drains.
    """

    name: str
    service: str
    fails_closed: bool = True
    pods: bool = False
    evictions: bool = False


class Quota(Part, frozen=True, kw_only=True):
    """What a ResourceQuota leaves free of pods, CPU and memory requests; None where no limit."""

    namespace: str
    name: str
    pods: int | None = None
    cpu: int | None = None
    memory: int | None = None


class Connection(Part, frozen=True, kw_only=True):
    """A connection seen on a node: who opened it, and whom it reached, by address."""

    source: str
    target: str
    port: int
    node: str = ""


class Node(Part, frozen=True, kw_only=True):
    """A node as the scheduler sees it. `attachable` is the limit of volumes by CSI driver."""

    name: str
    labels: dict[str, str] = {}
    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False
    ready: bool = True
    cpu: int = 0
    memory: int = 0
    disk: int = 0
    pods: int = 110
    extended: tuple[tuple[str, int], ...] = ()
    attachable: tuple[tuple[str, int], ...] = ()
    version: str = ""


class Workloads(msgspec.Struct, frozen=True, kw_only=True):
    """All facts of one reading. What was not read is named in `unread`."""

    taken_at: float = 0.0
    nodes: tuple[Node, ...] = ()
    pods: tuple[Pod, ...] = ()
    controllers: tuple[Controller, ...] = ()
    budgets: tuple[Budget, ...] = ()
    autoscalers: tuple[Autoscaler, ...] = ()
    claims: tuple[Claim, ...] = ()
    volumes: tuple[Volume, ...] = ()
    classes: tuple[StorageClass, ...] = ()
    services: tuple[Service, ...] = ()
    policies: tuple[Policy, ...] = ()
    namespaces: dict[str, dict[str, str]] = {}
    configs: tuple[ConfigText, ...] = ()
    flux: tuple[FluxUnit, ...] = ()
    hooks: tuple[Hook, ...] = ()
    quotas: tuple[Quota, ...] = ()
    unattached: tuple[str, ...] = ()
    """CSI drivers that attach nothing (`attachRequired: false`)."""
    connections: tuple[Connection, ...] = ()
    connections_seen: tuple[str, ...] = ()
    """Nodes whose connections were looked at."""
    unread: tuple[Unread, ...] = ()

    @property
    def complete(self) -> bool:
        return not self.unread
