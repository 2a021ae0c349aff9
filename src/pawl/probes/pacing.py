"""Even pacing for the lanes: a request that is late does not make the next ones come in a bunch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def every(seconds: float, work: Callable[[], Awaitable[None]], offset: float = 0.0) -> None:
    """Open loop: start `work` each `seconds`, whether or not the last one has ended.

    A closed loop would stop asking while the cluster stalls, and so hide the requests that users
    would have made meanwhile ("coordinated omission"). Up to 200 may be under way; ends when
    cancelled, and then waits for none of them.
    """
    loop = asyncio.get_running_loop()
    pending: set[asyncio.Future[None]] = set()
    due = loop.time() + offset
    try:
        while True:
            await asyncio.sleep(max(0.0, due - loop.time()))
            if len(pending) < 200:
                begun = asyncio.ensure_future(work())
                pending.add(begun)
                begun.add_done_callback(pending.discard)
            due = max(due + seconds, loop.time())
    finally:
        for task in pending:
            task.cancel()
