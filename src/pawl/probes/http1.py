"""A minimal HTTP/1.1 connection: one request at a time, kept alive, parsed by httptools (llhttp).

httptools and not h11 or httpx, because 150 writes a second must fit beside the cluster that is
being measured: on one core of the lab's machine h11's parsing alone took half of the prober's
time.
"""

from __future__ import annotations

import asyncio
import ssl

import httptools

from pawl.probes.transport import Answer, Ask, ConnectionLost, DialFailed, NotProcessed, TryFailed


class Http1Connection(asyncio.Protocol):
    """Use `open`, then `request` one after the other; `usable` says whether it can be reused."""

    def __init__(self, authority: str) -> None:
        self._authority = authority
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiting: asyncio.Future[Answer] | None = None
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._ended = False
        self._keep = True

    @classmethod
    async def open(
        cls, host: str, port: int, context: ssl.SSLContext | None, server_name: str = ""
    ) -> Http1Connection:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                lambda: cls(f"{host}:{port}"),
                host,
                port,
                ssl=context,
                server_hostname=(server_name or host) if context else None,
            )
        except (OSError, ssl.SSLError) as error:
            raise DialFailed(describe(error)) from error
        return connection

    @property
    def usable(self) -> bool:
        return not self._ended and self._keep and self._waiting is None

    @property
    def closed_by_peer(self) -> bool:
        return self._ended

    async def request(self, ask: Ask) -> Answer:
        """One request and its whole answer; raises a `TryFailed` where there is none."""
        if self._ended or self._transport is None:
            raise NotProcessed("the kept connection was closed before the request was sent")
        head = [f"{ask.method} {ask.path} HTTP/1.1", f"host: {self._authority}"]
        head += [f"{name}: {value}" for name, value in ask.headers.items()]
        head += [f"content-length: {len(ask.body)}", "", ""]
        self._headers, self._body = {}, bytearray()
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write("\r\n".join(head).encode("latin-1") + ask.body)
        try:
            return await self._waiting
        except BaseException:
            self.close()
            raise
        finally:
            self._waiting = None

    def close(self) -> None:
        self._ended = True
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionLost(f"not HTTP ({type(error).__name__})"))
            self.close()

    def eof_received(self) -> bool:
        self._ended = True
        return False

    def connection_lost(self, exc: BaseException | None) -> None:
        self._ended = True
        self._fail(ConnectionLost(describe(exc) if exc else "connection closed by the server"))

    # httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._keep = self._parser.should_keep_alive()
        if self._waiting is not None and not self._waiting.done():
            status = self._parser.get_status_code()
            self._waiting.set_result(Answer(status, self._headers, bytes(self._body)))

    def _fail(self, why: TryFailed) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(why)


def describe(error: BaseException) -> str:
    """A short, stable name for what the socket said, so that equal faults count as one."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or type(error).__name__}"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ConnectionResetError):
        return "connection reset"
    if isinstance(error, BrokenPipeError):
        return "broken pipe"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return type(error).__name__
