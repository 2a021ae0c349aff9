"""How Helm 3 stores its releases: one Secret or ConfigMap for each revision.

Lists are metadata only, narrowed by Helm's own label, and revisions are fetched one by one (a list
of whole releases has brought API servers down: helm#8977). What a reader's own struct does not name
(values, templates) the decoder skips: it is never held as an object, logged or kept.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Literal, TypeVar
from urllib.parse import quote

import msgspec

from pawl.adapters.kube.client import KubeClient
from pawl.adapters.kube.objects import METADATA_LIST, ListMeta
from pawl.core.errors import Unreachable

Storage = Literal["Secret", "ConfigMap"]
STORAGES: tuple[Storage, ...] = ("Secret", "ConfigMap")
PATHS = {"Secret": "secrets", "ConfigMap": "configmaps"}
LARGEST = 64_000_000
"""Bytes of a release unpacked. Helm itself is bound by etcd's 1.5 MB a value, compressed."""
T = TypeVar("T")


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


class ChartMeta(msgspec.Struct, rename="camel"):
    """Of a release's chart, under `chart.metadata`."""

    name: str = ""
    version: str = ""
    app_version: str = ""
    kube_version: str = ""


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


async def revisions(client: KubeClient, storage: Storage) -> list[Revision]:
    """Every revision that is stored so. Raises PawlError."""
    found: list[Revision] = []
    query = {"limit": "500", "labelSelector": "owner=helm"}
    decoder = msgspec.json.Decoder(_Page)
    while True:
        try:
            body = await client.raw(f"/api/v1/{PATHS[storage]}", query, accept=METADATA_LIST)
            page = decoder.decode(body)
        except msgspec.DecodeError as error:
            raise Unreachable(f"the list of Helm releases cannot be read: {error}") from error
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


async def fetch(client: KubeClient, revision: Revision, kind: type[T]) -> T:
    """What `kind` names of it. Raises PawlError, and ValueError where it holds no release."""
    holder = await client.get(revision.path, _Holder)
    payload = holder.data.release if holder.data else ""
    return unpack(payload, kind, encoded=revision.storage == "Secret")


def unpack(payload: str, kind: type[T], *, encoded: bool) -> T:
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
        return msgspec.json.decode(data, type=kind)
    except (binascii.Error, zlib.error, msgspec.DecodeError) as error:
        raise ValueError(str(error)) from None
