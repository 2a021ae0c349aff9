"""Verification packs around a run: before it begins, while it goes, and after it has landed.

A check that says no before the run refuses it; one that says no meanwhile pauses it; one that says
no afterwards is the run's exit code. A check that could not be made is an error: before the run it
refuses too, later it is told and reported, and never taken for a pass.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import msgspec

from pawl.core.errors import Refused
from pawl.core.events import Evidence, Paused
from pawl.core.verify.pack import Outcome, Phase, worst
from pawl.engine.record import view_of
from pawl.interfaces.wiring import Session


def keep(session: Session, run: str, outcomes: Sequence[Outcome]) -> None:
    """Into the journal, for the report."""
    if outcomes:
        data = msgspec.json.encode(outcomes, order="sorted").decode()
        at = session.clock.now()
        session.journal.append(Evidence(at=at, run=run, name="packs", data=data))


async def make(session: Session, run: str, phase: Phase) -> tuple[Outcome, ...]:
    """All packs' checks of a phase, on record."""
    made: list[Outcome] = []
    for packer in session.packers:
        for check in packer.pack.of(phase):
            outcome = await packer.one(check, phase)
            print(f"{outcome.verdict}: {outcome.why}", file=sys.stderr)
            made.append(outcome)
    keep(session, run, made)
    return tuple(made)


async def before(session: Session, run: str) -> None:
    """Raises `Refused` unless every check before the run holds. A run that goes on has passed."""
    if view_of(session.journal, run).run:
        return
    outcomes = await make(session, run, "before")
    if worst(outcomes) in ("fail", "error"):
        raise Refused([o.why for o in outcomes if o.verdict != "pass"])


class During:
    """Hears the checks that are repeated while a run goes."""

    def __init__(self, session: Session, run: str) -> None:
        self._session = session
        self._run = run
        self._last: dict[str, str] = {}

    def hear(self, outcome: Outcome) -> None:
        """On record when its verdict changes; a fail pauses, once."""
        if self._last.get(outcome.check) == outcome.verdict:
            return
        self._last[outcome.check] = outcome.verdict
        keep(self._session, self._run, [outcome])
        if outcome.verdict == "fail":
            at = self._session.clock.now()
            why = f"A verification pack failed: {outcome.why}"
            self._session.journal.append(Paused(at=at, run=self._run, why=why, by="packs"))


async def after(session: Session, run: str) -> int:
    """The exit code of what was checked after the run: 0, 1 or 3."""
    outcomes = await make(session, run, "after")
    return {"fail": 1, "error": 3}.get(worst(outcomes), 0)
