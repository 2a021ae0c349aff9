"""The workloads of a simulated world as facts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pawl.core.model import Taint
from pawl.core.workloads.facts import (
    HOSTNAME,
    Autoscaler,
    Budget,
    Controller,
    Node,
    Pod,
    Selector,
    Service,
    Shape,
    Workloads,
)
from pawl.core.workloads.graph import DEPENDS_ON
from pawl.core.workloads.methods import HASH
from pawl.testing.pods import TEMPLATE

if TYPE_CHECKING:
    from pawl.testing.world import World

CORDON = Taint(key="node.kubernetes.io/unschedulable")


def workload_facts(world: World) -> Workloads:
    pods = world.pods
    shape = Shape(readiness=True)
    controllers = tuple(
        Controller(
            kind="Deployment",
            namespace=d.namespace,
            name=d.name,
            replicas=d.replicas,
            annotations={DEPENDS_ON: d.after} if d.after else {},
            pod_labels={"app": d.name},
            strategy="RollingUpdate" if d.surges else "Recreate",
            max_surge="0" if d.stiff else "",
            shape=shape,
        )
        for d in pods.deployments
    )
    controllers += tuple(
        Controller(kind="DaemonSet", namespace=d.namespace, name=d.name, shape=shape)
        for d in pods.daemons
    )
    owners = {
        (d.namespace, d.owner): f"{d.namespace}/Deployment/{d.name}" for d in pods.deployments
    } | {(d.namespace, d.owner): f"{d.namespace}/{d.owner}" for d in pods.daemons}
    found = []
    for p in pods.pods.values():
        key = owners.get((p.namespace, p.owner), f"{p.namespace}/Pod/{p.name}")
        app = key.rpartition("/")[2]
        labels = {"app": app} if p.released else {"app": app, HASH: TEMPLATE}
        found.append(
            Pod(
                namespace=p.namespace,
                name=p.name,
                uid=p.uid,
                node=p.node,
                labels=labels,
                owner=key,
                shape=shape,
                ready=p.ready_at <= world.now,
                terminating=p.ends_at is not None,
            )
        )
    return Workloads(
        taken_at=world.now,
        nodes=tuple(
            Node(
                name=n.name,
                labels={HOSTNAME: n.name},
                taints=(*n.taints, *((CORDON,) if n.unschedulable else ())),
                unschedulable=n.unschedulable,
                ready=pods.ready(n),
                cpu=n.cpu,
                memory=1 << 40,
            )
            for n in pods.nodes.values()
        ),
        pods=tuple(found),
        unread=pods.unread,
        controllers=controllers,
        budgets=tuple(
            Budget(
                namespace=d.namespace,
                name=f"{d.name}-budget" + (f"-{i}" if i else ""),
                selector=Selector(labels=(("app", d.name),)),
                min_available=str(d.minimum),
                always_allow=d.always_allow,
            )
            for d in pods.deployments
            if d.minimum is not None
            for i in range(d.budgets)
        ),
        services=tuple(
            Service(
                namespace=d.namespace,
                name=f"{d.name}-canary",
                selector=(("app", d.name), (HASH, TEMPLATE)),
            )
            for d in pods.deployments
            if d.by_hash
        ),
        autoscalers=tuple(
            Autoscaler(
                namespace=d.namespace,
                name=d.name,
                target=f"{d.namespace}/Deployment/{d.name}",
                maximum=d.most,
            )
            for d in pods.deployments
            if d.most
        ),
    )
