"""One object of the API to one fact, where that needs nothing but the object itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from pawl.core.model import Taint
from pawl.core.workloads import objects as o
from pawl.core.workloads.facts import (
    Autoscaler,
    Budget,
    Claim,
    FluxUnit,
    Hook,
    Node,
    NodeTerm,
    Peer,
    Policy,
    Quota,
    Service,
    StorageClass,
    Volume,
)
from pawl.core.workloads.quantity import parse
from pawl.core.workloads.shapes import NOTHING, node_terms

_BASIC = ("cpu", "memory", "ephemeral-storage", "pods")
_EVERY = ("*", "*/*", "pods/*")


# -- the cluster -----------------------------------------------------------------------------------


def node(item: o.NodePart) -> Node:
    room = item.status.allocatable or {}
    return Node(
        name=item.metadata.name,
        labels=item.metadata.labels or {},
        taints=tuple(
            Taint(key=t.key, value=t.value, effect=t.effect) for t in item.spec.taints or ()
        ),
        unschedulable=item.spec.unschedulable,
        ready=any(c.type == "Ready" and c.status == "True" for c in item.status.conditions or ()),
        cpu=parse(room.get("cpu", 0), 1e-3),
        memory=parse(room.get("memory", 0)),
        disk=parse(room.get("ephemeral-storage", 0)),
        pods=parse(room.get("pods", 110)),
        extended=tuple(sorted((n, parse(a)) for n, a in room.items() if n not in _BASIC)),
        version=item.status.node_info.kubelet.removeprefix("v"),
    )


def attach_limits(item: o.CsiNodePart) -> tuple[tuple[str, int], ...]:
    """How many volumes of each driver the node attaches at most."""
    return tuple(
        (d.name, d.allocatable.count)
        for d in item.spec.drivers or ()
        if d.allocatable is not None and d.allocatable.count is not None
    )


def storage_class(item: o.StorageClassPart) -> StorageClass:
    return StorageClass(
        name=item.metadata.name,
        provisioner=item.provisioner,
        waits=item.volume_binding_mode == "WaitForFirstConsumer",
        topologies=tuple(
            NodeTerm(
                expressions=tuple(replace(e.fact(), operator="In") for e in t.expressions or ())
            )
            for t in item.allowed_topologies or ()
        ),
    )


def volume(item: o.PersistentVolumePart) -> Volume:
    affinity = item.spec.node_affinity
    required = affinity.required if affinity else None
    return Volume(
        name=item.metadata.name,
        node_terms=node_terms((required.terms if required else None) or ()),
        driver=item.spec.csi.driver if item.spec.csi else "",
        local=item.spec.local is not None or item.spec.host_path is not None,
    )


def claim(item: o.ClaimPart) -> Claim:
    return Claim(
        namespace=item.metadata.namespace,
        name=item.metadata.name,
        volume=item.spec.volume_name,
        modes=item.spec.access_modes or (),
        storage_class=item.spec.storage_class_name or "",
    )


def service(item: o.ServicePart) -> Service:
    spec = item.spec
    return Service(
        namespace=item.metadata.namespace,
        name=item.metadata.name,
        selector=tuple((spec.selector or {}).items()),
        ports=tuple(p.port for p in spec.ports or ()),
        ips=tuple(i for i in spec.cluster_ips or () if i and i != "None"),
        type=spec.type,
        external_name=spec.external_name,
    )


# -- rules over workloads --------------------------------------------------------------------------


def budget(item: o.BudgetPart) -> Budget:
    status = item.status
    failed = ""
    for c in (status.conditions if status else None) or ():
        if c.type == "DisruptionAllowed" and c.reason == "SyncFailed":
            failed = c.message or c.reason
    seen = status is not None and status.observed_generation is not None
    return Budget(
        namespace=item.metadata.namespace,
        name=item.metadata.name,
        selector=item.spec.selector.fact() if item.spec.selector else None,
        min_available=text(item.spec.min_available),
        max_unavailable=text(item.spec.max_unavailable),
        always_allow=item.spec.unhealthy == "AlwaysAllow",
        allowed=status.disruptions_allowed if status is not None and seen else None,
        sync_failed=failed,
    )


def autoscaler(item: o.AutoscalerPart) -> Autoscaler:
    ns, to = item.metadata.namespace, item.spec.target
    return Autoscaler(
        namespace=ns,
        name=item.metadata.name,
        target=f"{ns}/{to.kind}/{to.name}",
        minimum=1 if item.spec.min_replicas is None else item.spec.min_replicas,
        maximum=item.spec.max_replicas,
    )


def policy(item: o.PolicyPart) -> Policy:
    spec = item.spec
    return Policy(
        namespace=item.metadata.namespace,
        name=item.metadata.name,
        subject=spec.pod_selector.fact() if spec.pod_selector else NOTHING,
        egress=_peers(p for rule in spec.egress or () for p in rule.to or ()),
        ingress=_peers(p for rule in spec.ingress or () for p in rule.peers or ()),
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


def quota(item: o.QuotaPart) -> Quota | None:
    """None for one that counts only some pods: which, depends on more than is read here."""
    if item.spec.scopes or item.spec.scope_selector:
        return None
    hard, used = item.spec.hard or {}, item.status.used or {}

    def left(names: tuple[str, ...], unit: float = 1.0) -> int | None:
        found = [parse(hard[n], unit) - parse(used.get(n, 0), unit) for n in names if n in hard]
        return min(found, default=None)

    return Quota(
        namespace=item.metadata.namespace,
        name=item.metadata.name,
        pods=left(("pods", "count/pods")),
        cpu=left(("cpu", "requests.cpu"), 1e-3),
        memory=left(("memory", "requests.memory")),
    )


def hooks(item: o.HooksPart) -> Iterator[Hook]:
    for hook in item.webhooks or ():
        asked = hook.client_config.service
        rules = [
            set(r.resources or ())
            for r in hook.rules or ()
            if {"CREATE", "*"} & set(r.operations or ())
        ]
        wide = any(r & set(_EVERY) for r in rules)
        yield Hook(
            name=f"{item.metadata.name}/{hook.name}",
            service=f"{asked.namespace}/{asked.name}" if asked else "",
            fails_closed=hook.failure_policy == "Fail",
            pods=wide or any("pods" in r for r in rules),
            evictions=wide or any("pods/eviction" in r for r in rules),
        )


def flux_unit(kind: str, item: o.FluxPart) -> FluxUnit:
    ns = item.metadata.namespace
    return FluxUnit(
        kind=kind,
        namespace=ns,
        name=item.metadata.name,
        depends_on=tuple(f"{d.namespace or ns}/{d.name}" for d in item.spec.depends_on or ()),
    )


def text(value: int | str | None) -> str:
    """An int-or-percent as it stands there."""
    return "" if value is None else str(value)
