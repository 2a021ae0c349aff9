"""The append-only journal of plans, approvals and events."""

from __future__ import annotations

from typing import Protocol

from pawl.core.events import AnyEvent
from pawl.core.plan import Plan


class Journal(Protocol):
    """Synchronous on purpose: `append` returns when the event is on disk."""

    def append(self, event: AnyEvent) -> None: ...

    def events(self, run: str) -> tuple[AnyEvent, ...]: ...

    def since(self, mark: int, *runs: str) -> tuple[tuple[AnyEvent, ...], int]:
        """What was written for these runs after `mark`, in its order, and the mark of now. A run
        of a day writes a hundred thousand events, and asks several times a second."""
        ...

    def runs(self) -> tuple[str, ...]:
        """Ids, newest first."""
        ...

    def save_plan(self, plan: Plan) -> None: ...

    def plan(self, digest: str) -> Plan:
        """By full digest or a unique prefix of at least 6 digits; KeyError otherwise."""
        ...

    def plans(self) -> tuple[str, ...]:
        """Digests, newest first."""
        ...
