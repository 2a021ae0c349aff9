"""The JSON of `pawl workloads`: the plan of moves, the graph, and what was not read."""

from __future__ import annotations

import msgspec

from pawl.core.model import Unread
from pawl.core.workloads.facts import Part, Workloads
from pawl.core.workloads.graph import Edge
from pawl.core.workloads.moves import Move, MovePlan, Wave, WorkloadPlan
from pawl.core.workloads.obstacles import Obstacle


class Document(Part, frozen=True, kw_only=True):
    """`seconds` and `least` are the predicted and the least possible time, `term` what binds."""

    complete: bool
    unread: tuple[Unread, ...]
    workloads: tuple[WorkloadPlan, ...]
    dependencies: tuple[Edge, ...]
    waves: tuple[Wave, ...]
    moves: tuple[Move, ...]
    obstacles: tuple[Obstacle, ...]
    blocked_forever: int
    starts_at_once: int
    seconds: float
    least: float
    term: str
    dip: float


def encode(facts: Workloads, made: MovePlan) -> bytes:
    document = Document(
        complete=facts.complete,
        unread=facts.unread,
        workloads=made.workloads,
        dependencies=made.graph.edges,
        waves=made.waves,
        moves=made.moves,
        obstacles=made.obstacles,
        blocked_forever=len(made.forever),
        starts_at_once=made.starts_cap,
        seconds=made.seconds,
        least=made.least,
        term=made.term,
        dip=made.dip,
    )
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
