"""The parts of Kubernetes objects that pawl reads, and nothing else of them.

Names are the API's own with `rename="camel"`; a field that is absent has its zero value. Lists
that the API may send as null are optional.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Generic, TypeVar

import msgspec
from msgspec import field

from pawl.core.workloads.pod_objects import ResourcesPart
from pawl.core.workloads.quantity import Quantity, parse

T = TypeVar("T")


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    pass


class Cause(_Part, frozen=True, kw_only=True):
    reason: str = ""
    message: str = ""


class Details(_Part, frozen=True, kw_only=True):
    causes: tuple[Cause, ...] | None = None


METADATA_LIST = (
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;q=0.5"
)
"""What a client accepts that wants the metadata of a list alone. An aggregated API may know full
objects only: decoded, they come to the same."""


class ListMeta(_Part, frozen=True, kw_only=True):
    more: str = field(name="continue", default="")
    resource_version: str = ""


class Failure(_Part, frozen=True, kw_only=True):
    """A Status object of kind Failure. A list whose token has expired says in `metadata` how it may
    go on."""

    message: str = ""
    reason: str = ""
    code: int = 0
    details: Details | None = None
    metadata: ListMeta = ListMeta()


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    items: tuple[T, ...]
    metadata: ListMeta = ListMeta()


class Owner(_Part, frozen=True, kw_only=True):
    kind: str = ""
    name: str = ""
    controller: bool = False


class Meta(_Part, frozen=True, kw_only=True):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owners: tuple[Owner, ...] | None = field(name="ownerReferences", default=None)
    deleted: str | None = field(name="deletionTimestamp", default=None)
    finalizers: tuple[str, ...] | None = None
    generation: int = 0

    @property
    def controller(self) -> Owner | None:
        return next((o for o in self.owners or () if o.controller), None)


class Condition(_Part, frozen=True, kw_only=True):
    type: str = ""
    status: str = ""
    message: str = ""


class NodeTaint(_Part, frozen=True, kw_only=True):
    key: str = ""
    value: str = ""
    effect: str = ""


class NodeSpec(_Part, frozen=True, kw_only=True):
    unschedulable: bool = False
    taints: tuple[NodeTaint, ...] | None = None


class NodeInfo(_Part, frozen=True, kw_only=True):
    kubelet: str = field(name="kubeletVersion", default="")
    runtime: str = field(name="containerRuntimeVersion", default="")
    kernel: str = field(name="kernelVersion", default="")
    os_image: str = ""
    machine_id: str = field(name="machineID", default="")


class NodeAddress(_Part, frozen=True, kw_only=True):
    type: str = ""
    address: str = ""


class NodeStatus(_Part, frozen=True, kw_only=True):
    conditions: tuple[Condition, ...] | None = None
    node_info: NodeInfo = NodeInfo()
    addresses: tuple[NodeAddress, ...] | None = None
    volumes_attached: tuple[dict[str, str], ...] | None = None
    allocatable: dict[str, Quantity] | None = None


class NodeObject(_Part, frozen=True, kw_only=True):
    metadata: Meta
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class Volume(_Part, frozen=True, kw_only=True):
    empty_dir: dict[str, str] | None = None


class PodSpec(_Part, frozen=True, kw_only=True):
    node: str = field(name="nodeName", default="")
    grace: float | None = field(name="terminationGracePeriodSeconds", default=None)
    priority: int | None = None


class PodStatus(_Part, frozen=True, kw_only=True):
    phase: str = ""
    conditions: tuple[Condition, ...] | None = None

    @property
    def ready(self) -> bool:
        return any(c.type == "Ready" and c.status == "True" for c in self.conditions or ())


class AskingContainer(_Part, frozen=True, kw_only=True):
    resources: ResourcesPart | None = None
    restart_policy: str | None = None


class DrainPodSpec(PodSpec, frozen=True, kw_only=True, rename="camel"):
    volumes: tuple[Volume, ...] | None = None
    containers: tuple[AskingContainer, ...] | None = None
    init_containers: tuple[AskingContainer, ...] | None = None
    resources: ResourcesPart | None = None
    overhead: dict[str, Quantity] | None = None


class PodMeta(_Part, frozen=True, kw_only=True):
    """Less than `Meta`: with 20,000 pods each field that is not read counts."""

    name: str = ""
    namespace: str = ""
    labels: dict[str, str] | None = None
    owners: tuple[Owner, ...] | None = field(name="ownerReferences", default=None)


class PodObject(_Part, frozen=True, kw_only=True):
    """A pod as an observation reads it, by the ten thousand."""

    metadata: PodMeta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class DrainPod(_Part, frozen=True, kw_only=True):
    """A pod as a drain reads it."""

    metadata: Meta
    spec: DrainPodSpec = DrainPodSpec()
    status: PodStatus = PodStatus()


class Usage(_Part, frozen=True, kw_only=True):
    usage: dict[str, str] | None = None


class MeasuredPod(_Part, frozen=True, kw_only=True):
    """A pod of metrics.k8s.io."""

    metadata: PodMeta
    containers: tuple[Usage, ...] | None = None

    @property
    def cpu(self) -> int:
        """Thousandths of a core that all its containers use."""
        return sum(parse((c.usage or {}).get("cpu", "0"), 1e-3) for c in self.containers or ())


class Resources(_Part, frozen=True, kw_only=True):
    limits: dict[str, str] | None = None


class LimitedContainer(_Part, frozen=True, kw_only=True):
    resources: Resources = Resources()


class LimitedSpec(_Part, frozen=True, kw_only=True):
    containers: tuple[LimitedContainer, ...] | None = None


class LimitedPod(_Part, frozen=True, kw_only=True):
    """A pod as far as what it may use."""

    metadata: PodMeta
    spec: LimitedSpec = LimitedSpec()

    @property
    def cpu(self) -> int:
        """Thousandths of a core, 0 where a container has no limit."""
        limits = [(c.resources.limits or {}).get("cpu", "") for c in self.spec.containers or ()]
        return sum(parse(x, 1e-3) for x in limits) if limits and all(limits) else 0


class Expression(_Part, frozen=True, kw_only=True):
    key: str = ""
    operator: str = ""
    values: tuple[str, ...] | None = None


class Selector(_Part, frozen=True, kw_only=True):
    match_labels: dict[str, str] | None = None
    match_expressions: tuple[Expression, ...] | None = None

    def matches(self, labels: dict[str, str]) -> bool:
        """policy/v1: an empty selector selects every pod of the namespace."""
        if any(labels.get(k) != v for k, v in (self.match_labels or {}).items()):
            return False
        for e in self.match_expressions or ():
            value, values = labels.get(e.key), e.values or ()
            held = {
                "In": value in values,
                "NotIn": value not in values,
                "Exists": value is not None,
                "DoesNotExist": value is None,
            }.get(e.operator, False)
            if not held:
                return False
        return True


class BudgetSpec(_Part, frozen=True, kw_only=True):
    max_unavailable: int | str = ""
    min_available: int | str = ""
    unhealthy: str = field(name="unhealthyPodEvictionPolicy", default="")
    selector: Selector | None = None


class BudgetCondition(Condition, frozen=True, kw_only=True):
    reason: str = ""
    message: str = ""


class BudgetStatus(_Part, frozen=True, kw_only=True):
    observed_generation: int = 0
    conditions: tuple[BudgetCondition, ...] | None = None
    disruptions_allowed: int = 0
    current_healthy: int = 0
    desired_healthy: int = 0
    expected_pods: int = 0


class BudgetObject(_Part, frozen=True, kw_only=True):
    metadata: Meta
    spec: BudgetSpec = BudgetSpec()
    status: BudgetStatus = BudgetStatus()

    @property
    def current(self) -> bool:
        """Whether its status is about its present specification."""
        return self.status.observed_generation >= self.metadata.generation


class WorkloadSpec(_Part, frozen=True, kw_only=True):
    replicas: int | None = None


class WorkloadStatus(_Part, frozen=True, kw_only=True):
    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int = 0
    ready_replicas: int = 0
    desired_scheduled: int = field(name="desiredNumberScheduled", default=0)
    number_ready: int = 0


class WorkloadObject(_Part, frozen=True, kw_only=True):
    metadata: Meta
    spec: WorkloadSpec = WorkloadSpec()
    status: WorkloadStatus = WorkloadStatus()


class ServiceRef(_Part, frozen=True, kw_only=True):
    namespace: str = ""
    name: str = ""


class ClientConfig(_Part, frozen=True, kw_only=True):
    service: ServiceRef | None = None
    url: str | None = None


class HookRule(_Part, frozen=True, kw_only=True):
    groups: tuple[str, ...] | None = field(name="apiGroups", default=None)
    resources: tuple[str, ...] | None = None

    def matches(self, group: str, resource: str) -> bool:
        """Whether it matches "pods" or "pods/eviction" of a group."""
        name, _, sub = resource.partition("/")
        wanted = {resource, "*/*"} | ({f"{name}/*", f"*/{sub}"} if sub else {"*"})
        return bool({group, "*"} & set(self.groups or ())) and bool(
            wanted & set(self.resources or ())
        )


class HookObject(_Part, frozen=True, kw_only=True):
    name: str = ""
    client_config: ClientConfig = ClientConfig()
    failure_policy: str = ""
    rules: tuple[HookRule, ...] | None = None
    namespaces: Selector | None = field(name="namespaceSelector", default=None)


class NamespaceObject(_Part, frozen=True, kw_only=True):
    metadata: Meta


class SetSpec(WorkloadSpec, frozen=True, kw_only=True, rename="camel"):
    selector: Selector | None = None


class SetObject(_Part, frozen=True, kw_only=True):
    """A ReplicaSet or StatefulSet, as far as its pods are found by it."""

    spec: SetSpec = SetSpec()


class HookConfiguration(_Part, frozen=True, kw_only=True):
    metadata: Meta
    webhooks: tuple[HookObject, ...] | None = None


class EndpointConditions(_Part, frozen=True, kw_only=True):
    ready: bool | None = None


class Endpoint(_Part, frozen=True, kw_only=True):
    conditions: EndpointConditions = EndpointConditions()
    node_name: str | None = None


class Slice(_Part, frozen=True, kw_only=True):
    endpoints: tuple[Endpoint, ...] | None = None


class LeaseSpec(_Part, frozen=True, kw_only=True, omit_defaults=True):
    holder: str | None = field(name="holderIdentity", default=None)
    duration: int | None = field(name="leaseDurationSeconds", default=None)
    acquired: str | None = field(name="acquireTime", default=None)
    renewed: str | None = field(name="renewTime", default=None)
    transitions: int | None = field(name="leaseTransitions", default=None)

    @property
    def renewed_at(self) -> float:
        """Seconds since the epoch, 0 when never renewed."""
        return datetime.fromisoformat(self.renewed).timestamp() if self.renewed else 0.0


def micro_time(at: float) -> str:
    """Seconds since the epoch as the API's MicroTime."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class LeaseObject(_Part, frozen=True, kw_only=True):
    metadata: Meta
    spec: LeaseSpec = LeaseSpec()


class AttachmentSpec(_Part, frozen=True, kw_only=True):
    node_name: str = ""


class Attachment(_Part, frozen=True, kw_only=True):
    metadata: Meta = Meta()
    spec: AttachmentSpec = AttachmentSpec()


class VersionInfo(_Part, frozen=True, kw_only=True):
    """/version, with the emulated version since 1.33 (KEP-4330)."""

    git_version: str = ""
    emulation_major: str = ""
    emulation_minor: str = ""
    min_compatibility_major: str = ""
    min_compatibility_minor: str = ""


class Anything(msgspec.Struct, frozen=True, kw_only=True):
    """An answer whose content does not matter."""
