"""One etcd endpoint as JSON over HTTPS (etcd's grpc-gateway), decoded into partial structs.

The gateway writes 64-bit numbers as strings and leaves out fields that are zero; errors come as
HTTP 4xx/5xx with the gRPC text. Every call goes to one member's own endpoint and has a deadline.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx2
import msgspec

from pawl.adapters.deadlines import late, within
from pawl.core.config import EtcdConfig
from pawl.core.errors import StepFailed, Unreachable

S = TypeVar("S", bound=msgspec.Struct)


class _Message(msgspec.Struct, frozen=True, kw_only=True, rename=None):
    pass


class Header(_Message, frozen=True, kw_only=True):
    cluster_id: int = 0
    member_id: int = 0
    revision: int = 0


class Downgrade(_Message, frozen=True, kw_only=True):
    enabled: bool = False
    target: str = msgspec.field(name="targetVersion", default="")


class Status(_Message, frozen=True, kw_only=True):
    """`maintenance/status`: of the member itself."""

    header: Header = Header()
    version: str = ""
    db_size: int = msgspec.field(name="dbSize", default=0)
    db_in_use: int = msgspec.field(name="dbSizeInUse", default=0)
    leader: int = 0
    raft_index: int = msgspec.field(name="raftIndex", default=0)
    applied: int = msgspec.field(name="raftAppliedIndex", default=0)
    term: int = msgspec.field(name="raftTerm", default=0)
    learner: bool = msgspec.field(name="isLearner", default=False)
    storage_version: str = msgspec.field(name="storageVersion", default="")
    downgrade: Downgrade = msgspec.field(name="downgradeInfo", default=Downgrade())


class Listed(_Message, frozen=True, kw_only=True):
    """One entry of the member list. A member that never started has no name and no client URL."""

    id: int = msgspec.field(name="ID", default=0)
    name: str = ""
    peer_urls: tuple[str, ...] = msgspec.field(name="peerURLs", default=())
    client_urls: tuple[str, ...] = msgspec.field(name="clientURLs", default=())
    learner: bool = msgspec.field(name="isLearner", default=False)


class MemberList(_Message, frozen=True, kw_only=True):
    header: Header = Header()
    members: tuple[Listed, ...] = ()


class Alarm(_Message, frozen=True, kw_only=True):
    member: int = msgspec.field(name="memberID", default=0)
    alarm: str = ""


class Alarms(_Message, frozen=True, kw_only=True):
    alarms: tuple[Alarm, ...] = ()


class Range(_Message, frozen=True, kw_only=True):
    header: Header = Header()


class Pair(_Message, frozen=True, kw_only=True):
    key: bytes
    value: bytes = b""


class Values(_Message, frozen=True, kw_only=True):
    """A page of a range; `more`: there are keys after it."""

    header: Header = Header()
    kvs: tuple[Pair, ...] = ()
    more: bool = False


class HashKV(_Message, frozen=True, kw_only=True):
    header: Header = Header()
    hash: int = 0
    compact_revision: int = 0


class Versions(_Message, frozen=True, kw_only=True):
    """`/version`: `storage` exists from 3.6."""

    server: str = msgspec.field(name="etcdserver", default="")
    cluster: str = msgspec.field(name="etcdcluster", default="")
    storage: str = ""


class DowngradeAnswer(_Message, frozen=True, kw_only=True):
    version: str = ""


class _Chunk(_Message, frozen=True, kw_only=True):
    blob: bytes = b""


class _Line(_Message, frozen=True, kw_only=True):
    result: _Chunk | None = None
    error: Any = None


class _Error(_Message, frozen=True, kw_only=True):
    message: str = ""
    error: Any = ""


_LINE = msgspec.json.Decoder(_Line)
BUSY = (408, 499, 503, 504)
"""HTTP statuses of the gRPC codes Canceled, Unavailable and DeadlineExceeded, which etcd gives for
"no leader", "leader changed" and "request timed out" (api/v3rpc/rpctypes/error.go)."""


def hex_id(number: int) -> str:
    """A member or cluster id as etcdctl prints it."""
    return f"{number:x}"


class Gateway:
    """Calls to single endpoints, by URL. `timeout` is the deadline of an ordinary call."""

    def __init__(self, config: EtcdConfig, timeout: float) -> None:
        context = ssl.create_default_context(cafile=config.ca)
        context.load_cert_chain(config.cert, config.key)
        self._timeout = timeout
        self._client = httpx2.AsyncClient(verify=context, trust_env=False, timeout=within(timeout))

    async def members(self, url: str) -> MemberList:
        """Linearizable: 3.4 would answer from its own, perhaps stale, memory otherwise."""
        return await self.call(url, "cluster/member/list", {"linearizable": True}, MemberList)

    async def status(self, url: str) -> Status:
        return await self.call(url, "maintenance/status", {}, Status)

    async def alarms(self, url: str) -> Alarms:
        return await self.call(url, "maintenance/alarm", {"action": "GET"}, Alarms)

    async def read(self, url: str) -> Range:
        """A linearizable read of a key that need not exist: the proof that this member has
        quorum behind it. Serializable reads answer even without (field knowledge, section 3)."""
        request = {"key": "cGF3bA==", "count_only": True}  # "pawl"
        return await self.call(url, "kv/range", request, Range)

    async def page(self, url: str, start: bytes, end: bytes, limit: int) -> Values:
        """Keys in [start, end) with their values, as this member has them: it asks no other."""
        request = {"key": start, "range_end": end, "limit": limit, "serializable": True}
        return await self.call(url, "kv/range", request, Values)

    async def hash_kv(self, url: str, revision: int) -> HashKV:
        """HashKV has its own path from 3.5.10 on; before, the same path gave the hash of the
        whole backend, which differs between minors and would cry wolf."""
        request = {"revision": str(revision)} if revision else {}
        return await self.call(url, "maintenance/hashkv", request, HashKV)

    async def versions(self, url: str) -> Versions:
        response = await self._request("GET", f"{url}/version", None, self._timeout)
        return self._decode(url, response, Versions)

    async def call(
        self,
        url: str,
        method: str,
        request: dict[str, Any],
        answer: type[S],
        timeout: float | None = None,
    ) -> S:
        """POST to one gateway method. Raises `Unreachable`, or `StepFailed` with etcd's words."""
        body = msgspec.json.encode(request)
        response = await self._request("POST", f"{url}/v3/{method}", body, timeout or self._timeout)
        return self._decode(url, response, answer)

    @asynccontextmanager
    async def snapshot(self, url: str, timeout: float) -> AsyncIterator[AsyncIterator[bytes]]:
        """The snapshot's bytes as they come; `timeout` is for each chunk."""
        limits = within(timeout)
        try:
            async with self._client.stream(
                "POST", f"{url}/v3/maintenance/snapshot", content=b"{}", timeout=limits
            ) as response:
                if response.status_code != 200:
                    await response.aread()
                    self._refuse(url, response)
                yield self._chunks(url, response)
        except (httpx2.HTTPError, OSError) as error:  # ssl.SSLError is an OSError
            raise self._unreachable(url, error, timeout) from error

    async def _chunks(self, url: str, response: httpx2.Response) -> AsyncIterator[bytes]:
        rest = b""
        async for data in response.aiter_bytes():
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if line.strip():
                    yield self._chunk(url, line)
        if rest.strip():
            yield self._chunk(url, rest)

    @staticmethod
    def _chunk(url: str, line: bytes) -> bytes:
        decoded = _LINE.decode(line)
        if decoded.result is None:
            raise Unreachable(f"etcd at {url} broke off the snapshot: {decoded.error}")
        return decoded.result.blob

    async def _request(
        self, method: str, url: str, body: bytes | None, timeout: float
    ) -> httpx2.Response:
        for last in (False, True):
            try:
                response = await self._client.request(
                    method, url, content=body, timeout=within(timeout)
                )
            except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError) as error:
                # A kept connection that the member's last stop closed under us: once more, anew.
                # All calls that change something are safe to repeat (see the etcd port).
                if last:
                    raise self._unreachable(url, error, timeout) from error
            except (httpx2.HTTPError, OSError) as error:  # ssl.SSLError is an OSError
                raise self._unreachable(url, error, timeout) from error
            else:
                if response.status_code != 200:
                    self._refuse(url, response)
                return response
        raise AssertionError("unreachable")

    @staticmethod
    def _unreachable(url: str, error: Exception, timeout: float) -> Unreachable:
        if isinstance(error, httpx2.TimeoutException):
            return Unreachable(late(f"etcd at {url}", error, timeout))
        return Unreachable(f"etcd at {url} cannot be reached: {error or type(error).__name__}")

    @staticmethod
    def _refuse(url: str, response: httpx2.Response) -> None:
        try:
            said = msgspec.json.decode(response.content, type=_Error)
            text = said.message or str(said.error)
        except msgspec.DecodeError:
            text = f"HTTP {response.status_code}"
        kind = EtcdBusy if response.status_code in BUSY else EtcdRefused
        raise kind(f"etcd at {url} refused: {text}", text, response.status_code)

    @staticmethod
    def _decode(url: str, response: httpx2.Response, answer: type[S]) -> S:
        try:
            # strict=False: the gateway's numbers are strings.
            return msgspec.json.decode(response.content, type=answer, strict=False)
        except msgspec.DecodeError as error:
            raise Unreachable(f"etcd at {url} answered what pawl cannot read: {error}") from error

    async def aclose(self) -> None:
        await self._client.aclose()


class EtcdRefused(StepFailed):
    """etcd said no; `text` is its own sentence, `status` the HTTP status."""

    def __init__(self, message: str, text: str, status: int) -> None:
        self.text = text
        self.status = status
        super().__init__(message)


class EtcdBusy(EtcdRefused, Unreachable):
    """etcd could not answer just now: it has no leader, or a disk that stalls. Nothing is decided
    by that, as by a member that is silent."""
