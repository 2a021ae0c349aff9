"""The official releases, each file checked against the checksum that its project publishes.

Kubernetes publishes single binaries, each with a `.sha256` beside it; etcd publishes one archive
for all of its binaries and a SHA256SUMS file for the release. The checksum is fetched first: that
small request also decides whether the place can be reached at all, within 5 s.
"""

from __future__ import annotations

import hashlib
import tarfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import httpx

from pawl.adapters.artifacts.catalog import Component
from pawl.adapters.artifacts.local import parse_sums
from pawl.adapters.artifacts.reach import Reach
from pawl.adapters.artifacts.source import GivesWay, Provided, Request
from pawl.core.errors import ArtifactError, ConfigError
from pawl.ports.artifacts import ArtifactProgress, Report

KUBERNETES_RELEASES = "https://dl.k8s.io"
ETCD_RELEASES = "https://github.com/etcd-io/etcd/releases/download"

REACH_WITHIN = 5.0
"""Seconds in which the checksum must have arrived, name resolution and redirects included."""
STALL = 20.0
"""Seconds without a byte after which a running download is given up."""
MAX_FILE = 1 << 30
"""Bytes. The largest upstream file is below 200 MB; more than this is not what was asked for."""

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class OfficialRelease:
    name = "download"

    def __init__(
        self,
        reach: Reach,
        *,
        kubernetes: str = KUBERNETES_RELEASES,
        etcd: str = ETCD_RELEASES,
    ) -> None:
        self._reach = reach
        self._bases = {"kubernetes": kubernetes.rstrip("/"), "etcd": etcd.rstrip("/")}
        if bad := [b for b in self._bases.values() if not _trusted(b)]:
            raise ConfigError(
                "release mirrors",
                [f"{base}: must be https, the checksums come from there too" for base in bad],
            )

    @property
    def place(self) -> str:
        return ", ".join(self._bases.values())

    async def provide(self, request: Request, into: Path, report: Report) -> Provided:
        base = self._bases.get(request.project, "")
        if not base:
            raise GivesWay(f"{request.project} publishes no single binaries, only images")
        if self._reach.down_since(base) is not None:
            raise GivesWay(f"{base} could not be reached a moment ago")
        async with _client() as client:
            if request.project == "etcd":
                return await self._etcd(client, base, request, into, report)
            served: Provided = {}
            for component in request.components:
                served[component.name] = {
                    name: await self._binary(client, base, request, name, into, report)
                    for name in component.binaries
                }
            return served

    async def _binary(
        self,
        client: httpx.AsyncClient,
        base: str,
        request: Request,
        name: str,
        into: Path,
        report: Report,
    ) -> Path:
        where = f"v{request.version}/bin/{request.platform.os}/{request.platform.arch}/{name}"
        url = f"{base}/{where}"
        expected = (await self._small(client, base, url + ".sha256")).split()[:1]
        if not expected or len(expected[0]) != 64:
            raise GivesWay(f"{url}.sha256 holds no SHA-256")
        target = into / name
        await _download(client, url, expected[0].lower(), target, report)
        target.chmod(0o755)
        return target

    async def _etcd(
        self,
        client: httpx.AsyncClient,
        base: str,
        request: Request,
        into: Path,
        report: Report,
    ) -> Provided:
        release = f"etcd-v{request.version}-{request.platform}"
        folder = f"{base}/v{request.version}"
        sums = parse_sums(await self._small(client, base, f"{folder}/SHA256SUMS"))
        archive = f"{release}.tar.gz"
        if archive not in sums:
            raise GivesWay(f"{folder}/SHA256SUMS does not list {archive}")
        target = into / archive
        await _download(client, f"{folder}/{archive}", sums[archive], target, report)
        served = await anyio.to_thread.run_sync(_unpack, target, release, request.components, into)
        target.unlink()
        return served

    async def _small(self, client: httpx.AsyncClient, base: str, url: str) -> str:
        """A checksum file. Whether it arrives in time decides if `base` can be reached."""
        try:
            with anyio.fail_after(REACH_WITHIN):
                answer = await client.get(url)
        except (TimeoutError, httpx.TransportError) as error:
            self._reach.mark_down(base)
            reason = str(error) or f"no answer within {REACH_WITHIN:g} s"
            raise GivesWay(f"{base} cannot be reached ({reason})") from error
        self._reach.mark_up(base)
        _must_be_ok(answer, url)
        return answer.text


