"""Helm 3 releases, in Secrets or ConfigMaps, one at a time.

The list is metadata only, narrowed by Helm's own label; of each release the deployed revision and
the newest one are fetched, one by one (a list of whole releases has brought API servers down:
helm#8977). Of the payload only the chart's name, the state and the manifests are decoded; a
manifest may hold Secrets, so nothing of it is kept but what lint says.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import Literal
from urllib.parse import quote

import msgspec

from pawl.adapters.kube.client import KubeClient, KubeRefused
from pawl.adapters.kube.objects import ListMeta
from pawl.adapters.manifests.linting import Linter
from pawl.core.errors import PawlError
from pawl.core.lint.finding import LintFinding, NotRead
from pawl.core.lint.judge import Judge
from pawl.core.scan.facts import Missed, Note, Release, ScanFact

Storage = Literal["Secret", "ConfigMap"]
STORAGES: tuple[Storage, ...] = ("Secret", "ConfigMap")
PATHS = {"Secret": "secrets", "ConfigMap": "configmaps"}
SELECTOR = {"labelSelector": "owner=helm"}
META = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;q=0.5"
IN_USE = ("deployed", "failed", "pending-install", "pending-upgrade", "pending-rollback")
"""States from which a `helm upgrade` starts; superseded and uninstalled ones are history."""

LARGEST = 64_000_000
"""Bytes of a release unpacked. Helm itself is bound by etcd's 1.5 MB a value, compressed."""


class _Meta(msgspec.Struct):
    name: str = ""
    namespace: str = ""
    labels: dict[str, str] | None = None


class _Stored(msgspec.Struct):
    metadata: _Meta


class _Page(msgspec.Struct):
    items: tuple[_Stored, ...] | None = None
    metadata: ListMeta = ListMeta()


class _Data(msgspec.Struct):
    release: str = ""


class _Holder(msgspec.Struct):
    data: _Data | None = None


class _ChartMeta(msgspec.Struct, rename="camel"):
    name: str = ""
    version: str = ""
    app_version: str = ""
    kube_version: str = ""


class _Chart(msgspec.Struct):
    metadata: _ChartMeta | None = None


class _Info(msgspec.Struct):
    status: str = ""
    last_deployed: str = ""


class _Hook(msgspec.Struct):
    manifest: str = ""


class _Release(msgspec.Struct):
    name: str = ""
    namespace: str = ""
    version: int = 0
    info: _Info | None = None
    chart: _Chart | None = None
    manifest: str = ""
    hooks: tuple[_Hook, ...] | None = None


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """Where one revision of a release is stored, from the labels alone."""

    storage: Storage
    namespace: str
    object: str
    release: str
    number: int
    status: str

    @property
    def path(self) -> str:
        return (
            f"/api/v1/namespaces/{quote(self.namespace, safe='')}/{PATHS[self.storage]}/"
            f"{quote(self.object, safe='')}"
        )

    @property
    def where(self) -> str:
        return f"helm/{self.namespace}/{self.release}"


async def revisions(client: KubeClient, storage: Storage) -> list[Revision]:
    """Every revision that is stored so. Raises PawlError."""
    found: list[Revision] = []
    query = {"limit": "500", **SELECTOR}
    while True:
        body = await client.raw(f"/api/v1/{PATHS[storage]}", query, accept=META)
        try:
            page = msgspec.json.decode(body, type=_Page)
        except msgspec.DecodeError as error:
            raise PawlError(f"the list of Helm releases cannot be read: {error}") from error
        for item in page.items or ():
            labels = item.metadata.labels or {}
            number = labels.get("version", "")
            found.append(
                Revision(
                    storage=storage,
                    namespace=item.metadata.namespace,
                    object=item.metadata.name,
                    release=labels.get("name", item.metadata.name),
                    number=int(number) if number.isdigit() else 0,
                    status=labels.get("status", ""),
                )
            )
        if not page.metadata.more:
            return found
        query["continue"] = page.metadata.more


