"""What the Kubernetes API knows: nodes, pods, budgets, workloads, webhooks, lease holders."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter, defaultdict
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec

from pawl.adapters.kube.client import KubeClient
from pawl.adapters.kube.objects import (
    BudgetObject,
    HookConfiguration,
    HookObject,
    LeaseObject,
    NamespaceObject,
    NodeObject,
    PodObject,
    Slice,
    WorkloadObject,
)
from pawl.adapters.kube.pods import CORDONED_BY
from pawl.core.config import HostConfig
from pawl.core.errors import PawlError
from pawl.core.model import ClusterState, DisruptionBudget, Node, Taint, Unread, Webhook, Workload

T = TypeVar("T")
_HOOKS = "/apis/admissionregistration.k8s.io/v1"
HOOKS = ("validatingwebhookconfigurations", "mutatingwebhookconfigurations")
SETS = (
    ("Deployment", "deployments"),
    ("StatefulSet", "statefulsets"),
    ("DaemonSet", "daemonsets"),
)
NEEDED_TO_MOVE = (
    ("", "pods"),
    ("", "pods/binding"),
    ("", "pods/eviction"),
    ("", "nodes"),
    ("apps", "replicasets"),
    ("coordination.k8s.io", "leases"),
    ("discovery.k8s.io", "endpointslices"),
)
"""What must be written for a pod to leave one node and serve from another."""
_APPS = "/apis/apps/v1"
_LEASES = "/apis/coordination.k8s.io/v1/namespaces"


class PodFact(msgspec.Struct, frozen=True, gc=False):
    """The little of a pod that an observation keeps. `owner` is (kind, name) of its controller,
    a Deployment in place of its ReplicaSet. Texts that repeat are shared."""

    namespace: str
    name: str
    node: str
    labels: dict[str, str]
    owner: tuple[str, str]
    finished: bool


class KubeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was read; `leases` maps a component to its leader's identity."""

    nodes: tuple[Node, ...] = ()
    budgets: tuple[DisruptionBudget, ...] = ()
    workloads: tuple[Workload, ...] = ()
    webhooks: tuple[Webhook, ...] = ()
    leases: dict[str, str] = {}
    unread: tuple[Unread, ...] = ()


class _Part(Protocol):
    async def __call__(self, source: str, work: Awaitable[T], empty: T) -> T: ...


def _parts(unread: list[Unread]) -> _Part:
    """A reading that fails for itself: noted in `unread`, with `empty` in its place."""

    async def part(source: str, work: Awaitable[T], empty: T) -> T:
        try:
            return await work
        except PawlError as error:
            unread.append(Unread(source=source, why=str(error)))
            return empty

    return part


def _holders(leases: Iterable[LeaseObject]) -> dict[str, str]:
    return {o.metadata.name: o.spec.holder or "" for o in leases}


