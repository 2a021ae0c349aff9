"""A plan of moves as data: what each workload is, how it moves, when each pod goes, what is in the
way."""

from __future__ import annotations

from pawl.core.findings import Severity
from pawl.core.pace import Pace
from pawl.core.workloads.bound import Piece, Term
from pawl.core.workloads.classify import Class
from pawl.core.workloads.facts import Part
from pawl.core.workloads.graph import Graph
from pawl.core.workloads.obstacles import Obstacle, Resolution
from pawl.core.workloads.schedule import Job
from pawl.core.workloads.surroundings import Method


class Move(Part, frozen=True, kw_only=True):
    """One pod's way. `start` counts in seconds from the beginning of its wave, `seconds` is the
    predicted time until its successor is Ready. `target` is a node on which it fits, not the one
    that the scheduler will choose."""

    pod: str
    uid: str
    workload: str
    method: Method
    source: str
    target: str
    wave: int
    tier: int
    start: float
    seconds: float


class WorkloadPlan(Part, frozen=True, kw_only=True):
    """What a workload is and how it moves. `dip` is in pod-seconds, `restarts` pod starts that the
    move causes, `seconds` one pod's time. `tier_name` is its infrastructure tier's."""

    key: str
    kind: Class
    operator: str
    tier: int
    tier_name: str
    cycle: tuple[str, ...]
    replicas: int
    ready: int
    moving: int
    method: Method
    why: str
    at_once: int
    seconds: float
    dip: float
    restarts: int
    notes: tuple[str, ...]
    resolutions: tuple[Resolution, ...]
    strategy: str
    budgets: tuple[str, ...]
    autoscaler: str
    claims: tuple[str, ...]
    zones: tuple[str, ...]
    grace: float
    readiness: bool
    min_ready: float
    apart: tuple[str, ...]
    spread: tuple[str, ...]
    providers: tuple[str, ...]
    registries: tuple[str, ...] = ()
    """Where its images come from."""


class Wave(Part, frozen=True, kw_only=True):
    """`seconds` from the new machines' start until the old ones can go, of which pods move for
    `moving`; `least` what the caps allow at best: `machines`, and the first of `terms`, which is
    `term`."""

    old: tuple[str, ...]
    new: tuple[str, ...]
    moves: int
    moving: float
    seconds: float
    least: float
    term: str
    terms: tuple[Term, ...]
    machines: tuple[Piece, ...]
    peak: int


class MovePlan(Part, frozen=True, kw_only=True):
    """Workloads in their order, moves in theirs, and everything that stands in the way."""

    workloads: tuple[WorkloadPlan, ...]
    moves: tuple[Move, ...]
    waves: tuple[Wave, ...]
    obstacles: tuple[Obstacle, ...]
    graph: Graph
    starts_cap: int
    pace: Pace
    clients: dict[str, int]
    """Provider -> pods that connect to it."""
    at_best: tuple[tuple[Job, ...], ...]
    """The moves of each wave, none of them longer than it must be."""

    @property
    def seconds(self) -> float:
        return sum(w.seconds for w in self.waves)

    @property
    def least(self) -> float:
        return sum(w.least for w in self.waves)

    @property
    def term(self) -> str:
        """What binds the longest wave."""
        return max(self.waves, key=lambda w: w.least).term if self.waves else "nothing moves"

    @property
    def dip(self) -> float:
        return sum(w.dip for w in self.workloads)

    @property
    def blockers(self) -> tuple[Obstacle, ...]:
        return tuple(o for o in self.obstacles if o.severity is Severity.BLOCKER)

    @property
    def forever(self) -> tuple[Obstacle, ...]:
        """What a plain drain would wait for without end."""
        return tuple(o for o in self.obstacles if o.forever)
