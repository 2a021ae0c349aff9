"""A journal in memory, for simulations and unit tests."""

from __future__ import annotations

from pawl.core.events import AnyEvent
from pawl.core.plan import Plan


class MemoryJournal:
    """`pawl.ports.journal.Journal`. Outlives a simulated crash because the test holds it."""

    def __init__(self) -> None:
        self.entries: list[AnyEvent] = []
        self._plans: dict[str, Plan] = {}

    def append(self, event: AnyEvent) -> None:
        self.entries.append(event)

    def events(self, run: str) -> tuple[AnyEvent, ...]:
        return tuple(e for e in self.entries if e.run == run)

    def since(self, mark: int, *runs: str) -> tuple[tuple[AnyEvent, ...], int]:
        return tuple(e for e in self.entries[mark:] if e.run in runs), len(self.entries)

    def runs(self) -> tuple[str, ...]:
        return tuple(reversed(dict.fromkeys(e.run for e in self.entries if e.run)))

    def save_plan(self, plan: Plan) -> None:
        self._plans.setdefault(plan.digest, plan)

    def plan(self, digest: str) -> Plan:
        found = [p for d, p in self._plans.items() if len(digest) >= 6 and d.startswith(digest)]
        if len(found) != 1:
            raise KeyError(digest)
        return found[0]

    def plans(self) -> tuple[str, ...]:
        return tuple(reversed(self._plans))
