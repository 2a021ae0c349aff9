"""How well all nodes were rolled: machines and pods together, beside the least it could have taken.

Steps wait for one another as the plan says, so the longest way through what each of them needed at
best is a lower bound of the whole: a new machine until it takes pods, an old node's moves (by their
own bound, core/emptied.py), its machine until it is gone. Soaks only let time pass, and count on
neither side.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Sequence

import msgspec

from pawl.core.actions import AddNode, AnyAction, RetireNode, Soak, SwapNode
from pawl.core.emptied import Emptied, emptied
from pawl.core.events import (
    AnyEvent,
    EffectDone,
    EffectIntended,
    Evidence,
    Paused,
    RunStarted,
    StepDone,
    StepStarted,
)
from pawl.core.plan import Plan
from pawl.core.workloads.bound import Piece

EVIDENCE = "joined"
MACHINE = ("remove-machine", "stop", "switch", "start")
"""Effects on a node's machine, one after the other within a step."""


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """A new machine, and the seconds from its order until it took pods."""

    machine: str
    seconds: float


class Rolled(msgspec.Struct, frozen=True, kw_only=True):
    """`seconds` from the first step to the end of the last, without soaks; `least` is the sum of
    `pieces`, the longest way."""

    nodes: int
    seconds: float
    pieces: tuple[Piece, ...]

    @property
    def least(self) -> float:
        return sum(p.seconds for p in self.pieces)

    @property
    def efficiency(self) -> float:
        return self.least / self.seconds if self.seconds else 1.0

    def sentence(self) -> str:
        return (
            f"{self.nodes} nodes were rolled in {self.seconds:.0f} s (soaks aside), machines "
            f"included; at the least {self.least:.0f} s ({self.efficiency:.0%})."
        )


def rolled(plan: Plan, events: Sequence[AnyEvent]) -> Rolled | None:
    """None where no node was rolled, not all are, or the run was interrupted in between."""
    if any(isinstance(e, Paused) or (isinstance(e, RunStarted) and e.resumed) for e in events):
        return None
    begun = {e.step: e.at for e in reversed(events) if isinstance(e, StepStarted)}
    done = {e.step: e.at for e in events if isinstance(e, StepDone)}
    steps = [s for s in plan.steps if s.phase == "nodes" and s.id in begun]
    nodes = sum(isinstance(s.action, RetireNode | SwapNode) for s in steps)
    if not nodes or any(s.id not in done for s in steps):
        return None
    needs = _Needs(events)
    best: dict[str, tuple[float, tuple[Piece, ...]]] = {}
    for s in steps:
        before = max((best[a] for a in s.after if a in best), key=lambda x: x[0], default=(0.0, ()))
        own = needs.of(s.id, s.action)
        best[s.id] = (before[0] + sum(p.seconds for p in own), (*before[1], *own))
    soaked = sum(done[s.id] - begun[s.id] for s in steps if isinstance(s.action, Soak))
    took = max(done[s.id] for s in steps) - min(begun[s.id] for s in steps) - soaked
    pieces = max(best.values(), key=lambda x: x[0])[1]
    return Rolled(nodes=nodes, seconds=round(took, 2), pieces=pieces)


class _Needs:
    """What each step needed at best, from what the run has kept."""

    def __init__(self, events: Sequence[AnyEvent]) -> None:
        self._emptied: dict[str, Emptied] = {e.node: e for e in emptied(events)}
        self._joined: dict[str, float] = {}
        self._machine: dict[str, float] = defaultdict(float)
        intended: dict[tuple[str, str], float] = {}
        for e in events:
            match e:
                case Evidence(name=name, data=data) if name == EVIDENCE:
                    with contextlib.suppress(msgspec.DecodeError):
                        joined = msgspec.json.decode(data, type=Joined)
                        self._joined[joined.machine] = joined.seconds
                case EffectIntended() if e.effect in MACHINE:
                    intended[e.step, e.effect] = e.at
                case EffectDone() if e.effect in MACHINE and (e.step, e.effect) in intended:
                    self._machine[e.step] += e.at - intended.pop((e.step, e.effect))

    def of(self, step: str, action: AnyAction) -> tuple[Piece, ...]:
        match action:
            case AddNode(machine=machine):
                return _piece(f"{machine} takes pods", self._joined.get(machine, 0.0))
            case RetireNode(node=node):
                gone = _piece(f"the machine of {node} is gone", self._machine[step])
                return (*self._moves(node), *gone)
            case SwapNode(node=node):
                swapped = _piece(f"the kubelet of {node} is swapped", self._machine[step])
                return (*self._moves(node), *swapped)
        return ()

    def _moves(self, node: str) -> tuple[Piece, ...]:
        e = self._emptied.get(node)
        return _piece(f"{node} is emptied, bound by {e.term}", e.least) if e else ()


def _piece(what: str, seconds: float) -> tuple[Piece, ...]:
    return (Piece(what=what, seconds=seconds, source="measured"),) if seconds else ()
