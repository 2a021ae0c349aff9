"""How fast pods may move, how long it takes at best, and which limit binds.

A move is a pod's way from its old node to Ready on a new one. Moves run side by side under four
caps: pod starts in flight, pods of one workload at once, clients of one provider that reconnect
at once, and image pulls from one registry. A workload begins when everything it depends on has
settled, and a tier of infrastructure when the tiers before it have. Among those that may begin, the
one with the longest way still before it goes first (list scheduling: within 2 - 1/m of the best,
Graham 1969).
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from pawl.core.workloads.facts import Part

WATCH = 600.0
"""Longest start-to-Ready that is believed: a Ready condition that flapped later looks longer."""


class Pace(Part, frozen=True, kw_only=True):
    """Caps and assumed times. The caps are the field's defaults (docs/workloads.md); a time is used
    where the cluster's own pods do not tell it."""

    starts_share: float = 0.05
    starts_least: int = 2
    provider_share: float = 0.25
    pulls: int = 10
    schedule: float = 1.0
    pull: float = 5.0
    ready: float = 10.0
    stop: float = 5.0
    detach: float = 10.0
    attach: float = 15.0
    settle: float = 10.0
    """Two looks, 10 s apart, before what depends on a workload begins."""
    boot: float = 60.0
    tail: float = 15.0

    def starts(self, pods: int) -> int:
        """Pod starts in flight for a plan of so many moves."""
        return max(self.starts_least, math.floor(self.starts_share * pods))

    def clients(self, pods: int) -> int:
        """Clients of one provider that may reconnect together."""
        return max(1, math.floor(self.provider_share * pods))


class Job(Part, frozen=True, kw_only=True):
    """A workload's moves in one wave: `moves` of them, `at_once` together, `seconds` each.

    `after` are workloads that must have settled, `rank` its tier; `providers` are all it connects
    to, and `registry` where its image comes from ("" = no pull)."""

    workload: str
    rank: int
    moves: int
    at_once: int
    seconds: float
    after: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    registry: str = ""

    @property
    def alone(self) -> float:
        """Its time if nothing else held it back."""
        return math.ceil(self.moves / self.at_once) * self.seconds


class Bound(Part, frozen=True, kw_only=True):
    """The least time that the caps allow, and the term that makes it so long."""

    seconds: float = 0.0
    term: str = "nothing moves"
    terms: dict[str, float] = {}  # noqa: RUF012


def lower_bound(
    jobs: Sequence[Job], pace: Pace, clients: Mapping[str, int], attaches: Mapping[str, int]
) -> Bound:
    """`clients`: pods that connect to each provider; `attaches`: volumes that each node attaches,
    one after the other."""
    if not jobs:
        return Bound()
    starts = pace.starts(sum(j.moves for j in jobs))
    terms: dict[str, float] = {}
    longest, last = _longest(jobs, pace)
    terms[f"the chain of dependencies that ends with {last}"] = longest
    busy = sum(j.moves * j.seconds for j in jobs)
    terms[f"{starts} pod starts in flight"] = busy / starts
    shared: dict[str, float] = defaultdict(float)
    for j in jobs:
        for p in j.providers:
            shared[p] += j.moves * j.seconds
    if shared:
        provider, most = max(
            ((p, s / pace.clients(clients.get(p, 1))) for p, s in shared.items()),
            key=lambda x: (x[1], x[0]),
        )
        allowed = pace.clients(clients.get(provider, 1))
        terms[f"{allowed} clients of {provider} reconnecting at once"] = most
    if attaches:
        node, count = max(attaches.items(), key=lambda x: (x[1], x[0]))
        terms[f"{count} volumes attached to {node} one by one"] = count * pace.attach
    term = max(terms, key=lambda t: terms[t])
    return Bound(seconds=terms[term], term=term, terms=terms)


def _longest(jobs: Sequence[Job], pace: Pace) -> tuple[float, str]:
    """The longest chain: each workload's own time and settling, after what it waits for. `jobs`
    come in an order in which providers are first, ranks rising."""
    ends: dict[str, float] = {}
    floor, rank, top = 0.0, None, 0.0
    best, last = 0.0, ""
    for j in jobs:
        if j.rank != rank:
            floor, rank = top, j.rank
        begin = max([floor, *(ends[a] for a in j.after if a in ends)])
        if begin + j.alone > best:
            best, last = begin + j.alone, j.workload
        ends[j.workload] = begin + j.alone + pace.settle
        top = max(top, ends[j.workload])
    return best, last


