"""Saying how far `pawl lab up` is, and how long it will still take."""

from __future__ import annotations

import time
from collections.abc import Callable

Say = Callable[[str], None]

EXPECTED = {
    "image": 2.0,
    "boot": 9.0,
    "etcd": 1.0,
    "api servers": 16.0,
    "nodes": 19.0,
    "workloads": 3.0,
}
"""Seconds of each stage for 3+3+3 machines on two idle cores, as measured (docs/lab.md)."""


class Progress:
    """Lines like "[ 14 s] etcd: three members healthy; about 30 s left"."""

    def __init__(self, say: Say, clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock = say, clock
        self._start = clock()
        self._left = dict(EXPECTED)

    def enter(self, stage: str, text: str) -> None:
        """Begin a stage: everything before it is done."""
        for name in list(self._left):
            if name == stage:
                break
            del self._left[name]
        left = sum(self._left.values())
        self.note(f"{stage}: {text}; about {left:.0f} s left")

    def note(self, text: str) -> None:
        self._say(f"[{self._clock() - self._start:4.0f} s] {text}")
