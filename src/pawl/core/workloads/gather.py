"""From the API's objects to facts, page by page: nothing of an object is kept but its facts.

Kinds are added in the order of `PARTS`: what later kinds refer to comes first (namespaces before
selectors over them, Services before the texts that name them, controllers before their pods). The
reader of a live cluster and the reader of manifests use the same gatherer. What an object says by
itself is in `reading`; here is what takes several (owners, shared shapes, counts).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from pawl.core.model import Unread
from pawl.core.workloads import objects as o
from pawl.core.workloads import reading
from pawl.core.workloads.facts import (
    Autoscaler,
    Budget,
    Claim,
    ConfigText,
    Connection,
    Controller,
    FluxUnit,
    Hook,
    Node,
    Pod,
    Policy,
    Quota,
    Service,
    Shape,
    StorageClass,
    Volume,
    Workloads,
)
from pawl.core.workloads.mentions import Services
from pawl.core.workloads.object_parts import ConditionPart, MetaPart, OwnerPart
from pawl.core.workloads.pod_objects import PodPart, PodSpecPart, PodStatusPart
from pawl.core.workloads.shapes import configs, shape, texts

PARTS: dict[str, type[Any]] = {
    "Namespace": o.NamespacePart,
    "Node": o.NodePart,
    "CSINode": o.CsiNodePart,
    "CSIDriver": o.CsiDriverPart,
    "StorageClass": o.StorageClassPart,
    "PersistentVolume": o.PersistentVolumePart,
    "PersistentVolumeClaim": o.ClaimPart,
    "Service": o.ServicePart,
    "Deployment": o.ControllerPart,
    "StatefulSet": o.ControllerPart,
    "DaemonSet": o.ControllerPart,
    "ReplicaSet": o.ControllerPart,
    "ReplicationController": o.ControllerPart,
    "Rollout": o.ControllerPart,
    "Job": o.ControllerPart,
    "CronJob": o.CronJobPart,
    "PodDisruptionBudget": o.BudgetPart,
    "HorizontalPodAutoscaler": o.AutoscalerPart,
    "NetworkPolicy": o.PolicyPart,
    "ResourceQuota": o.QuotaPart,
    "ValidatingWebhookConfiguration": o.HooksPart,
    "MutatingWebhookConfiguration": o.HooksPart,
    "Kustomization": o.FluxPart,
    "HelmRelease": o.FluxPart,
    "Pod": PodPart,
    "ConfigMap": o.ConfigMapPart,
}
"""Every kind that is read, and the parts of it."""

STATIC = "Static"
"""The kind of a static pod's workload: a file on its node, no object of the API."""
BARE = "Pod"
KEPT = (
    ("cluster-autoscaler.kubernetes.io/safe-to-evict", "false"),
    ("karpenter.sh/do-not-disrupt", "true"),
    ("karpenter.sh/do-not-evict", "true"),
)
_MIRROR = "kubernetes.io/config.mirror"
_HASH, _ROLLOUT_HASH = "pod-template-hash", "rollouts-pod-template-hash"
_KEPT_ANNOTATIONS = ("pawl.dev/", "argocd.argoproj.io/", "meta.helm.sh/release-name")


