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
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pawl.core.workloads.facts import (
    Claim,
    Node,
    NodeTerm,
    Pod,
    PodTerm,
    Selector,
    Shape,
    Spread,
    StorageClass,
    Toleration,
    Volume,
)
from pawl.core.workloads.quantity import cpu, size

DAEMON_TOLERATIONS = tuple(
    Toleration(key=f"node.kubernetes.io/{k}", operator="Exists", effect=e)
    for k, e in (
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
        ("network-unavailable", "NoSchedule"),
    )
)
"""What the DaemonSet controller adds to its pods."""


def admits(
    node: Node, shape: Shape, more: Sequence[Toleration] = (), *, taints: bool = True
) -> str:
    """Why the node's labels or taints keep such a pod out, "" where they do not."""
    for key, value in shape.node_selector:
        if node.labels.get(key) != value:
            return f"lack {key}={value}"
    if shape.node_terms and not any(t.matches(node) for t in shape.node_terms):
        return "do not match its node affinity"
    if taints:
        for taint in node.taints:
            if taint.effect == "PreferNoSchedule":
                continue
            if not any(t.tolerates(taint) for t in (*shape.tolerations, *more)):
                return f"have the taint {taint.key}"
    return ""


class Tally:
    """How many pods of a kind are in each domain, and in the emptiest one."""

    __slots__ = ("_levels", "_low", "counts")

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._levels: Counter[int] = Counter()
        self._low = 0

    def domain(self, value: str) -> None:
        if value not in self.counts:
            self.counts[value] = 0
            self._levels[0] += 1
            self._low = 0

    def add(self, value: str, by: int) -> None:
        before = self.counts.get(value)
        if before is None:
            self.counts[value] = by
            self._levels[by] += 1
            self._low = min(self._low, by)
            return
        self.counts[value] = after = before + by
        self._levels[before] -= 1
        self._levels[after] += 1
        self._low = min(self._low, after)

    def drop(self, value: str) -> None:
        count = self.counts.pop(value, None)
        if count is not None:
            self._levels[count] -= 1

    @property
    def low(self) -> int:
        """The count of the emptiest domain, 0 where there is none."""
        if not self.counts:
            return 0
        while not self._levels[self._low]:
            self._low += 1
        return self._low


@dataclass(slots=True, eq=False)
class _Term:
    """A (anti-)affinity term with its two tallies: pods that match it, and pods that bear it."""

    term: PodTerm
    values: list[str | None]
    match: dict[str, int] = field(default_factory=dict)
    bear: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Spreading:
    spread: Spread
    selector: Selector
    values: list[str | None]
    """The domain of each node, None where the node does not count."""
    tally: Tally
    members: Counter[str]
    """Nodes of each domain."""


