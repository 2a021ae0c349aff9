"""Workloads and the pods that run them, page by page into what is kept."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable

import msgspec

from pawl.adapters.inventory.objects import Controller, PodPart, PodSpecPart
from pawl.adapters.kube.client import KubeClient
from pawl.adapters.kube.objects import Meta
from pawl.core.inventory import images
from pawl.core.inventory.facts import Container, WorkloadFact, owner_of

CONTROLLERS = (
    ("Deployment", "/apis/apps/v1/deployments"),
    ("StatefulSet", "/apis/apps/v1/statefulsets"),
    ("DaemonSet", "/apis/apps/v1/daemonsets"),
    ("CronJob", "/apis/batch/v1/cronjobs"),
)
PODS = "/api/v1/pods"
RELEASE = "meta.helm.sh/release-name"
RELEASE_NAMESPACE = "meta.helm.sh/release-namespace"
DNS = ("coredns/coredns", "coredns")
Key = tuple[str, str, str]
"""(kind, namespace, name)."""


async def controllers(
    client: KubeClient, kind: str, path: str
) -> tuple[list[WorkloadFact], list[tuple[str, str]]]:
    """The workloads of one kind, and (namespace, name) of ConfigMaps that CoreDNS mounts."""
    found: list[WorkloadFact] = []
    configured: list[tuple[str, str]] = []
    async for page in client.pages(path, Controller):
        for one in page:
            template = one.spec.pods
            found.append(
                _fact(kind, one.metadata, template.spec, template.metadata.labels,
                      template.metadata.annotations)
            )  # fmt: skip
            configured += _corefiles(one.metadata.namespace, template.spec)
    return found, configured


async def pods(client: KubeClient) -> tuple[dict[Key, list[tuple[str, str]]], list[WorkloadFact]]:
    """(uid, node) of the running pods of each controller, and as workloads those that none of
    `CONTROLLERS` stands above: bare and static pods, Jobs, and what other controllers made."""
    running: dict[Key, list[tuple[str, str]]] = defaultdict(list)
    others: dict[Key, WorkloadFact] = {}
    known = {kind for kind, _ in CONTROLLERS}
    async for page in client.pages(PODS, PodPart):
        for pod in page:
            key = _top(pod)
            if pod.status.phase not in ("Succeeded", "Failed"):
                running[key].append((pod.metadata.uid, sys.intern(pod.spec.node)))
            if key[0] not in known and key not in others:
                fact = _fact(key[0], pod.metadata, pod.spec, None, None)
                others[key] = msgspec.structs.replace(fact, name=key[2])
    return running, list(others.values())


def with_pods(
    found: Iterable[WorkloadFact], running: dict[Key, list[tuple[str, str]]]
) -> tuple[WorkloadFact, ...]:
    return tuple(
        msgspec.structs.replace(w, pods=tuple(running.get((w.kind, w.namespace, w.name), ())))
        for w in found
    )


def release_of(annotations: dict[str, str] | None) -> str:
    """The Helm release "namespace/name" that an object's annotations name (Helm 3.2 and newer)."""
    notes = annotations or {}
    name = notes.get(RELEASE, "")
    return f"{notes.get(RELEASE_NAMESPACE, '')}/{name}" if name else ""


def _top(pod: PodPart) -> Key:
    """What stands above a pod: a Deployment in place of its ReplicaSet, a CronJob in place of its
    Job, itself when nothing does. A static pod is one by its node, so its name loses that."""
    meta = pod.metadata
    above = meta.controller
    if above is None:
        return ("Pod", meta.namespace, meta.name)
    if above.kind == "Node":
        return ("Pod", meta.namespace, meta.name.removesuffix(f"-{above.name}"))
    labels = meta.labels or {}
    template = labels.get("pod-template-hash", "")
    if above.kind == "ReplicaSet" and template and above.name.endswith(f"-{template}"):
        return ("Deployment", meta.namespace, above.name.removesuffix(f"-{template}"))
    stem, dash, number = above.name.rpartition("-")
    if above.kind == "Job" and dash and number.isdigit() and len(number) >= 8:
        return ("CronJob", meta.namespace, stem)
    return (above.kind, meta.namespace, above.name)


def _fact(
    kind: str,
    meta: Meta,
    spec: PodSpecPart,
    labels: dict[str, str] | None,
    annotations: dict[str, str] | None,
) -> WorkloadFact:
    """`labels` and `annotations` are the pod template's: they speak where the object is silent."""
    own = meta.labels or {}
    every = (*spec.containers, *(spec.init_containers or ()))
    return WorkloadFact(
        kind=kind,
        namespace=sys.intern(meta.namespace),
        name=meta.name,
        service_account=spec.service_account or "default",
        token=spec.token,
        host_network=spec.host_network,
        containers=tuple(Container(name=c.name, image=sys.intern(c.image)) for c in every),
        owner=owner_of(meta.annotations, meta.labels) or owner_of(annotations, labels),
        release=release_of(meta.annotations),
        chart=own.get("helm.sh/chart", ""),
        app=own.get("app.kubernetes.io/name", ""),
        version_label=own.get("app.kubernetes.io/version", ""),
    )


def _corefiles(namespace: str, spec: PodSpecPart) -> list[tuple[str, str]]:
    if not any(images.parse(c.image).is_of(end) for c in spec.containers for end in DNS):
        return []
    return [(namespace, v.config_map.name) for v in spec.volumes or () if v.config_map]
