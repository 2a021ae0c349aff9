"""When each move starts under the caps of a pace, how long it takes at best, and which cap binds.

A move is a pod's way from its old node to Ready on a new one. Moves run side by side under four
caps: pod starts in flight, pods of one workload at once, clients of one provider that reconnect
at once, and image pulls from one registry. A workload begins when everything it depends on has
settled, and a tier of infrastructure when the tiers before it have. Among those that may begin, the
one with the longest way still before it goes first (list scheduling: within 2 - 1/m of the best,
Graham 1969).
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from pawl.core.pace import Pace
from pawl.core.workloads.facts import Part

WATCH = 600.0
"""Longest start-to-Ready that is believed: a Ready condition that flapped later looks longer."""


class Job(Part, frozen=True, kw_only=True):
    """A workload's moves in one wave: `moves` of them, `at_once` together, `seconds` each.

    `after` are workloads that must have settled, `rank` its tier; `providers` are all it connects
    to. The first `pulls` of its moves pull an image from `registry`, the others find it there."""

    workload: str
    rank: int
    moves: int
    at_once: int
    seconds: float
    after: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    registry: str = ""
    pulls: int = 0

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
    pulling: dict[str, float] = defaultdict(float)
    for j in jobs:
        pulling[j.registry] += j.pulls * min(pace.pull, j.seconds)
    for registry, spent in pulling.items():
        terms[f"{pace.pulls} image pulls from {registry} at once"] = spent / pace.pulls
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
    __slots__ = ("done", "flying", "job", "left", "pulls", "queued", "woken")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.left = job.moves
        self.pulls = job.pulls
        self.done = self.flying = 0
        self.queued = False
        self.woken = ""


class Schedule(Part, frozen=True, kw_only=True):
    """When each move starts, by workload in the order of its moves, and when all are done."""

    starts: dict[str, tuple[float, ...]]
    seconds: float
    peak: int
    """The most pod starts in flight at any moment."""


def schedule(jobs: Sequence[Job], pace: Pace, clients: Mapping[str, int]) -> Schedule:
    """Plays the moves through under all caps. `jobs`: providers first, ranks rising."""
    return _Play(jobs, pace, clients).run()


class _Play:
    """Events in time. A workload that could start but for a cap waits for exactly that cap; when
    one of its slots becomes free, the most urgent of those who wait is tried, and so on until one
    has taken it."""

    def __init__(self, jobs: Sequence[Job], pace: Pace, clients: Mapping[str, int]) -> None:
        self.pace = pace
        self.states = {j.workload: _State(j) for j in jobs if j.moves}
        self.starts: dict[str, list[float]] = {w: [] for w in self.states}
        self.cap = pace.starts(sum(j.moves for j in jobs))
        self.waiting, self.dependents = _waits(list(self.states.values()))
        self.remaining = _remaining(jobs, self.dependents)
        self.limit: dict[str, int] = {}
        for j in jobs:
            for p in j.providers:
                self.limit[p] = pace.clients(clients.get(p, 1))
            self.limit[f"pull {j.registry}"] = pace.pulls
        self.used: Counter[str] = Counter()
        self.parked: dict[str, list[tuple[float, str]]] = defaultdict(list)
        self.queue: list[tuple[float, str]] = []
        self.events: list[tuple[float, int, str, str]] = []
        self.turn = itertools.count()
        self.clock = self.end = 0.0
        self.flying = self.peak = self.settled = 0

    def run(self) -> Schedule:
        for workload, count in self.waiting.items():
            if not count:
                self._offer(workload)
        while True:
            self._start_all()
            if not self.events:
                break
            self.clock, _, what, workload = heapq.heappop(self.events)
            match what:
                case "pulled":
                    self._free(f"pull {self.states[workload].job.registry}")
                case "end":
                    self._ended(self.states[workload])
                case _:
                    self.settled += 1
                    for other in self.dependents.get(workload, ()):
                        self.waiting[other] -= 1
                        if not self.waiting[other]:
                            self._offer(other)
        assert self.settled == len(self.states), "a move waits for something that never comes"
        return Schedule(
            starts={w: tuple(own) for w, own in self.starts.items()},
            seconds=self.end,
            peak=self.peak,
        )

    def _at(self, seconds: float, what: str, workload: str) -> None:
        heapq.heappush(self.events, (self.clock + seconds, next(self.turn), what, workload))

    def _offer(self, workload: str, woken: str = "") -> None:
        s = self.states[workload]
        if s.left and not s.queued and s.flying < s.job.at_once:
            s.queued, s.woken = True, woken
            heapq.heappush(self.queue, (-self.remaining[workload], workload))
        elif woken:
            self._wake(woken)

    def _wake(self, cap: str) -> None:
        """A slot of `cap` is free: the most urgent of those who wait for it is tried."""
        if self.parked[cap] and self.used[cap] < self.limit[cap]:
            self._offer(heapq.heappop(self.parked[cap])[1], cap)

    def _free(self, cap: str) -> None:
        self.used[cap] -= 1
        self._wake(cap)

    def _blocked(self, s: _State) -> str:
        for p in s.job.providers:
            if self.used[p] >= self.limit[p]:
                return p
        pull = f"pull {s.job.registry}"
        return pull if s.pulls and self.used[pull] >= self.limit[pull] else ""

    def _start_all(self) -> None:
        while self.queue and self.flying < self.cap:
            urgency, workload = heapq.heappop(self.queue)
            s = self.states[workload]
            s.queued, woken = False, s.woken
            if cap := self._blocked(s):
                heapq.heappush(self.parked[cap], (urgency, workload))
                if woken and woken != cap:
                    self._wake(woken)
                continue
            self._start(s)
            self._offer(workload)
            if woken:
                self._wake(woken)

    def _start(self, s: _State) -> None:
        workload = s.job.workload
        s.left -= 1
        s.flying += 1
        self.flying += 1
        self.peak = max(self.peak, self.flying)
        self.used.update(s.job.providers)
        if s.pulls:
            s.pulls -= 1
            self.used[f"pull {s.job.registry}"] += 1
            self._at(min(self.pace.pull, s.job.seconds), "pulled", workload)
        self.starts[workload].append(self.clock)
        self._at(s.job.seconds, "end", workload)

    def _ended(self, s: _State) -> None:
        s.flying -= 1
        s.done += 1
        self.flying -= 1
        self.end = self.clock
        for p in s.job.providers:
            self._free(p)
        self._offer(s.job.workload)
        if s.done == s.job.moves:
            self._at(self.pace.settle, "settled", s.job.workload)


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
