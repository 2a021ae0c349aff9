"""The one resolver: sources in order, each of which serves or gives way with a reason.

Everything a source brings passes the same gate: the binary is asked for its version, stored by
content, and handed out from the cache after its hash was verified. A line says who served.
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from pawl.adapters.artifacts.cache import Cache, Miss
from pawl.adapters.artifacts.catalog import (
    BUNDLES,
    Platform,
    expand,
    parse_version,
)
from pawl.adapters.artifacts.files import FileLock, remove_tree
from pawl.adapters.artifacts.probe import check_version
from pawl.adapters.artifacts.source import GivesWay, Provided, Request, Source
from pawl.core.errors import ArtifactError
from pawl.core.version import Version
from pawl.ports.artifacts import Artifact, ArtifactProgress, Report, silent

CACHE = "cache"
"""The word for the cache in the order of sources; it is not a Source, all others end in it."""


class Resolver:
    """Implements pawl.ports.artifacts.Artifacts.

    `order` holds sources and, once, the word "cache". `max_bytes` bounds the cache: after each
    fetch that stored something, the longest unused artefacts go.
    """

    def __init__(
        self,
        cache: Cache,
        order: Sequence[Source | str],
        *,
        max_bytes: int,
        platform: Platform | None = None,
    ) -> None:
        self._cache = cache
        self._order = tuple(order)
        self._max_bytes = max_bytes
        self._platform = platform or Platform.here()

    async def fetch(
        self, component: str, version: Version | str, *, progress: Report = silent
    ) -> Artifact:
        parts = expand(component)
        wanted = parse_version(component, version)
        await anyio.to_thread.run_sync(self._cache.prepare)
        request: Request | None = Request(parts, wanted, self._platform)
        got: dict[str, Artifact] = {}
        reasons: list[str] = []
        for source in self._order:
            if request is None:
                break
            try:
                if isinstance(source, str):
                    served = await self._from_cache(request, progress)
                else:
                    served = await self._from_source(source, request, progress)
            except GivesWay as reason:
                name = source if isinstance(source, str) else source.name
                reasons.append(f"{name}: {reason}")
                progress(ArtifactProgress(text=f"{component} {wanted}: {name} gives way: {reason}"))
                continue
            got |= served
            request = request.without(tuple(served))
        if request is not None:
            raise ArtifactError(
                f"no source has {request} for {self._platform}:\n"
                + "\n".join(f"  - {r}." for r in reasons or ["no source is configured"])
            )
        files = tuple(f for part in parts for f in got[part.name].files)
        sources = tuple(dict.fromkeys(a.source for a in got.values()))
        return Artifact(component=component, version=wanted, files=files, source="; ".join(sources))

    async def held(self, component: str) -> tuple[Version, ...]:
        names = {c.name for c in expand(component)}
        have: dict[str, set[str]] = {}
        for item in await anyio.to_thread.run_sync(self._cache.entries):
            if item.entry.platform == str(self._platform):
                have.setdefault(item.entry.version, set()).add(item.entry.component)
        return tuple(sorted(Version.parse(v) for v, parts in have.items() if names <= parts))

    async def take(
        self, component: str, version: str, source: Source, *, progress: Report = silent
    ) -> Artifact:
        """Fetch from this one source, whatever the cache holds: `artifact import`."""
        only = Resolver(self._cache, (source,), max_bytes=self._max_bytes, platform=self._platform)
        return await only.fetch(component, version, progress=progress)

    async def _from_cache(self, request: Request, progress: Report) -> dict[str, Artifact]:
        served: dict[str, Artifact] = {}
        damage: list[str] = []
        for part in request.components:
            found = await anyio.to_thread.run_sync(
                self._cache.lookup, part.name, request.version, request.platform
            )
            if isinstance(found, Miss):
                if found.damage:
                    damage.append(found.damage)
                    progress(ArtifactProgress(text=found.damage))
            else:
                served[part.name] = found
        if not served:
            raise GivesWay("; ".join(damage) or "not there yet")
        _say_served(tuple(served), request, f"cache ({self._cache.root})", progress)
        return served

    async def _from_source(
        self, source: Source, request: Request, progress: Report
    ) -> dict[str, Artifact]:
        lock = FileLock(self._cache.root / "locks" / f"{request.project}-{request.version}")
        waited = await _acquire(lock, request, progress)
        try:
            if waited and CACHE in self._order:
                # The process that held the lock has very likely just fetched the same.
                try:
                    return await self._from_cache(request, progress)
                except GivesWay:
                    pass
            into = self._cache.staging()
            try:
                provided = await source.provide(request, into, progress)
                served = await self._admit(source, request, provided)
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(remove_tree, into)
        finally:
            lock.release()
        _say_served(tuple(served), request, f"{source.name} ({source.place})", progress)
        await anyio.to_thread.run_sync(self._cache.prune, self._max_bytes)
        return served

    async def _admit(
        self, source: Source, request: Request, provided: Provided
    ) -> dict[str, Artifact]:
        served = {}
        for name, files in provided.items():
            for binary, path in files.items():
                await check_version(binary, path, request.version, request.platform)
            served[name] = await anyio.to_thread.run_sync(
                self._cache.store,
                name,
                request.version,
                request.platform,
                files,
                f"{source.name} ({source.place})",
            )
        return served


async def _acquire(lock: FileLock, request: Request, progress: Report) -> bool:
    """Take the lock; True when another process had it first."""
    waited = False
    while not lock.try_acquire():
        if not waited:
            text = f"process {lock.holder()} is fetching {request.project} {request.version}"
            progress(ArtifactProgress(text=f"{text}; waiting for it"))
            waited = True
        await anyio.sleep(0.3)
    return waited


def _say_served(parts: tuple[str, ...], request: Request, who: str, progress: Report) -> None:
    progress(ArtifactProgress(text=f"{_short(parts)} {request.version}: served by {who}"))


def _short(parts: tuple[str, ...]) -> str:
    for bundle, members in BUNDLES.items():
        if set(parts) == set(members):
            return bundle
    return ", ".join(parts)
