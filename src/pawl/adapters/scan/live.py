"""`ScanSource` over a live cluster: each part fails for itself and costs the others nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec

from pawl.adapters.hosts.connection import Connections
from pawl.adapters.kube.client import KubeClient, KubeRefused
from pawl.adapters.kube.objects import VersionInfo
from pawl.adapters.scan import audit, extensions, helm, metadata, metrics, volumes
from pawl.adapters.scan.discovery import Resource, discover, served, to_list
from pawl.core.errors import PawlError
from pawl.core.knowledge.rows import key
from pawl.core.scan.encoded import Suspect, suspects
from pawl.core.scan.facts import Counted, Missed, Note, Running, ScanFact
from pawl.core.scan.lens import Lens
from pawl.ports.scan import Take

AT_ONCE = 4
"""Lists that are read side by side: each costs the API server memory, so there are few."""

QUIET = ("endpoints",)
"""Deprecated without a removal and mirrored in EndpointSlices: skipping them is no news."""

SELF = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


InEtcd = Callable[[Sequence[Suspect]], Awaitable[tuple[ScanFact, ...]]]


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """An API server by its own address."""

    host: str
    url: str


class _Address(msgspec.Struct):
    addresses: tuple[str, ...] = ()


class _Port(msgspec.Struct):
    port: int | None = None


class _Slice(msgspec.Struct):
    endpoints: tuple[_Address, ...] | None = None
    ports: tuple[_Port, ...] | None = None


class LiveScan:
    """`lens` is the collector's. `servers` None: ask the cluster for its API servers' addresses.

    `logs` are the hosts' audit logs, reached over `connections` (None: hosts are not looked at),
    `files` local ones. `stored` reads etcd itself (None: it is not looked at).
    """

    def __init__(
        self,
        client: KubeClient,
        lens: Lens,
        *,
        servers: Sequence[Server] | None = None,
        connections: Connections | None = None,
        logs: Sequence[audit.AuditLog] = (),
        files: Sequence[Path] = (),
        audit_days: float = 7.0,
        stored: InEtcd | None = None,
    ) -> None:
        self._client, self._lens = client, lens
        self._servers, self._connections, self._logs = servers, connections, logs
        self._files, self._days, self._stored = files, audit_days, stored

    async def read(self, take: Take) -> None:
        running = ""
        resources: tuple[Resource, ...] = ()
        try:
            running = _minor(await self._client.get("/version", VersionInfo))
            take([Running(minor=running)])
            resources, missed = await discover(self._client)
            take(served(resources))
            take(missed)
        except PawlError as error:
            take([Missed(where="live", why=f"what the cluster serves is not known: {error}")])
        parts = (
            self._objects(resources, running, take),
            self._releases(take),
            self._volumes(take),
            self._metrics(take),
            self._audit(running, take),
            self._extensions(take),
            self._encoded(resources, take),
        )
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(part)

    async def _extensions(self, take: Take) -> None:
        take(await extensions.read(self._client))

    async def _encoded(self, resources: tuple[Resource, ...], take: Take) -> None:
        judge = self._lens.judge
        served = {(r.group, r.resource) for r in resources}
        looked_for = suspects(judge.knowledge, judge.target, served)
        if not looked_for:
            return
        if self._stored is None:
            names = ", ".join(s.name for s in looked_for)
            text = (
                "etcd was not looked at (its certificates are in pawl.yaml), so not whether any of "
                f"{names} lie there in a version that {judge.target} cannot read"
            )
            take([Note(text=text)])
            return
        take(await self._stored(looked_for))

    async def _volumes(self, take: Take) -> None:
        async for facts in volumes.read(self._client, self._lens.judge):
            take(facts)

    async def _releases(self, take: Take) -> None:
        async for facts in helm.read(self._client, self._lens.judge):
            take(facts)

    async def _objects(self, resources: tuple[Resource, ...], running: str, take: Take) -> None:
        marked: frozenset[tuple[str, str]] = frozenset()
        try:
            facts, marked = await extensions.definitions(self._client)
            take(facts)
        except PawlError as error:
            take([Missed(where="live/customresourcedefinitions", why=str(error))])
        known = self._lens.judge.knowledge.by_api

        def deprecated(r: Resource) -> bool:
            if (r.api_version, r.kind) in marked:
                return True
            row = known.get((r.api_version, r.kind))
            if row is None or not row.deprecated:
                return False
            return not running or key(row.deprecated) <= key(running)

        chosen, left = to_list(resources, deprecated)
        names = sorted(r.name for r in left if r.name not in QUIET)
        if names:
            take(
                [
                    Note(
                        text=f"not listed, for only deprecated versions of them are served and a "
                        f"scan must not call those: {', '.join(names)}"
                    )
                ]
            )
        free = asyncio.Semaphore(AT_ONCE)

        async def one(resource: Resource) -> None:
            async with free:
                await self._list(resource, take)

        async with asyncio.TaskGroup() as group:
            for resource in chosen:
                group.create_task(one(resource))

    async def _list(self, resource: Resource, take: Take) -> None:
        try:
            async for count, seen in metadata.pages(self._client, resource, self._lens):
                take([Counted(what="objects", objects=count), *seen])
        except KubeRefused as error:
            if error.code in (404, 405):  # gone since discovery, or not listable after all
                return
            take([Missed(where=f"live/{resource.name}", why=str(error))])
        except PawlError as error:
            take([Missed(where=f"live/{resource.name}", why=str(error))])

    async def _metrics(self, take: Take) -> None:
        servers = self._servers
        if servers is None:
            try:
                servers = await self._discovered()
            except PawlError as error:
                why = f"the API servers' addresses are not known: {error}"
                take([Missed(where="requests", why=why)])
                return
        for facts in await asyncio.gather(
            *(metrics.read(self._client, s.host, s.url) for s in servers)
        ):
            take(facts)

    async def _discovered(self) -> list[Server]:
        """As the API servers announce themselves in the EndpointSlice of `kubernetes`."""
        slices = await self._client.every(
            SELF, _Slice, {"labelSelector": "kubernetes.io/service-name=kubernetes"}
        )
        found = {}
        for slice_ in slices:
            port = next((p.port for p in slice_.ports or () if p.port), 6443)
            for endpoint in slice_.endpoints or ():
                for address in endpoint.addresses:
                    host = f"[{address}]" if ":" in address else address
                    found[address] = Server(host=address, url=f"https://{host}:{port}")
        return [found[a] for a in sorted(found)]

    async def _audit(self, running: str, take: Take) -> None:
        for path in self._files:
            take(await asyncio.to_thread(audit.local, path, self._lens, running))
        if self._connections is None:
            if not self._files:
                take([Note(text="no audit log was looked at: clients cannot be named")])
            return
        read = [
            audit.remote(self._connections, log, self._lens, running, self._days)
            for log in self._logs
        ]
        for facts in await asyncio.gather(*read):
            take(facts)


def _minor(version: VersionInfo) -> str:
    """The minor whose APIs are served: the emulated one where there is one."""
    if version.emulation_major and version.emulation_minor:
        return f"{version.emulation_major}.{version.emulation_minor}"
    parts = version.git_version.removeprefix("v").split(".")
    return ".".join(parts[:2]) if len(parts) >= 2 else ""
