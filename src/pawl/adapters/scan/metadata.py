"""Metadata of all objects of a resource, page by page, each page of about the same size.

PartialObjectMetadata spares the server and the wire all of spec, status and data: no Secret's value
is ever asked for. What is left is mostly managedFields, of which only the heads are decoded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
from msgspec import field

from pawl.adapters.kube.client import KubeClient, KubeRefused
from pawl.adapters.kube.objects import METADATA_LIST, ListMeta
from pawl.adapters.scan.discovery import Resource
from pawl.core.errors import Unreachable
from pawl.core.scan.facts import Applied, Seen, Write
from pawl.core.scan.lens import Lens
from pawl.core.scan.objects import ANNOTATIONS, LAST_APPLIED

FIRST, LARGEST, SMALLEST = 100, 1000, 10
PAGE_BYTES = 2_000_000
"""The first page measures how big objects are; later ones are asked for by that, so that memory
does not depend on what people keep in annotations."""

GONE = 410
"""The list's token has expired (etcd was compacted): the answer says how to go on."""

_OWNS_APPLIED = f'"f:{LAST_APPLIED}"'.encode()


class _Part(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    pass


class _Annotations(_Part, frozen=True, gc=False):
    last_applied: str = field(name=ANNOTATIONS[0], default="")
    kapp: str = field(name=ANNOTATIONS[1], default="")
    pawl_owner: str = field(name="pawl.dev/owner", default="")
    owner: str = field(name="owner", default="")
    team: str = field(name="team", default="")
    helm: str = field(name="meta.helm.sh/release-name", default="")
    helm_namespace: str = field(name="meta.helm.sh/release-namespace", default="")
    argo: str = field(name="argocd.argoproj.io/tracking-id", default="")


class _Labels(_Part, frozen=True, gc=False):
    pawl_owner: str = field(name="pawl.dev/owner", default="")
    owner: str = field(name="owner", default="")
    team: str = field(name="team", default="")
    flux: str = field(name="kustomize.toolkit.fluxcd.io/name", default="")
    flux_namespace: str = field(name="kustomize.toolkit.fluxcd.io/namespace", default="")


class _Managed(_Part, frozen=True, gc=False):
    manager: str = ""
    operation: str = ""
    api_version: str = ""
    time: str = ""
    subresource: str = ""
    fields: msgspec.Raw = field(name="fieldsV1", default=msgspec.Raw(b""))


class _Meta(_Part, frozen=True, gc=False):
    name: str = ""
    namespace: str = ""
    annotations: _Annotations | None = None
    labels: _Labels | None = None
    managed: tuple[_Managed, ...] | None = field(name="managedFields", default=None)
    deleting: str | None = field(name="deletionTimestamp", default=None)
    finalizers: tuple[str, ...] | None = None


class _Object(_Part, frozen=True, gc=False):
    metadata: _Meta


class _Page(_Part, frozen=True, gc=False):
    items: tuple[_Object, ...] | None = None
    metadata: ListMeta = ListMeta()


_PAGE = msgspec.json.Decoder(_Page)


async def pages(
    client: KubeClient, resource: Resource, lens: Lens
) -> AsyncIterator[tuple[int, list[Seen]]]:
    """(objects on the page, those that may say something). Raises PawlError."""
    query = {"limit": str(FIRST)}
    while True:
        try:
            body = await client.raw(resource.path, query, accept=METADATA_LIST)
        except KubeRefused as error:
            if error.code == GONE and "continue" in query:
                query.pop("continue")
                if error.failure.metadata.more:
                    query["continue"] = error.failure.metadata.more
                continue
            raise
        try:
            page = _PAGE.decode(body)
        except msgspec.DecodeError as error:
            raise Unreachable(f"the list of {resource.name} cannot be read: {error}") from error
        items = page.items or ()
        yield len(items), [s for o in items if (s := _seen(o.metadata, resource, lens))]
        if not page.metadata.more:
            return
        fits = PAGE_BYTES * max(len(items), 1) // max(len(body), 1)
        query = {
            "limit": str(min(max(fits, SMALLEST), LARGEST)),
            "continue": page.metadata.more,
        }


def _seen(meta: _Meta, resource: Resource, lens: Lens) -> Seen | None:
    """The object as a fact; None for what cannot matter (almost all of them)."""
    notes = meta.annotations or _Annotations()
    managed = meta.managed or ()
    dull = lens.dull
    kind = resource.kind
    if not (
        notes.last_applied
        or notes.kapp
        or meta.deleting
        or any(not dull(m.api_version, kind) for m in managed)
    ):
        return None
    labels = meta.labels or _Labels()
    texts = ((ANNOTATIONS[0], notes.last_applied), (ANNOTATIONS[1], notes.kapp))
    return Seen(
        api_version=resource.api_version,
        kind=kind,
        namespace=meta.namespace,
        name=meta.name,
        owner=notes.pawl_owner
        or notes.owner
        or notes.team
        or labels.pawl_owner
        or labels.owner
        or labels.team,
        source=_source(notes, labels),
        applied=tuple(Applied(annotation=a, text=t) for a, t in texts if t),
        writes=tuple(
            Write(
                manager=m.manager,
                operation=m.operation,
                api_version=m.api_version,
                time=m.time,
                subresource=m.subresource,
                applied=bool(notes.last_applied) and _OWNS_APPLIED in bytes(m.fields),
            )
            for m in managed
        ),
        deleting=meta.deleting or "",
        finalizers=meta.finalizers or (),
    )


def _source(notes: _Annotations, labels: _Labels) -> str:
    if notes.argo:
        return f"Argo CD application {notes.argo.partition(':')[0]}"
    if labels.flux:
        return f"Flux kustomization {labels.flux_namespace}/{labels.flux}"
    if notes.helm:
        return f"Helm release {notes.helm_namespace}/{notes.helm}"
    return ""
