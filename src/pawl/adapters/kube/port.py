"""The `Kube` port: cordons, taints, evictions. All verbs are idempotent."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from pawl.adapters.kube.client import KubeClient, KubeRefused
from pawl.adapters.kube.objects import (
    Anything,
    Attachment,
    BudgetObject,
    DrainPod,
    LimitedPod,
    MeasuredPod,
    NodeObject,
    Owner,
    SetObject,
)
from pawl.adapters.kube.pods import CORDONED_BY, TEMPLATE, pod_of
from pawl.adapters.kube.watch import Tell, watch
from pawl.core.errors import Temporary
from pawl.core.marks import RELEASED, RELEASED_BY, RELEASED_FROM
from pawl.core.model import Taint
from pawl.ports.kube import Evicted, Pod, Standing

_SETS = {
    "Deployment": "deployments",
    "ReplicaSet": "replicasets",
    "StatefulSet": "statefulsets",
}
CONFLICTS = 5
_BUDGET = re.compile(r"disruption budget (\S+) ")


def node_path(node: str) -> str:
    return f"/api/v1/nodes/{quote(node, safe='')}"


class ApiKube:
    """`Kube` over the API."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    async def pods_on(self, node: str) -> tuple[Pod, ...]:
        selector = {"fieldSelector": f"spec.nodeName={node}"}
        return tuple(
            pod_of(p) for p in await self._client.every("/api/v1/pods", DrainPod, selector)
        )

    async def cordon(self, node: str, owner: str) -> bool:
        """The mark and the cordon are one patch on the version that was read, so that a cordon
        which somebody else sets in between is never taken for ours."""
        for _ in range(CONFLICTS):
            read = await self._node(node)
            if read.spec.unschedulable:
                return (read.metadata.annotations or {}).get(CORDONED_BY) == owner
            if await self._patch(read, {CORDONED_BY: owner}, {"unschedulable": True}):
                return True
        raise Temporary(f"node {node} changes too fast to be cordoned", delay=2.0)

    async def uncordon(self, node: str, owner: str) -> None:
        for _ in range(CONFLICTS):
            try:
                read = await self._node(node)
            except KubeRefused as error:
                if error.code == 404:
                    return
                raise
            if (read.metadata.annotations or {}).get(CORDONED_BY) != owner:
                return
            if await self._patch(read, {CORDONED_BY: None}, {"unschedulable": None}):
                return
        raise Temporary(f"node {node} changes too fast to be uncordoned", delay=2.0)

    async def taint(self, node: str, taint: Taint) -> None:
        new = {"key": taint.key, "value": taint.value, "effect": taint.effect}
        await self._taints(node, taint.key, [new])

    async def untaint(self, node: str, key: str) -> None:
        await self._taints(node, key, [])

    async def _taints(self, node: str, key: str, wanted: list[dict[str, str]]) -> None:
        for _ in range(CONFLICTS):
            try:
                read = await self._node(node)
            except KubeRefused as error:
                if error.code == 404 and not wanted:
                    return
                raise
            raw = await self._client.get(node_path(node), dict[str, Any])
            taints: list[dict[str, str]] = raw["spec"].get("taints") or []
            if [t for t in taints if t["key"] == key] == wanted:
                return
            after = [t for t in taints if t["key"] != key] + wanted
            if raw["metadata"]["resourceVersion"] == read.metadata.resource_version and (
                await self._patch(read, {}, {"taints": after or None})
            ):
                return
        raise Temporary(f"node {node} changes too fast to be tainted", delay=2.0)

    async def _node(self, node: str) -> NodeObject:
        return await self._client.get(node_path(node), NodeObject)

    async def _patch(
        self, read: NodeObject, annotations: dict[str, str | None], spec: dict[str, Any]
    ) -> bool:
        """False when the node has changed since it was read."""
        metadata: dict[str, Any] = {"resourceVersion": read.metadata.resource_version}
        if annotations:
            metadata["annotations"] = annotations
        body = {"metadata": metadata, "spec": spec}
        try:
            await self._client.send(
                "PATCH", node_path(read.metadata.name), body, Anything, patch=True
            )
        except KubeRefused as error:
            if error.code == 409:
                return False
            raise
        return True

    async def evict(self, pod: Pod) -> Evicted:
        own = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}"
        # The UID stands in the eviction too, but there the server retries a mismatch for 10 s.
        try:
            now = await self._client.get(own, DrainPod)
        except KubeRefused as error:
            return _refused(error)
        if now.metadata.uid != pod.uid:
            return Evicted(ok=True, why="already gone: another pod has its name")
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod.name, "namespace": pod.namespace},
            "deleteOptions": {"preconditions": {"uid": pod.uid}},
        }
        try:
            await self._client.send("POST", f"{own}/eviction", body, Anything)
        except KubeRefused as error:
            return _refused(error)
        return Evicted(ok=True)

    async def delete(self, pod: Pod) -> None:
        path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}"
        body = {"preconditions": {"uid": pod.uid}}
        try:
            await self._client.send("DELETE", path, body, Anything)
        except KubeRefused as error:
            if error.code not in (404, 409):
                raise

    async def allowances(self, pod: Pod) -> dict[str, int]:
        """Budget -> what it allows now, of those that select the pod. Without a status that is up
        to date a budget allows nothing."""
        own = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}"
        labels = (await self._client.get(own, DrainPod)).metadata.labels or {}
        path = f"/apis/policy/v1/namespaces/{pod.namespace}/poddisruptionbudgets"
        return {
            b.metadata.name: b.status.disruptions_allowed if b.current else 0
            for b in await self._client.every(path, BudgetObject)
            if b.spec.selector is not None and b.spec.selector.matches(labels)
        }

    async def release(self, pod: Pod, owner: str) -> bool:
        """One patch on the pod of that UID: without the label its ReplicaSet lets go of it."""
        marks = {RELEASED_BY: owner, RELEASED_FROM: pod.owner}
        return await self._relabel(pod, {TEMPLATE: None, RELEASED: pod.template}, marks)

    async def take_back(self, pod: Pod) -> None:
        gone = {RELEASED_BY: None, RELEASED_FROM: None}
        await self._relabel(pod, {TEMPLATE: pod.template, RELEASED: None}, gone)

    async def _relabel(
        self, pod: Pod, labels: dict[str, str | None], annotations: dict[str, Any]
    ) -> bool:
        body = {"metadata": {"uid": pod.uid, "labels": labels, "annotations": annotations}}
        path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}"
        try:
            await self._client.send("PATCH", path, body, Anything, patch=True)
        except KubeRefused as error:
            if error.code == 404 or (error.code == 409 and "UID" in str(error)):
                return False
            raise
        return True

    async def released(self) -> tuple[Pod, ...]:
        found = await self._client.every("/api/v1/pods", DrainPod, {"labelSelector": RELEASED})
        return tuple(pod_of(p) for p in found)

    async def standing(self, namespace: str, owner: str) -> Standing:
        """Counted over pods that a list shows now: a controller's own status lags behind."""
        kind, _, name = owner.partition("/")
        path = f"/apis/apps/v1/namespaces/{namespace}/{_SETS[kind]}/{quote(name, safe='')}"
        try:
            found = await self._client.get(path, SetObject)
        except KubeRefused as error:
            if error.code == 404:
                return Standing(ready=0, wanted=0)
            raise
        labels = (found.spec.selector.match_labels if found.spec.selector else None) or {}
        selector = {"labelSelector": ",".join(f"{k}={v}" for k, v in labels.items())}
        pods = await self._client.every(f"/api/v1/namespaces/{namespace}/pods", DrainPod, selector)
        own = [
            p
            for p in pods
            if p.metadata.deleted is None
            and (by := p.metadata.controller) is not None
            and _is_of(by, kind, name)
        ]
        return Standing(
            ready=sum(p.status.ready for p in own),
            wanted=1 if found.spec.replicas is None else found.spec.replicas,
            pending=next((_pending(p) for p in own if not p.spec.node), ""),
        )

    async def watch(self, tell: Tell) -> None:
        await watch(self._client, tell)

    async def loads(self, namespace: str) -> dict[str, float]:
        try:
            used = await self._client.every(
                f"/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods", MeasuredPod
            )
        except KubeRefused:
            return {}
        limited = await self._client.every(f"/api/v1/namespaces/{namespace}/pods", LimitedPod)
        limits = {p.metadata.name: p.cpu for p in limited if p.cpu}
        return {
            m.metadata.name: m.cpu / limits[m.metadata.name]
            for m in used
            if m.metadata.name in limits
        }

    async def delete_node(self, node: str) -> None:
        try:
            await self._client.send("DELETE", node_path(node), None, Anything)
        except KubeRefused as error:
            if error.code != 404:
                raise

    async def volumes_attached(self, node: str) -> int:
        path = "/apis/storage.k8s.io/v1/volumeattachments"
        attached = await self._client.every(path, Attachment)
        return sum(a.spec.node_name == node for a in attached)


