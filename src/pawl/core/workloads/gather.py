"""From the API's objects to facts, page by page: nothing of an object is kept but its facts.

Kinds are added in the order of `PARTS`: what later kinds refer to comes first (namespaces before
selectors over them, Services before the texts that name them, controllers before their pods). The
reader of a live cluster and the reader of manifests use the same gatherer.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from pawl.core.model import Taint, Unread
from pawl.core.workloads import objects as o
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
    NodeTerm,
    Peer,
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
from pawl.core.workloads.quantity import parse
from pawl.core.workloads.shapes import NOTHING, configs, node_terms, shape, texts

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
    "Pod": o.PodPart,
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
_EVERY = ("*", "*/*", "pods/*")


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
            case _ if PARTS[kind] is o.ControllerPart:
                for item in items:
                    if kind != "ReplicaSet" or _controller_of(item.metadata) is None:
                        self._controller(kind, item.metadata, item.spec, item.status)
            case _:
                method = getattr(self, _METHODS[kind])
                for item in items:
                    method(kind, item)

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

    # -- sharing -----------------------------------------------------------------------------

    def _shape(self, spec: o.PodSpecPart, namespace: str) -> Shape:
        made = shape(spec, namespace, self._namespaces)
        return self._shapes.setdefault(made, made)

    def _shared(self, labels: dict[str, str] | None) -> dict[str, str]:
        own = labels or {}
        return self._labels.setdefault(tuple(own.items()), own)

    # -- cluster -----------------------------------------------------------------------------

    def _namespace(self, _: str, item: o.NamespacePart) -> None:
        self._namespaces[item.metadata.name] = {
            "kubernetes.io/metadata.name": item.metadata.name,
            **(item.metadata.labels or {}),
        }

    def _node(self, _: str, item: o.NodePart) -> None:
        room = item.status.allocatable or {}
        basic = ("cpu", "memory", "ephemeral-storage", "pods")
        self._nodes[item.metadata.name] = Node(
            name=item.metadata.name,
            labels=item.metadata.labels or {},
            taints=tuple(
                Taint(key=t.key, value=t.value, effect=t.effect) for t in item.spec.taints or ()
            ),
            unschedulable=item.spec.unschedulable,
            ready=any(
                c.type == "Ready" and c.status == "True" for c in item.status.conditions or ()
            ),
            cpu=parse(room.get("cpu", 0), 1e-3),
            memory=parse(room.get("memory", 0)),
            disk=parse(room.get("ephemeral-storage", 0)),
            pods=parse(room.get("pods", 110)),
            extended=tuple(sorted((n, parse(a)) for n, a in room.items() if n not in basic)),
            version=item.status.node_info.kubelet.removeprefix("v"),
        )

    def _csi_node(self, _: str, item: o.CsiNodePart) -> None:
        self._limits[item.metadata.name] = tuple(
            (d.name, d.allocatable.count)
            for d in item.spec.drivers or ()
            if d.allocatable is not None and d.allocatable.count is not None
        )

    def _csi_driver(self, _: str, item: o.CsiDriverPart) -> None:
        if not item.spec.attach_required:
            self._unattached.append(item.metadata.name)

    def _class(self, _: str, item: o.StorageClassPart) -> None:
        self._classes.append(
            StorageClass(
                name=item.metadata.name,
                provisioner=item.provisioner,
                waits=item.volume_binding_mode == "WaitForFirstConsumer",
                topologies=tuple(
                    NodeTerm(expressions=tuple(
                        msgspec.structs.replace(e.fact(), operator="In")
                        for e in t.expressions or ()
                    ))
                    for t in item.allowed_topologies or ()
                ),
            )
        )  # fmt: skip

    def _volume(self, _: str, item: o.PersistentVolumePart) -> None:
        affinity = item.spec.node_affinity
        required = affinity.required if affinity else None
        self._volumes.append(
            Volume(
                name=item.metadata.name,
                node_terms=node_terms((required.terms if required else None) or ()),
                driver=item.spec.csi.driver if item.spec.csi else "",
                local=item.spec.local is not None or item.spec.host_path is not None,
            )
        )

    def _claim(self, _: str, item: o.ClaimPart) -> None:
        self._claims.append(
            Claim(
                namespace=item.metadata.namespace,
                name=item.metadata.name,
                volume=item.spec.volume_name,
                modes=item.spec.access_modes or (),
                storage_class=item.spec.storage_class_name or "",
            )
        )

    def _service(self, _: str, item: o.ServicePart) -> None:
        spec = item.spec
        self._services.append(
            Service(
                namespace=item.metadata.namespace,
                name=item.metadata.name,
                selector=tuple((spec.selector or {}).items()),
                ports=tuple(p.port for p in spec.ports or ()),
                ips=tuple(i for i in spec.cluster_ips or () if i and i != "None"),
                type=spec.type,
                external_name=spec.external_name,
            )
        )
        self._index = None

    # -- workloads ---------------------------------------------------------------------------

    def _controller(
        self,
        kind: str,
        meta: o.MetaPart,
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
            max_surge=_text(rolling.max_surge),
            max_unavailable=_text(rolling.max_unavailable),
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

    def _pod(self, item: o.PodPart) -> None:
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
                replica_set=any(w.controller and w.kind == "ReplicaSet" for w in meta.owners or ()),
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

    def _owner(self, item: o.PodPart) -> str:
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

    # -- rules over workloads ----------------------------------------------------------------

    def _budget(self, _: str, item: o.BudgetPart) -> None:
        status = item.status
        failed = ""
        for c in (status.conditions if status else None) or ():
            if c.type == "DisruptionAllowed" and c.reason == "SyncFailed":
                failed = c.message or c.reason
        seen = status is not None and status.observed_generation is not None
        self._budgets.append(
            Budget(
                namespace=item.metadata.namespace,
                name=item.metadata.name,
                selector=item.spec.selector.fact() if item.spec.selector else None,
                min_available=_text(item.spec.min_available),
                max_unavailable=_text(item.spec.max_unavailable),
                always_allow=item.spec.unhealthy == "AlwaysAllow",
                allowed=status.disruptions_allowed if status is not None and seen else None,
                sync_failed=failed,
            )
        )

    def _autoscaler(self, _: str, item: o.AutoscalerPart) -> None:
        ns, to = item.metadata.namespace, item.spec.target
        low = 1 if item.spec.min_replicas is None else item.spec.min_replicas
        self._autoscalers.append(
            Autoscaler(
                namespace=ns,
                name=item.metadata.name,
                target=f"{ns}/{to.kind}/{to.name}",
                minimum=low,
                maximum=item.spec.max_replicas,
            )
        )

    def _policy(self, _: str, item: o.PolicyPart) -> None:
        spec = item.spec
        self._policies.append(
            Policy(
                namespace=item.metadata.namespace,
                name=item.metadata.name,
                subject=spec.pod_selector.fact() if spec.pod_selector else NOTHING,
                egress=_peers(p for rule in spec.egress or () for p in rule.to or ()),
                ingress=_peers(p for rule in spec.ingress or () for p in rule.peers or ()),
            )
        )

    def _quota(self, _: str, item: o.QuotaPart) -> None:
        if item.spec.scopes or item.spec.scope_selector:
            return  # counts only some pods; which, depends on more than is read here
        hard, used = item.spec.hard or {}, item.status.used or {}

        def left(names: tuple[str, ...], unit: float = 1.0) -> int | None:
            found = [parse(hard[n], unit) - parse(used.get(n, 0), unit) for n in names if n in hard]
            return min(found, default=None)

        self._quotas.append(
            Quota(
                namespace=item.metadata.namespace,
                name=item.metadata.name,
                pods=left(("pods", "count/pods")),
                cpu=left(("cpu", "requests.cpu"), 1e-3),
                memory=left(("memory", "requests.memory")),
            )
        )

    def _hooks_of(self, _: str, item: o.HooksPart) -> None:
        for hook in item.webhooks or ():
            service = hook.client_config.service
            rules = [
                set(r.resources or ())
                for r in hook.rules or ()
                if {"CREATE", "*"} & set(r.operations or ())
            ]
            wide = any(r & set(_EVERY) for r in rules)
            self._hooks.append(
                Hook(
                    name=f"{item.metadata.name}/{hook.name}",
                    service=f"{service.namespace}/{service.name}" if service else "",
                    fails_closed=hook.failure_policy == "Fail",
                    pods=wide or any("pods" in r for r in rules),
                    evictions=wide or any("pods/eviction" in r for r in rules),
                )
            )

    def _flux_unit(self, kind: str, item: o.FluxPart) -> None:
        ns = item.metadata.namespace
        self._flux.append(
            FluxUnit(
                kind=kind,
                namespace=ns,
                name=item.metadata.name,
                depends_on=tuple(
                    f"{d.namespace or ns}/{d.name}" for d in item.spec.depends_on or ()
                ),
            )
        )

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


_METHODS = {
    "Namespace": "_namespace", "Node": "_node", "CSINode": "_csi_node",
    "CSIDriver": "_csi_driver", "StorageClass": "_class", "PersistentVolume": "_volume",
    "PersistentVolumeClaim": "_claim", "Service": "_service", "PodDisruptionBudget": "_budget",
    "HorizontalPodAutoscaler": "_autoscaler", "NetworkPolicy": "_policy",
    "ResourceQuota": "_quota", "ValidatingWebhookConfiguration": "_hooks_of",
    "MutatingWebhookConfiguration": "_hooks_of", "Kustomization": "_flux_unit",
    "HelmRelease": "_flux_unit",
}  # fmt: skip


def _controller_of(meta: o.MetaPart) -> o.OwnerPart | None:
    return next((w for w in meta.owners or () if w.controller), None)


def _annotations(*metas: o.MetaPart) -> dict[str, str]:
    return {
        k: v
        for meta in metas
        for k, v in (meta.annotations or {}).items()
        if k.startswith(_KEPT_ANNOTATIONS)
    }


def _claims(spec: o.PodSpecPart, pod: str) -> tuple[str, ...]:
    """Names of the claims; a generic ephemeral volume's is the pod's name and the volume's."""
    return tuple(
        v.claim.claim_name if v.claim else f"{pod}-{v.name}"
        for v in spec.volumes or ()
        if v.claim or (v.ephemeral is not None and pod)
    )


def _peers(parts: Iterable[o.PeerPart]) -> tuple[Peer, ...]:
    """Peers that are pods; an empty pod selector in the own namespace says nothing."""
    return tuple(
        Peer(
            pods=p.pod_selector.fact(),
            namespaces=p.namespace_selector.fact() if p.namespace_selector else None,
        )
        for p in parts
        if p.pod_selector is not None and not p.pod_selector.fact().empty
    )


def _waiting(status: o.PodStatusPart) -> str:
    for c in (*(status.inits or ()), *(status.containers or ())):
        if c.state and c.state.waiting and c.state.waiting.reason not in (
            "", "ContainerCreating", "PodInitializing",
        ):  # fmt: skip
            return sys.intern(c.state.waiting.reason)
    return ""


def _between(start: datetime | None, ready: o.ConditionPart | None) -> float | None:
    if start is None or ready is None or ready.status != "True" or ready.changed is None:
        return None
    return max(0.0, (ready.changed - start).total_seconds())


def _text(value: int | str | None) -> str:
    return "" if value is None else str(value)
