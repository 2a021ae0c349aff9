"""An HTTP/2 connection that ends as Go's does, which is what Kubernetes' own clients use.

What matters here, and what general clients get wrong: after a GOAWAY the streams up to its
`last_stream_id` are finished on this connection, the ones above it were *not processed* and may be
sent again whatever their method (RFC 9113, 6.8; Go: http2 transport `shouldRetryRequest`), and new
requests go to a new connection at once. Streams share the connection, watches included.

The h2 library closes its state machine when it is given a GOAWAY, and so loses the answers that
are still to come (httpx fails those requests). So GOAWAY frames are taken out of the byte stream
before h2 sees it; everything else (HPACK, flow control, settings, pings) is h2's.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from pawl.probes.http1 import describe
from pawl.probes.transport import (
    Answer,
    Ask,
    ConnectionLost,
    DialFailed,
    NotProcessed,
    StreamReset,
    TryFailed,
)

GOAWAY = 7
"""Frame type (RFC 9113, section 6.8)."""
WINDOW = 1 << 20
"""Receive window in bytes for each stream; larger bodies are acknowledged as they come."""


class _Stream:
    """What has come for one stream. `queue` holds body parts, then None or an exception."""

    __slots__ = ("done", "headers", "queue", "started", "status")

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.started = asyncio.Event()
        self.queue: asyncio.Queue[bytes | TryFailed | None] = asyncio.Queue()
        self.done = False

    def end(self, why: TryFailed | None) -> None:
        if not self.done:
            self.done = True
            self.queue.put_nowait(why)
            self.started.set()


class Http2Connection(asyncio.Protocol):
    """One TLS connection with many streams."""

    def __init__(self, authority: str) -> None:
        self._authority = authority
        self._h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        )
        self._transport: asyncio.Transport | None = None
        self._streams: dict[int, _Stream] = {}
        self._incoming = bytearray()
        self._closed = False
        self.goaway = False

    @classmethod
    async def open(
        cls, host: str, port: int, context: ssl.SSLContext, server_name: str = ""
    ) -> Http2Connection:
        """`context` must offer "h2" by ALPN; DialFailed if the server does not take it."""
        loop = asyncio.get_running_loop()
        try:
            transport, connection = await loop.create_connection(
                lambda: cls(f"{host}:{port}"),
                host,
                port,
                ssl=context,
                server_hostname=server_name or host,
            )
        except (OSError, ssl.SSLError) as error:
            raise DialFailed(describe(error)) from error
        tls = transport.get_extra_info("ssl_object")
        if tls is None or tls.selected_alpn_protocol() != "h2":
            transport.abort()
            raise DialFailed("the server does not speak HTTP/2")
        return connection

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._h2.initiate_connection()
        self._h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: WINDOW})
        self._h2.increment_flow_control_window(16 * WINDOW)
        self._flush()

    def data_received(self, data: bytes) -> None:
        frames, goaways = self._split(data)
        try:
            events = self._h2.receive_data(frames) if frames else []
        except h2.exceptions.ProtocolError as error:
            self._fail(ConnectionLost(f"HTTP/2: {type(error).__name__}"))
            self.close()
            return
        for event in events:
            self._handle(event)
        for last_stream_id in goaways:
            self._on_goaway(last_stream_id)
        self._flush()

    def _split(self, data: bytes) -> tuple[bytes, list[int]]:
        """Whole frames for h2, and the last stream id of each GOAWAY among them."""
        self._incoming += data
        keep, goaways, at = bytearray(), [], 0
        while len(self._incoming) - at >= 9:
            length = int.from_bytes(self._incoming[at : at + 3], "big")
            end = at + 9 + length
            if len(self._incoming) < end:
                break
            if self._incoming[at + 3] == GOAWAY and length >= 8:
                last = int.from_bytes(self._incoming[at + 9 : at + 13], "big")
                goaways.append(last & 0x7FFFFFFF)
            else:
                keep += self._incoming[at:end]
            at = end
        del self._incoming[:at]
        return bytes(keep), goaways

    def connection_lost(self, exc: BaseException | None) -> None:
        reason = describe(exc) if exc else "connection closed by the server"
        self._fail(ConnectionLost(reason))

    # use

    @property
    def usable(self) -> bool:
        """New requests may be sent on it."""
        return not (self._closed or self.goaway or self._transport is None)

    @property
    def idle(self) -> bool:
        return not self._streams

    async def request(self, ask: Ask) -> Answer:
        """One request and its whole answer; raises a `TryFailed` where there is none."""
        stream_id, stream = self._send(ask)
        try:
            body = bytearray()
            while (part := await stream.queue.get()) is not None:
                if isinstance(part, TryFailed):
                    raise part
                body += part
            return Answer(stream.status, stream.headers, bytes(body))
        finally:
            self._drop(stream_id)

    async def stream(self, ask: Ask) -> AsyncIterator[Answer | bytes]:
        """First an `Answer` with an empty body, then the body's parts as they come (a watch)."""
        stream_id, stream = self._send(ask)
        try:
            await stream.started.wait()
            if stream.status:
                yield Answer(stream.status, stream.headers, b"")
            while (part := await stream.queue.get()) is not None:
                if isinstance(part, TryFailed):
                    raise part
                yield part
        finally:
            self._drop(stream_id)

    def close(self) -> None:
        self._closed = True
        if self._transport is not None:
            self._transport.close()

    # inside

    def _send(self, ask: Ask) -> tuple[int, _Stream]:
        if not self.usable:
            raise NotProcessed("the connection takes no new requests")
        headers = [
            (":method", ask.method),
            (":scheme", "https"),
            (":authority", self._authority),
            (":path", ask.path),
            *ask.headers.items(),
        ]
        if ask.body:
            headers.append(("content-length", str(len(ask.body))))
        try:
            stream_id = self._h2.get_next_available_stream_id()
            self._h2.send_headers(stream_id, headers, end_stream=not ask.body)
            if ask.body:
                self._h2.send_data(stream_id, ask.body, end_stream=True)
        except h2.exceptions.ProtocolError as error:
            raise NotProcessed(f"HTTP/2: {type(error).__name__}") from error
        stream = self._streams[stream_id] = _Stream()
        self._flush()
        return stream_id, stream

    def _drop(self, stream_id: int) -> None:
        stream = self._streams.pop(stream_id, None)
        if stream is not None and not stream.done and not self._closed:
            try:
                self._h2.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)
            except h2.exceptions.ProtocolError:
                return
            self._flush()
        if self.goaway and self.idle:
            self.close()

    def _handle(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived():
                if stream := self._streams.get(event.stream_id or 0):
                    headers = {str(k): str(v) for k, v in event.headers or ()}
                    stream.status = int(headers.pop(":status", "0"))
                    stream.headers = headers
                    stream.started.set()
            case h2.events.DataReceived():
                self._h2.acknowledge_received_data(
                    event.flow_controlled_length or 0, event.stream_id or 0
                )
                if stream := self._streams.get(event.stream_id or 0):
                    stream.queue.put_nowait(bytes(event.data or b""))
            case h2.events.StreamEnded():
                if stream := self._streams.get(event.stream_id or 0):
                    stream.end(None)
            case h2.events.StreamReset():
                if stream := self._streams.get(event.stream_id or 0):
                    if event.error_code == h2.errors.ErrorCodes.REFUSED_STREAM:
                        stream.end(NotProcessed("REFUSED_STREAM"))
                    else:
                        stream.end(StreamReset(f"stream reset ({event.error_code!s})"))
            case _:
                pass

    def _on_goaway(self, last_stream_id: int) -> None:
        self.goaway = True
        for stream_id, stream in list(self._streams.items()):
            if stream_id > last_stream_id:
                stream.end(NotProcessed("GOAWAY"))
        if self.idle:
            self.close()

    def _flush(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._h2.data_to_send())

    def _fail(self, why: TryFailed) -> None:
        self._closed = True
        for stream in self._streams.values():
            stream.end(why)
