"""Pods and nodes as those who move them see them."""

from __future__ import annotations

from pawl.adapters.kube.objects import DrainPod, NodeObject
from pawl.core.marks import CLOSED, LEEWAY, RELEASED, RELEASED_FROM, VICTIM
from pawl.core.workloads.quantity import parse
from pawl.core.workloads.shapes import MILLI, requests
from pawl.ports.kube import Pod
from pawl.ports.watch import NodeNow

CORDONED_BY = "pawl.dev/cordoned-by"
MIRROR = "kubernetes.io/config.mirror"
TEMPLATE = "pod-template-hash"


def pod_of(pod: DrainPod) -> Pod:
    owner = pod.metadata.controller
    labels, annotations = pod.metadata.labels or {}, pod.metadata.annotations or {}
    cpu, memory, _, _ = requests(pod.spec)
    return Pod(
        namespace=pod.metadata.namespace,
        name=pod.metadata.name,
        uid=pod.metadata.uid,
        node=pod.spec.node,
        owner=f"{owner.kind}/{owner.name}" if owner else "",
        mirror=MIRROR in annotations,
        ready=pod.status.ready,
        terminating=pod.metadata.deleted is not None,
        finished=pod.status.phase in ("Succeeded", "Failed"),
        grace_seconds=30.0 if pod.spec.grace is None else pod.spec.grace,
        priority=pod.spec.priority or 0,
        released=annotations.get(RELEASED_FROM, "") if RELEASED in labels else "",
        template=labels.get(RELEASED) or labels.get(TEMPLATE, ""),
        victim=labels.get(LEEWAY) == VICTIM,
        finalizers=pod.metadata.finalizers or (),
        cpu=cpu,
        memory=memory,
    )


def node_of(node: NodeObject) -> NodeNow:
    conditions, has = node.status.conditions or (), node.status.allocatable or {}
    return NodeNow(
        name=node.metadata.name,
        ready=any(c.type == "Ready" and c.status == "True" for c in conditions),
        unschedulable=node.spec.unschedulable,
        cordoned_by=(node.metadata.annotations or {}).get(CORDONED_BY, ""),
        closed=any(t.key == CLOSED.key for t in node.spec.taints or ()),
        cpu=parse(has.get("cpu", "0"), MILLI),
        memory=parse(has.get("memory", "0")),
        pods=parse(has.get("pods", "0")),
    )
