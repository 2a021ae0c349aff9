"""The objects around pods that are read for workloads, and nothing else of them: controllers,
budgets, storage, network, webhooks, quotas, nodes.
"""

from __future__ import annotations

from typing import Any

from msgspec import field

from pawl.core.workloads.object_parts import (
    Api,
    ConditionPart,
    MetaPart,
    NodeTermsPart,
    RequirementPart,
    SelectorPart,
)
from pawl.core.workloads.pod_objects import HostPathPart, TemplatePart
from pawl.core.workloads.quantity import Quantity


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
