"""When each move starts under the caps of a pace.

A move is a pod's way from its old node to Ready on a new one. Moves run side by side under four
caps: pod starts in flight, pods of one workload at once, clients of one provider that reconnect
at once, and image pulls from one registry. A workload begins when everything it depends on has
settled, and a tier of infrastructure when the tiers before it are whole. Among those that may
begin, the one with the longest way still before it goes first (list scheduling: within 2 - 1/m of
the best, Graham 1969).
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from pawl.core.pace import Pace
from pawl.core.workloads.facts import Part


class Job(Part, frozen=True, kw_only=True):
    """A workload's moves in one wave: `moves` of them, `at_once` together. Each takes `seconds`
    until its successor is Ready, and a slot of every cap so long; its old pod stays for `hold` more
    and has gone after `gone`, counted from the start.

    `after` are workloads that must be whole before, those of them that are `providers` must have
    settled too; `rank` is its tier. `providers` are all it connects to. The first `pulls` of its
    moves pull an image from `registry`, the others find it there. `by_itself`: its own controller
    replaces its pods, under no cap. `ready_by` and `gone_by`: what says how long that takes."""

    workload: str
    rank: int
    moves: int
    at_once: int
    seconds: float
    hold: float = 0.0
    gone: float = 0.0
    after: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    registry: str = ""
    pulls: int = 0
    by_itself: bool = False
    ready_by: str = ""
    gone_by: str = ""

    @property
    def alone(self) -> float:
        """Its time until the last successor is Ready, if nothing else held it back."""
        return math.ceil(self.moves / self.at_once) * self.seconds

    @property
    def lingers(self) -> float:
        """How much longer than its successor's start an old pod takes to go."""
        return max(0.0, self.gone - self.seconds)

    def settles(self, provider: str, pace: Pace) -> float:
        """How long `provider`, once whole, stays Ready before this begins."""
        return pace.settle if provider in self.providers else 0.0


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


def schedule(jobs: Sequence[Job], pace: Pace, clients: Mapping[str, int], cap: int = 0) -> Schedule:
    """Plays the moves through under all caps, until the last old pod is gone. `jobs`: providers
    first, ranks rising. `cap`: pod starts in flight, 0 for what the pace says of these jobs."""
    return _Play(jobs, pace, clients, cap).run()


class _Play:
    """Events in time. A workload that could start but for a cap waits for exactly that cap; when
    one of its slots becomes free, the most urgent of those who wait is tried, and so on until one
    has taken it."""

    def __init__(
        self, jobs: Sequence[Job], pace: Pace, clients: Mapping[str, int], cap: int
    ) -> None:
        self.pace = pace
        self.states = {j.workload: _State(j) for j in jobs if j.moves}
        self.starts: dict[str, list[float]] = {w: [] for w in self.states}
        self.cap = cap or pace.starts(sum(j.moves for j in jobs))
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
                case "whole":
                    self.settled += 1
                    self._let(workload, settled=False)
                case _:
                    self._let(workload, settled=True)
        assert self.settled == len(self.states), "a move waits for something that never comes"
        return Schedule(
            starts={w: tuple(own) for w, own in self.starts.items()},
            seconds=self.end,
            peak=self.peak,
        )

    def _let(self, workload: str, *, settled: bool) -> None:
        """Those that wait for it begin: its clients once it has `settled`, others when whole."""
        for other in self.dependents.get(workload, ()):
            if (workload in self.states[other].job.providers) is settled:
                self.waiting[other] -= 1
                if not self.waiting[other]:
                    self._offer(other)

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
        self.end = max(self.end, self.clock + max(s.job.seconds, s.job.gone))
        self._at(s.job.seconds, "end", workload)

    def _ended(self, s: _State) -> None:
        s.flying -= 1
        s.done += 1
        self.flying -= 1
        for p in s.job.providers:
            self._free(p)
        self._offer(s.job.workload)
        if s.done == s.job.moves:
            self._at(s.job.hold, "whole", s.job.workload)
            self._at(s.job.hold + self.pace.settle, "settled", s.job.workload)


def _waits(states: Sequence[_State]) -> tuple[dict[str, int], dict[str, list[str]]]:
    """How many workloads each waits for, and who waits for it. A rank waits for a gate, which is
    the last of the rank before to be whole: modelled as one edge from each of them."""
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
