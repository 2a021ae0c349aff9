"""The machine's own time."""

from __future__ import annotations

import time

import anyio


class SystemClock:
    """`Clock` over the wall clock; sleeping is cancellable."""

    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)