class _State:
    __slots__ = ("done", "flying", "job", "left", "queued", "started")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.left = job.moves
        self.started = self.done = self.flying = 0
        self.queued = False


class Schedule(Part, frozen=True, kw_only=True):
    """When each move starts, by workload in the order of its moves, and when all are done."""

    starts: dict[str, tuple[float, ...]]
    seconds: float
    peak: int
    """The most pod starts in flight at any moment."""


def schedule(jobs: Sequence[Job], pace: Pace, clients: Mapping[str, int]) -> Schedule:
    """Plays the moves through under all caps. `jobs`: providers first, ranks rising."""
    states = {j.workload: _State(j) for j in jobs if j.moves}
    cap = pace.starts(sum(j.moves for j in jobs))
    waiting, dependents = _waits(list(states.values()))
    remaining = _remaining(jobs, dependents)
    queue: list[tuple[float, str]] = []
    parked: dict[str, list[str]] = defaultdict(list)
    used: Counter[str] = Counter()
    starts: dict[str, list[float]] = {w: [] for w in states}
    events: list[tuple[float, int, str, str]] = []  # time, tie, what, workload
    tie = now = flying = peak = 0
    clock = 0.0

    def offer(workload: str) -> None:
        s = states[workload]
        if s.left and not s.queued and s.flying < s.job.at_once:
            s.queued = True
            heapq.heappush(queue, (-remaining[workload], workload))

    def blocked(job: Job) -> str:
        for p in job.providers:
            if used[p] >= pace.clients(clients.get(p, 1)):
                return p
        if job.registry and used[f"pull {job.registry}"] >= pace.pulls:
            return f"pull {job.registry}"
        return ""

    for workload, count in waiting.items():
        if not count:
            offer(workload)
    while queue or events:
        while queue and flying < cap:
            workload = heapq.heappop(queue)[1]
            s = states[workload]
            s.queued = False
            if held := blocked(s.job):
                parked[held].append(workload)
                continue
            s.left -= 1
            s.flying += 1
            flying += 1
            peak = max(peak, flying)
            for p in s.job.providers:
                used[p] += 1
            if s.job.registry:
                used[f"pull {s.job.registry}"] += 1
            starts[workload].append(clock)
            tie += 1
            heapq.heappush(events, (clock + s.job.seconds, tie, "end", workload))
            offer(workload)
        if not events:
            break
        clock, _, what, workload = heapq.heappop(events)
        s = states[workload]
        if what == "end":
            s.flying -= 1
            s.done += 1
            flying -= 1
            for p in (*s.job.providers, *([f"pull {s.job.registry}"] if s.job.registry else [])):
                used[p] -= 1
                for other in parked.pop(p, ()):
                    offer(other)
            offer(workload)
            if s.done == s.job.moves:
                now += 1
                tie += 1
                heapq.heappush(events, (clock + pace.settle, tie, "settled", workload))
        else:
            for other in dependents.get(workload, ()):
                waiting[other] -= 1
                if not waiting[other]:
                    offer(other)
    assert now == len(states), "a move waits for something that never comes"
    seconds = max(
        (t + states[w].job.seconds for w, own in starts.items() for t in own[-1:]), default=0.0
    )
    return Schedule(starts={w: tuple(own) for w, own in starts.items()}, seconds=seconds, peak=peak)


def _waits(states: Sequence[_State]) -> tuple[dict[str, int], dict[str, list[str]]]:
    """How many workloads each waits for, and who waits for it. A rank waits for a gate, which is
    the last to settle of the rank before: modelled as one edge from each of them."""
    here = {s.job.workload for s in states}
    by_rank: dict[int, list[str]] = defaultdict(list)
    for s in states:
        by_rank[s.job.rank].append(s.job.workload)
    ranks = sorted(by_rank)
    before = {r: ranks[i - 1] for i, r in enumerate(ranks) if i}
    waiting: dict[str, int] = {}
    dependents: dict[str, list[str]] = defaultdict(list)
    for s in states:
        needs = {a for a in s.job.after if a in here}
        if s.job.rank in before:
            needs |= set(by_rank[before[s.job.rank]])
        waiting[s.job.workload] = len(needs)
        for need in needs:
            dependents[need].append(s.job.workload)
    return waiting, dependents


def _remaining(jobs: Sequence[Job], dependents: Mapping[str, Iterable[str]]) -> dict[str, float]:
    """The longest way from a workload's start to the end of all that wait for it."""
    left: dict[str, float] = {}
    for j in reversed(jobs):
        after = max((left.get(d, 0.0) for d in dependents.get(j.workload, ())), default=0.0)
        left[j.workload] = j.alone + after
    return left
