"""The `Leeway` port over the API: each change and its mark in one patch.

A patch carries the version of the object that was read, so that nothing which somebody else sets in
between is taken for what stood there before. All marks are labels: the annotations of a Deployment
are copied to its ReplicaSets, where nobody would take them away again.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from pawl.adapters.kube.client import KubeClient, KubeRefused
from pawl.adapters.kube.objects import Anything, BudgetObject, DrainPod, WorkloadObject
from pawl.core.errors import StepFailed, Temporary
from pawl.core.marks import LEEWAY, LEEWAY_BY, LEEWAY_WAS, OWNER_PREFIX, VICTIM
from pawl.ports.clock import Clock
from pawl.ports.kube import Pod
from pawl.ports.leeway import Kind, Lent

CONFLICTS = 5
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
LEAST = str(-(2**31))
RESTARTED = "kubectl.kubernetes.io/restartedAt"
"""Where `kubectl rollout restart` notes it, so that tools which know that know this too."""

_PLACES: dict[str, tuple[str, Any]] = {
    "Deployment": ("/apis/apps/v1/namespaces/{}/deployments", WorkloadObject),
    "StatefulSet": ("/apis/apps/v1/namespaces/{}/statefulsets", WorkloadObject),
    "ReplicaSet": ("/apis/apps/v1/namespaces/{}/replicasets", WorkloadObject),
    "ReplicationController": ("/api/v1/namespaces/{}/replicationcontrollers", WorkloadObject),
    "PodDisruptionBudget": ("/apis/policy/v1/namespaces/{}/poddisruptionbudgets", BudgetObject),
    "Pod": ("/api/v1/namespaces/{}/pods", DrainPod),
}


class ApiLeeway:
    """`Leeway` over the API."""

    def __init__(self, client: KubeClient, clock: Clock) -> None:
        self._client, self._clock = client, clock

    async def scale(self, namespace: str, workload: str, owner: str) -> None:
        def more(read: WorkloadObject) -> tuple[str, dict[str, Any]]:
            now = 1 if read.spec.replicas is None else read.spec.replicas
            return str(now), {"replicas": now + 1}

        await self._lend("scale", namespace, workload, owner, more)

    async def allow_unhealthy(self, namespace: str, budget: str, owner: str) -> None:
        def allow(read: BudgetObject) -> tuple[str, dict[str, Any]]:
            return read.spec.unhealthy, {"unhealthyPodEvictionPolicy": "AlwaysAllow"}

        await self._lend("always-allow", namespace, f"PodDisruptionBudget/{budget}", owner, allow)

    async def restart(self, namespace: str, workload: str, owner: str) -> None:
        at = datetime.fromtimestamp(self._clock.now(), UTC).isoformat(timespec="seconds")

        def begin(read: WorkloadObject) -> tuple[str, dict[str, Any]]:
            return "", {"template": {"metadata": {"annotations": {RESTARTED: at}}}}

        await self._lend("restart", namespace, workload, owner, begin)

    async def rolled_out(self, namespace: str, workload: str) -> str:
        path, _ = _place(namespace, workload)
        read = await self._client.get(path, WorkloadObject)
        status, wanted = read.status, 1 if read.spec.replicas is None else read.spec.replicas
        if status.observed_generation < read.metadata.generation:
            return f"{namespace}/{workload}: its controller has not seen the restart yet"
        if status.updated_replicas < wanted or status.available_replicas < wanted:
            return (
                f"{namespace}/{workload}: {min(status.updated_replicas, status.available_replicas)}"
                f" of {wanted} new pods are available"
            )
        if status.replicas > status.updated_replicas:
            gone = status.replicas - status.updated_replicas
            return f"{namespace}/{workload}: {gone} old pods are still there"
        return ""

    async def choose(self, pod: Pod) -> None:
        body = {
            "metadata": {
                "uid": pod.uid,
                "labels": {LEEWAY: VICTIM},
                "annotations": {DELETION_COST: LEAST},
            }
        }
        await self._patch(_place(pod.namespace, f"Pod/{pod.name}")[0], body)

    async def lent(self) -> tuple[Lent, ...]:
        found = []
        for kind, (place, item) in _PLACES.items():
            path = place.replace("/namespaces/{}", "")
            for o in await self._client.every(path, item, {"labelSelector": LEEWAY}):
                marks = o.metadata.labels or {}
                found.append(
                    Lent(
                        what=marks[LEEWAY],
                        namespace=o.metadata.namespace,
                        object=f"{kind}/{o.metadata.name}",
                        was=marks.get(LEEWAY_WAS, ""),
                        to=f"{OWNER_PREFIX}{marks.get(LEEWAY_BY, '')}",
                    )
                )
        return tuple(sorted(found))

    async def give_back(self, lent: Lent) -> None:
        path, kind = _place(lent.namespace, lent.object)
        for _ in range(CONFLICTS):
            try:
                read = await self._client.get(path, kind)
            except KubeRefused as error:
                if error.code == 404:
                    return
                raise
            if LEEWAY not in (read.metadata.labels or {}):
                return
            metadata: dict[str, Any] = {
                "resourceVersion": read.metadata.resource_version,
                "labels": dict.fromkeys((LEEWAY, LEEWAY_BY, LEEWAY_WAS)),
            }
            if lent.what == "victim":
                metadata["annotations"] = {DELETION_COST: None}
            body = {"metadata": metadata, **_before(lent, read)}
            if await self._patch(path, body):
                return
        raise Temporary(f"{lent.name} changes too fast to be given back", delay=2.0)

    async def _lend(self, what: Kind, namespace: str, name: str, owner: str, change: Any) -> None:
        path, kind = _place(namespace, name)
        for _ in range(CONFLICTS):
            read = await self._client.get(path, kind)
            held = (read.metadata.labels or {}).get(LEEWAY)
            if held == what:
                return
            if held:
                raise StepFailed(f"{namespace}/{name} is marked {held} by pawl already.")
            was, spec = change(read)
            body = {
                "metadata": {
                    "resourceVersion": read.metadata.resource_version,
                    "labels": {
                        LEEWAY: what,
                        LEEWAY_BY: owner.removeprefix(OWNER_PREFIX),
                        LEEWAY_WAS: was,
                    },
                },
                "spec": spec,
            }
            if await self._patch(path, body):
                return
        raise Temporary(f"{namespace}/{name} changes too fast", delay=2.0)

    async def _patch(self, path: str, body: dict[str, Any]) -> bool:
        """False when the object has changed since it was read, or is gone."""
        try:
            await self._client.send("PATCH", path, body, Anything, patch=True)
        except KubeRefused as error:
            if error.code in (404, 409):
                return False
            raise
        return True


def _place(namespace: str, name: str) -> tuple[str, Any]:
    kind, _, own = name.partition("/")
    place, item = _PLACES[kind]
    return f"{place.format(namespace)}/{quote(own, safe='')}", item


def _before(lent: Lent, read: Any) -> dict[str, Any]:
    """The specification as it was, unless somebody else has changed it since."""
    match lent.what:
        case "scale" if lent.was.isdigit() and read.spec.replicas == int(lent.was) + 1:
            return {"spec": {"replicas": int(lent.was)}}
        case "always-allow" if read.spec.unhealthy == "AlwaysAllow":
            return {"spec": {"unhealthyPodEvictionPolicy": lent.was or None}}
    return {}
