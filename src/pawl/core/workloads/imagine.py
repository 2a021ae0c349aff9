"""Pods for controllers that have none yet: what manifests would run, so that they can be judged.

A repository has no cluster beside it; for its manifests a few plain nodes and the pods that each
controller would make are enough to see what would block a drain.
"""

from __future__ import annotations

import itertools

import msgspec

from pawl.core.workloads.admission import DAEMON_TOLERATIONS, admits
from pawl.core.workloads.facts import HOSTNAME, ZONE, Claim, Controller, Node, Pod, Workloads
from pawl.core.workloads.methods import HASH, ROLLOUT_HASH

NODES = 3


def nodes(count: int = NODES, zones: int = 1) -> tuple[Node, ...]:
    """Plain workers: 8 cores, 32 GiB, 110 pods."""
    return tuple(
        Node(
            name=f"worker-{i + 1}",
            labels={HOSTNAME: f"worker-{i + 1}", ZONE: f"zone-{i % zones + 1}"},
            cpu=8000,
            memory=32 << 30,
            disk=100 << 30,
        )
        for i in range(count)
    )


def populated(facts: Workloads) -> Workloads:
    """The facts with nodes, if there were none, and with the pods that are not there yet."""
    own = facts.nodes or nodes()
    have = {p.owner for p in facts.pods}
    pods, claims = list(facts.pods), list(facts.claims)
    known = {c.key for c in claims}
    turn = itertools.count()
    for c in facts.controllers:
        if c.key in have or c.kind == "CronJob" or c.suspended:
            continue
        for i, node in enumerate(_nodes_of(c, own, turn)):
            pod = _pod(c, i, node)
            pods.append(pod)
            for template in c.claim_templates:
                claim = Claim(
                    namespace=c.namespace,
                    name=f"{template}-{c.name}-{i}",
                    modes=("ReadWriteOnce",),
                )
                if claim.key not in known:
                    known.add(claim.key)
                    claims.append(claim)
    return msgspec.structs.replace(facts, nodes=own, pods=tuple(pods), claims=tuple(claims))


def _nodes_of(c: Controller, own: tuple[Node, ...], turn: itertools.count[int]) -> list[Node]:
    if c.kind == "DaemonSet":
        return [n for n in own if not admits(n, c.shape, DAEMON_TOLERATIONS)]
    fitting = [n for n in own if not admits(n, c.shape)] or list(own)
    return [fitting[next(turn) % len(fitting)] for _ in range(c.replicas)]


def _pod(c: Controller, i: int, node: Node) -> Pod:
    labels = dict(c.pod_labels)
    name = f"{c.name}-{i}"
    if c.kind in ("Deployment", "Rollout"):
        labels[HASH if c.kind == "Deployment" else ROLLOUT_HASH] = "5d9c7b4f6"
        name = f"{c.name}-5d9c7b4f6-{i:05d}"
    return Pod(
        namespace=c.namespace,
        name=name,
        uid=f"{c.key}#{i}",
        node=node.name,
        labels=labels,
        owner=c.key,
        shape=c.shape,
        claims=(*c.claims, *(f"{t}-{c.name}-{i}" for t in c.claim_templates)),
    )
