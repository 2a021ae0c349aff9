"""The report of a run, as data: journal events, the plan and the prober's figures in one struct.

Pure. `build` folds, the renderers (`report_md`, `report_html`) only draw. Whatever was not
measured is None, and is said to be so in the verdict: a report must not be able to look better
because something did not work.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Literal

import msgspec

from pawl.core import actions
from pawl.core.emptied import Emptied, emptied, sentence
from pawl.core.events import (
    AnyEvent,
    Approved,
    EffectDone,
    Evidence,
    Quarantined,
    RunEnded,
    RunStarted,
    StepDone,
    StepFailed,
    StepStarted,
    Waiting,
)
from pawl.core.evidence_summary import Measured
from pawl.core.model import ClusterState
from pawl.core.plan import Plan
from pawl.core.predict import busy_seconds, schedule
from pawl.core.report_figures import Figure, figures_of
from pawl.core.report_inventory import InventoryRow, compare
from pawl.core.report_ledger import LedgerRow, ledger
from pawl.core.report_tracks import Track, tracks
from pawl.core.rolled import Rolled, rolled
from pawl.core.verify.pack import Outcome as PackOutcome
from pawl.core.verify.reading import Judgement

Outcome = Literal["done", "failed", "not finished", "waiting"]


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    start: float
    end: float
    why: str


class StepRow(msgspec.Struct, frozen=True, kw_only=True):
    """A step as it went. `start` is None for one that never started; `waited` is the part of the
    time that was spent waiting for a person."""

    id: str
    phase: str
    kind: str
    why: str
    predicted: float
    start: float | None = None
    end: float | None = None
    state: Literal["done", "failed", "running", "not started", "was so already"] = "not started"
    attempts: int = 0
    waited: float = 0.0
    waits: tuple[Wait, ...] = ()
    note: str = ""

    @property
    def seconds(self) -> float | None:
        if self.start is None or self.end is None:
            return None
        return self.end - self.start - self.waited


class PhaseRow(msgspec.Struct, frozen=True, kw_only=True):
    """Predicted against actual, without waits for approvals. `actual` is None until it ended."""

    name: str
    steps: int
    predicted: float
    actual: float | None
    waited: float
    start: float | None
    end: float | None


class ApprovalRow(msgspec.Struct, frozen=True, kw_only=True):
    at: float
    name: str
    by: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The one sentence, and what it stands on."""

    good: bool | None
    sentence: str
    proved: tuple[str, ...]
    broken: tuple[str, ...]
    unmeasured: tuple[str, ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    cluster: str
    run: str
    plan: str
    goal: str
    operator: str
    start: float
    end: float
    outcome: Outcome
    outcome_why: str
    resumed: int
    verdict: Verdict
    figures: tuple[Figure, ...]
    phases: tuple[PhaseRow, ...]
    steps: tuple[StepRow, ...]
    approvals: tuple[ApprovalRow, ...]
    tracks: tuple[Track, ...]
    ledger: tuple[LedgerRow, ...]
    effects: int
    inventory: tuple[InventoryRow, ...]
    measured: Measured | None
    notes: tuple[str, ...] = ()
    gates: Judgement | None = None
    """The last failure that stopped the run, else the last look; None where nobody looked."""
    packs: tuple[PackOutcome, ...] = ()
    emptied: tuple[Emptied, ...] = ()
    rolled: Rolled | None = None
    """All nodes together, where that can be told."""

    @property
    def seconds(self) -> float:
        return self.end - self.start


def window(events: Sequence[AnyEvent], now: float) -> tuple[float, float]:
    """What must have been measured: from the first step's start to the last event of a step."""
    starts = [e.at for e in events if isinstance(e, StepStarted)]
    ends = [e.at for e in events if isinstance(e, StepDone | StepFailed | EffectDone)]
    start = min(starts, default=min((e.at for e in events), default=now))
    return start, max([start, *ends])


def build(plan: Plan, events: Sequence[AnyEvent], measured: Measured | None) -> Report:
    """`events` are those of one run, in order, with the approvals of its plan."""
    begun = next(e for e in events if isinstance(e, RunStarted))
    start, end = window(events, begun.at)
    steps = _steps(plan, events, end)
    ended = next((e for e in reversed(events) if isinstance(e, RunEnded)), None)
    landed = bool(steps) and all(s.state in ("done", "was so already") for s in steps)
    outcome, why = _outcome(ended, landed)
    inventory_notes: list[str] = []
    before = _state(events, "before", inventory_notes)
    after = _state(events, "after", inventory_notes)
    given_back = ledger(events)
    moves, roll = emptied(events), rolled(plan, events)
    figures = figures_of(measured, ledger_open=sum(r.given_back is None for r in given_back))
    return Report(
        cluster=plan.cluster,
        run=begun.run,
        plan=plan.digest,
        goal=_goal(plan),
        operator=begun.operator,
        start=start,
        end=end,
        outcome=outcome,
        outcome_why=why,
        resumed=sum(isinstance(e, RunStarted) and e.resumed for e in events),
        verdict=_verdict(outcome, why, figures, measured),
        figures=figures,
        phases=_phases(plan, steps),
        steps=steps,
        approvals=tuple(
            ApprovalRow(at=e.at, name=e.name, by=e.by) for e in events if isinstance(e, Approved)
        ),
        tracks=tracks(before, start, _in_order(plan, steps)),
        ledger=given_back,
        effects=sum(isinstance(e, EffectDone) for e in events),
        inventory=compare(before, after),
        measured=measured,
        notes=(
            *inventory_notes,
            *(
                f"Node {e.node} stays behind, closed and old: {e.why}"
                for e in events
                if isinstance(e, Quarantined)
            ),
            *filter(None, [sentence(moves), roll.sentence() if roll else ""]),
        ),
        emptied=moves,
        rolled=roll,
        gates=_gates(events),
        packs=_packs(events),
    )


def _gates(events: Sequence[AnyEvent]) -> Judgement | None:
    kept = []
    for e in events:
        if isinstance(e, Evidence) and e.name == "gates":
            with contextlib.suppress(msgspec.DecodeError):
                kept.append(msgspec.json.decode(e.data, type=Judgement))
    failed = [j for j in kept if j.verdict == "fail"]
    return failed[-1] if failed else (kept[-1] if kept else None)


def _packs(events: Sequence[AnyEvent]) -> tuple[PackOutcome, ...]:
    found: list[PackOutcome] = []
    for e in events:
        if isinstance(e, Evidence) and e.name == "packs":
            with contextlib.suppress(msgspec.DecodeError):
                found += msgspec.json.decode(e.data, type=tuple[PackOutcome, ...])
    return tuple(found)


def _goal(plan: Plan) -> str:
    t = plan.target
    parts = [
        f"Kubernetes {t.kubernetes}" if t.kubernetes else "",
        f"etcd {t.etcd}" if t.etcd else "",
    ]
    return " and ".join(p for p in parts if p) or "nothing"


def _outcome(ended: RunEnded | None, landed: bool) -> tuple[Outcome, str]:
    if ended is None:
        return "not finished", "The journal ends without the run's end: it was killed, or runs now."
    if ended.outcome == "done" and landed:
        return "done", ended.why
    if ended.outcome == "done":
        return "not finished", ended.why or "It says done, but not every step of the plan is."
    if ended.outcome in ("paused", "interrupted"):
        return "waiting", ended.why
    return "failed", ended.why


def _steps(plan: Plan, events: Sequence[AnyEvent], end: float) -> tuple[StepRow, ...]:
    """Fold the events of each step; a wait lasts until the step's next event."""
    by_step: dict[str, list[AnyEvent]] = {s.id: [] for s in plan.steps}
    for e in events:
        step = getattr(e, "step", None)
        if step in by_step:
            by_step[step].append(e)
    rows: list[StepRow] = []
    for s in plan.steps:
        own = by_step[s.id]
        starts = [e.at for e in own if isinstance(e, StepStarted)]
        done = next((e for e in own if isinstance(e, StepDone)), None)
        failed = [e for e in own if isinstance(e, StepFailed)]
        finish = done.at if done else (failed[-1].at if failed else None)
        waits = tuple(
            Wait(
                start=e.at,
                end=own[i + 1].at if i + 1 < len(own) else max(e.at, finish or end),
                why=e.why,
            )
            for i, e in enumerate(own)
            if isinstance(e, Waiting)
        )
        begin = min([*starts, *(w.start for w in waits)], default=None)
        state: Literal["done", "failed", "running", "not started", "was so already"]
        if done:
            state = "done" if begin is not None else "was so already"
        elif failed and (not starts or failed[-1].at >= starts[-1]):
            state = "failed"
        else:
            state = "running" if begin is not None else "not started"
        # before its start a step can only be held back by a person or a gate
        person = isinstance(s.action, actions.PointOfNoReturn)
        first = starts[0] if starts else (finish or end)
        waited = sum(w.end - w.start for w in waits if person or w.end <= first)
        rows.append(
            StepRow(
                id=s.id,
                phase=s.phase,
                kind=_tag(s.action),
                why=s.why,
                predicted=s.seconds,
                start=begin,
                end=finish if state != "running" else None,
                state=state,
                attempts=max(len(starts), 1 if begin is not None else 0),
                waited=waited,
                waits=waits,
                note=done.note if done else (failed[-1].why if failed else ""),
            )
        )
    return tuple(rows)


def _tag(action: actions.AnyAction) -> str:
    return str(msgspec.to_builtins(action)["do"])


def _phases(plan: Plan, steps: Sequence[StepRow]) -> tuple[PhaseRow, ...]:
    """Actual is the time in which at least one step of the phase ran, so that parallel steps
    count once; waits for a person are taken out."""
    foreseen = schedule(plan.steps, {s.id for s in steps if s.state == "was so already"})
    names = list(dict.fromkeys(s.phase for s in steps))
    rows = []
    for name in names:
        own = [s for s in steps if s.phase == name]
        ran = sorted((s.start, s.end) for s in own if s.start is not None and s.end is not None)
        busy = busy_seconds(ran)
        waited = sum(s.waited for s in own)
        whole = all(s.state in ("done", "was so already") for s in own)
        rows.append(
            PhaseRow(
                name=name,
                steps=len(own),
                predicted=busy_seconds(foreseen[s.id] for s in own if s.id in foreseen),
                actual=max(0.0, busy - waited) if whole and ran else None,
                waited=waited,
                start=ran[0][0] if ran else None,
                end=max((b for _, b in ran), default=None),
            )
        )
    return tuple(rows)


def _state(events: Sequence[AnyEvent], name: str, notes: list[str]) -> ClusterState | None:
    found = [e for e in events if isinstance(e, Evidence) and e.name == name]
    if not found:
        notes.append(f"No inventory {name!r} was kept.")
        return None
    try:
        return msgspec.json.decode(
            (found[0] if name == "before" else found[-1]).data, type=ClusterState
        )
    except msgspec.DecodeError as error:
        notes.append(f"The inventory {name!r} could not be read: {error}")
        return None


def _in_order(plan: Plan, steps: Sequence[StepRow]) -> list[tuple[float, actions.AnyAction]]:
    """What has landed, by the time when it had."""
    landed = [
        (row.end, step.action)
        for row, step in zip(steps, plan.steps, strict=True)
        if row.state == "done" and row.end is not None
    ]
    return sorted(landed, key=lambda pair: pair[0])


def _verdict(
    outcome: Outcome, why: str, figures: Sequence[Figure], measured: Measured | None
) -> Verdict:
    proved = tuple(f.said for f in figures if f.ok is True)
    broken = tuple(f.said for f in figures if f.ok is False)
    missing = tuple(f.said for f in figures if f.ok is None)
    if measured is None:
        head = "No prober was running: nothing is proved about what users felt."
    elif broken:
        head = "Users felt it: " + "; ".join(broken) + "."
    elif missing:
        head = "Nothing was seen to break, but not everything was measured."
    else:
        head = "Nothing was lost, and users noticed nothing beyond the targets."
    match outcome:
        case "done":
            sentence = f"The upgrade landed. {head}"
        case "waiting":
            sentence = f"The run is not over ({why or 'paused'}). So far: {head}"
        case "not finished":
            sentence = f"The run has not finished. {why} So far: {head}"
        case "failed":
            sentence = f"The run stopped: {why or 'no reason was journalled'} So far: {head}"
    good: bool | None = True
    if outcome == "failed" or broken:
        good = False
    elif outcome != "done" or missing or measured is None:
        good = None
    return Verdict(good=good, sentence=sentence, proved=proved, broken=broken, unmeasured=missing)
