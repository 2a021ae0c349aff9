"""The API lanes, all through the load balancer: new connections, a kept one, and a watch.

Objects are ConfigMaps in the prober's own namespace, which is removed at the end. Every write must
come back on the watch; the watch is reopened from its last resourceVersion, as informers do, and
after a 410 the list is read again, which costs whatever was written in between: missed, and
counted as missed.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass

import msgspec

from pawl.core.evidence import WatchOpened, WatchSeen
from pawl.probes.apiclient import AGENT, ApiClient, Outcome, Pool
from pawl.probes.pacing import every
from pawl.probes.sink import Sink
from pawl.probes.transport import Answer, Ask, TryFailed

NAMESPACE = "pawl-probe"
CONFIGMAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
WATCH_DEADLINE = 10.0
"""Seconds after which a write that has not come on the watch is counted as missed."""
MERGE = {"content-type": "application/merge-patch+json"}
JSON = {"content-type": "application/json"}


class _Meta(msgspec.Struct):
    name: str = ""
    resourceVersion: str = ""


class _Object(msgspec.Struct):
    metadata: _Meta = msgspec.field(default_factory=_Meta)


class _WatchEvent(msgspec.Struct):
    type: str = ""
    object: msgspec.Raw = msgspec.Raw(b"{}")


class _Status(msgspec.Struct):
    code: int = 0
    message: str = ""


_object = msgspec.json.Decoder(_Object)
_event = msgspec.json.Decoder(_WatchEvent)


def config_map(name: str, value: str) -> bytes:
    return msgspec.json.encode(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "labels": {"app": "pawl-probe"}},
            "data": {"value": value},
        }
    )


async def ensure_namespace(client: ApiClient) -> Outcome:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    ask = Ask("POST", "/api/v1/namespaces", msgspec.json.encode(body), JSON)
    return await client.request("create namespace", ask, expect=(201, 409))


async def remove_namespace(client: ApiClient) -> Outcome:
    ask = Ask("DELETE", f"/api/v1/namespaces/{NAMESPACE}")
    return await client.request("delete namespace", ask, expect=(200, 202, 404))


class Ledger:
    """Which writes the watch still owes. Keys: (name, resourceVersion), "" for a deletion."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._owed: dict[tuple[str, str], float] = {}
        self._early: dict[tuple[str, str], float] = {}

    def wrote(self, name: str, version: str) -> None:
        """An acknowledged write; its event may have come before its answer."""
        now = time.time()
        if self._early.pop((name, version), None) is not None:
            self._sink.write(WatchSeen(at=now, name=name, version=version, lag_ms=0.0))
        else:
            self._owed[(name, version)] = now

    def saw(self, name: str, version: str) -> None:
        now = time.time()
        since = self._owed.pop((name, version), None)
        if since is None:
            self._early[(name, version)] = now
        else:
            lag = round((now - since) * 1000, 2)
            self._sink.write(WatchSeen(at=since, name=name, version=version, lag_ms=lag))

    def sweep(self, patience: float = WATCH_DEADLINE) -> int:
        """Write down what is overdue, forget early events without a writer; returns the missed."""
        now = time.time()
        late = [key for key, since in self._owed.items() if now - since > patience]
        for key in late:
            since = self._owed.pop(key)
            lag = round((now - since) * 1000, 1)
            self._sink.write(
                WatchSeen(at=since, name=key[0], version=key[1], lag_ms=lag, missed=True)
            )
        for key in [k for k, at in self._early.items() if now - at > 60]:
            del self._early[key]
        return len(late)

    async def settle(self) -> None:
        """After the last write: wait for what is owed, and count the rest as missed."""
        for _ in range(int(WATCH_DEADLINE / 0.1)):
            if not self._owed:
                return
            await asyncio.sleep(0.1)
        self.sweep(0.0)


LIST = Ask("GET", f"{CONFIGMAPS}?resourceVersion=0")
"""As informers list. Without a version a server of 1.31 on asks etcd how far its cache is, and does
so every 100 ms at most (progressRequestPeriod of its cacher): such a list takes up to 100 ms and
more on an idle cluster, which would hide a stall. GET is answered by etcd itself."""


