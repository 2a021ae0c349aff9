"""Simulated nodes and pods: scheduling, eviction within budgets, kubelet reports."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pawl.core import marks
from pawl.core.model import Taint, Unread
from pawl.ports.kube import Evicted

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
    cpu: int = 64_000
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
    victim: bool = False
    revision: int = 0
    cpu: int = 100


@dataclass
class Deployment:
    """`minimum` is its PodDisruptionBudget's minAvailable; None for none. `after` names the
    Deployment of its namespace that it depends on. `surges`: its strategy allows one pod more
    (else Recreate); `stiff`: a rolling update with maxSurge 0.
    `by_hash`: a Service selects by the template hash, so that no pod can be released. `budgets`:
    how many of that kind select its pods. `most`: what its autoscaler goes up to, 0 for none.
    `starts` and `ends`: seconds that a pod of it takes for either."""

    namespace: str
    name: str
    replicas: int
    minimum: int | None = None
    after: str = ""
    surges: bool = True
    stiff: bool = False
    by_hash: bool = False
    budgets: int = 1
    most: int = 0
    always_allow: bool = False
    starts: float = POD_START
    ends: float = POD_END
    revision: int = 0
    lent: dict[str, str] = field(default_factory=dict)
    """What pawl has loosened, and what stood there before."""

    @property
    def owner(self) -> str:
        return f"ReplicaSet/{self.name}-{TEMPLATE}"


@dataclass
class DaemonSet:
    """One pod on every node, which is Ready `starts` seconds after the node is there, and never on
    nodes whose names begin with one of `broken`."""

    namespace: str
    name: str
    starts: float = POD_START
    broken: tuple[str, ...] = ()

    @property
    def owner(self) -> str:
        return f"DaemonSet/{self.name}"


@dataclass
class SimPods:
    world: World
    nodes: dict[str, SimNode] = field(default_factory=dict)
    pods: dict[str, SimPod] = field(default_factory=dict)
    deployments: list[Deployment] = field(default_factory=list)
    daemons: list[DaemonSet] = field(default_factory=list)
    frozen: set[str] = field(default_factory=set)
    """Pods (by name) that never end once evicted."""
    lowest: dict[str, int] = field(default_factory=dict)
    """The fewest Ready pods that each Deployment ever had, by its name."""
    names: dict[str, str] = field(default_factory=dict)
    """The name of every pod that ever was, by its UID."""
    loads: dict[str, float] = field(default_factory=dict)
    """CPU of pods (by name) as a share of their limit."""
    busy: int = 0
    """So many evictions more are answered with "too many requests"."""
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
        for daemon in self.daemons:
            self._cover(daemon)
        for deployment in self.deployments:
            have = self._own(deployment)
            for _ in range(deployment.replicas - len(have)):
                self._make(deployment)
            self._roll(deployment)
            if self.world.changes:
                ready = self.serving(deployment)
                self.lowest[deployment.name] = min(self.lowest.get(deployment.name, ready), ready)
            if any(p.revision < deployment.revision for p in have):
                continue
            for surplus in self._surplus(deployment, have):
                surplus.ends_at = now
                del self.pods[surplus.uid]

    def _cover(self, daemon: DaemonSet) -> None:
        covered = {p.node for p in self.pods.values() if p.owner == daemon.owner}
        for node in sorted(self.nodes.keys() - covered):
            broken = bool(daemon.broken) and node.startswith(daemon.broken)
            self._add(
                daemon.namespace,
                f"{daemon.name}-{next(self._numbers)}",
                node,
                daemon.owner,
                float("inf") if broken else daemon.starts,
            )

    def _surplus(self, deployment: Deployment, have: list[SimPod]) -> list[SimPod]:
        """What a ReplicaSet ends first: pods that are not Ready, then by deletion cost, then the
        youngest."""
        now = self.world.now
        order = sorted(have, key=lambda p: (p.ready_at <= now, not p.victim, -p.ready_at))
        return order[: max(0, len(have) - deployment.replicas)]

    def _roll(self, deployment: Deployment) -> None:
        """A rolling update with maxSurge 1 and maxUnavailable 0: one new pod at a time, and an old
        one ends when it is Ready."""
        own = self._own(deployment)
        old = [p for p in own if p.revision < deployment.revision]
        new = [p for p in own if p.revision == deployment.revision]
        if not old:
            return
        if len(own) > deployment.replicas:
            if all(p.ready_at <= self.world.now for p in new):
                self.end(old[0].uid)
        elif all(p.ready_at <= self.world.now for p in new):
            self._make(deployment)

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
        name = f"{deployment.name}-{next(self._numbers)}"
        pod = self._add(deployment.namespace, name, node, deployment.owner, deployment.starts)
        pod.revision = deployment.revision

    def _add(self, namespace: str, name: str, node: str, owner: str, starts: float) -> SimPod:
        uid = f"uid-{name.rpartition('-')[2]}"
        self.names[uid] = name
        self.pods[uid] = SimPod(
            namespace=namespace,
            name=name,
            uid=uid,
            node=node,
            owner=owner,
            ready_at=self.world.now + starts,
        )
        if starts < float("inf"):
            self.world.later(starts, lambda: None)
        return self.pods[uid]

    def serving(self, deployment: Deployment) -> int:
        now = self.world.now
        return sum(
            p.ends_at is None and p.ready_at <= now and p.node in self.nodes
            for p in self.of(deployment)
        )

    def evict(self, uid: str) -> Evicted:
        """As the Eviction API answers."""
        pod = self.pods.get(uid)
        if pod is None or pod.ends_at is not None:
            return Evicted(ok=True)
        if self.busy > 0:
            self.busy -= 1
            return Evicted(ok=False, why="too many requests, please try again later.", busy=True)
        if self.webhook_denials.get(pod.name, 0) > 0:
            self.webhook_denials[pod.name] -= 1
            return Evicted(ok=False, why="admission webhook said no.")
        d = self._of_pod(pod)
        if d is not None and d.minimum is not None:
            if d.budgets > 1:
                said = "This pod has more than one PodDisruptionBudget, which is not supported."
                return Evicted(ok=False, why=said, retry=False, overlapping=True)
            healthy = pod.ready_at <= self.world.now
            spares = self.serving(d) >= d.minimum
            if (healthy or not (d.always_allow or spares)) and self.allowed(d) < 1:
                return Evicted(
                    ok=False,
                    # The words of the API server's cause, which are what a person gets to see.
                    why=f"The disruption budget {d.name}-budget needs {d.minimum} healthy pods and "
                    f"has {self.serving(d)} currently",
                    budget=f"{d.name}-budget",
                )
        self.end(uid)
        return Evicted(ok=True)

    def end(self, uid: str) -> bool:
        """Ask a pod to end; False if it was asked already."""
        pod = self.pods.get(uid)
        if pod is None or pod.ends_at is not None:
            return False
        deployment = self._of_pod(pod)
        ends = deployment.ends if deployment else POD_END
        pod.ends_at = self.world.now + ends if pod.name not in self.frozen else float("inf")
        self.world.later(ends, lambda: None)
        return True

    def _of_pod(self, pod: SimPod) -> Deployment | None:
        return next(
            (d for d in self.deployments if d.owner == pod.owner and d.namespace == pod.namespace),
            None,
        )

    def allowed(self, d: Deployment) -> int:
        return max(0, self.serving(d) - (d.minimum or 0))

    def allowances(self, uid: str) -> dict[str, int]:
        pod = self.pods.get(uid)
        d = self._of_pod(pod) if pod else None
        if d is None or d.minimum is None:
            return {}
        return {f"{d.name}-budget-{i}": self.allowed(d) for i in range(d.budgets)}

    def standing(self, namespace: str, owner: str) -> tuple[int, int]:
        """Ready pods that are its own, and how many it wants."""
        d = self._named(namespace, owner)
        if d is None:
            return 0, 0
        ready = sum(p.ready_at <= self.world.now and p.node in self.nodes for p in self._own(d))
        return ready, d.replicas

    def without_place(self, namespace: str, owner: str) -> str:
        """As the scheduler tells of a pod that it found no node for; none is made."""
        d = self._named(namespace, owner)
        if d is None or len(self._own(d)) >= d.replicas:
            return ""
        return f"{d.name}-new has no node: 0/{len(self.nodes)} nodes are available."

    def _named(self, namespace: str, owner: str) -> Deployment | None:
        return next(
            (
                d
                for d in self.deployments
                if d.namespace == namespace and owner in (d.owner, f"Deployment/{d.name}")
            ),
            None,
        )

    def _own(self, d: Deployment) -> list[SimPod]:
        """Those that count as its own."""
        return [p for p in self.of(d) if p.ends_at is None and not p.released]

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
