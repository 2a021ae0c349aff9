"""A simulation of the scheduler over the nodes that may take pods: does everything find a place?

It knows what the default scheduler filters by: taints, node selectors and affinity, requests, pods
a node, host ports, inter-pod (anti-)affinity in both directions, spread with DoNotSchedule, the
nodes that a volume can be reached from and the volumes that a node can attach. Of the nodes that
remain it takes the least loaded, as the scheduler does by default. It never places more on a node
than fits (`check` proves it), it does not preempt, and it knows no extenders.

Pods that are on other nodes already count in every topology. A node that is closed but still there
is a domain of a spread constraint unless that says `nodeTaintsPolicy: Honor`.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from pawl.core.workloads.admission import admits
from pawl.core.workloads.facts import (
    Claim,
    Node,
    NodeTerm,
    Pod,
    Shape,
    StorageClass,
    Volume,
)
from pawl.core.workloads.quantity import cpu, size
from pawl.core.workloads.topology import Profile, Topology


class Refusal(Exception):
    """No node takes the pod; `why` is the sentence."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)


class Simulation:
    """The nodes with their room, and every pod that is somewhere.

    `open_to` names the nodes that may take pods; the others only count in topologies. `reserved`
    gives, per node, shapes that are there already or come by themselves (DaemonSets, static pods).
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        open_to: Iterable[str],
        *,
        claims: Mapping[str, Claim],
        volumes: Mapping[str, Volume],
        classes: Mapping[str, StorageClass],
        unattached: Iterable[str] = (),
        reserved: Mapping[str, Sequence[Shape]] | None = None,
    ) -> None:
        self.nodes = list(nodes)
        self._index = {n.name: i for i, n in enumerate(self.nodes)}
        self._claims, self._volumes, self._classes = claims, volumes, classes
        self._unattached = frozenset(unattached)
        n = len(self.nodes)
        self._open = [False] * n
        self._cpu, self._memory, self._disk, self._count = [0] * n, [0] * n, [0] * n, [0] * n
        self._extended: list[dict[str, int]] = [{} for _ in range(n)]
        self._ports: list[set[tuple[str, int]]] = [set() for _ in range(n)]
        self._attached: list[dict[str, Counter[str]]] = [{} for _ in range(n)]
        self._limits = [dict(node.attachable) for node in self.nodes]
        self._order: list[tuple[float, int]] = []
        self._load = [0.0] * n
        self._topology = Topology(self.nodes)
        self._at: dict[str, int] = {}
        self._pods: dict[str, Pod] = {}
        self._chosen: set[int] = set()
        for name, shapes in (reserved or {}).items():
            i = self._index[name]
            for s in shapes:
                self._take(i, s)
        for name in open_to:
            self.open(name)

    # -- nodes -------------------------------------------------------------------------------

    def open(self, name: str) -> None:
        i = self._index[name]
        if not self._open[i]:
            self._open[i] = True
            self._load[i] = self._loaded(i)
            insort(self._order, (self._load[i], i))

    def retire(self, name: str) -> None:
        """The node is gone: no domain any more."""
        i = self._index[name]
        if self._open[i]:
            self._open[i] = False
            self._order.remove((self._load[i], i))
        self._topology.retire(i)

    def _loaded(self, i: int) -> float:
        node = self.nodes[i]
        return max(
            self._cpu[i] / node.cpu if node.cpu else 1.0,
            self._memory[i] / node.memory if node.memory else 1.0,
            self._count[i] / node.pods if node.pods else 1.0,
        )

    def _take(self, i: int, s: Shape, sign: int = 1) -> None:
        self._cpu[i] += sign * s.cpu
        self._memory[i] += sign * s.memory
        self._disk[i] += sign * s.disk
        self._count[i] += sign
        for name, amount in s.extended:
            self._extended[i][name] = self._extended[i].get(name, 0) + sign * amount
        if s.host_ports:
            if sign > 0:
                self._ports[i].update(s.host_ports)
            else:
                self._ports[i].difference_update(s.host_ports)
        if self._open[i]:
            at = bisect_left(self._order, (self._load[i], i))
            del self._order[at]
            self._load[i] = self._loaded(i)
            insort(self._order, (self._load[i], i))

    # -- pods that are somewhere already -----------------------------------------------------

    def learn(self, pods: Iterable[Pod]) -> None:
        """Every pod whose rules can matter, before any is counted. Call it once, with all."""
        self._topology.learn(pods)

    def count(self, key: str, pod: Pod, node: str) -> None:
        """The pod runs on `node`, and takes its room there."""
        i = self._index.get(node)
        if i is not None:
            self._put(key, pod, i)

    def _put(self, key: str, pod: Pod, i: int) -> None:
        profile = self._topology.profile(pod)
        self._at[key], self._pods[key] = i, pod
        self._take(i, pod.shape)
        self._topology.count(profile, i, 1)
        for driver, volume in self._to_attach(pod):
            self._attached[i].setdefault(driver, Counter())[volume] += 1

    def remove(self, key: str) -> None:
        """The pod is gone from its node."""
        i, pod = self._at.pop(key), self._pods.pop(key)
        self._take(i, pod.shape, -1)
        self._topology.count(self._topology.profile(pod), i, -1)
        for driver, volume in self._to_attach(pod):
            held = self._attached[i][driver]
            held[volume] -= 1
            if not held[volume]:
                del held[volume]

    # -- volumes -----------------------------------------------------------------------------

    def _to_attach(self, pod: Pod) -> list[tuple[str, str]]:
        found = []
        for name in pod.claims:
            claim = self._claims.get(f"{pod.namespace}/{name}")
            volume = self._volumes.get(claim.volume) if claim else None
            if volume is not None and volume.driver and volume.driver not in self._unattached:
                found.append((volume.driver, volume.name))
        return found

    def _reachable(self, pod: Pod) -> list[tuple[str, tuple[NodeTerm, ...]]]:
        """What ties the pod to nodes by its volumes: the claim, and the nodes it can be used on."""
        found = []
        for name in pod.claims:
            claim = self._claims.get(f"{pod.namespace}/{name}")
            if claim is None:
                continue
            if claim.volume:
                volume = self._volumes.get(claim.volume)
                if volume is not None and volume.node_terms:
                    found.append((name, volume.node_terms))
            elif (made := self._classes.get(claim.storage_class)) and made.topologies:
                found.append((name, made.topologies))
        return found

    # -- placing -----------------------------------------------------------------------------

    def place(self, key: str, pod: Pod) -> str:
        """Put the pod on the least loaded node that takes it, and return that node's name.

        Raises `Refusal` with a sentence that counts the reasons over all open nodes."""
        profile = self._topology.profile(pod)
        tied = self._reachable(pod)
        attach = self._to_attach(pod)
        eligible = profile.eligible
        for _, i in self._order:
            if eligible[i] and not self._objection(profile, i, tied, attach):
                self._put(key, pod, i)
                self._chosen.add(i)
                return self.nodes[i].name
        raise Refusal(self._why(pod, profile, tied, attach))

    def _objection(
        self,
        profile: Profile,
        i: int,
        tied: Sequence[tuple[str, tuple[NodeTerm, ...]]],
        attach: Sequence[tuple[str, str]],
    ) -> str:
        s, node = profile.shape, self.nodes[i]
        if self._count[i] >= node.pods:
            return "have no pod slot left"
        if s.cpu and self._cpu[i] + s.cpu > node.cpu:
            return "have too little CPU"
        if s.memory and self._memory[i] + s.memory > node.memory:
            return "have too little memory"
        if s.disk and self._disk[i] + s.disk > node.disk:
            return "have too little ephemeral storage"
        for name, amount in s.extended:
            if self._extended[i].get(name, 0) + amount > dict(node.extended).get(name, 0):
                return f"have too little {name}"
        if s.host_ports and not self._ports[i].isdisjoint(s.host_ports):
            return "have its host port in use"
        for claim, terms in tied:
            if not any(t.matches(node) for t in terms):
                return f"cannot reach the volume of claim {claim}"
        for driver, volume in attach:
            limit = self._limits[i].get(driver)
            held = self._attached[i].get(driver, ())
            if limit is not None and volume not in held and len(held) >= limit:
                return f"have no attach slot of {driver} left"
        return self._topology.objection(profile, i)

    def _why(
        self,
        pod: Pod,
        profile: Profile,
        tied: Sequence[tuple[str, tuple[NodeTerm, ...]]],
        attach: Sequence[tuple[str, str]],
    ) -> str:
        counted: Counter[str] = Counter()
        for _, i in self._order:
            said = admits(self.nodes[i], pod.shape) or self._objection(profile, i, tied, attach)
            counted[said] += 1
        said = "; ".join(
            f"{count} {self._detail(what, pod.shape)}"
            for what, count in sorted(counted.items(), key=lambda x: (-x[1], x[0]))
        )
        return f"0 of {len(self._order)} open nodes take it: {said or 'there is none'}."

    def _detail(self, what: str, s: Shape) -> str:
        if what == "have too little CPU":
            most = max(self.nodes[i].cpu - self._cpu[i] for _, i in self._order)
            return f"{what} (it asks for {cpu(s.cpu)}, the most that is free is {cpu(most)})"
        if what == "have too little memory":
            most = max(self.nodes[i].memory - self._memory[i] for _, i in self._order)
            return f"{what} (it asks for {size(s.memory)}, the most that is free is {size(most)})"
        return what

    # -- proof -------------------------------------------------------------------------------

    def check(self) -> None:
        """Asserts that no node on which something was placed holds more than it has."""
        for i in self._chosen:
            node = self.nodes[i]
            assert self._count[i] <= node.pods, node.name
            assert self._cpu[i] <= node.cpu, node.name
            assert self._memory[i] <= node.memory, node.name
            for driver, limit in self._limits[i].items():
                assert len(self._attached[i].get(driver, ())) <= limit, node.name
