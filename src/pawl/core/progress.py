"""Where a run stands: the fold of its events.

The journal is attribution, attempts and timing; whether a step's end state stands is always asked
of the cluster (`pawl.core.landed`). A view of no events is a run that has not begun, so a lost
journal costs history and repeats what only the journal knows (soaks, approvals), never safety.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import assert_never

import msgspec
from msgspec.structs import replace

from pawl.core.events import (
    Aborted,
    AnyEvent,
    Approved,
    EffectDone,
    EffectIntended,
    Evidence,
    GatesJudged,
    GatesWatched,
    Paused,
    Quarantined,
    Resumed,
    RunEnded,
    RunStarted,
    StepDone,
    StepFailed,
    StepStarted,
    Waiting,
)

GATES = "gates"
"""Who has paused a run, when measurements did."""


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """An effect whose intention was journalled and whose end was not: it may have happened."""

    step: str
    effect: str
    target: str


class GatesView(msgspec.Struct, frozen=True, kw_only=True):
    """What measurements say. A `pawl resume` after their pause, or after their patience, takes note
    of what they said: failures known then are `accepted`, and if they could not tell, a person has
    told (`waived`)."""

    blocking: bool = False
    verdict: str = ""
    why: str = ""
    looked_at: float = float("-inf")
    failed: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    waived: bool = False

    @property
    def open(self) -> bool:
        """Whether nothing is held back for them."""
        if not self.blocking or self.verdict == "pass":
            return True
        return self.waived and not set(self.failed) - set(self.accepted)


class StepView(msgspec.Struct, frozen=True, kw_only=True):
    """One step's history. Times are seconds since the epoch; `failures` counts since the last
    resume, so that a person's `pawl resume` gives a full budget again."""

    id: str
    attempts: int = 0
    failures: int = 0
    running: bool = False
    done: bool = False
    started_at: float | None = None
    first_started_at: float | None = None
    ended_at: float | None = None
    failed_at: float | None = None
    last_failure: str = ""
    note: str = ""

    @property
    def seconds(self) -> float | None:
        """How long the last attempt took."""
        if self.started_at is None or self.ended_at is None:
            return None
        return self.ended_at - self.started_at


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """A run as its events tell it. `interrupted` are the steps that a dead process left begun."""

    run: str = ""
    plan: str = ""
    operator: str = ""
    epoch: int = 0
    started_at: float | None = None
    ended_at: float | None = None
    outcome: str = ""
    outcome_why: str = ""
    steps: dict[str, StepView] = {}
    approvals: tuple[tuple[str, str], ...] = ()
    """(digest, name) of every approval."""
    paused: str = ""
    """Why, or "" while not paused."""
    paused_by: str = ""
    aborted: str = ""
    aborted_by: str = ""
    interrupted: tuple[str, ...] = ()
    waiting: str = ""
    waiting_step: str = ""
    waiting_since: float | None = None
    """Since when the cluster has not been well enough, without a step being done or begun in
    between. What is waited for otherwise (an approval, a gate, another try) is none of that."""
    troubled: str = ""
    """The step that could not begin because of it."""
    unfinished: tuple[Effect, ...] = ()
    drained: tuple[str, ...] = ()
    """Hosts that the run took out of the load balancer, or was about to, and has not put back."""
    quarantined: dict[str, str] = {}
    """Nodes that stay closed and old because they could not be emptied, and why."""
    gates: GatesView | None = None
    """None while nobody looks at measurements."""

    def step(self, step_id: str) -> StepView:
        return self.steps.get(step_id, StepView(id=step_id))

    def approved(self, digest: str, name: str) -> bool:
        return (digest, name) in self.approvals

    @property
    def done(self) -> tuple[str, ...]:
        return tuple(s.id for s in self.steps.values() if s.done)

    @property
    def running(self) -> tuple[str, ...]:
        return tuple(s.id for s in self.steps.values() if s.running)


def fold(events: Iterable[AnyEvent]) -> RunView:
    """The view that these events, in order, add up to."""
    view = RunView()
    for event in events:
        view = apply(view, event)
    return view


def left(view: RunView, at_work: Collection[str] = ()) -> RunView:
    """The view in which steps that are begun, and that nobody works on any more, are interrupted:
    their process has died, or they have left at a safe point."""
    cut = [s for s in view.running if s not in at_work]
    if not cut:
        return view
    steps = {**view.steps, **{s: replace(view.step(s), running=False) for s in cut}}
    return replace(view, steps=steps, interrupted=tuple(dict.fromkeys((*view.interrupted, *cut))))