def in_use(found: Sequence[Revision]) -> list[Revision]:
    """Of each release the newest revision and the newest deployed one, when in a state that an
    upgrade starts from."""
    by_release: dict[tuple[str, str, str], list[Revision]] = defaultdict(list)
    for revision in found:
        by_release[revision.storage, revision.namespace, revision.release].append(revision)
    chosen: list[Revision] = []
    for revisions_ in by_release.values():
        revisions_.sort(key=lambda r: r.number)
        newest = revisions_[-1]
        deployed = [r for r in revisions_ if r.status == "deployed"][-1:]
        picked = {r.object: r for r in (newest, *deployed) if r.status in IN_USE}
        chosen += picked.values()
    return sorted(chosen, key=lambda r: (r.namespace, r.release, r.number))


async def read(client: KubeClient, judge: Judge) -> AsyncIterator[tuple[ScanFact, ...]]:
    """Facts of all releases, one at a time. Never raises PawlError: it becomes a `Missed`."""
    for storage in STORAGES:
        try:
            found = await revisions(client, storage)
        except PawlError as error:
            yield (Missed(where=f"helm/{PATHS[storage]}", why=str(error)),)
            continue
        for revision in in_use(found):
            yield await _one(client, judge, revision)


async def _one(client: KubeClient, judge: Judge, revision: Revision) -> tuple[ScanFact, ...]:
    try:
        holder = await client.get(revision.path, _Holder)
    except KubeRefused as error:
        if error.code == 404:
            return (Note(text=f"{revision.where}: revision {revision.number} went while scanning"),)
        return (Missed(where=revision.where, why=str(error)),)
    except PawlError as error:
        return (Missed(where=revision.where, why=str(error)),)
    try:
        payload = holder.data.release if holder.data else ""
        release = unpack(payload, encoded=revision.storage == "Secret")
    except ValueError as error:
        why = f"{revision.storage} {revision.object} holds no Helm release: {error}"
        return (Missed(where=revision.where, why=why),)
    findings, unread = _linted(judge, release.manifest, revision.where)
    hooks = "\n---\n".join(h.manifest for h in release.hooks or ())
    hook_findings, hooks_unread = _linted(judge, hooks, revision.where)
    chart = release.chart.metadata if release.chart and release.chart.metadata else _ChartMeta()
    fact = Release(
        namespace=revision.namespace,
        name=revision.release,
        revision=revision.number or release.version,
        status=(release.info.status if release.info else "") or revision.status,
        storage=revision.storage,
        chart=chart.name,
        chart_version=chart.version,
        app_version=chart.app_version,
        kube_version=chart.kube_version,
        updated=release.info.last_deployed if release.info else "",
        findings=findings,
        hooks=hook_findings,
    )
    whys = [f"a manifest {n.why}" for n in (*unread, *hooks_unread)]
    return (fact, *(Missed(where=revision.where, why=why) for why in whys))


def unpack(payload: str, *, encoded: bool) -> _Release:
    """The release of a payload: base64 of gzip of JSON, and in a Secret base64 again (`encoded`).
    Raises ValueError."""
    try:
        data = base64.b64decode(payload, validate=True)
        if encoded:
            data = base64.b64decode(data, validate=True)
        if data[:2] == b"\x1f\x8b":
            unzip = zlib.decompressobj(wbits=31)
            data = unzip.decompress(data, LARGEST)
            if not unzip.eof:
                raise ValueError(f"it is cut short, or larger than {LARGEST:,} bytes")
        return msgspec.json.decode(data, type=_Release)
    except (binascii.Error, zlib.error, msgspec.DecodeError) as error:
        raise ValueError(str(error)) from None


def _linted(
    judge: Judge, manifest: str, where: str
) -> tuple[tuple[LintFinding, ...], tuple[NotRead, ...]]:
    linter = Linter(judge, helm="")
    linter.data(manifest.encode(), where)
    return tuple(linter.findings), tuple(linter.not_read)
