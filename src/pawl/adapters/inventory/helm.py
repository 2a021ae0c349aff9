"""Which chart each Helm release is of: its name, versions and constraint, never a value.

The list is metadata only; of each release the newest revision alone is fetched, one by one (lists
of whole releases have brought API servers down: helm#8977). Values, templates and the manifest are
skipped by the decoder: they are never held as objects, logged or kept.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Sequence
from typing import Literal

import msgspec

from pawl.adapters.kube.client import KubeClient, KubeRefused
from pawl.adapters.kube.objects import ListMeta
from pawl.core.errors import PawlError, Unreachable
from pawl.core.inventory.facts import Release
from pawl.core.model import Unread

Storage = Literal["secrets", "configmaps"]
META = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;q=0.5"
HISTORY = ("superseded", "uninstalled", "uninstalling")
LARGEST = 64_000_000
"""Bytes of a release unpacked; Helm itself is bound by etcd's 1.5 MB a value, compressed."""
_CRD_NAME = re.compile(rb"^  name:[ \t]*[\"']?([a-z0-9.-]+)", re.MULTILINE)
_CRD_KIND = re.compile(rb"^kind:[ \t]*[\"']?CustomResourceDefinition", re.MULTILINE)


class _Meta(msgspec.Struct):
    name: str = ""
    namespace: str = ""
    labels: dict[str, str] | None = None


class _Stored(msgspec.Struct):
    metadata: _Meta


class _Page(msgspec.Struct):
    """An empty list of partial metadata has `items: null`."""

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


class _File(msgspec.Struct):
    name: str = ""
    data: str = ""


class _Chart(msgspec.Struct):
    metadata: _ChartMeta | None = None
    files: tuple[_File, ...] | None = None


class _Info(msgspec.Struct):
    status: str = ""


class _Release(msgspec.Struct):
    version: int = 0
    info: _Info | None = None
    chart: _Chart | None = None


async def read(client: KubeClient) -> tuple[tuple[Release, ...], tuple[Unread, ...]]:
    """The newest revision of every release that is installed."""
    found: list[Release] = []
    unread: list[Unread] = []
    for storage in ("secrets", "configmaps"):
        try:
            stored = await _revisions(client, storage)
        except PawlError as error:
            unread.append(Unread(source=f"Helm releases in {storage}", why=str(error)))
            continue
        for meta in stored:
            try:
                found.append(await _one(client, storage, meta))
            except KubeRefused as error:
                if error.code != 404:  # gone since it was listed
                    unread.append(Unread(source=_name(meta), why=str(error)))
            except (PawlError, ValueError) as error:
                unread.append(Unread(source=_name(meta), why=str(error)))
    return tuple(found), tuple(unread)


def _name(meta: _Meta) -> str:
    return f"Helm release {meta.namespace}/{(meta.labels or {}).get('name', meta.name)}"


async def _revisions(client: KubeClient, storage: str) -> Sequence[_Meta]:
    newest: dict[tuple[str, str], tuple[int, _Meta]] = {}
    query = {"limit": "500", "labelSelector": "owner=helm"}
    decoder = msgspec.json.Decoder(_Page)
    while True:
        try:
            page = decoder.decode(await client.raw(f"/api/v1/{storage}", query, accept=META))
        except msgspec.DecodeError as error:
            raise Unreachable(f"the list cannot be read: {error}") from error
        for item in page.items or ():
            meta = item.metadata
            labels = meta.labels or {}
            number = labels.get("version", "")
            key = (meta.namespace, labels.get("name", meta.name))
            at = int(number) if number.isdigit() else 0
            if key not in newest or newest[key][0] < at:
                newest[key] = (at, meta)
        if not page.metadata.more:
            break
        query["continue"] = page.metadata.more
    kept = (meta for _, meta in newest.values())
    return [m for m in kept if (m.labels or {}).get("status", "") not in HISTORY]


async def _one(client: KubeClient, storage: str, meta: _Meta) -> Release:
    path = f"/api/v1/namespaces/{meta.namespace}/{storage}/{meta.name}"
    holder = await client.get(path, _Holder)
    release = unpack(holder.data.release if holder.data else "", encoded=storage == "secrets")
    chart = release.chart or _Chart()
    about = chart.metadata or _ChartMeta()
    labels = meta.labels or {}
    return Release(
        namespace=meta.namespace,
        name=labels.get("name", meta.name),
        revision=release.version,
        status=(release.info.status if release.info else "") or labels.get("status", ""),
        chart=about.name,
        version=about.version,
        app_version=about.app_version,
        kube_version=about.kube_version,
        crds=tuple(sorted({n for f in chart.files or () for n in _crds(f)})),
    )


def unpack(payload: str, *, encoded: bool) -> _Release:
    """The release of a payload: base64 of gzip of JSON, in a Secret base64 once more (`encoded`).
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
        raise ValueError(f"it holds no Helm release: {error}") from None


def _crds(file: _File) -> list[str]:
    """Names of the CRDs in one file of a chart's `crds/`, told without parsing the YAML."""
    if not file.name.startswith("crds/"):
        return []
    try:
        text = base64.b64decode(file.data, validate=True)
    except binascii.Error:
        return []
    found = []
    for document in re.split(rb"^---", text, flags=re.MULTILINE):
        name = _CRD_NAME.search(document)
        if name and _CRD_KIND.search(document):
            found.append(name[1].decode())
    return found