class Gatherer:
    """Add kinds in the order of `PARTS`, then take `facts`."""

    def __init__(self, taken_at: float = 0.0) -> None:
        self.taken_at = taken_at
        self._namespaces: dict[str, dict[str, str]] = {}
        self._nodes: dict[str, Node] = {}
        self._limits: dict[str, tuple[tuple[str, int], ...]] = {}
        self._unattached: list[str] = []
        self._classes: list[StorageClass] = []
        self._volumes: list[Volume] = []
        self._claims: list[Claim] = []
        self._services: list[Service] = []
        self._index: Services | None = None
        self._controllers: dict[str, Controller] = {}
        self._counted: dict[str, int] = {}
        self._pods: list[Pod] = []
        self._budgets: list[Budget] = []
        self._autoscalers: list[Autoscaler] = []
        self._policies: list[Policy] = []
        self._quotas: list[Quota] = []
        self._hooks: list[Hook] = []
        self._flux: list[FluxUnit] = []
        self._configs: list[ConfigText] = []
        self._read: set[str] = set()
        self._connections: set[Connection] = set()
        self._seen: set[str] = set()
        self._unread: list[Unread] = []
        self._shapes: dict[Shape, Shape] = {}
        self._labels: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}

    # -- the way in --------------------------------------------------------------------------

    def add(self, kind: str, items: Iterable[Any]) -> None:
        """Objects of one kind, decoded as `PARTS[kind]`."""
        match kind:
            case "Namespace":
                for item in items:
                    self._namespace(item)
            case "Node":
                self._nodes.update((n.name, n) for n in map(reading.node, items))
            case "CSINode":
                self._limits.update((i.metadata.name, reading.attach_limits(i)) for i in items)
            case "CSIDriver":
                self._unattached += [i.metadata.name for i in items if not i.spec.attach_required]
            case "StorageClass":
                self._classes += map(reading.storage_class, items)
            case "PersistentVolume":
                self._volumes += map(reading.volume, items)
            case "PersistentVolumeClaim":
                self._claims += map(reading.claim, items)
            case "Service":
                self._services += map(reading.service, items)
                self._index = None
            case "PodDisruptionBudget":
                self._budgets += map(reading.budget, items)
            case "HorizontalPodAutoscaler":
                self._autoscalers += map(reading.autoscaler, items)
            case "NetworkPolicy":
                self._policies += map(reading.policy, items)
            case "ResourceQuota":
                self._quotas += [q for q in map(reading.quota, items) if q is not None]
            case "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration":
                self._hooks += [h for item in items for h in reading.hooks(item)]
            case "Kustomization" | "HelmRelease":
                self._flux += [reading.flux_unit(kind, item) for item in items]
            case "Pod":
                for item in items:
                    self._pod(item)
            case "ConfigMap":
                for item in items:
                    self._config(item)
            case "CronJob":
                for item in items:
                    spec, none = item.spec.job_template.spec, o.ControllerStatusPart()
                    self._controller(kind, item.metadata, spec, none, suspended=item.spec.suspend)
            case _:
                for item in items:
                    if kind != "ReplicaSet" or _controller_of(item.metadata) is None:
                        self._controller(kind, item.metadata, item.spec, item.status)

    def unread(self, source: str, why: str) -> None:
        self._unread.append(Unread(source=source, why=why))

    def connections(self, node: str, found: Iterable[Connection]) -> None:
        """Those seen on a node, which from now on counts as looked at."""
        self._seen.add(node)
        self._connections.update(found)

    def facts(self) -> Workloads:
        return Workloads(
            taken_at=self.taken_at,
            nodes=tuple(
                msgspec.structs.replace(n, attachable=self._limits.get(n.name, ()))
                for n in sorted(self._nodes.values(), key=lambda n: n.name)
            ),
            pods=tuple(self._pods),
            controllers=tuple(
                self._counted_of(self._controllers[k]) for k in sorted(self._controllers)
            ),
            budgets=tuple(sorted(self._budgets, key=lambda b: b.key)),
            autoscalers=tuple(self._autoscalers),
            claims=tuple(self._claims),
            volumes=tuple(self._volumes),
            classes=tuple(self._classes),
            services=tuple(self._services),
            policies=tuple(self._policies),
            namespaces=self._namespaces,
            configs=tuple(self._configs),
            flux=tuple(self._flux),
            hooks=tuple(self._hooks),
            quotas=tuple(self._quotas),
            unattached=tuple(self._unattached),
            connections=tuple(
                sorted(self._connections, key=lambda c: (c.source, c.target, c.port, c.node))
            ),
            connections_seen=tuple(sorted(self._seen)),
            unread=tuple(self._unread),
        )

    def _counted_of(self, controller: Controller) -> Controller:
        """Workloads that are known by their pods alone have as many replicas as pods."""
        count = self._counted.get(controller.key)
        return controller if count is None else msgspec.structs.replace(controller, replicas=count)

    @property
    def node_names(self) -> tuple[str, ...]:
        return tuple(self._nodes)

    @property
    def services(self) -> Services:
        if self._index is None:
            self._index = Services(self._services)
        return self._index

    # -- what depends on what else was read --------------------------------------------------

    def _shape(self, spec: PodSpecPart, namespace: str) -> Shape:
        made = shape(spec, namespace, self._namespaces)
        return self._shapes.setdefault(made, made)

    def _shared(self, labels: dict[str, str] | None) -> dict[str, str]:
        own = labels or {}
        return self._labels.setdefault(tuple(own.items()), own)

    def _namespace(self, item: o.NamespacePart) -> None:
        self._namespaces[item.metadata.name] = {
            "kubernetes.io/metadata.name": item.metadata.name,
            **(item.metadata.labels or {}),
        }

    def _controller(
        self,
        kind: str,
        meta: MetaPart,
        spec: o.ControllerSpecPart,
        status: o.ControllerStatusPart,
        *,
        suspended: bool = False,
    ) -> None:
        how = spec.strategy or spec.update_strategy or o.StrategyPart()
        rolling = how.rolling_update or how.canary or o.RollingPart()
        pod, owner = spec.template, _controller_of(meta)
        rules = (spec.pod_failure_policy.rules if spec.pod_failure_policy else None) or ()
        if kind in ("Job", "CronJob"):
            replicas = 1 if spec.parallelism is None else spec.parallelism
        elif kind == "DaemonSet":
            replicas = status.desired_scheduled
        else:
            replicas = 1 if spec.replicas is None else spec.replicas
        controller = Controller(
            kind=kind,
            namespace=meta.namespace,
            name=meta.name,
            replicas=replicas,
            ready=status.ready_replicas or status.number_ready or status.ready,
            labels=meta.labels or {},
            annotations=_annotations(meta, pod.metadata),
            pod_labels=self._shared(pod.metadata.labels),
            shape=self._shape(pod.spec, meta.namespace),
            texts=tuple(texts(pod.spec)),
            configs=configs(pod.spec),
            claims=_claims(pod.spec, ""),
            claim_templates=tuple(t.metadata.name for t in spec.claim_templates or ()),
            pinned=pod.spec.node_name,
            strategy=how.type or ("Canary" if how.canary else ""),
            max_surge=reading.text(rolling.max_surge),
            max_unavailable=reading.text(rolling.max_unavailable),
            partition=rolling.partition or 0,
            ordered=spec.pod_management_policy != "Parallel",
            min_ready=spec.min_ready_seconds,
            paused=spec.paused,
            suspended=suspended or spec.suspend,
            owner=f"{owner.kind}/{owner.name}" if owner else "",
            backoff_limit=6 if spec.backoff_limit is None else spec.backoff_limit,
            ignores_disruption=any(
                r.action == "Ignore"
                and any(c.type == "DisruptionTarget" for c in r.on_pod_conditions or ())
                for r in rules
            ),
            deadline=spec.active_deadline_seconds,
            restart_policy=pod.spec.restart_policy,
        )  # fmt: skip
        self._controllers[controller.key] = controller
        self._read.update(f"{meta.namespace}/{name}" for name in controller.configs)

    def _pod(self, item: PodPart) -> None:
        meta, spec, status = item.metadata, item.spec, item.status
        conditions = {c.type: c for c in status.conditions or ()}
        ready = conditions.get("Ready")
        owner = self._owner(item)
        annotations = meta.annotations or {}
        self._pods.append(
            Pod(
                namespace=sys.intern(meta.namespace),
                name=meta.name,
                uid=meta.uid,
                node=sys.intern(spec.node_name),
                ips=tuple(i.ip for i in status.pod_ips or ()),
                labels=self._shared(meta.labels),
                owner=owner,
                shape=self._shape(spec, meta.namespace),
                claims=_claims(spec, meta.name),
                mirror=_MIRROR in annotations,
                ready=ready is not None and ready.status == "True",
                phase=sys.intern(status.phase or "Pending"),
                terminating=meta.deleted is not None,
                finalizers=meta.finalizers or (),
                waiting=_waiting(status),
                ready_after=_between(status.start_time, ready),
                kept=next((k for k, v in KEPT if annotations.get(k) == v), ""),
            )
        )

    def _owner(self, item: PodPart) -> str:
        """The key of the pod's workload; one that is no object here is made from the pod."""
        meta = item.metadata
        owner, labels = _controller_of(meta), meta.labels or {}
        if owner is None:
            kind, name = BARE, meta.name
        elif owner.kind == "Node":
            kind, name = STATIC, meta.name
        else:
            kind, name = owner.kind, owner.name
            if kind == "ReplicaSet":
                for label, of in ((_ROLLOUT_HASH, "Rollout"), (_HASH, "Deployment")):
                    if label in labels and name.endswith(f"-{labels[label]}"):
                        kind, name = of, name.removesuffix(f"-{labels[label]}")
                        break
        key = sys.intern(f"{meta.namespace}/{kind}/{name}")
        if key not in self._controllers:
            self._controllers[key] = Controller(
                kind=kind,
                namespace=meta.namespace,
                name=name,
                labels=meta.labels or {},
                annotations=_annotations(meta),
                pod_labels=self._shared(meta.labels),
                shape=self._shape(item.spec, meta.namespace),
                texts=tuple(texts(item.spec)),
                configs=configs(item.spec),
                claims=_claims(item.spec, meta.name),
                restart_policy=item.spec.restart_policy,
            )
            self._counted[key] = 0
            self._read.update(f"{meta.namespace}/{n}" for n in self._controllers[key].configs)
        if key in self._counted:
            self._counted[key] += 1
        return key

    def _config(self, item: o.ConfigMapPart) -> None:
        ns = item.metadata.namespace
        if not item.data or f"{ns}/{item.metadata.name}" not in self._read:
            return
        found = tuple(
            (key, mention)
            for key, value in item.data.items()
            for mention in self.services.named(value, ns, key)
        )
        if found:
            self._configs.append(ConfigText(namespace=ns, name=item.metadata.name, mentions=found))


def _controller_of(meta: MetaPart) -> OwnerPart | None:
    return next((w for w in meta.owners or () if w.controller), None)


def _annotations(*metas: MetaPart) -> dict[str, str]:
    return {
        k: v
        for meta in metas
        for k, v in (meta.annotations or {}).items()
        if k.startswith(_KEPT_ANNOTATIONS)
    }


def _claims(spec: PodSpecPart, pod: str) -> tuple[str, ...]:
    """Names of the claims; a generic ephemeral volume's is the pod's name and the volume's."""
    return tuple(
        v.claim.claim_name if v.claim else f"{pod}-{v.name}"
        for v in spec.volumes or ()
        if v.claim or (v.ephemeral is not None and pod)
    )


def _waiting(status: PodStatusPart) -> str:
    for c in (*(status.inits or ()), *(status.containers or ())):
        if c.state and c.state.waiting and c.state.waiting.reason not in (
            "", "ContainerCreating", "PodInitializing",
        ):  # fmt: skip
            return sys.intern(c.state.waiting.reason)
    return ""


def _between(start: datetime | None, ready: ConditionPart | None) -> float | None:
    if start is None or ready is None or ready.status != "True" or ready.changed is None:
        return None
    return max(0.0, (ready.changed - start).total_seconds())