@dataclass
class ApiLane:
    """One lane at an even pace: half reads (GET and LIST in turn), half writes.

    Reads are an open loop. Writes are made by a ring of writers, each of which creates, patches
    and deletes one object after another: an object has one owner, and a stalled write holds back
    only its own writer.
    """

    name: str
    client: ApiClient
    sink: Sink
    ledger: Ledger
    per_second: float
    writers: int = 5
    turn: int = 0

    async def run(self) -> None:
        """The lane ends when it is cancelled."""
        if self.per_second <= 0:
            return
        half = 2 / self.per_second
        async with asyncio.TaskGroup() as group:
            group.create_task(every(half, self._read))
            for i in range(self.writers):
                group.create_task(self._writer(i, half * self.writers, (i + 0.5) * half))

    async def _read(self) -> None:
        self.turn += 1
        if self.turn % 2:
            outcome = await self.client.request("get", Ask("GET", f"{CONFIGMAPS}/kept"))
        else:
            outcome = await self.client.request("list", LIST)
        self.sink.write(outcome.record)

    async def _writer(self, slot: int, spacing: float, offset: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + offset
        for turn in itertools.count():
            name = f"{self.name.replace(' ', '-')}-{slot}-{turn}"
            path = f"{CONFIGMAPS}/{name}"
            patch = msgspec.json.encode({"data": {"value": "patched"}})
            steps: list[tuple[str, Ask, tuple[int, ...]]] = [
                ("create", Ask("POST", CONFIGMAPS, config_map(name, "new"), JSON), (201,)),
                ("patch", Ask("PATCH", path, patch, MERGE), (200,)),
                ("delete", Ask("DELETE", path), (200,)),
            ]
            for op, ask, expect in steps:
                await asyncio.sleep(max(0.0, due - loop.time()))
                due = max(due + spacing, loop.time())
                outcome = await self.client.request(op, ask, expect)
                self.sink.write(outcome.record)
                if not outcome.record.ok or outcome.answer is None:
                    break
                if op == "delete":
                    self.ledger.wrote(name, "")
                else:
                    made = _object.decode(outcome.answer.body)
                    self.ledger.wrote(name, made.metadata.resourceVersion)


class Watch:
    """The informer of the lanes' objects."""

    def __init__(self, pool: Pool, sink: Sink, ledger: Ledger, client: ApiClient) -> None:
        self._pool = pool
        self._sink = sink
        self._ledger = ledger
        self._client = client
        self._version = ""
        self.ready = asyncio.Event()

    async def run(self) -> None:
        how, why = "list", ""
        while True:
            if not self._version and not await self._list():
                await asyncio.sleep(1.0)
                continue
            self._sink.write(WatchOpened(at=time.time(), how=how, why=why))
            try:
                why = await self._follow()
            except TryFailed as failure:
                why = str(failure)
                await asyncio.sleep(0.05)
            how = "resume" if self._version else "relist"

    async def sweep(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self._ledger.sweep()

    async def _list(self) -> bool:
        outcome = await self._client.request("watch list", Ask("GET", f"{CONFIGMAPS}?limit=1"))
        if outcome.answer is None or not outcome.record.ok:
            return False
        self._version = _object.decode(outcome.answer.body).metadata.resourceVersion
        return True

    async def _follow(self) -> str:
        """Read until the stream ends; says why it ended. An empty version asks for a new list."""
        path = (
            f"{CONFIGMAPS}?watch=true&allowWatchBookmarks=true&timeoutSeconds=3600"
            f"&resourceVersion={self._version}"
        )
        headers = {"user-agent": AGENT, "accept": "application/json"} | self._pool.access.headers
        connection = await self._pool.get()
        buffer = bytearray()
        async for part in connection.stream(Ask("GET", path, headers=headers)):
            if isinstance(part, Answer):
                if part.status == 410:
                    self._version = ""
                    return "410: the resourceVersion is too old"
                if part.status != 200:
                    await asyncio.sleep(min(float(part.headers.get("retry-after", "1")), 5.0))
                    return f"status {part.status}"
                self.ready.set()
                continue
            buffer += part
            while (end := buffer.find(b"\n")) >= 0:
                line = bytes(buffer[:end])
                del buffer[: end + 1]
                if line and not self._take(line):
                    self._version = ""
                    return "410 within the stream: the resourceVersion is too old"
        return "the server ended the stream"

    def _take(self, line: bytes) -> bool:
        event = _event.decode(line)
        if event.type == "ERROR":
            status = msgspec.json.decode(event.object, type=_Status)
            return status.code != 410
        meta = _object.decode(event.object).metadata
        if meta.resourceVersion:
            self._version = meta.resourceVersion
        if event.type in ("ADDED", "MODIFIED"):
            self._ledger.saw(meta.name, meta.resourceVersion)
        elif event.type == "DELETED":
            self._ledger.saw(meta.name, "")
        return True
