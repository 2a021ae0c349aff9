"""Remembers for a while which sources could not be reached, so that no run waits twice.

The memory is a small file in the cache: several pawl processes after one another (a script that
fetches one component at a time) pay the waiting time once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from pawl.adapters.artifacts.files import write_atomic

REMEMBERED = 300.0
"""Seconds for which an unreachable place is not asked again."""


class Reach:
    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock

    def down_since(self, place: str) -> float | None:
        """When `place` was last found unreachable, if that is recent; else None."""
        at = self._read().get(place)
        if at is None or not 0 <= self._clock() - at < REMEMBERED:
            return None
        return at

    def mark_down(self, place: str) -> None:
        now = self._clock()
        recent = {p: at for p, at in self._read().items() if 0 <= now - at < REMEMBERED}
        self._write(recent | {place: now})

    def mark_up(self, place: str) -> None:
        known = self._read()
        if known.pop(place, None) is not None:
            self._write(known)

    def _read(self) -> dict[str, float]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, float])
        except (OSError, msgspec.MsgspecError):
            return {}

    def _write(self, known: dict[str, float]) -> None:
        write_atomic(self._path, msgspec.json.encode(known))