class KubeReader:
    """Reads through the common endpoint. Each source fails for itself."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    async def read(self, hosts: Sequence[HostConfig]) -> KubeFacts:
        unread: list[Unread] = []
        part = _parts(unread)
        every = self._client.every
        none: list[WorkloadObject] = []
        sets: list[list[WorkloadObject]]
        configured: list[list[HookConfiguration]]
        hooks: list[HookConfiguration] = []
        nodes, beats, pods, budgets, leaders = await asyncio.gather(
            part("nodes", every("/api/v1/nodes", NodeObject), []),
            part("node leases", every(f"{_LEASES}/kube-node-lease/leases", LeaseObject), []),
            part("pods", self._pods(), []),
            part(
                "disruption budgets",
                every("/apis/policy/v1/poddisruptionbudgets", BudgetObject),
                [],
            ),
            part("leases in kube-system", every(f"{_LEASES}/kube-system/leases", LeaseObject), []),
        )
        sets = await asyncio.gather(
            *(part(kind, every(f"{_APPS}/{path}", WorkloadObject), none) for kind, path in SETS)
        )
        configured = await asyncio.gather(
            *(part(kind, every(f"{_HOOKS}/{kind}", HookConfiguration), hooks) for kind in HOOKS)
        )
        kinds = (kind for kind, _ in SETS)
        held = Counter(p.node for p in pods if not p.finished)
        closing = [c for cs in configured for c in cs]
        return KubeFacts(
            nodes=_nodes(nodes, beats, held, hosts),
            budgets=_budgets(budgets, pods),
            workloads=_workloads(dict(zip(kinds, sets, strict=True)), pods),
            webhooks=await part("webhook backends", self._webhooks(closing), ()),
            leases=_holders(leaders),
            unread=tuple(unread),
        )

    async def refresh(self, hosts: Sequence[HostConfig], before: ClusterState) -> KubeFacts:
        """Nodes and Leases alone: their number is that of the machines, not that of the pods. How
        many pods a node holds is told as it was before."""
        unread: list[Unread] = []
        part = _parts(unread)
        every = self._client.every
        nodes, beats, leaders = await asyncio.gather(
            part("nodes", every("/api/v1/nodes", NodeObject), []),
            part("node leases", every(f"{_LEASES}/kube-node-lease/leases", LeaseObject), []),
            part("leases in kube-system", every(f"{_LEASES}/kube-system/leases", LeaseObject), []),
        )
        held = {n.name: n.pods for n in before.nodes}
        return KubeFacts(
            nodes=_nodes(nodes, beats, held, hosts),
            leases=_holders(leaders),
            unread=tuple(unread),
        )

    async def _pods(self) -> list[PodFact]:
        """Page by page into what is kept, so that no more than one page of objects lives."""
        found: list[PodFact] = []
        labels: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
        async for page in self._client.pages("/api/v1/pods", PodObject):
            for pod in page:
                meta = pod.metadata
                own = meta.labels or {}
                key = tuple(own.items())
                found.append(
                    PodFact(
                        sys.intern(meta.namespace),
                        meta.name,
                        sys.intern(pod.spec.node),
                        labels.setdefault(key, own),
                        _owner(pod),
                        pod.status.phase in ("Succeeded", "Failed"),
                    )
                )
        return found

    async def _webhooks(self, configured: Iterable[HookConfiguration]) -> tuple[Webhook, ...]:
        """Those that fail closed and whose backend is a Service of this cluster."""
        wanted: dict[str, tuple[HookObject, tuple[str, str]]] = {}
        for configuration in configured:
            for hook in configuration.webhooks or ():
                service = hook.client_config.service
                if hook.failure_policy == "Fail" and service:
                    name = f"{configuration.metadata.name}/{hook.name}"
                    wanted[name] = hook, (service.namespace, service.name)
        services = sorted({service for _, service in wanted.values()})
        nodes = dict(
            zip(
                services, await asyncio.gather(*(self._backends(*s) for s in services)), strict=True
            )
        )
        spaces = sorted(
            {space for hook, (space, _) in wanted.values() if hook.namespaces is not None}
        )
        labels = dict(
            zip(spaces, await asyncio.gather(*(self._labels(s) for s in spaces)), strict=True)
        )
        return tuple(
            Webhook(
                name=name,
                service="/".join(service),
                nodes=nodes[service],
                holds=tuple(
                    resource
                    for group, resource in NEEDED_TO_MOVE
                    if any(rule.matches(group, resource) for rule in hook.rules or ())
                ),
                own_namespace=hook.namespaces is None
                or hook.namespaces.matches(labels[service[0]]),
            )
            for name, (hook, service) in sorted(wanted.items())
        )

    async def _labels(self, namespace: str) -> dict[str, str]:
        found = await self._client.get(f"/api/v1/namespaces/{namespace}", NamespaceObject)
        return found.metadata.labels or {}

    async def _backends(self, namespace: str, service: str) -> tuple[str, ...]:
        slices = await self._client.every(
            f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
            Slice,
            {"labelSelector": f"kubernetes.io/service-name={service}"},
        )
        return tuple(
            sorted(
                {
                    e.node_name
                    for s in slices
                    for e in s.endpoints or ()
                    if e.node_name and e.conditions.ready is not False
                }
            )
        )


def _owner(pod: PodObject) -> tuple[str, str]:
    owner = next((o for o in pod.metadata.owners or () if o.controller), None)
    if owner is None:
        return ("", "")
    template = (pod.metadata.labels or {}).get("pod-template-hash", "")
    if owner.kind == "ReplicaSet" and template and owner.name.endswith(f"-{template}"):
        return ("Deployment", sys.intern(owner.name.removesuffix(f"-{template}")))
    return (sys.intern(owner.kind), sys.intern(owner.name))


def _nodes(
    nodes: Iterable[NodeObject],
    beats: Iterable[LeaseObject],
    held: Mapping[str, int],
    hosts: Sequence[HostConfig],
) -> tuple[Node, ...]:
    by_name = {h.node_name: h.name for h in hosts}
    by_address = {h.address: h.name for h in hosts}
    renewed = {b.metadata.name: b.spec.renewed_at for b in beats}

    def host(node: NodeObject) -> str:
        addresses = (a.address for a in node.status.addresses or ())
        found = (by_address[a] for a in addresses if a in by_address)
        return by_name.get(node.metadata.name) or next(found, "")

    return tuple(
        Node(
            name=n.metadata.name,
            host=host(n),
            kubelet=n.status.node_info.kubelet.removeprefix("v") or None,
            runtime=n.status.node_info.runtime,
            kernel=n.status.node_info.kernel,
            os_image=n.status.node_info.os_image,
            machine_id=n.status.node_info.machine_id,
            ready=any(c.type == "Ready" and c.status == "True" for c in n.status.conditions or ()),
            conditions=tuple(
                c.type
                for c in n.status.conditions or ()
                if c.status != "False" and c.type != "Ready"
            ),
            taints=tuple(
                Taint(key=t.key, value=t.value, effect=t.effect) for t in n.spec.taints or ()
            ),
            unschedulable=n.spec.unschedulable,
            cordoned_by=(n.metadata.annotations or {}).get(CORDONED_BY, ""),
            pods=held.get(n.metadata.name, 0),
            volumes_attached=len(n.status.volumes_attached or ()),
            lease_renewed=renewed.get(n.metadata.name),
        )
        for n in nodes
    )


def _budgets(
    budgets: Iterable[BudgetObject], pods: Iterable[PodFact]
) -> tuple[DisruptionBudget, ...]:
    by_namespace: dict[str, list[PodFact]] = defaultdict(list)
    for pod in pods:
        if not pod.finished:
            by_namespace[pod.namespace].append(pod)
    return tuple(
        DisruptionBudget(
            namespace=b.metadata.namespace,
            name=b.metadata.name,
            allowed=b.status.disruptions_allowed,
            healthy=b.status.current_healthy,
            desired_healthy=b.status.desired_healthy,
            expected=b.status.expected_pods,
            max_unavailable=str(b.spec.max_unavailable),
            min_available=str(b.spec.min_available),
            observed=b.status.observed_generation > 0,
            sync_failed=next(
                (
                    c.message or c.reason
                    for c in b.status.conditions or ()
                    if c.type == "DisruptionAllowed" and c.reason == "SyncFailed"
                ),
                "",
            ),
            selected=tuple(
                f"{p.namespace}/{p.name}"
                for p in by_namespace[b.metadata.namespace]
                if b.spec.selector is not None and b.spec.selector.matches(p.labels)
            ),
        )
        for b in budgets
    )


def _workloads(
    found: dict[str, list[WorkloadObject]], pods: Iterable[PodFact]
) -> tuple[Workload, ...]:
    on: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for pod in pods:
        if pod.node and not pod.finished:
            on[(*pod.owner, pod.namespace)].add(pod.node)
    result: list[Workload] = []
    for kind, objects in found.items():
        for o in objects:
            daemon = kind == "DaemonSet"
            replicas = 1 if o.spec.replicas is None else o.spec.replicas
            result.append(
                Workload(
                    kind=kind,
                    namespace=o.metadata.namespace,
                    name=o.metadata.name,
                    desired=o.status.desired_scheduled if daemon else replicas,
                    ready=o.status.number_ready if daemon else o.status.ready_replicas,
                    nodes=tuple(sorted(on[kind, o.metadata.name, o.metadata.namespace])),
                )
            )
    return tuple(sorted(result, key=lambda w: (w.namespace, w.kind, w.name)))
