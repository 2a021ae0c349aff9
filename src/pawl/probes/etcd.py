"""The etcd lanes: acknowledged unique writes, the members seen from outside, and the reading back.

Members are observed over a kept TLS connection each. Its loss is noticed within 20 ms, because the
kernel tells it; while a member is gone it is dialled every 20 ms, and it counts as up again only
when it has answered a status call. A member that hangs without closing anything is found by the
status call itself (each 100 ms, 2 s deadline) and counts as down since that call was sent. A bare
TCP connect every 20 ms would be cheaper still, but etcd logs a warning for each of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from pawl.core.evidence import EtcdWrite, HashSeen, MemberSeen, MemberStatus, Note, ReadBack
from pawl.probes.etcdclient import PREFIX, Gateway, Writer, b64, key_of, unb64, value_of
from pawl.probes.sink import Sink
from pawl.probes.transport import TryFailed

LOOK_SECONDS = 0.02
STATUS_SECONDS = 0.1
STATUS_DEADLINE = 2.0
PAGE = 2000


class Writers:
    """All writers of the lane. `acked` is what etcd owes at the end: (writer, seq)."""

    def __init__(
        self,
        run: str,
        make: Callable[[], Sequence[Gateway]],
        sink: Sink,
        *,
        count: int,
        per_second: float,
        deadline: float,
    ) -> None:
        self.run_id = run
        self.acked: list[tuple[int, int]] = []
        self._sink = sink
        self._writers = [Writer(n, run, make(), deadline) for n in range(count)]
        self._spacing = count / per_second if per_second else 0.0

    async def run(self) -> None:
        if not self._spacing:
            return
        async with asyncio.TaskGroup() as group:
            for writer in self._writers:
                group.create_task(self._write(writer))

    async def _write(self, writer: Writer) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._spacing * writer.number / len(self._writers)
        seq = 0
        while True:
            await asyncio.sleep(max(0.0, due - loop.time()))
            due = max(due + self._spacing, loop.time())
            record: EtcdWrite = await writer.write(seq)
            self._sink.write(record)
            if record.ok:
                self.acked.append((writer.number, seq))
            seq += 1


class MemberWatch:
    """One member seen from outside."""

    def __init__(self, host: str, gateway: Gateway, sink: Sink) -> None:
        self._host = host
        self._gateway = gateway
        self._sink = sink
        self._up: bool | None = None
        self._last: tuple[str, str, str, int] | None = None

    async def run(self) -> None:
        asked = 0.0
        while True:
            now = time.monotonic()
            if self._gateway.lost or now - asked >= STATUS_SECONDS:
                if self._up and self._gateway.lost:
                    self._say(False, time.time(), "connection closed")
                asked = now
                await self._ask()
            await asyncio.sleep(max(0.0, LOOK_SECONDS - (time.monotonic() - now)))

    async def _ask(self) -> None:
        sent = time.time()
        try:
            status = await self._gateway.call("/v3/maintenance/status", {}, STATUS_DEADLINE)
        except (TryFailed, TimeoutError) as failure:
            self._gateway.close()
            self._say(False, sent, str(failure) or "no answer within 2 s")
            return
        self._say(True, time.time(), "")
        header = status.get("header", {})
        seen = (
            hexed(header.get("member_id")),
            str(status.get("version", "")),
            hexed(status.get("leader")),
            int(status.get("raftTerm", 0)),
        )
        if seen != self._last:
            self._last = seen
            self._sink.write(
                MemberStatus(
                    at=round(time.time(), 4),
                    host=self._host,
                    member_id=seen[0],
                    version=seen[1],
                    leader_id=seen[2],
                    term=seen[3],
                )
            )

    def _say(self, up: bool, at: float, why: str) -> None:
        if up != self._up:
            self._up = up
            self._sink.write(MemberSeen(at=round(at, 4), host=self._host, up=up, why=why))


def hexed(number: Any) -> str:
    """Ids as etcdctl prints them: lower-case hex; "0" for none."""
    return format(int(number or 0), "x")


async def hashes(members: Sequence[tuple[str, Gateway]], sink: Sink, when: str) -> None:
    """HashKV of every member at one revision that all of them hold."""
    try:
        revisions = [
            int((await g.call("/v3/kv/range", _everything(), 5.0))["header"]["revision"])
            for _, g in members
        ]
    except (TryFailed, TimeoutError) as failure:
        text = f"HashKV {when}: not measured, no pinned revision ({failure})"
        sink.write(Note(at=time.time(), lane="etcd", text=text))
        return
    pinned = min(revisions)
    for _, gateway in members:
        found: dict[str, Any] = {}
        error = ""
        try:
            body = {"revision": str(pinned)}
            found = await gateway.call("/v3/maintenance/hashkv", body, 10.0)
        except (TryFailed, TimeoutError) as failure:
            error = str(failure) or "no answer within 10 s"
        sink.write(
            HashSeen(
                at=round(time.time(), 4),
                endpoint=gateway.endpoint,
                member_id=hexed(found.get("header", {}).get("member_id")),
                revision=pinned,
                compact_revision=int(found.get("compact_revision", 0)),
                hash=int(found.get("hash", 0)),
                when=when,
                error=error,
            )
        )


async def read_back(
    members: Sequence[tuple[str, Gateway]], run: str, acked: Sequence[tuple[int, int]], sink: Sink
) -> None:
    """Every acknowledged write is looked for on every member, with its value."""
    for _, gateway in members:
        for attempt in range(3):
            try:
                record = await _read_one(gateway, run, acked)
                break
            except (TryFailed, TimeoutError) as failure:
                record = ReadBack(
                    at=time.time(),
                    endpoint=gateway.endpoint,
                    revision=0,
                    acked=len(acked),
                    lost=0,
                    wrong=0,
                    error=str(failure) or "no answer in time",
                )
                await asyncio.sleep(1.0 + attempt)
        sink.write(record)


async def _read_one(gateway: Gateway, run: str, acked: Sequence[tuple[int, int]]) -> ReadBack:
    held: dict[str, str] = {}
    start, end, revision = f"{PREFIX}{run}/", f"{PREFIX}{run}0", 0
    while True:
        body = {"key": b64(start), "range_end": b64(end), "limit": str(PAGE)}
        if revision:
            body["revision"] = str(revision)
        page = await gateway.call("/v3/kv/range", body, 30.0)
        revision = revision or int(page["header"]["revision"])
        pairs = page.get("kvs", [])
        for pair in pairs:
            held[unb64(pair["key"])] = unb64(pair.get("value", ""))
        if not page.get("more") or not pairs:
            break
        start = unb64(pairs[-1]["key"]) + "\0"
    lost = [k for k in acked if key_of(run, *k) not in held]
    wrong = [k for k in acked if held.get(key_of(run, *k), value_of(run, *k)) != value_of(run, *k)]
    return ReadBack(
        at=round(time.time(), 4),
        endpoint=gateway.endpoint,
        revision=revision,
        acked=len(acked),
        lost=len(lost),
        wrong=len(wrong),
        first_lost=key_of(run, *lost[0]) if lost else "",
    )


async def clean(members: Sequence[tuple[str, Gateway]], run: str) -> str:
    """Delete this run's keys; an empty answer means done, else why not."""
    why = "no member"
    for _, gateway in members:
        try:
            body = {"key": b64(f"{PREFIX}{run}/"), "range_end": b64(f"{PREFIX}{run}0")}
            await gateway.call("/v3/kv/deleterange", body, 30.0)
            return ""
        except (TryFailed, TimeoutError) as failure:
            why = str(failure) or "no answer within 30 s"
    return why


def _everything() -> dict[str, object]:
    """A linearizable read that returns no data: it only tells the current revision."""
    return {"key": b64(PREFIX), "count_only": True, "limit": "1"}
