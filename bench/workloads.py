"""How long it takes to plan the moves of a large cluster, and how much memory.

A cluster of 1,000 nodes and 30,000 pods in 2,000 workloads (Deployments, StatefulSets with volumes,
Jobs, DaemonSets come on top), with budgets, Services that templates name, zones, anti-affinity and
spread. Its objects are made as the API's JSON, page by page, and go the way of a real reading.
Targets: planning at most 10 s, at most 500 MB of memory for all of it.

    python bench/workloads.py [NODES PODS]

Each row is a process of its own; memory is its peak resident size.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

PAGE = 500
ZONES = ("a", "b", "c")
STARTED, READY = "2026-01-01T00:00:00Z", "2026-01-01T00:00:12Z"


def labels(app: str, pod_hash: str = "") -> dict[str, str]:
    own = {"app.kubernetes.io/name": app, "app": app, "team": app[-1]}
    return {**own, "pod-template-hash": pod_hash} if pod_hash else own


def spec(i: int, app: str, provider: str) -> dict[str, Any]:
    """A template of about the size of a real one, with its rules by the number of the workload."""
    made: dict[str, Any] = {
        "terminationGracePeriodSeconds": 30,
        "serviceAccountName": app,
        "tolerations": [
            {"key": f"node.kubernetes.io/{k}", "operator": "Exists", "effect": "NoExecute",
             "tolerationSeconds": 300} for k in ("not-ready", "unreachable")
        ],
        "containers": [
            {
                "name": name,
                "image": f"registry.example/{app}/{name}:{i}",
                "env": [
                    {"name": "STORE", "value": f"{provider}:6379"},
                    *({"name": f"SETTING_{k}", "value": f"value-{k}"} for k in range(12)),
                ],
                "resources": {
                    "requests": {"cpu": f"{50 + 50 * (i % 5)}m", "memory": f"{64 << i % 4}Mi"}
                },
                "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}},
                "volumeMounts": [{"name": "config", "mountPath": "/etc/app"}],
            }
            for name in ("main", "sidecar")
        ],
        "volumes": [{"name": "config", "configMap": {"name": f"{app}-config"}}],
    }  # fmt: skip
    match = {"matchLabels": {"app": app}}
    if i % 7 == 0:
        made["affinity"] = {
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {"labelSelector": match, "topologyKey": "kubernetes.io/hostname"}
                ]
            }
        }
    if i % 5 == 0:
        made["topologySpreadConstraints"] = [
            {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone",
             "whenUnsatisfiable": "DoNotSchedule", "labelSelector": match}
        ]  # fmt: skip
    return made


class Made:
    """The cluster: everything by a fixed seed, so that each row is the same work."""

    def __init__(self, nodes: int, pods: int) -> None:
        self.nodes, self.rng = nodes, random.Random(1)
        self.sizes: list[int] = []
        left = pods - 2 * nodes
        while left > 0:
            self.sizes.append(min(left, self.rng.choice((1, 2, 3, 5, 10, 20, 60))))
            left -= self.sizes[-1]

    def kind(self, i: int) -> str:
        return "StatefulSet" if i % 10 == 3 else "Job" if i % 50 == 7 else "Deployment"

    def name(self, i: int) -> tuple[str, str]:
        return f"team-{i % 60}", f"app-{i}"

    def items(self, kind: str) -> Iterator[dict[str, Any]]:
        """The objects of a kind, one at a time."""
        match kind:
            case "Node":
                for n in range(self.nodes):
                    zone = f"zone-{ZONES[n % 3]}"
                    yield {
                        "metadata": {
                            "name": f"node-{n}",
                            "labels": {
                                "kubernetes.io/hostname": f"node-{n}",
                                "topology.kubernetes.io/zone": zone,
                            },
                        },
                        "status": {
                            "allocatable": {"cpu": "32", "memory": "128Gi", "pods": "110",
                                            "ephemeral-storage": "400Gi"},
                            "conditions": [{"type": "Ready", "status": "True"}],
                        },
                    }  # fmt: skip
            case "CSINode":
                for n in range(self.nodes):
                    driver = {"name": "disk.example", "allocatable": {"count": 24}}
                    yield {"metadata": {"name": f"node-{n}"}, "spec": {"drivers": [driver]}}
            case "Service" | "PodDisruptionBudget" | "Deployment" | "StatefulSet" | "Job":
                for i, size in enumerate(self.sizes):
                    yield from self._of(kind, i, size)
            case "DaemonSet":
                for d in range(2):
                    yield {
                        "metadata": {"name": f"agent-{d}", "namespace": "kube-system"},
                        "spec": {"template": {"metadata": {"labels": labels(f"agent-{d}")},
                                              "spec": spec(1, f"agent-{d}", "none")}},
                        "status": {"desiredNumberScheduled": self.nodes},
                    }  # fmt: skip
            case "PersistentVolumeClaim" | "PersistentVolume":
                for i, size in enumerate(self.sizes):
                    if self.kind(i) == "StatefulSet":
                        for k in range(size):
                            yield self._volume(kind, i, k)
            case "Pod":
                yield from self._pods()
            case "ConfigMap":
                for i in range(len(self.sizes)):
                    ns, app = self.name(i)
                    text = "\n".join(f"key{k} = value of {k}" for k in range(30))
                    text += f"\nupstream = {self.provider(i)}:6379"
                    meta = {"name": f"{app}-config", "namespace": ns}
                    yield {"metadata": meta, "data": {"app.ini": text}}

    def provider(self, i: int) -> str:
        """A workload of the same namespace, at most a few steps down."""
        return f"app-{i // 2 - (i // 2 - i) % 60}" if i >= 120 else "none"

    def _of(self, kind: str, i: int, size: int) -> Iterator[dict[str, Any]]:
        ns, app = self.name(i)
        meta = {"name": app, "namespace": ns, "labels": labels(app)}
        match = {"matchLabels": {"app": app}}
        if kind == "Service":
            yield {"metadata": meta, "spec": {"selector": {"app": app}, "ports": [{"port": 6379}]}}
        elif kind == "PodDisruptionBudget" and i % 2 == 0 and self.kind(i) != "Job":
            rule: dict[str, Any] = {"maxUnavailable": 1} if i % 20 else {"minAvailable": size}
            yield {"metadata": meta, "spec": {"selector": match, **rule}}
        elif kind == self.kind(i):
            template = {"metadata": {"labels": labels(app)}, "spec": spec(i, app, self.provider(i))}
            made: dict[str, Any] = {"replicas": size, "selector": match, "template": template}
            if kind == "StatefulSet":
                made["volumeClaimTemplates"] = [{"metadata": {"name": "data"}}]
            if kind == "Job":
                made = {"parallelism": size, "template": template}
            yield {"metadata": meta, "spec": made, "status": {"readyReplicas": size}}

    def _volume(self, kind: str, i: int, k: int) -> dict[str, Any]:
        ns, app = self.name(i)
        name = f"data-{app}-{k}"
        if kind == "PersistentVolumeClaim":
            own = {"accessModes": ["ReadWriteOnce"], "volumeName": f"pv-{name}"}
            return {"metadata": {"name": name, "namespace": ns}, "spec": own}
        zone = f"zone-{ZONES[k % 3]}"
        where = {"key": "topology.kubernetes.io/zone", "operator": "In", "values": [zone]}
        term = {"matchExpressions": [where]}
        return {"metadata": {"name": f"pv-{name}"},
                "spec": {"csi": {"driver": "disk.example"},
                         "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}}}  # fmt: skip

    def _pods(self) -> Iterator[dict[str, Any]]:
        for i, size in enumerate(self.sizes):
            ns, app = self.name(i)
            kind = self.kind(i)
            for k in range(size):
                node = (self.rng.randrange(self.nodes) // 3 * 3 + k % 3) % self.nodes
                name, owner, own = f"{app}-{k}", {"kind": kind, "name": app}, labels(app)
                if kind == "Deployment":
                    name, own = f"{app}-5d9c7b4f6-{k}", labels(app, "5d9c7b4f6")
                    owner = {"kind": "ReplicaSet", "name": f"{app}-5d9c7b4f6"}
                made = spec(i, app, self.provider(i))
                if kind == "StatefulSet":
                    claim = {"claimName": f"data-{app}-{k}"}
                    made["volumes"].append({"name": "data", "persistentVolumeClaim": claim})
                yield self._pod(ns, name, owner, own, made, node, f"{i}-{k}")
        for d in range(2):
            for n in range(self.nodes):
                owner = {"kind": "DaemonSet", "name": f"agent-{d}"}
                made = spec(1, f"agent-{d}", "none")
                yield self._pod("kube-system", f"agent-{d}-{n}", owner, labels(f"agent-{d}"), made,
                                n, f"d{d}-{n}")  # fmt: skip

    @staticmethod
    def _pod(
        ns: str, name: str, owner: dict[str, str], own: dict[str, str], made: dict[str, Any],
        node: int, uid: str,
    ) -> dict[str, Any]:  # fmt: skip
        condition = {"type": "Ready", "status": "True", "lastTransitionTime": READY}
        return {
            "metadata": {
                "name": name, "namespace": ns, "uid": uid, "labels": own,
                "ownerReferences": [{**owner, "controller": True, "apiVersion": "apps/v1"}],
                "managedFields": [{"manager": "kube-controller-manager", "operation": "Update",
                                   "fieldsV1": {f"f:field-{k}": {} for k in range(30)}}],
            },
            "spec": {**made, "nodeName": f"node-{node}"},
            "status": {"phase": "Running", "startTime": STARTED, "conditions": [condition],
                       "podIPs": [{"ip": "198.18.0.1"}]},
        }  # fmt: skip


def measure(nodes: int, pods: int, surge: int) -> dict[str, Any]:
    import msgspec

    from pawl.core.workloads.gather import PARTS, Gatherer
    from pawl.core.workloads.planner import plan
    from pawl.core.workloads.scenario import replace_all

    made, gatherer = Made(nodes, pods), Gatherer()
    decoding = 0.0
    for kind, part in PARTS.items():
        decoder = msgspec.json.Decoder(tuple[part, ...])
        page: list[dict[str, Any]] = []
        for item in [*made.items(kind)] if kind != "Pod" else made.items(kind):
            page.append(item)
            if len(page) == PAGE:
                decoding += _feed(gatherer, kind, decoder, page)
        if page:
            decoding += _feed(gatherer, kind, decoder, page)
    before = time.process_time()
    facts = gatherer.facts()
    decoding += time.process_time() - before
    read_memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started, busy = time.perf_counter(), time.process_time()
    found = plan(facts, replace_all(facts, surge=surge))
    return {
        "workloads": len(found.workloads),
        "pods": len(facts.pods),
        "moves": len(found.moves),
        "edges": len(found.graph.edges),
        "waves": len(found.waves),
        "read": decoding,
        "wall": time.perf_counter() - started,
        "cpu": time.process_time() - busy,
        "read_memory": read_memory,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "refused": sum(o.code == "W104" for o in found.obstacles),
        "blockers": len(found.blockers),
        "efficiency": found.least / found.seconds,
    }


def _feed(gatherer: Any, kind: str, decoder: Any, page: list[dict[str, Any]]) -> float:
    raw = json.dumps(page).encode()
    page.clear()
    before = time.process_time()
    gatherer.add(kind, decoder.decode(raw))
    return time.process_time() - before


def main() -> None:
    if sys.argv[1:2] == ["--row"]:
        print(json.dumps(measure(*(int(a) for a in sys.argv[2:5]))))
        return
    nodes, pods = (int(a) for a in sys.argv[1:3]) if len(sys.argv) > 2 else (1000, 30_000)
    print(f"{nodes:,} nodes, {pods:,} pods; targets: planning ≤ 10 s, memory ≤ 500 MB\n")
    print(
        "| new nodes at a time | workloads | moves | waves | dependencies | decode, CPU "
        "| plan, wall | plan, CPU | peak memory | least / predicted |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for surge, title in ((0, "all"), (max(1, nodes // 10), "a tenth"), (1, "one")):
        argv = [sys.executable, __file__, "--row", str(nodes), str(pods), str(surge)]
        r = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
        print(
            f"| {title} | {r['workloads']:,} | {r['moves']:,} | {r['waves']:,} | {r['edges']:,} "
            f"| {r['read']:.1f} s | {r['wall']:.1f} s | {r['cpu']:.1f} s | {r['memory']:.0f} MB "
            f"| {r['efficiency']:.0%} |"
        )


if __name__ == "__main__":
    main()
