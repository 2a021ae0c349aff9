"""All facts of the workloads, read page by page through the common endpoint.

Each kind fails for itself and is then named as not read. Kinds of Argo and Flux that the cluster
does not serve are simply not there.
"""

from __future__ import annotations

import asyncio
from typing import Any

from pawl.adapters.kube.client import KubeClient, KubeRefused
from pawl.core.errors import PawlError
from pawl.core.workloads.facts import Workloads
from pawl.core.workloads.gather import PARTS, Gatherer
from pawl.ports.clock import Clock

_V1, _APPS, _STORAGE = "/api/v1", "/apis/apps/v1", "/apis/storage.k8s.io/v1"
_ADMISSION = "/apis/admissionregistration.k8s.io/v1"
PATHS = {
    "Namespace": f"{_V1}/namespaces",
    "Node": f"{_V1}/nodes",
    "CSINode": f"{_STORAGE}/csinodes",
    "CSIDriver": f"{_STORAGE}/csidrivers",
    "StorageClass": f"{_STORAGE}/storageclasses",
    "PersistentVolume": f"{_V1}/persistentvolumes",
    "PersistentVolumeClaim": f"{_V1}/persistentvolumeclaims",
    "Service": f"{_V1}/services",
    "Deployment": f"{_APPS}/deployments",
    "StatefulSet": f"{_APPS}/statefulsets",
    "DaemonSet": f"{_APPS}/daemonsets",
    "ReplicaSet": f"{_APPS}/replicasets",
    "ReplicationController": f"{_V1}/replicationcontrollers",
    "Rollout": "/apis/argoproj.io/v1alpha1/rollouts",
    "Job": "/apis/batch/v1/jobs",
    "CronJob": "/apis/batch/v1/cronjobs",
    "PodDisruptionBudget": "/apis/policy/v1/poddisruptionbudgets",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/horizontalpodautoscalers",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/networkpolicies",
    "ResourceQuota": f"{_V1}/resourcequotas",
    "ValidatingWebhookConfiguration": f"{_ADMISSION}/validatingwebhookconfigurations",
    "MutatingWebhookConfiguration": f"{_ADMISSION}/mutatingwebhookconfigurations",
    "Kustomization": "/apis/kustomize.toolkit.fluxcd.io/v1/kustomizations",
    "HelmRelease": "/apis/helm.toolkit.fluxcd.io/v2/helmreleases",
    "Pod": f"{_V1}/pods",
    "ConfigMap": f"{_V1}/configmaps",
}
OPTIONAL = ("Rollout", "Kustomization", "HelmRelease")
LARGE = ("ReplicaSet", "Pod", "ConfigMap")
"""Kinds that are never held whole: their pages become facts one by one."""
TOGETHER = 6
"""Lists read at the same time; an API server in mid-upgrade is not flooded."""


class ApiWorkloads:
    """`WorkloadReader` over the API."""

    def __init__(self, client: KubeClient, clock: Clock) -> None:
        self._client, self._clock = client, clock

    async def read(self) -> Workloads:
        return (await gather_workloads(self._client, self._clock.now())).facts()


async def gather_workloads(client: KubeClient, taken_at: float) -> Gatherer:
    """Everything of `PATHS`, in the gatherer's order: small kinds together, large ones page by
    page."""
    gatherer = Gatherer(taken_at)
    small = [k for k in PARTS if k not in LARGE]
    limit = asyncio.Semaphore(TOGETHER)

    async def one(kind: str) -> list[Any] | PawlError:
        async with limit:
            try:
                return await client.every(PATHS[kind], PARTS[kind])
            except PawlError as error:
                return error

    read = dict(zip(small, await asyncio.gather(*(one(k) for k in small)), strict=True))
    for kind in PARTS:
        if kind in LARGE:
            try:
                async for page in client.pages(PATHS[kind], PARTS[kind]):
                    gatherer.add(kind, page)
            except PawlError as error:
                _unread(gatherer, kind, error)
            continue
        found = read.pop(kind)
        if isinstance(found, PawlError):
            _unread(gatherer, kind, found)
        else:
            gatherer.add(kind, found)
    return gatherer


def _unread(gatherer: Gatherer, kind: str, error: PawlError) -> None:
    if kind in OPTIONAL and isinstance(error, KubeRefused) and error.code == 404:
        return
    gatherer.unread(kind, str(error))
