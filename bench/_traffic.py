"""Users of the lab's workloads while they move: HTTP, a kept websocket, and redis's own counter.

Requests to `web` and `backend` go through the lab's load balancer. For `solo` and the websocket
this is the load balancer: it knows from its own watch on which nodes a pod serves (NodePorts with
`externalTrafficPolicy: Local`), and falls back to pods that are leaving when no other is left, as
kube-proxy does. A connection that is refused is tried at the next node; once bytes were sent, a
failure is a failure. No pod at all is a failure at once, the 503 of a real balancer.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import struct
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pawl.probes.http1 import Http1Connection
from pawl.probes.transport import Ask, DialFailed, NotProcessed, TryFailed

DEADLINE = 10.0
"""Seconds of a request; the backend itself waits up to 8 s for redis."""
DIAL = 0.5
SILENT = 5.0
"""Seconds after which a message without its echo has failed."""
TEXT, CLOSE = 1, 8

Targets = Callable[[], Sequence[tuple[str, int]]]


@dataclass
class Lane:
    name: str
    sent: int = 0
    failed: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[float, float]] = field(default_factory=list)
    """(begun, known to have failed), by the monotonic clock."""

    def fail(self, why: str, began: float) -> None:
        self.failed += 1
        self.errors[why] += 1
        self.failures.append((began, time.monotonic()))


async def http(lane: Lane, targets: Targets, rate: float, path: str = "/") -> None:
    """Requests at a fixed rate, each on a connection of its own, until cancelled."""
    turn = itertools.count()

    async def one() -> None:
        lane.sent += 1
        begun = time.monotonic()
        try:
            async with asyncio.timeout(DEADLINE):
                why = await _ask(targets(), next(turn), path)
        except TimeoutError:
            why = f"no answer within {DEADLINE:.0f} s"
        if why:
            lane.fail(why, begun)

    async with asyncio.TaskGroup() as group:
        began = time.monotonic()
        for number in itertools.count():
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            group.create_task(one())


async def _ask(found: Sequence[tuple[str, int]], turn: int, path: str) -> str:
    """ "" for an answer of 200, else what went wrong."""
    if not found:
        return "no pod behind the balancer"
    cut = turn % len(found)
    why = ""
    for host, port in [*found[cut:], *found[:cut]] * 2:
        try:
            async with asyncio.timeout(DIAL):
                connection = await Http1Connection.open(host, port, None)
        except (DialFailed, TimeoutError) as error:
            why = f"dial: {error or 'timeout'}"
            continue
        try:
            ask = Ask("GET", path, headers={"connection": "close"})
            status = (await connection.request(ask)).status
            return "" if status == 200 else f"status {status}"
        except NotProcessed:
            continue
        except TryFailed as error:
            return str(error)
        finally:
            connection.close()
    return why


# -- websocket


class Closed(Exception):
    """The connection ended; `politely` if by a close frame."""

    def __init__(self, politely: bool) -> None:
        self.politely = politely


class Socket:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._in, self._out = reader, writer

    @classmethod
    async def open(cls, host: str, port: int) -> Socket:
        """Raises OSError or TimeoutError where there is no websocket."""
        async with asyncio.timeout(DIAL * 2):
            reader, writer = await asyncio.open_connection(host, port)
            token = base64.b64encode(os.urandom(16)).decode()
            writer.write(
                f"GET /echo HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
                f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                f"Sec-WebSocket-Key: {token}\r\n\r\n".encode()
            )
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError as error:
                raise OSError("closed before the handshake") from error
        if b" 101 " not in head.split(b"\r\n", 1)[0]:
            writer.close()
            raise OSError(head.split(b"\r\n", 1)[0].decode())
        return cls(reader, writer)

    def send(self, text: bytes) -> None:
        mask = os.urandom(4)
        masked = bytes(b ^ mask[i % 4] for i, b in enumerate(text))
        self._out.write(struct.pack("!BB", 0x80 | TEXT, 0x80 | len(text)) + mask + masked)

    async def receive(self) -> bytes:
        """The next message. Raises `Closed`."""
        while True:
            try:
                head = await self._in.readexactly(2)
                body = await self._in.readexactly(head[1] & 0x7F)
            except (asyncio.IncompleteReadError, OSError) as error:
                raise Closed(politely=False) from error
            if head[0] & 0xF == CLOSE:
                raise Closed(politely=True)
            if head[0] & 0xF == TEXT:
                return body

    def close(self) -> None:
        self._out.transport.abort()


async def websocket(lane: Lane, targets: Targets, rate: float) -> None:
    """One client until cancelled: keeps a connection, sends at a fixed rate, counts what comes back
    wrong, late or never. Told to go (1001) it comes back at once elsewhere, and asks again what was
    not answered yet; that is no failure, a connection that breaks is."""
    number = itertools.count()
    text, began = b"", 0.0
    while True:
        socket = await _connected(lane, targets)
        try:
            while True:
                if not text:
                    text = b"%d" % next(number)
                    lane.sent += 1
                    began = time.monotonic()
                socket.send(text)
                async with asyncio.timeout(SILENT):
                    answer = await socket.receive()
                if answer != text:
                    lane.fail("another message came back", began)
                text = b""
                await asyncio.sleep(1 / rate)
        except Closed as end:
            if not end.politely:
                lane.fail("the connection broke", began)
                text = b""
        except TimeoutError:
            lane.fail(f"no echo within {SILENT:.0f} s", began)
            text = b""
        finally:
            socket.close()


async def _connected(lane: Lane, targets: Targets) -> Socket:
    """The first that takes a connection; each second in which none does is a failure."""
    turn = 0
    while True:
        began, why = time.monotonic(), "no pod behind the balancer"
        while time.monotonic() - began < 1.0:
            for host, port in [*targets()][turn % 2 :] + [*targets()][: turn % 2]:
                try:
                    return await Socket.open(host, port)
                except (OSError, TimeoutError) as error:
                    why = f"no handshake: {error or 'timeout'}"
            turn += 1
            await asyncio.sleep(0.05)
        lane.fail(why, began)


# -- redis


@dataclass
class Redis:
    """New connections a second at redis, by its own counter, which a new redis begins anew."""

    each: float = 0.2
    samples: list[tuple[float, int]] = field(default_factory=list)
    """(moment, connections since the sample before)."""
    _known: dict[bytes, int] = field(default_factory=dict)
    """Each redis that was seen, by its run id -> its counter."""

    async def watch(self, targets: Targets) -> None:
        while True:
            try:
                await self._ask(targets)
            except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
                await asyncio.sleep(0.05)

    async def _ask(self, targets: Targets) -> None:
        found = targets()
        if not found:
            raise OSError("no redis")
        async with asyncio.timeout(DIAL):
            reader, writer = await asyncio.open_connection(*found[0])
        ours = 1
        try:
            while True:
                writer.write(b"*1\r\n$4\r\nINFO\r\n")
                async with asyncio.timeout(2.0):
                    size = int((await reader.readuntil(b"\r\n"))[1:])
                    body = await reader.readexactly(size + 2)
                run, now = _field(body, b"run_id"), int(_field(body, b"total_connections_received"))
                before = self._known.get(run, 0 if self._known else now - ours)
                self.samples.append((time.monotonic(), max(0, now - before - ours)))
                self._known[run], ours = now, 0
                await asyncio.sleep(self.each)
        finally:
            writer.transport.abort()

    @property
    def peak(self) -> int:
        """The most in any second."""
        best = 0
        for i, (start, _) in enumerate(self.samples):
            best = max(best, sum(n for at, n in self.samples[i:] if at < start + 1.0))
        return best


def _field(info: bytes, name: bytes) -> bytes:
    return info.split(b"\n" + name + b":")[1].split(b"\r\n")[0]