def _with(view: RunView, step: StepView) -> RunView:
    return replace(view, steps={**view.steps, step.id: step})


def apply(view: RunView, event: AnyEvent) -> RunView:
    """The view after one more event."""
    match event:
        case RunStarted():
            return replace(
                left(view),
                run=event.run,
                plan=event.plan,
                operator=event.operator,
                epoch=event.epoch,
                started_at=view.started_at if view.started_at is not None else event.at,
                ended_at=None,
                outcome="",
                outcome_why="",
                waiting="",
                waiting_since=None,
            )
        case Approved():
            return replace(
                view,
                approvals=tuple(dict.fromkeys((*view.approvals, (event.digest, event.name)))),
            )
        case StepStarted():
            old = view.step(event.step)
            step = replace(
                old,
                attempts=max(event.attempt, old.attempts + 1),
                running=True,
                done=False,
                started_at=event.at,
                first_started_at=old.first_started_at
                if old.first_started_at is not None
                else event.at,
                ended_at=None,
            )
            view = replace(
                view,
                waiting="",
                waiting_since=None,
                interrupted=tuple(s for s in view.interrupted if s != event.step),
            )
            return _with(view, step)
        case EffectIntended():
            effect = Effect(step=event.step, effect=event.effect, target=event.target)
            drained = view.drained
            if event.effect == "drain-balancer":
                drained = tuple(dict.fromkeys((*drained, event.target)))
            return replace(view, unfinished=(*view.unfinished, effect), drained=drained)
        case EffectDone():
            effect = Effect(step=event.step, effect=event.effect, target=event.target)
            drained = view.drained
            if event.effect in ("enable-balancer", "remove-from-balancer"):
                drained = tuple(h for h in drained if h != event.target)
            unfinished = tuple(e for e in view.unfinished if e != effect)
            return replace(view, unfinished=unfinished, drained=drained)
        case Waiting():
            view = replace(view, waiting=event.why, waiting_step=event.step)
            if event.trouble:
                since = view.waiting_since if view.waiting_since is not None else event.at
                return replace(view, waiting_since=since, troubled=event.step)
            over = event.step == view.troubled
            return replace(view, waiting_since=None) if over else view
        case StepDone():
            view = replace(
                view,
                unfinished=tuple(e for e in view.unfinished if e.step != event.step),
                waiting="",
                waiting_since=None,
            )
            old = view.step(event.step)
            return _with(
                view,
                replace(
                    old, running=False, done=True, failures=0, ended_at=event.at, note=event.note
                ),
            )
        case StepFailed():
            old = view.step(event.step)
            return _with(
                view,
                replace(
                    old,
                    running=False,
                    failures=old.failures + 1,
                    failed_at=event.at,
                    ended_at=event.at,
                    last_failure=event.why,
                ),
            )
        case Paused():
            return replace(view, paused=event.why, paused_by=event.by)
        case Resumed():
            steps = {k: replace(s, failures=0) for k, s in view.steps.items()}
            gates = view.gates
            # Who lifts a pause of a pack or a person has not been asked about the gates.
            if gates is not None and view.paused_by in ("", GATES):
                gates = _accepted(gates)
            return replace(
                view,
                paused="",
                paused_by="",
                steps=steps,
                waiting="",
                waiting_since=None,
                gates=gates,
            )
        case Aborted():
            return replace(view, aborted=event.why, aborted_by=event.by)
        case RunEnded():
            return replace(view, ended_at=event.at, outcome=event.outcome, outcome_why=event.why)
        case GatesWatched():
            seen = view.gates or GatesView()
            return replace(view, gates=replace(seen, blocking=event.blocking))
        case GatesJudged():
            seen = view.gates or GatesView()
            seen = replace(
                seen,
                verdict=event.verdict,
                why=event.why,
                looked_at=event.looked_at,
                failed=event.failed,
                waived=seen.waived and event.verdict != "pass",
            )
            return replace(view, gates=seen)
        case Quarantined():
            return replace(view, quarantined={**view.quarantined, event.node: event.why})
        case Evidence():
            return view
        case _:
            assert_never(event)


def _accepted(gates: GatesView) -> GatesView:
    """A person has read what the gates said, and goes on."""
    return replace(
        gates,
        accepted=tuple(dict.fromkeys((*gates.accepted, *gates.failed))),
        waived=gates.verdict not in ("pass", ""),
    )
