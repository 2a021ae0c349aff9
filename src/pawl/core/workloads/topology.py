"""Who is where, for pods that mind: inter-pod (anti-)affinity in both directions, and spread.

A rule is compiled once, over all nodes; after that every pod that comes or goes changes a few
counts, and a question about a node is a few look-ups. Pods that no rule can tell apart share a
`Profile`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pawl.core.workloads.admission import admits
from pawl.core.workloads.facts import Node, Pod, PodTerm, Selector, Shape, Spread


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
class Term:
    """A (anti-)affinity term with its two tallies: pods that match it, and pods that bear it."""

    term: PodTerm
    values: list[str | None]
    match: dict[str, int] = field(default_factory=dict)
    bear: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Spreading:
    spread: Spread
    selector: Selector
    values: list[str | None]
    """The domain of each node, None where the node does not count."""
    tally: Tally
    members: Counter[str]
    """Nodes of each domain."""


@dataclass(slots=True, eq=False)
class Profile:
    """Pods that the simulation cannot tell apart, but by their claims."""

    shape: Shape
    matched: list[Term]
    """Terms of anybody that these pods match."""
    near: list[Term]
    apart: list[Term]
    repels: list[Term]
    """Anti-affinity terms, of anybody, that these pods match."""
    spreads: list[tuple[Spreading, bool]]
    """Own constraints, and whether the pod counts itself."""
    counted: list[Spreading]
    """Constraints of anybody that count these pods."""
    eligible: bytes


class Topology:
    """The domains of all nodes, and the counts of every rule in them."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = nodes
        self._here = [True] * len(nodes)
        self._terms: dict[PodTerm, Term] = {}
        self._repelling: dict[str, list[Term]] = defaultdict(list)
        self._matchable: dict[str, list[Term]] = defaultdict(list)
        self._spread: dict[tuple[object, ...], Spreading] = {}
        self._spread_in: dict[str, list[Spreading]] = defaultdict(list)
        self._profiles: dict[tuple[str, int, Shape], Profile] = {}
        self._eligible: dict[object, bytes] = {}

    def learn(self, pods: Iterable[Pod]) -> None:
        """Every pod whose rules can matter, before any is counted. Call it once, with all."""
        for p in pods:
            for term in (*p.shape.affinity, *p.shape.anti_affinity):
                self._term(term)
            for term in p.shape.anti_affinity:
                self._repels(term)
            for s in p.shape.spread:
                self._spreading(p, s)

    def retire(self, i: int) -> None:
        """The node is gone: no domain any more."""
        self._here[i] = False
        for s in self._spread.values():
            value, s.values[i] = s.values[i], None
            if value is not None:
                s.members[value] -= 1
                if not s.members[value]:
                    s.tally.drop(value)
        for t in self._terms.values():
            t.values[i] = None

    def count(self, profile: Profile, i: int, by: int) -> None:
        """So many pods of the profile more (or fewer) are on the node."""
        for t in profile.matched:
            if (value := t.values[i]) is not None:
                t.match[value] = t.match.get(value, 0) + by
        for t in profile.apart:
            if (value := t.values[i]) is not None:
                t.bear[value] = t.bear.get(value, 0) + by
        for s in profile.counted:
            if (value := s.values[i]) is not None:
                s.tally.add(value, by)

    def objection(self, profile: Profile, i: int) -> str:
        """Why a pod of the profile may not be on the node, "" when it may."""
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

    def _values(self, key: str) -> list[str | None]:
        return [
            n.labels.get(key) if here else None
            for n, here in zip(self._nodes, self._here, strict=True)
        ]

    def _term(self, term: PodTerm) -> Term:
        found = self._terms.get(term)
        if found is None:
            found = self._terms[term] = Term(term, self._values(term.key))
            for namespace in ("*",) if term.everywhere else term.namespaces:
                self._matchable[namespace].append(found)
        return found

    def _repels(self, term: PodTerm) -> None:
        found = self._term(term)
        for namespace in ("*",) if term.everywhere else term.namespaces:
            if found not in self._repelling[namespace]:
                self._repelling[namespace].append(found)

    def _spreading(self, pod: Pod, spread: Spread) -> Spreading:
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
                for value, n in zip(self._values(spread.key), self._nodes, strict=True)
            ]
            members = Counter(v for v in values if v is not None)
            found = Spreading(spread, selector, values, Tally(), members)
            for value in values:
                if value is not None:
                    found.tally.domain(value)
            self._spread[identity] = found
            self._spread_in[pod.namespace].append(found)
        return found

    def profile(self, pod: Pod) -> Profile:
        identity = (pod.namespace, id(pod.labels), pod.shape)
        found = self._profiles.get(identity)
        if found is not None:
            return found
        namespace, labels, shape = pod.namespace, pod.labels, pod.shape
        spreads = [
            (s, s.selector.matches(labels))
            for s in (self._spreading(pod, spread) for spread in shape.spread)
        ]
        found = self._profiles[identity] = Profile(
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
            found = bytes(not admits(n, shape) for n in self._nodes)
            self._eligible[key] = found
        return found
