"""The append-only history of a watch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from pawl.core.watch.events import AnyEvent


class History(Protocol):
    def append(self, events: Iterable[AnyEvent]) -> None:
        """All of them or none; on disk when it returns."""
        ...

    def events(self) -> tuple[AnyEvent, ...]: ...
