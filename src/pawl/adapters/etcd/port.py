"""The `Etcd` port: the few calls that change or compare something."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from pawl.adapters.etcd.gateway import DowngradeAnswer, EtcdBusy, EtcdRefused, Gateway, Range
from pawl.adapters.etcd.members import client_url, host_of
from pawl.adapters.etcd.snapshot import SnapshotWriter
from pawl.core.config import HostConfig
from pawl.core.errors import StepFailed, Temporary, Unreachable
from pawl.core.version import Version
from pawl.ports.etcd import Hash, Snapshot

SNAPSHOT_CHUNK_SECONDS = 30.0


class GatewayEtcd:
    """`Etcd` over the JSON gateway. `hosts` gives the current hosts with the role etcd."""

    def __init__(
        self, gateway: Gateway, hosts: Callable[[], Sequence[HostConfig]], port: int
    ) -> None:
        self._gateway = gateway
        self._hosts = hosts
        self._port = port

    def _url(self, name: str) -> str:
        for host in self._hosts():
            if host.name == name:
                return client_url(host, self._port)
        raise StepFailed(f"{name} is not a host with the role etcd")

    async def move_leader(self, leader_host: str, to_host: str, timeout: float) -> None:
        """The call goes to the leader's own endpoint; a transfer to a member that cannot take it
        hangs until the deadline, so `timeout` should be short (5 s) and the leader read again."""
        url = self._url(leader_host)
        listing = await self._gateway.members(url)
        for listed in listing.members:
            host = host_of(listed, self._hosts())
            if host and host.name == to_host:
                break
        else:
            raise StepFailed(f"{to_host} is not a member of this etcd cluster")
        try:
            await self._gateway.call(
                url,
                "maintenance/transfer-leadership",
                {"targetID": str(listed.id)},
                Range,
                timeout,
            )
        except EtcdRefused as error:
            raise Temporary(
                f"{leader_host} did not hand leadership to {to_host}: {error.text}", delay=1.0
            ) from error

    async def snapshot(self, host: str, directory: Path) -> Snapshot:
        """The revision is read just before, so the snapshot holds at least that revision."""
        url = self._url(host)
        before = await self._gateway.read(url)
        writer = SnapshotWriter(directory, f"etcd-{host}-{before.header.revision}.db")
        try:
            async with self._gateway.snapshot(url, SNAPSHOT_CHUNK_SECONDS) as chunks:
                async for chunk in chunks:
                    writer.write(chunk)
            return writer.finish(host, before.header.revision)
        finally:
            writer.close()

    async def hashes(self, revision: int = 0) -> tuple[Hash, ...]:
        hosts = self._hosts()
        answers = await asyncio.gather(*(self._answers(h) for h in hosts))
        reachable = [h for h, answer in zip(hosts, answers, strict=True) if answer]
        if not revision:
            reads = await asyncio.gather(
                *(self._gateway.status(client_url(h, self._port)) for h in reachable)
            )
            revision = min((r.header.revision for r in reads), default=0)
        return tuple(await asyncio.gather(*(self._hash(h, revision) for h in reachable)))

    async def _answers(self, host: HostConfig) -> bool:
        try:
            await self._gateway.read(client_url(host, self._port))
        except (Unreachable, EtcdRefused):
            return False
        return True

    async def _hash(self, host: HostConfig, revision: int) -> Hash:
        try:
            answer = await self._gateway.hash_kv(client_url(host, self._port), revision)
        except EtcdRefused as error:
            if error.status == 404:
                raise StepFailed(
                    f"etcd on {host.name} has no HashKV in its JSON gateway (it came with 3.5.10): "
                    "compare with `etcdctl endpoint hashkv --cluster`, and patch it first"
                ) from error
            raise
        return Hash(
            host=host.name,
            hash=answer.hash,
            revision=revision,
            compact_revision=answer.compact_revision,
        )

    async def downgrade(self, verb: str, minor: str = "") -> str:
        if verb not in ("validate", "enable", "cancel"):
            raise ValueError(verb)
        url = await self._newest()
        request = {"action": verb.upper(), "version": f"{minor}.0" if minor else ""}
        try:
            answer = await self._gateway.call(
                url, "maintenance/downgrade", request, DowngradeAnswer
            )
        except EtcdRefused as error:
            if "inflight" in error.text and verb == "cancel":
                return "no downgrade is under way"
            said = " ".join(f"etcd refuses downgrade {verb} {minor}: {error.text}".split())
            if isinstance(error, EtcdBusy) or "timed out" in error.text:
                raise Temporary(f"{said}; whether it took effect is unknown.", delay=1.0) from error
            raise StepFailed(said) from error
        return " ".join(
            f"downgrade {verb} {minor} accepted, cluster version {answer.version}".split()
        )

    async def _newest(self) -> str:
        """The endpoint that runs the newest release. In a cluster on its way down a member of 3.5
        applies a downgrade request and never answers it: `etcdserver: request timed out` after
        7 s, seen with 3.5.33 beside 3.6.14."""
        found: list[tuple[Version, str]] = []
        reasons: list[str] = []
        for host in self._hosts():
            url = client_url(host, self._port)
            try:
                found.append((Version.parse((await self._gateway.status(url)).version), url))
            except (Unreachable, EtcdRefused, ValueError) as error:
                reasons.append(str(error))
        if not found:
            raise Unreachable("no etcd endpoint answers: " + "; ".join(reasons))
        return max(found)[1]
