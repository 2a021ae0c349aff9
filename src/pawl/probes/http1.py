"""A minimal HTTP/1.1 connection over h11: one request at a time, kept alive.

Measured against httpx on the lab's etcd gateway: a fifth of the CPU for a request, which is what
lets 150 writes a second fit beside the cluster that is being measured.
"""

from __future__ import annotations

import asyncio
import ssl

import h11

from pawl.probes.transport import Answer, Ask, ConnectionLost, DialFailed, NotProcessed


class Http1Connection:
    """Use `open`, then `request` one after the other; `usable` says whether it can be reused."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._authority = authority
        self._state = h11.Connection(h11.CLIENT)
        self._used = False

    @classmethod
    async def open(
        cls, host: str, port: int, context: ssl.SSLContext | None, server_name: str = ""
    ) -> Http1Connection:
        try:
            reader, writer = await asyncio.open_connection(
                host, port, ssl=context, server_hostname=(server_name or host) if context else None
            )
        except (OSError, ssl.SSLError) as error:
            raise DialFailed(describe(error)) from error
        return cls(reader, writer, f"{host}:{port}")

    @property
    def usable(self) -> bool:
        return (
            self._state.our_state is h11.IDLE
            and self._state.their_state is h11.IDLE
            and not self._reader.at_eof()
            and not self._writer.is_closing()
        )

    async def request(self, ask: Ask) -> Answer:
        """One request and its whole answer; raises a `TryFailed` where there is none."""
        sent = False
        try:
            headers = [("host", self._authority), ("content-length", str(len(ask.body)))]
            headers += list(ask.headers.items())
            data = self._state.send(
                h11.Request(method=ask.method, target=ask.path, headers=headers)
            )
            if ask.body:
                data = (data or b"") + (self._state.send(h11.Data(data=ask.body)) or b"")
            self._state.send(h11.EndOfMessage())
            if self._reader.at_eof():
                raise NotProcessed("the kept connection was closed before the request was sent")
            self._writer.write(data or b"")
            sent = True
            await self._writer.drain()
            answer = await self._answer()
        except (OSError, ssl.SSLError) as error:
            self.close()
            failure = ConnectionLost if sent else NotProcessed
            raise failure(describe(error)) from error
        except (h11.RemoteProtocolError, h11.LocalProtocolError) as error:
            self.close()
            raise ConnectionLost(f"connection closed without an answer ({error})") from error
        except BaseException:
            self.close()
            raise
        if self._state.our_state is h11.DONE and self._state.their_state is h11.DONE:
            self._state.start_next_cycle()
        else:
            self.close()
        return answer

    async def _answer(self) -> Answer:
        status, headers, body = 0, {}, bytearray()
        while True:
            event = self._state.next_event()
            if event is h11.NEED_DATA:
                self._state.receive_data(await self._reader.read(65536))
            elif isinstance(event, h11.Response):
                status = event.status_code
                headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in event.headers}
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return Answer(status, headers, bytes(body))
            elif isinstance(event, h11.ConnectionClosed):
                raise ConnectionLost("connection closed without an answer")

    def close(self) -> None:
        transport = self._writer.transport
        if transport is not None:
            transport.abort() if not self.usable else self._writer.close()

    @property
    def closed_by_peer(self) -> bool:
        return self._reader.at_eof() or self._writer.is_closing()


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
