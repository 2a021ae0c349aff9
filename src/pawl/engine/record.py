"""One run's pen: stamps events with time, run and epoch, journals them, and tells who watches."""

from __future__ import annotations

from typing import TypedDict

from pawl.core import progress
from pawl.core.events import AnyEvent, StepDone, StepFailed, Waiting
from pawl.core.progress import RunView
from pawl.engine.guard import Guard
from pawl.ports.clock import Clock
from pawl.ports.journal import Journal

APPROVALS = ""
"""The stream of approvals that name a plan and no run: they are given before there is one."""


class Stamp(TypedDict):
    at: float
    run: str
    epoch: int


class Narrator:
    """Watches a run. The base class is silent; `event` sees what is journalled, `passing` the
    present reason of a wait, each time it is looked at."""

    def event(self, event: AnyEvent) -> None:
        return

    def passing(self, step: str, why: str) -> None:
        return


class Record:
    def __init__(
        self, journal: Journal, clock: Clock, guard: Guard, run: str, narrator: Narrator
    ) -> None:
        self.run = run
        self.narrator = narrator
        self._journal = journal
        self._clock = clock
        self._guard = guard
        self._waits: dict[str, str] = {}
        self._view = RunView()
        self._mark = 0

    def stamp(self) -> Stamp:
        return Stamp(at=self._clock.now(), run=self.run, epoch=self._guard.epoch)

    def append(self, event: AnyEvent) -> None:
        """On disk first, then told. The end of a step ends every wait: what is waited for after it
        is a wait of its own, with a patience of its own, though its reason be the same."""
        if isinstance(event, StepDone | StepFailed):
            self._waits.clear()
        self._journal.append(event)
        self.narrator.event(event)

    def waiting(self, step: str, why: str, *, trouble: bool = False) -> None:
        """Journalled when the reason changes, shown each time. `trouble` as in the event."""
        if self._waits.get(step) != why:
            self._waits[step] = why
            self.append(Waiting(step=step, why=why, trouble=trouble, **self.stamp()))
        self.narrator.passing(step, why)

    def view(self) -> RunView:
        """The run as the journal tells it now; other processes write there too (pause, abort,
        approvals), so it is asked each time, and only what is new is read."""
        events, self._mark = self._journal.since(self._mark, APPROVALS, self.run)
        for event in events:
            self._view = progress.apply(self._view, event)
        return self._view


def view_of(journal: Journal, run: str) -> RunView:
    """The run as the journal tells it now, with approvals that were given by digest alone."""
    return progress.fold((*journal.events(APPROVALS), *journal.events(run)))
