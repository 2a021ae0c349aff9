"""etcd's JSON gateway over mTLS: one kept connection, or a list of endpoints as clients have.

64-bit numbers are strings in its JSON and zero fields are absent. gRPC would need a C extension
and its generated code; the gateway is the same etcd behind one more hop inside the member.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from pawl.core.evidence import EtcdWrite
from pawl.probes.http1 import Http1Connection
from pawl.probes.transport import Answer, Ask, NotProcessed, TryFailed

PREFIX = "/pawl-probe/"
JSON = {"content-type": "application/json"}
DIAL_SECONDS = 2.0
"""A host that is switched off answers nothing: give way to the next endpoint after this."""


class GatewayError(TryFailed):
    """etcd answered with an error; `text` is its own (gRPC) message."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(f"{status}: {text[:120]}")


class Gateway:
    """One endpoint. Reconnects by itself; one request at a time (callers hold one each)."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext) -> None:
        self.host = host
        self.port = port
        self._context = context
        self._connection: Http1Connection | None = None

    @property
    def endpoint(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def lost(self) -> bool:
        """The kept connection was closed by the member (or there is none)."""
        return self._connection is None or self._connection.closed_by_peer

    async def call(self, path: str, body: object, timeout: float) -> dict[str, Any]:
        """One call; a kept connection that was closed meanwhile is dialled again, as Go does."""
        async with asyncio.timeout(timeout):
            kept = self._connection
            if kept is None or not kept.usable:
                self.close()
                kept = self._connection = await self._dial()
            ask = Ask("POST", path, msgspec.json.encode(body), JSON)
            try:
                answer = await kept.request(ask)
            except NotProcessed:
                self.close()
                self._connection = await self._dial()
                answer = await self._connection.request(ask)
            return _decoded(answer)

    async def _dial(self) -> Http1Connection:
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                return await Http1Connection.open(self.host, self.port, self._context)
        except TimeoutError as error:
            raise NotProcessed("no connection within 2 s") from error

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _decoded(answer: Answer) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(answer.body or b"{}")
    except msgspec.DecodeError as error:
        raise GatewayError(answer.status, "not JSON") from error
    if answer.status != 200:
        text = document.get("message") or document.get("error") or "no message"
        raise GatewayError(answer.status, str(text))
    assert isinstance(document, dict)
    return document


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def unb64(text: str) -> str:
    return base64.b64decode(text).decode(errors="replace")


def key_of(run: str, writer: int, seq: int) -> str:
    return f"{PREFIX}{run}/{writer}/{seq:08d}"


def value_of(run: str, writer: int, seq: int) -> str:
    return f"{run}.{writer}.{seq}"


class Writer:
    """One client with an endpoint list: writes unique keys, one after the other, at a pace.

    It starts at its own endpoint of the list and stays there while it answers. The whole deadline
    may be used by one try: etcd's own limit for a proposal that was dropped in a leader change is
    7 s (5 s + 2 elections), and a client that hides it with a short timeout would hide the stall.
    A write may be repeated because its key and value are its own.
    """

    def __init__(
        self, number: int, run: str, endpoints: Sequence[Gateway], deadline: float
    ) -> None:
        self.number = number
        self._run = run
        self._endpoints = list(endpoints)
        self._at = number % len(self._endpoints)
        self._deadline = deadline

    async def write(self, seq: int) -> EtcdWrite:
        body = {
            "key": b64(key_of(self._run, self.number, seq)),
            "value": b64(value_of(self._run, self.number, seq)),
        }
        began_wall, began = time.time(), time.monotonic()
        rules: list[str] = []
        tries, revision, error, endpoint = 0, 0, "", ""
        while (left := began + self._deadline - time.monotonic()) > 0:
            gateway = self._endpoints[self._at]
            endpoint = gateway.endpoint
            tries += 1
            try:
                answer = await gateway.call("/v3/kv/put", body, left)
                revision, error = int(answer["header"]["revision"]), ""
                break
            except TimeoutError:
                error = "no answer within the deadline"
            except TryFailed as failure:
                error = f"{type(failure).__name__}: {failure}"
                rules.append(f"next-endpoint after {type(failure).__name__}")
            gateway.close()
            self._at = (self._at + 1) % len(self._endpoints)
            if tries % len(self._endpoints) == 0:
                await asyncio.sleep(0.05)
        if not revision and not error:
            error = "deadline passed"
        return EtcdWrite(
            at=round(began_wall, 4),
            writer=self.number,
            seq=seq,
            ms=round((time.monotonic() - began) * 1000, 2),
            revision=revision,
            endpoint=endpoint,
            tries=tries,
            rules=tuple(rules),
            error=error,
        )