def _is_of(by: Owner, kind: str, name: str) -> bool:
    """A Deployment's pods belong to the ReplicaSet of one of its templates."""
    if kind == "Deployment":
        return by.kind == "ReplicaSet" and by.name.rpartition("-")[0] == name
    return (by.kind, by.name) == (kind, name)


def _refused(error: KubeRefused) -> Evicted:
    """404: gone already. 409: another pod has this name now, so ours is gone too. 429: a budget
    says not now. A webhook's denial or a server's error can pass; being forbidden does not."""
    said = error.failure.message or str(error)
    causes = (error.failure.details.causes if error.failure.details else None) or ()
    if error.code == 404 or (error.code == 409 and "UID" in said):
        return Evicted(ok=True, why="already gone")
    if error.code == 429:
        for cause in causes:
            if cause.reason == "DisruptionBudget":
                named = _BUDGET.search(cause.message)
                return Evicted(ok=False, why=cause.message, budget=named[1] if named else "")
        return Evicted(ok=False, why=said, busy=True)
    if "more than one PodDisruptionBudget" in said:
        return Evicted(ok=False, why=said, retry=False, overlapping=True)
    webhook = "admission webhook" in said or "failed calling webhook" in said
    return Evicted(
        ok=False, why=said, retry=webhook or error.code in (408, 409) or error.code >= 500
    )


def _pending(pod: DrainPod) -> str:
    told = (c.message for c in pod.status.conditions or () if c.type == "PodScheduled")
    return f"{pod.metadata.name} has no node: {next(told, '') or 'not scheduled yet'}"
