"""The local lock beside the journal: one pawl at a time from one machine."""

from __future__ import annotations

from typing import Protocol

import msgspec


class LockNote(msgspec.Struct, frozen=True, kw_only=True):
    """Who held the lock last: `holder` as in the Lease, with the epoch and run it had."""

    holder: str = ""
    epoch: int = 0
    run: str = ""


class LocalLock(Protocol):
    def acquire(self) -> LockNote:
        """Take the lock or raise `Refused` naming who has it; returns the last holder's note."""
        ...

    def note(self, note: LockNote) -> None:
        """Leave word of who holds the lock now."""
        ...

    def release(self) -> None: ...
