"""Virtual time: an event loop whose clock jumps to the next timer instead of waiting for it.

Everything built on the loop's own time follows (asyncio and anyio sleeps, deadlines, cancel
scopes), so a soak of fifteen minutes costs no more than the work done in it. Two runs of the same
program take the same steps at the same virtual instants.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH = 1_800_000_000.0
"""What wall clocks say at virtual time zero (2027-01-15)."""


class Deadlock(RuntimeError):
    """All tasks wait for something that no timer will bring about."""


class _JumpingSelector(selectors.SelectSelector):
    """Never blocks: a wait of `timeout` seconds moves the loop's clock by as much."""

    def __init__(self) -> None:
        super().__init__()
        self.elapsed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise Deadlock("every task waits, and no timer is set")
        self.elapsed += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.elapsed


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class VirtualClock:
    """`pawl.ports.clock.Clock` over the running virtual loop. `offset` is one machine's error: a
    clock jump is a change of it."""

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset

    def now(self) -> float:
        return EPOCH + asyncio.get_running_loop().time() + self.offset

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