@asynccontextmanager
async def _client() -> AsyncIterator[httpx.AsyncClient]:
    timeout = httpx.Timeout(STALL, connect=REACH_WITHIN)
    hooks = {"request": [_refuse_plain_http]}
    async with httpx.AsyncClient(
        timeout=timeout,
        follow_redirects=True,
        event_hooks=hooks,
        headers={"accept-encoding": "identity"},
    ) as client:
        yield client


async def _refuse_plain_http(request: httpx.Request) -> None:
    """Redirects too must stay on TLS: the published checksum is only as good as its transport."""
    if not _trusted(str(request.url)):
        raise GivesWay(f"redirected to {request.url.host} without TLS")


def _trusted(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)


def _must_be_ok(answer: httpx.Response, url: str) -> None:
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise GivesWay(f"{url} does not exist: is this a released version?")
    if answer.is_error:
        raise GivesWay(f"{url} answered {answer.status_code}")


async def _download(
    client: httpx.AsyncClient, url: str, expected: str, target: Path, report: Report
) -> None:
    """Stream `url` to `target`. A wrong SHA-256 removes it and raises ArtifactError."""
    digest, done, started = hashlib.sha256(), 0, time.monotonic()
    name = url.rsplit("/", 1)[-1]
    try:
        async with client.stream("GET", url) as answer:
            _must_be_ok(answer, url)
            total = int(answer.headers.get("content-length", 0))
            async with await anyio.open_file(target, "wb") as out:
                async for chunk in answer.aiter_bytes():
                    done += len(chunk)
                    if done > MAX_FILE:
                        raise GivesWay(f"{url} is larger than {MAX_FILE >> 20} MiB")
                    digest.update(chunk)
                    await out.write(chunk)
                    elapsed = time.monotonic() - started
                    report(
                        ArtifactProgress(
                            text=f"downloading {name}: {done >> 20} of {total >> 20} MiB",
                            done=done,
                            total=total,
                            eta=elapsed * (total - done) / done if 0 < done <= total else None,
                            passing=True,
                        )
                    )
    except httpx.TransportError as error:
        await anyio.Path(target).unlink(missing_ok=True)
        raise GivesWay(f"{url} broke off after {done >> 20} MiB ({error})") from error
    if (actual := digest.hexdigest()) != expected:
        await anyio.Path(target).unlink(missing_ok=True)
        raise ArtifactError(
            f"{url} has SHA-256 {actual}, but its project publishes {expected}. It was thrown "
            "away and no other source was asked: find out who changed it (a proxy, a mirror), "
            "then fetch again or name another source with --source."
        )


def _unpack(archive: Path, release: str, components: tuple[Component, ...], into: Path) -> Provided:
    """Take exactly the wanted regular files out of the verified archive, by their full names."""
    served: Provided = {}
    with tarfile.open(archive, "r:gz") as tar:
        for component in components:
            files = {}
            for name in component.binaries:
                try:
                    member = tar.extractfile(f"{release}/{name}")
                except KeyError:
                    member = None
                if member is None:
                    raise GivesWay(f"{archive.name} holds no {release}/{name}")
                target = into / name
                with member, target.open("wb") as out:
                    while chunk := member.read(1 << 20):
                        out.write(chunk)
                target.chmod(0o755)
                files[name] = target
            served[component.name] = files
    return served