@dataclass(slots=True, eq=False)
class _Profile:
    """Pods that the simulation cannot tell apart, but by their claims."""

    shape: Shape
    matched: list[_Term]
    """Terms of anybody that these pods match."""
    near: list[_Term]
    apart: list[_Term]
    repels: list[_Term]
    """Anti-affinity terms, of anybody, that these pods match."""
    spreads: list[tuple[_Spreading, bool]]
    """Own constraints, and whether the pod counts itself."""
    counted: list[_Spreading]
    """Constraints of anybody that count these pods."""
    eligible: bytes


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
        self._here = [True] * n
        self._cpu, self._memory, self._disk, self._count = [0] * n, [0] * n, [0] * n, [0] * n
        self._extended: list[dict[str, int]] = [{} for _ in range(n)]
        self._ports: list[set[tuple[str, int]]] = [set() for _ in range(n)]
        self._attached: list[dict[str, Counter[str]]] = [{} for _ in range(n)]
        self._limits = [dict(node.attachable) for node in self.nodes]
        self._order: list[tuple[float, int]] = []
        self._load = [0.0] * n
        self._terms: dict[PodTerm, _Term] = {}
        self._repelling: dict[str, list[_Term]] = defaultdict(list)
        self._matchable: dict[str, list[_Term]] = defaultdict(list)
        self._spread: dict[tuple[object, ...], _Spreading] = {}
        self._spread_in: dict[str, list[_Spreading]] = defaultdict(list)
        self._profiles: dict[tuple[str, int, Shape], _Profile] = {}
        self._eligible: dict[object, bytes] = {}
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
        self._here[i] = False
        if self._open[i]:
            self._open[i] = False
            self._order.remove((self._load[i], i))
        for s in self._spread.values():
            value, s.values[i] = s.values[i], None
            if value is not None:
                s.members[value] -= 1
                if not s.members[value]:
                    s.tally.drop(value)
        for t in self._terms.values():
            t.values[i] = None

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
        for p in pods:
            for term in (*p.shape.affinity, *p.shape.anti_affinity):
                self._term(term)
            for term in p.shape.anti_affinity:
                self._repels(term)
            for s in p.shape.spread:
                self._spreading(p, s)

    def count(self, key: str, pod: Pod, node: str) -> None:
        """The pod runs on `node`, and takes its room there."""
        i = self._index.get(node)
        if i is not None:
            self._put(key, pod, i)

    def _put(self, key: str, pod: Pod, i: int) -> None:
        profile = self._profile(pod)
        self._at[key], self._pods[key] = i, pod
        self._take(i, pod.shape)
        self._tally(profile, i, 1)
        for driver, volume in self._to_attach(pod):
            self._attached[i].setdefault(driver, Counter())[volume] += 1

    def remove(self, key: str) -> None:
        """The pod is gone from its node."""
        i, pod = self._at.pop(key), self._pods.pop(key)
        self._take(i, pod.shape, -1)
        self._tally(self._profile(pod), i, -1)
        for driver, volume in self._to_attach(pod):
            held = self._attached[i][driver]
            held[volume] -= 1
            if not held[volume]:
                del held[volume]

    def _tally(self, profile: _Profile, i: int, by: int) -> None:
        for t in profile.matched:
            if (value := t.values[i]) is not None:
                t.match[value] = t.match.get(value, 0) + by
        for t in profile.apart:
            if (value := t.values[i]) is not None:
                t.bear[value] = t.bear.get(value, 0) + by
        for s in profile.counted:
            if (value := s.values[i]) is not None:
                s.tally.add(value, by)

    # -- compiling ---------------------------------------------------------------------------

    def _values(self, key: str) -> list[str | None]:
        return [
            n.labels.get(key) if here else None
            for n, here in zip(self.nodes, self._here, strict=True)
        ]

    def _term(self, term: PodTerm) -> _Term:
        found = self._terms.get(term)
        if found is None:
            found = self._terms[term] = _Term(term, self._values(term.key))
            for namespace in ("*",) if term.everywhere else term.namespaces:
                self._matchable[namespace].append(found)
        return found

    def _repels(self, term: PodTerm) -> None:
        found = self._term(term)
        for namespace in ("*",) if term.everywhere else term.namespaces:
            if found not in self._repelling[namespace]:
                self._repelling[namespace].append(found)

    def _spreading(self, pod: Pod, spread: Spread) -> _Spreading:
        keys = tuple((k, pod.labels[k]) for k in spread.label_keys if k in pod.labels)
        limits = (pod.shape.node_selector, pod.shape.node_terms) if spread.honors_affinity else ()
        tolerated = pod.shape.tolerations if spread.honors_taints else ()
        identity = (spread, pod.namespace, keys, limits, tolerated)
        found = self._spread.get(identity)
        if found is None:
            selector = spread.selector
            if keys:
                selector = Selector(
                    labels=(*selector.labels, *keys), expressions=selector.expressions
                )
            probe = pod.shape if spread.honors_affinity else Shape(tolerations=tolerated)
            values = [
                value
                if value is not None and not admits(n, probe, taints=spread.honors_taints)
                else None
                for value, n in zip(self._values(spread.key), self.nodes, strict=True)
            ]
            members = Counter(v for v in values if v is not None)
            found = _Spreading(spread, selector, values, Tally(), members)
            for value in values:
                if value is not None:
                    found.tally.domain(value)
            self._spread[identity] = found
            self._spread_in[pod.namespace].append(found)
        return found

    def _profile(self, pod: Pod) -> _Profile:
        identity = (pod.namespace, id(pod.labels), pod.shape)
        found = self._profiles.get(identity)
        if found is not None:
            return found
        namespace, labels, shape = pod.namespace, pod.labels, pod.shape
        spreads = [
            (s, s.selector.matches(labels))
            for s in (self._spreading(pod, spread) for spread in shape.spread)
        ]
        found = self._profiles[identity] = _Profile(
            shape=shape,
            matched=[
                t
                for t in (*self._matchable[namespace], *self._matchable["*"])
                if t.term.selector.matches(labels)
            ],
            near=[self._term(t) for t in shape.affinity],
            apart=[self._term(t) for t in shape.anti_affinity],
            repels=[
                t
                for t in (*self._repelling[namespace], *self._repelling["*"])
                if t.term.selector.matches(labels)
            ],
            spreads=spreads,
            counted=[s for s in self._spread_in[namespace] if s.selector.matches(labels)],
            eligible=self._admitting(shape),
        )
        return found

    def _admitting(self, shape: Shape) -> bytes:
        key = (shape.node_selector, shape.node_terms, shape.tolerations)
        found = self._eligible.get(key)
        if found is None:
            found = bytes(not admits(n, shape) for n in self.nodes)
            self._eligible[key] = found
        return found

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
        profile = self._profile(pod)
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
        profile: _Profile,
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
        return self._topology(profile, i)

    def _topology(self, profile: _Profile, i: int) -> str:
        for t in profile.apart:
            value = t.values[i]
            if value is not None and t.match.get(value, 0) > 0:
                return f"have a pod that its anti-affinity avoids in their {t.term.key}"
        for t in profile.repels:
            value = t.values[i]
            if value is not None and t.bear.get(value, 0) > 0:
                return f"have a pod that avoids it in their {t.term.key}"
        if profile.near:
            first = all(not any(t.match.values()) for t in profile.near) and all(
                t in profile.matched for t in profile.near
            )
            for t in profile.near:
                value = t.values[i]
                if value is None or (not first and t.match.get(value, 0) <= 0):
                    return f"have no pod that its affinity wants in their {t.term.key}"
        for s, itself in profile.spreads:
            value = s.values[i]
            if value is None:
                return f"have no {s.spread.key} to spread over"
            low = s.tally.low if len(s.tally.counts) >= s.spread.min_domains else 0
            if s.tally.counts.get(value, 0) + itself - low > s.spread.max_skew:
                return f"would break its spread over {s.spread.key}"
        return ""

    def _why(
        self,
        pod: Pod,
        profile: _Profile,
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
