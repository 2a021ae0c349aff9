"""The control lane: the prober measures itself, so that its own stalls are not the cluster's.

Ten times a second a new TCP connection to an echo server inside this very process, and a 20 ms
timer whose lateness is the event loop's. Once a second the worst of both becomes a `Tick`. Where
a lane shows 80 ms and the control lane shows 75 ms in the same second, the machine was busy.
"""

from __future__ import annotations

import asyncio
import time

from pawl.core.evidence import Tick
from pawl.probes.sink import Sink

ECHO_SECONDS = 0.1
TIMER_SECONDS = 0.02


class Control:
    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._control = 0.0
        self._late = 0.0
        self._echoes = 0

    async def run(self) -> None:
        server = await asyncio.start_server(self._echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, asyncio.TaskGroup() as group:
            group.create_task(self._ask(port))
            group.create_task(self._timer())
            group.create_task(self._tick())

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(await reader.readexactly(1))
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _ask(self, port: int) -> None:
        while True:
            began = time.monotonic()
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"!")
                await reader.readexactly(1)
                writer.close()
                self._echoes += 1
            except (OSError, asyncio.IncompleteReadError):
                pass
            self._control = max(self._control, (time.monotonic() - began) * 1000)
            await asyncio.sleep(ECHO_SECONDS)

    async def _timer(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(TIMER_SECONDS)
            late = (time.monotonic() - began - TIMER_SECONDS) * 1000
            self._late = max(self._late, late)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self._sink.write(
                Tick(
                    at=round(time.time(), 3),
                    control_ms=round(self._control, 2),
                    loop_ms=round(self._late, 2),
                    cpu=round(time.process_time(), 2),
                    echoes=self._echoes,
                )
            )
            self._control = self._late = 0.0
            self._echoes = 0
            await asyncio.to_thread(self._sink.flush)
