"""The parts of the API's objects that are read for workloads, and nothing else of them.

The same shapes decode the API's JSON and manifests in YAML. Names are the API's own; an absent
field has its zero value; lists and mappings that may be null are optional.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import field

from pawl.core.workloads.facts import Requirement, Selector
from pawl.core.workloads.quantity import Quantity


class Api(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    pass


class OwnerPart(Api, frozen=True, kw_only=True):
    kind: str = ""
    name: str = ""
    controller: bool | None = None


class MetaPart(Api, frozen=True, kw_only=True):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owners: tuple[OwnerPart, ...] | None = field(name="ownerReferences", default=None)
    deleted: datetime | None = field(name="deletionTimestamp", default=None)
    finalizers: tuple[str, ...] | None = None


class RequirementPart(Api, frozen=True, kw_only=True):
    key: str = ""
    operator: str = ""
    values: tuple[str, ...] | None = None

    def fact(self) -> Requirement:
        return Requirement(key=self.key, operator=self.operator, values=self.values or ())


class SelectorPart(Api, frozen=True, kw_only=True):
    match_labels: dict[str, str] | None = None
    match_expressions: tuple[RequirementPart, ...] | None = None

    def fact(self) -> Selector:
        return Selector(
            labels=tuple((self.match_labels or {}).items()),
            expressions=tuple(e.fact() for e in self.match_expressions or ()),
        )


class NodeTermPart(Api, frozen=True, kw_only=True):
    match_expressions: tuple[RequirementPart, ...] | None = None
    match_fields: tuple[RequirementPart, ...] | None = None


class NodeTermsPart(Api, frozen=True, kw_only=True):
    terms: tuple[NodeTermPart, ...] | None = field(name="nodeSelectorTerms", default=None)


class NodeAffinityPart(Api, frozen=True, kw_only=True):
    required: NodeTermsPart | None = field(
        name="requiredDuringSchedulingIgnoredDuringExecution", default=None
    )


class PodTermPart(Api, frozen=True, kw_only=True):
    label_selector: SelectorPart | None = None
    topology_key: str = ""
    namespaces: tuple[str, ...] | None = None
    namespace_selector: SelectorPart | None = None


class PodAffinityPart(Api, frozen=True, kw_only=True):
    required: tuple[PodTermPart, ...] | None = field(
        name="requiredDuringSchedulingIgnoredDuringExecution", default=None
    )


class AffinityPart(Api, frozen=True, kw_only=True):
    node: NodeAffinityPart | None = field(name="nodeAffinity", default=None)
    pod: PodAffinityPart | None = field(name="podAffinity", default=None)
    anti: PodAffinityPart | None = field(name="podAntiAffinity", default=None)


class SpreadPart(Api, frozen=True, kw_only=True):
    topology_key: str = ""
    max_skew: int = 1
    when_unsatisfiable: str = "DoNotSchedule"
    label_selector: SelectorPart | None = None
    min_domains: int | None = None
    node_affinity_policy: str = "Honor"
    node_taints_policy: str = "Ignore"
    match_label_keys: tuple[str, ...] | None = None


class TolerationPart(Api, frozen=True, kw_only=True):
    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""


class KeyRef(Api, frozen=True, kw_only=True):
    name: str = ""
    key: str = ""


class EnvSource(Api, frozen=True, kw_only=True):
    config_map: KeyRef | None = field(name="configMapKeyRef", default=None)


class EnvPart(Api, frozen=True, kw_only=True):
    name: str = ""
    value: str | None = None
    value_from: EnvSource | None = None


class NameRef(Api, frozen=True, kw_only=True):
    name: str = ""


class EnvFromPart(Api, frozen=True, kw_only=True):
    config_map: NameRef | None = field(name="configMapRef", default=None)


class PortPart(Api, frozen=True, kw_only=True):
    container_port: int = 0
    host_port: int = 0
    protocol: str = "TCP"


class ResourcesPart(Api, frozen=True, kw_only=True):
    requests: dict[str, Quantity] | None = None
    limits: dict[str, Quantity] | None = None


class ProbePart(Api, frozen=True, kw_only=True):
    initial_delay_seconds: float = 0.0


class LifecyclePart(Api, frozen=True, kw_only=True):
    pre_stop: dict[str, Any] | None = None


class ContainerPart(Api, frozen=True, kw_only=True):
    name: str = ""
    image: str = ""
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    env: tuple[EnvPart, ...] | None = None
    env_from: tuple[EnvFromPart, ...] | None = None
    ports: tuple[PortPart, ...] | None = None
    resources: ResourcesPart | None = None
    readiness_probe: ProbePart | None = None
    lifecycle: LifecyclePart | None = None
    restart_policy: str | None = None


class EmptyDirPart(Api, frozen=True, kw_only=True):
    medium: str = ""
    size_limit: Quantity | None = None


class HostPathPart(Api, frozen=True, kw_only=True):
    path: str = ""


class ClaimRef(Api, frozen=True, kw_only=True):
    claim_name: str = ""


class ProjectedSource(Api, frozen=True, kw_only=True):
    config_map: NameRef | None = None


class ProjectedPart(Api, frozen=True, kw_only=True):
    sources: tuple[ProjectedSource, ...] | None = None


class VolumePart(Api, frozen=True, kw_only=True):
    name: str = ""
    empty_dir: EmptyDirPart | None = None
    host_path: HostPathPart | None = None
    claim: ClaimRef | None = field(name="persistentVolumeClaim", default=None)
    ephemeral: dict[str, Any] | None = None
    config_map: NameRef | None = None
    projected: ProjectedPart | None = None


class GatePart(Api, frozen=True, kw_only=True):
    condition_type: str = ""


class PodSpecPart(Api, frozen=True, kw_only=True):
    node_name: str = ""
    containers: tuple[ContainerPart, ...] | None = None
    init_containers: tuple[ContainerPart, ...] | None = None
    node_selector: dict[str, str] | None = None
    affinity: AffinityPart | None = None
    spread: tuple[SpreadPart, ...] | None = field(name="topologySpreadConstraints", default=None)
    tolerations: tuple[TolerationPart, ...] | None = None
    volumes: tuple[VolumePart, ...] | None = None
    overhead: dict[str, Quantity] | None = None
    resources: ResourcesPart | None = None
    host_network: bool = False
    scheduler_name: str = "default-scheduler"
    priority: int | None = None
    grace: float | None = field(name="terminationGracePeriodSeconds", default=None)
    gates: tuple[GatePart, ...] | None = field(name="readinessGates", default=None)
    restart_policy: str = "Always"


class ConditionPart(Api, frozen=True, kw_only=True):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    changed: datetime | None = field(name="lastTransitionTime", default=None)


class WaitingPart(Api, frozen=True, kw_only=True):
    reason: str = ""


class StatePart(Api, frozen=True, kw_only=True):
    waiting: WaitingPart | None = None


class ContainerStatusPart(Api, frozen=True, kw_only=True):
    state: StatePart | None = None


class IpPart(Api, frozen=True, kw_only=True):
    ip: str = ""


class PodStatusPart(Api, frozen=True, kw_only=True):
    phase: str = ""
    conditions: tuple[ConditionPart, ...] | None = None
    start_time: datetime | None = None
    pod_ips: tuple[IpPart, ...] | None = field(name="podIPs", default=None)
    containers: tuple[ContainerStatusPart, ...] | None = field(
        name="containerStatuses", default=None
    )
    inits: tuple[ContainerStatusPart, ...] | None = field(
        name="initContainerStatuses", default=None
    )


class PodPart(Api, frozen=True, kw_only=True):
    metadata: MetaPart = MetaPart()
    spec: PodSpecPart = PodSpecPart()
    status: PodStatusPart = PodStatusPart()


class TemplatePart(Api, frozen=True, kw_only=True):
    metadata: MetaPart = MetaPart()
    spec: PodSpecPart = PodSpecPart()


class RollingPart(Api, frozen=True, kw_only=True):
    max_surge: int | str | None = None
    max_unavailable: int | str | None = None
    partition: int | None = None


class StrategyPart(Api, frozen=True, kw_only=True):
    type: str = ""
    rolling_update: RollingPart | None = None
    canary: RollingPart | None = None


class FailureRulePart(Api, frozen=True, kw_only=True):
    action: str = ""
    on_pod_conditions: tuple[ConditionPart, ...] | None = None


class FailurePolicyPart(Api, frozen=True, kw_only=True):
    rules: tuple[FailureRulePart, ...] | None = None


class ClaimTemplatePart(Api, frozen=True, kw_only=True):
    metadata: MetaPart = MetaPart()


class ControllerSpecPart(Api, frozen=True, kw_only=True):
    """The specs of Deployment, StatefulSet, DaemonSet, Job, Rollout and ReplicaSet in one."""

    replicas: int | None = None
    template: TemplatePart = TemplatePart()
    strategy: StrategyPart | None = None
    update_strategy: StrategyPart | None = None
    pod_management_policy: str = "OrderedReady"
    claim_templates: tuple[ClaimTemplatePart, ...] | None = field(
        name="volumeClaimTemplates", default=None
    )
    min_ready_seconds: float = 0.0
    paused: bool = False
    suspend: bool = False
    parallelism: int | None = None
    completions: int | None = None
    backoff_limit: int | None = None
    active_deadline_seconds: float | None = None
    pod_failure_policy: FailurePolicyPart | None = None


class ControllerStatusPart(Api, frozen=True, kw_only=True):
    ready_replicas: int = 0
    number_ready: int = 0
    desired_scheduled: int = field(name="desiredNumberScheduled", default=0)
    active: int = 0
    ready: int = 0


class ControllerPart(Api, frozen=True, kw_only=True):
    metadata: MetaPart = MetaPart()
    spec: ControllerSpecPart = ControllerSpecPart()
    status: ControllerStatusPart = ControllerStatusPart()


class JobTemplatePart(Api, frozen=True, kw_only=True):
    spec: ControllerSpecPart = ControllerSpecPart()


class CronSpecPart(Api, frozen=True, kw_only=True):
    suspend: bool = False
    job_template: JobTemplatePart = JobTemplatePart()


class CronJobPart(Api, frozen=True, kw_only=True):
    metadata: MetaPart = MetaPart()
    spec: CronSpecPart = CronSpecPart()


class BudgetSpecPart(Api, frozen=True, kw_only=True):
    selector: SelectorPart | None = None
    min_available: int | str | None = None
    max_unavailable: int | str | None = None
    unhealthy: str = field(name="unhealthyPodEvictionPolicy", default="")


class BudgetStatusPart(Api, frozen=True, kw_only=True):
    disruptions_allowed: int = 0
    observed_generation: int | None = None
    conditions: tuple[ConditionPart, ...] | None = None


class BudgetPart(Api, frozen=True, kw_only=True):
    metadata: MetaPart = MetaPart()
    spec: BudgetSpecPart = BudgetSpecPart()
    status: BudgetStatusPart | None = None


class ScaleRef(Api, frozen=True, kw_only=True):
    kind: str = ""
    name: str = ""


class AutoscalerSpecPart(Api, frozen=True, kw_only=True):
    target: ScaleRef = field(name="scaleTargetRef", default=ScaleRef())
    min_replicas: int | None = None
    max_replicas: int = 1


class AutoscalerPart(Api, frozen=True, kw_only=True):
    metadata: MetaPart = MetaPart()
    spec: AutoscalerSpecPart = AutoscalerSpecPart()


class ClaimSpecPart(Api, frozen=True, kw_only=True):
    access_modes: tuple[str, ...] | None = None
    volume_name: str = ""
    storage_class_name: str | None = None


class ClaimPart(Api, frozen=True, kw_only=True):
    metadata: MetaPart = MetaPart()
    spec: ClaimSpecPart = ClaimSpecPart()


class VolumeAffinityPart(Api, frozen=True, kw_only=True):
    required: NodeTermsPart | None = None


class CsiSource(Api, frozen=True, kw_only=True):
    driver: str = ""


class PersistentSpecPart(Api, frozen=True, kw_only=True):
    node_affinity: VolumeAffinityPart | None = None
    csi: CsiSource | None = None
    local: dict[str, Any] | None = None
    host_path: HostPathPart | None = None


class PersistentVolumePart(Api, frozen=True, kw_only=True):
    metadata: MetaPart = MetaPart()
    spec: PersistentSpecPart = PersistentSpecPart()


class TopologyPart(Api, frozen=True, kw_only=True):
    expressions: tuple[RequirementPart, ...] | None = field(
        name="matchLabelExpressions", default=None
    )


class StorageClassPart(Api, frozen=True, kw_only=True):
    metadata: MetaPart = MetaPart()
    provisioner: str = ""
    volume_binding_mode: str = "Immediate"
    allowed_topologies: tuple[TopologyPart, ...] | None = None


class AllocatablePart(Api, frozen=True, kw_only=True):
    count: int | None = None


class CsiNodeDriverPart(Api, frozen=True, kw_only=True):
    name: str = ""
    allocatable: AllocatablePart | None = None


class CsiNodeSpecPart(Api, frozen=True, kw_only=True):
    drivers: tuple[CsiNodeDriverPart, ...] | None = None


class CsiNodePart(Api, frozen=True, kw_only=True):
    metadata: MetaPart = MetaPart()
    spec: CsiNodeSpecPart = CsiNodeSpecPart()


class CsiDriverSpecPart(Api, frozen=True, kw_only=True):
    attach_required: bool = True


class CsiDriverPart(Api, frozen=True, kw_only=True):
    metadata: MetaPart = MetaPart()
    spec: CsiDriverSpecPart = CsiDriverSpecPart()


class ServicePortPart(Api, frozen=True, kw_only=True):
    port: int = 0


class ServiceSpecPart(Api, frozen=True, kw_only=True):
    selector: dict[str, str] | None = None
    ports: tuple[ServicePortPart, ...] | None = None
    cluster_ips: tuple[str, ...] | None = field(name="clusterIPs", default=None)
    type: str = "ClusterIP"
    external_name: str = ""


class ServicePart(Api, frozen=True, kw_only=True):
    metadata: MetaPart = MetaPart()
    spec: ServiceSpecPart = ServiceSpecPart()


class PeerPart(Api, frozen=True, kw_only=True):
    pod_selector: SelectorPart | None = None
    namespace_selector: SelectorPart | None = None


class EgressPart(Api, frozen=True, kw_only=True):
    to: tuple[PeerPart, ...] | None = None


class IngressPart(Api, frozen=True, kw_only=True):
    peers: tuple[PeerPart, ...] | None = field(name="from", default=None)


class PolicySpecPart(Api, frozen=True, kw_only=True):
    pod_selector: SelectorPart | None = None
    egress: tuple[EgressPart, ...] | None = None
    ingress: tuple[IngressPart, ...] | None = None


class PolicyPart(Api, frozen=True, kw_only=True):
    metadata: MetaPart = MetaPart()
    spec: PolicySpecPart = PolicySpecPart()


class ConfigMapPart(Api, frozen=True, kw_only=True):
    metadata: MetaPart = MetaPart()
    data: dict[str, str] | None = None


class NamespacePart(Api, frozen=True, kw_only=True):
    metadata: MetaPart = MetaPart()


class DependencyPart(Api, frozen=True, kw_only=True):
    name: str = ""
    namespace: str = ""


class FluxSpecPart(Api, frozen=True, kw_only=True):
    depends_on: tuple[DependencyPart, ...] | None = None


class FluxPart(Api, frozen=True, kw_only=True):
    metadata: MetaPart = MetaPart()
    spec: FluxSpecPart = FluxSpecPart()


class HookServicePart(Api, frozen=True, kw_only=True):
    name: str = ""
    namespace: str = ""


class HookClientPart(Api, frozen=True, kw_only=True):
    service: HookServicePart | None = None


class HookRulePart(Api, frozen=True, kw_only=True):
    operations: tuple[str, ...] | None = None
    resources: tuple[str, ...] | None = None


class HookEntryPart(Api, frozen=True, kw_only=True):
    name: str = ""
    client_config: HookClientPart = HookClientPart()
    failure_policy: str = "Fail"
    rules: tuple[HookRulePart, ...] | None = None


class HooksPart(Api, frozen=True, kw_only=True):
    metadata: MetaPart = MetaPart()
    webhooks: tuple[HookEntryPart, ...] | None = None


class QuotaSpecPart(Api, frozen=True, kw_only=True):
    hard: dict[str, Quantity] | None = None
    scopes: tuple[str, ...] | None = None
    scope_selector: dict[str, Any] | None = None


class QuotaStatusPart(Api, frozen=True, kw_only=True):
    used: dict[str, Quantity] | None = None


class QuotaPart(Api, frozen=True, kw_only=True):
    metadata: MetaPart = MetaPart()
    spec: QuotaSpecPart = QuotaSpecPart()
    status: QuotaStatusPart = QuotaStatusPart()


class TaintPart(Api, frozen=True, kw_only=True):
    key: str = ""
    value: str = ""
    effect: str = ""


class NodeSpecPart(Api, frozen=True, kw_only=True):
    unschedulable: bool = False
    taints: tuple[TaintPart, ...] | None = None


class NodeInfoPart(Api, frozen=True, kw_only=True):
    kubelet: str = field(name="kubeletVersion", default="")


class NodeStatusPart(Api, frozen=True, kw_only=True):
    allocatable: dict[str, Quantity] | None = None
    conditions: tuple[ConditionPart, ...] | None = None
    node_info: NodeInfoPart = NodeInfoPart()


class NodePart(Api, frozen=True, kw_only=True):
    metadata: MetaPart = MetaPart()
    spec: NodeSpecPart = NodeSpecPart()
    status: NodeStatusPart = NodeStatusPart()
