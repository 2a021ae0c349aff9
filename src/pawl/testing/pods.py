"""Simulated nodes and pods: scheduling, eviction within budgets, kubelet reports."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pawl.core import marks
from pawl.core.model import Taint, Unread

if TYPE_CHECKING:
    from pawl.testing.machine import SimHost
    from pawl.testing.world import World

LOST_AFTER = 40.0
"""Seconds without a kubelet's report until a node is called lost (node monitor grace period)."""
TEMPLATE = "5d9c7b4f6"
"""The template hash of every simulated ReplicaSet."""
POD_START = 1.3
POD_END = 1.0


@dataclass
class SimNode:
    name: str
    host: str
    kubelet: str
    kube_proxy: str
    taints: list[Taint] = field(default_factory=list)
    unschedulable: bool = False
    cordoned_by: str = ""
    volumes: int = 0
    last_report: float = 0.0


@dataclass
class SimPod:
    namespace: str
    name: str
    uid: str
    node: str
    owner: str
    ready_at: float
    ends_at: float | None = None
    priority: int = 0
    released: bool = False


@dataclass
class Deployment:
    """`minimum` is its PodDisruptionBudget's minAvailable; None for none. `after` names the
    Deployment of its namespace that it depends on. `surges`: its strategy allows one pod more."""

    namespace: str
    name: str
    replicas: int
    minimum: int | None = None
    after: str = ""
    surges: bool = True

    @property
    def owner(self) -> str:
        return f"ReplicaSet/{self.name}-{TEMPLATE}"


@dataclass
class SimPods:
    world: World
    nodes: dict[str, SimNode] = field(default_factory=dict)
    pods: dict[str, SimPod] = field(default_factory=dict)
    deployments: list[Deployment] = field(default_factory=list)
    frozen: set[str] = field(default_factory=set)
    """Pods (by name) that never end once evicted."""
    lowest: dict[str, int] = field(default_factory=dict)
    """The fewest Ready pods that each Deployment ever had, by its name."""
    names: dict[str, str] = field(default_factory=dict)
    """The name of every pod that ever was, by its UID."""
    full: bool = False
    """No node has room for one pod more."""
    unread: tuple[Unread, ...] = ()
    """What a reading of the workloads does not get."""
    webhook_denials: dict[str, int] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def reports(self, host: SimHost, component: str) -> None:
        """A kubelet or kube-proxy came up and tells the API about itself."""
        version = host.units[component].version
        node = next((n for n in self.nodes.values() if n.host == host.name), None)
        if node is None and component == "kubelet":
            proxy = host.current.get("kube-proxy", "")
            node = SimNode(name=host.name, host=host.name, kubelet=version, kube_proxy=proxy)
            self.nodes[host.name] = node
        if node is not None:
            if component == "kubelet":
                node.kubelet, node.last_report = version, self.world.now
            else:
                node.kube_proxy = version

    def alive(self, node: SimNode) -> bool:
        return self.world.runs(node.host, "kubelet")

    def ready(self, node: SimNode) -> bool:
        if self.alive(node):
            node.last_report = self.world.now
        return self.world.now - node.last_report < LOST_AFTER

    def open(self, node: SimNode) -> bool:
        return (
            not node.unschedulable
            and not any(t.key == marks.CLOSED.key for t in node.taints)
            and self.alive(node)
        )

    def settle(self) -> None:
        """Ended pods go, missing ones are made where there is room."""
        now = self.world.now
        for uid in [u for u, p in self.pods.items() if p.ends_at is not None and p.ends_at <= now]:
            del self.pods[uid]
        for uid in [u for u, p in self.pods.items() if p.node not in self.nodes]:
            del self.pods[uid]
        for deployment in self.deployments:
            have = [p for p in self.of(deployment) if p.ends_at is None and not p.released]
            for _ in range(deployment.replicas - len(have)):
                self._make(deployment)
            if self.world.changes:
                ready = self.serving(deployment)
                self.lowest[deployment.name] = min(self.lowest.get(deployment.name, ready), ready)
            for surplus in have[deployment.replicas :]:
                surplus.ends_at = now
                del self.pods[surplus.uid]

    def of(self, deployment: Deployment) -> list[SimPod]:
        return [
            p
            for p in self.pods.values()
            if p.owner == deployment.owner and p.namespace == deployment.namespace
        ]

    def _make(self, deployment: Deployment) -> None:
        open_nodes = [n for n in self.nodes.values() if self.open(n)]
        if not open_nodes or self.full:
            return
        load = {n.name: 0 for n in open_nodes}
        for pod in self.pods.values():
            if pod.node in load:
                load[pod.node] += 1
        node = min(load, key=lambda n: (load[n], n))
        number = next(self._numbers)
        self.names[f"uid-{number}"] = f"{deployment.name}-{number}"
        self.pods[f"uid-{number}"] = SimPod(
            namespace=deployment.namespace,
            name=f"{deployment.name}-{number}",
            uid=f"uid-{number}",
            node=node,
            owner=deployment.owner,
            ready_at=self.world.now + POD_START,
        )
        self.world.later(POD_START, lambda: None)

    def serving(self, deployment: Deployment) -> int:
        now = self.world.now
        return sum(
            p.ends_at is None and p.ready_at <= now and p.node in self.nodes
            for p in self.of(deployment)
        )

    def evict(self, uid: str) -> tuple[bool, str, str]:
        """(accepted, why not, budget that says no)."""
        pod = self.pods.get(uid)
        if pod is None or pod.ends_at is not None:
            return True, "", ""
        if self.webhook_denials.get(pod.name, 0) > 0:
            self.webhook_denials[pod.name] -= 1
            return False, "admission webhook said no.", ""
        deployment = next(
            (d for d in self.deployments if d.owner == pod.owner and d.namespace == pod.namespace),
            None,
        )
        if deployment is not None and deployment.minimum is not None:
            counts = pod.ready_at <= self.world.now
            if counts and self.serving(deployment) - 1 < deployment.minimum:
                budget = f"{deployment.name}-budget"
                return (
                    False,
                    # The words of the API server's cause, which are what a person gets to see.
                    f"The disruption budget {budget} needs {deployment.minimum} healthy pods and "
                    f"has {self.serving(deployment)} currently",
                    budget,
                )
        pod.ends_at = self.world.now + POD_END if pod.name not in self.frozen else float("inf")
        self.world.later(POD_END, lambda: None)
        return True, "", ""

    def standing(self, namespace: str, owner: str) -> tuple[int, int]:
        """Ready pods that are its own, and how many it wants."""
        for d in self.deployments:
            if d.namespace == namespace and d.owner == owner:
                own = [p for p in self.of(d) if p.ends_at is None and not p.released]
                ready = sum(p.ready_at <= self.world.now and p.node in self.nodes for p in own)
                return ready, d.replicas
        return 0, 0

    def broken(self) -> list[str]:
        """Budgets that were met once must be met ever after."""
        return [
            f"{d.namespace}/{d.name} has {self.serving(d)} pods ready, its budget asks {d.minimum}"
            for d in self.deployments
            if d.minimum is not None
            and d.minimum < d.replicas
            and self.of(d)
            and self.world.changes
            and self.serving(d) < d.minimum
        ]
