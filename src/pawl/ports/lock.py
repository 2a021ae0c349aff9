"""The local lock beside the journal: one pawl at a time from one machine."""

from __future__ import annotations

from typing import Protocol

import msgspec

from pawl.core.errors import Refused


class LockNote(msgspec.Struct, frozen=True, kw_only=True):
    """Who held the lock last: `holder` as in the Lease, with the epoch and run it had."""

    holder: str = ""
    epoch: int = 0
    run: str = ""


class Locked(Refused):
    """A living process has the lock; `note` is what it left there, once it has the cluster."""

    def __init__(self, note: LockNote) -> None:
        self.note = note
        who = f" ({note.holder}, run {note.run})" if note.holder else ""
        super().__init__(
            [
                f"another pawl{who} is running for this cluster on this machine. Wait for it, or "
                "end it: it can be continued from where it stopped."
            ]
        )


class LocalLock(Protocol):
    def acquire(self) -> LockNote:
        """Take the lock or raise `Locked`; returns the last holder's note."""
        ...

    def note(self, note: LockNote) -> None:
        """Leave word of who holds the lock now."""
        ...

    def release(self) -> None: ...
