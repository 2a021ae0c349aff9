"""How a run looks while it goes: a live view on a terminal, plain lines elsewhere, or NDJSON.

All three are fed the journal's own events, so what a person saw is what the report will say.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from typing import Protocol, TextIO

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

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
from pawl.core.plan import Plan
from pawl.core.predict import schedule
from pawl.engine.record import Narrator

AROUND = 4
"""Steps shown before and after the running ones."""


class Screen(Protocol):
    """A narrator that owns the screen between `open` and `close`."""

    def open(self) -> None: ...
    def close(self) -> None: ...
    def event(self, event: AnyEvent) -> None: ...
    def passing(self, step: str, why: str) -> None: ...


def duration(seconds: float) -> str:
    """ "42 s", "3:07", "1:02:03"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, left = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{left:02d}"
    return f"{minutes // 60}:{minutes % 60:02d}:{left:02d}"


class Remaining:
    """The time that is left by the plan's predictions, corrected by how this run has gone."""

    def __init__(self, plan: Plan, done: set[str]) -> None:
        self._steps = plan.steps
        self.done = done
        self._began: dict[str, float] = {}

    def event(self, event: AnyEvent) -> None:
        match event:
            case StepStarted():
                self._began[event.step] = event.at
            case StepDone():
                self.done.add(event.step)

    def seconds(self, now: float) -> float:
        spent = {step: now - began for step, began in self._began.items()}
        return max((end for _, end in schedule(self._steps, self.done, spent).values()), default=0)


class Voice:
    """Says lines, flushed at once, for as long as anybody listens: a pager that was closed or a
    terminal that is gone ends no run. The journal holds all that was said."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._heard = True

    def say(self, line: str) -> None:
        if not self._heard:
            return
        try:
            print(line, file=self._out, flush=True)
        except OSError:
            self._heard = False
            silence(self._out)


def silence(out: TextIO) -> None:
    """Whatever is still written there goes nowhere, so that nothing fails for it at exit either."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, out.fileno())
        os.close(nowhere)


class JsonLines(Narrator):
    """Each event as one line of JSON."""

    def __init__(self, out: TextIO) -> None:
        self._voice = Voice(out)

    def open(self) -> None:
        return

    def close(self) -> None:
        return

    def event(self, event: AnyEvent) -> None:
        self._voice.say(msgspec.json.encode(event).decode())


class PlainLines(Narrator):
    """One line per step, and per new reason of a wait; for logs and pipes."""

    def __init__(self, plan: Plan, done: set[str], out: TextIO) -> None:
        self._voice = Voice(out)
        self._began = time.time()
        self._total = len(plan.steps)
        self._remaining = Remaining(plan, done)
        self._started: dict[str, float] = {}
        self._gates = ""

    def open(self) -> None:
        return

    def close(self) -> None:
        return

    def event(self, event: AnyEvent) -> None:
        self._remaining.event(event)
        if text := self._line(event):
            elapsed = duration(event.at - self._began)
            self._voice.say(f"{elapsed:>7}  {text}")

    def _line(self, event: AnyEvent) -> str:
        match event:
            case RunStarted():
                verb = "resumed" if event.resumed else "started"
                left = duration(self._remaining.seconds(event.at))
                return f"run {event.run} {verb}, about {left} to go"
            case StepStarted():
                self._started[event.step] = event.at
                again = f" (attempt {event.attempt})" if event.attempt > 1 else ""
                return f"> {event.step}{again}"
            case StepDone():
                took = duration(event.at - self._started.get(event.step, event.at))
                left = duration(self._remaining.seconds(event.at))
                count = f"{len(self._remaining.done)}/{self._total}"
                note = f": {event.note}" if event.note else ""
                return f"  done in {took} [{count}, about {left} left] {event.step}{note}"
            case StepFailed():
                return f"! {event.step} failed: {event.why}"
            case Waiting():
                return f"  waiting: {event.why}"
            case Paused():
                return f"  paused by {event.by}: {event.why}"
            case Resumed():
                return f"  resumed by {event.by}"
            case Aborted():
                return f"  aborted by {event.by}: {event.why}"
            case Quarantined():
                return f"  node {event.node} stays behind: {event.why}"
            case RunEnded():
                return f"{event.outcome}: {event.why}"
            case GatesWatched():
                return "  gates: " + (
                    "a fail pauses this run" if event.blocking else f"only watched, {event.why}"
                )
            case GatesJudged():
                news, self._gates = event.verdict != self._gates, event.verdict
                return f"  gates {event.verdict}: {event.why}" if news else ""
            case Approved() | EffectIntended() | EffectDone() | Evidence():
                return ""


