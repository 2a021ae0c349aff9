"""A pod and its template, as far as they are read for workloads."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from msgspec import field

from pawl.core.workloads.object_parts import (
    Api,
    ConditionPart,
    MetaPart,
    NameRef,
    NodeTermsPart,
    SelectorPart,
)
from pawl.core.workloads.quantity import Quantity

_SLEEP = re.compile(r"\s*(?:/usr)?(?:/bin/)?sleep\s+(\d+(?:\.\d+)?)s?\s*(?:$|;|&&)")


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


class SleepPart(Api, frozen=True, kw_only=True):
    seconds: float = 0.0


class ExecPart(Api, frozen=True, kw_only=True):
    command: tuple[str, ...] | None = None


class HookPart(Api, frozen=True, kw_only=True):
    sleep: SleepPart | None = None
    exec: ExecPart | None = None


class LifecyclePart(Api, frozen=True, kw_only=True):
    pre_stop: HookPart | None = None

    @property
    def sleeps(self) -> float:
        """Seconds that its preStop hook surely takes: the API's own sleep, or a command that begins
        with one."""
        if self.pre_stop is None:
            return 0.0
        if self.pre_stop.sleep is not None:
            return self.pre_stop.sleep.seconds
        command = (self.pre_stop.exec.command if self.pre_stop.exec else None) or ()
        shell = command[2] if len(command) > 2 and command[1] == "-c" else " ".join(command)
        found = _SLEEP.match(shell)
        return float(found[1]) if found else 0.0


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
