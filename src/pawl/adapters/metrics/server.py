"""A scrape endpoint: GET /metrics and /healthz, nothing else, one request a connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from urllib.parse import urlsplit

from pawl.core.errors import ConfigError
from pawl.core.watch.metrics import CONTENT_TYPE

SECONDS = 5.0
MOST = 8_192
"""Bytes of a request's head; a scrape's is a few hundred."""
AT_ONCE = 16


class MetricsServer:
    """`listen` is "127.0.0.1:9464" (port 0: any); `body` makes the page when it is asked for."""

    def __init__(self, listen: str, body: Callable[[], str]) -> None:
        parts = urlsplit(f"//{listen}")
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 0
        self._body = body
        self._server: asyncio.Server | None = None
        self._busy = 0

    @property
    def address(self) -> str:
        """Where it listens, once it does."""
        if self._server is None or not self._server.sockets:
            return ""
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def open(self) -> None:
        """Raises ConfigError when the address cannot be had."""
        try:
            self._server = await asyncio.start_server(
                self._serve, self._host, self._port, limit=MOST
            )
        except OSError as error:
            where = f"{self._host}:{self._port}"
            raise ConfigError(
                "watch.listen", [f"{where} cannot be listened on: {error.strerror or error}"]
            ) from error

    async def aclose(self) -> None:
        if self._server:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._busy >= AT_ONCE:
                return
            self._busy += 1
            try:
                async with asyncio.timeout(SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._answer(head))
                    await writer.drain()
            finally:
                self._busy -= 1
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return _response("405 Method Not Allowed", "only GET is served here\n", head=False)
        match path:
            case b"/metrics":
                status, body, kind = "200 OK", self._body(), CONTENT_TYPE
            case b"/healthz":
                status, body, kind = "200 OK", "ok\n", "text/plain"
            case _:
                status, body, kind = "404 Not Found", "see /metrics\n", "text/plain"
        return _response(status, body, kind, head=method == b"HEAD")


def _response(status: str, body: str, kind: str = "text/plain", *, head: bool) -> bytes:
    data = body.encode()
    top = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n"
        "Connection: close\r\nX-Content-Type-Options: nosniff\r\n\r\n"
    )
    return top.encode() + (b"" if head else data)