class LiveView(Narrator):
    """The steps around the present one, the reason of each wait, a bar and the time left."""

    def __init__(self, plan: Plan, done: set[str], console: Console) -> None:
        self._plan = plan
        self._remaining = Remaining(plan, done)
        self._status: dict[str, str] = dict.fromkeys(done, "done")
        self._why: dict[str, str] = {}
        self._began: dict[str, float] = {}
        self._took: dict[str, float] = {}
        self._effect: dict[str, str] = {}
        self._last = ""
        self._gates = ""
        self._spinner = Spinner("dots")
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=5)

    def open(self) -> None:
        self._live.start()

    def close(self) -> None:
        try:
            self._live.stop()
        except OSError:
            silence(sys.stdout)

    def passing(self, step: str, why: str) -> None:
        self._why[step] = why

    def event(self, event: AnyEvent) -> None:
        self._remaining.event(event)
        match event:
            case StepStarted():
                self._status[event.step] = "running"
                self._began[event.step] = event.at
                self._why.pop(event.step, None)
            case StepDone():
                self._status[event.step] = "done"
                self._took[event.step] = event.at - self._began.get(event.step, event.at)
                self._why.pop(event.step, None)
            case StepFailed():
                self._status[event.step] = "failed"
                self._why[event.step] = event.why
            case EffectIntended():
                self._effect[event.step] = f"{event.effect} {event.target}"
            case Waiting():
                self._last = event.why
            case GatesJudged():
                self._gates = f"gates {event.verdict}: {event.why}"
            case RunEnded() | Paused() | Aborted():
                self._last = event.why

    def _render(self) -> RenderableType:
        now = time.time()
        steps = self._plan.steps
        present = [i for i, s in enumerate(steps) if self._status.get(s.id) == "running"]
        if not present:
            left = [i for i, s in enumerate(steps) if self._status.get(s.id) != "done"]
            present = left[:1] or [len(steps) - 1]
        first = max(0, present[0] - AROUND)
        last = min(len(steps), present[-1] + AROUND + 1)
        table = Table.grid(padding=(0, 1))
        for step in steps[first:last]:
            table.add_row(*self._row(step.id, step.seconds, now))
        done = len(self._remaining.done & {s.id for s in steps})
        foot = Table.grid(padding=(0, 1))
        foot.add_row(
            ProgressBar(total=len(steps), completed=done, width=30),
            f"{done}/{len(steps)} steps, about {duration(self._remaining.seconds(now))} left",
        )
        told = [Text(self._gates, style="dim")] if self._gates else []
        return Group(table, foot, *told, Text(self._last, style="dim"))

    def _row(self, step: str, predicted: float, now: float) -> tuple[RenderableType, ...]:
        match self._status.get(step):
            case "done":
                took = self._took.get(step)  # none when an earlier process did it
                return Text("✓", "green"), Text(step, "dim"), "" if took is None else duration(took)
            case "failed":
                return Text("✗", "red"), Text(step, "red"), Text(self._why.get(step, ""), "red")
            case "running":
                spent = duration(now - self._began.get(step, now))
                why = self._why.get(step) or self._effect.get(step, "")
                return self._spinner, Text(step, "bold"), Text(f"{spent}  {why}", "yellow")
            case _:
                return Text("·", "dim"), Text(step, "dim"), Text(f"~{duration(predicted)}", "dim")


def screen_for(output: str, plan: Plan, done: set[str]) -> JsonLines | PlainLines | LiveView:
    """NDJSON for `-o json`, the live view on a terminal, plain lines elsewhere."""
    choices: dict[str, Callable[[], JsonLines | PlainLines | LiveView]] = {
        "json": lambda: JsonLines(sys.stdout),
        "live": lambda: LiveView(plan, done, Console()),
        "lines": lambda: PlainLines(plan, done, sys.stdout),
    }
    if output == "table":
        # A live view redraws itself, which a dumb terminal (CI, an editor's shell) cannot.
        redraws = sys.stdout.isatty() and not Console().is_dumb_terminal
        output = "live" if redraws else "lines"
    return choices[output]()
