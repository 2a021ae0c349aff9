"""A client of the API that retries exactly as client-go does, and tells what it had to do.

`Pool` keeps at most one HTTP/2 connection for new requests, as Go's transport does; one that got a
GOAWAY finishes its streams and is replaced at once. `fresh=True` dials for each request.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from pawl.core.evidence import Request
from pawl.probes.http2 import Http2Connection
from pawl.probes.kubeconfig import ApiAccess
from pawl.probes.retries import MAX_RETRIES, Retry, after_answer, after_failure
from pawl.probes.transport import Answer, Ask, NotProcessed, TryFailed

AGENT = "pawl-probe"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the caller saw: the record to write, and the answer where there was one."""

    record: Request
    answer: Answer | None


class Pool:
    """The kept connection of one client; safe to share between the tasks of one loop."""

    def __init__(self, access: ApiAccess) -> None:
        self.access = access
        self._connection: Http2Connection | None = None
        self._lock = asyncio.Lock()

    async def dial(self) -> Http2Connection:
        a = self.access
        return await Http2Connection.open(a.host, a.port, a.context, a.server_name)

    async def get(self) -> Http2Connection:
        if self._connection is not None and self._connection.usable:
            return self._connection
        async with self._lock:
            if self._connection is None or not self._connection.usable:
                self._connection = await self.dial()
            return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


class ApiClient:
    """Requests of one lane. `deadline` is the caller's whole patience in seconds."""

    def __init__(self, pool: Pool, lane: str, *, fresh: bool, deadline: float) -> None:
        self._pool = pool
        self._lane = lane
        self._fresh = fresh
        self._deadline = deadline

    async def request(self, op: str, ask: Ask, expect: tuple[int, ...] = (200, 201)) -> Outcome:
        """Never raises for what the network or the server does: it is what is measured."""
        headers = {"user-agent": AGENT, "accept": "application/json"}
        ask = Ask(ask.method, ask.path, ask.body, headers | self._pool.access.headers | ask.headers)
        began_wall, began = time.time(), time.monotonic()
        rules: list[str] = []
        tries = 0
        answer: Answer | None = None
        error = ""
        try:
            async with asyncio.timeout(self._deadline):
                while True:
                    tries += 1
                    retry: Retry | None
                    try:
                        answer = await self._once(ask)
                        error = ""
                        retry = after_answer(answer)
                    except TryFailed as failure:
                        answer, error = None, f"{type(failure).__name__}: {failure}"
                        retry = after_failure(ask.method, failure, rules.count("not-processed"))
                    if retry is None or tries > MAX_RETRIES:
                        break
                    rules.append(retry.rule)
                    if retry.wait:
                        await asyncio.sleep(retry.wait)
        except TimeoutError:
            error = f"no answer within {self._deadline:g} s" + (f" ({error})" if error else "")
        if answer is not None and not error and answer.status not in expect:
            error = f"status {answer.status}"
        record = Request(
            at=began_wall,
            lane=self._lane,
            op=op,
            ms=round((time.monotonic() - began) * 1000, 2),
            status=answer.status if answer else 0,
            tries=tries,
            rules=tuple(rules),
            error=error,
        )
        return Outcome(record, answer)

    async def _once(self, ask: Ask) -> Answer:
        if not self._fresh:
            return await (await self._pool.get()).request(ask)
        connection = await self._pool.dial()
        try:
            return await connection.request(ask)
        except NotProcessed as failure:  # on a connection of its own there is nothing to blame
            raise NotProcessed(f"{failure} on a new connection") from failure
        finally:
            connection.close()
