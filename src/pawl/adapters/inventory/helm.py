"""Which chart each Helm release is of: its name, versions and constraint, never a value.

Of each release the newest revision alone is fetched. Values, templates and the manifest are skipped
by the decoder.
"""

from __future__ import annotations

import base64
import binascii
import re

import msgspec

from pawl.adapters.kube.client import KubeClient, KubeRefused
from pawl.adapters.kube.helm import PATHS, STORAGES, ChartMeta, Revision, Storage, fetch, revisions
from pawl.core.errors import PawlError
from pawl.core.inventory.facts import Release
from pawl.core.model import Unread

HISTORY = ("superseded", "uninstalled", "uninstalling")
_CRD_NAME = re.compile(rb"^  name:[ \t]*[\"']?([a-z0-9.-]+)", re.MULTILINE)
_CRD_KIND = re.compile(rb"^kind:[ \t]*[\"']?CustomResourceDefinition", re.MULTILINE)


class _File(msgspec.Struct):
    name: str = ""
    data: str = ""


class _Chart(msgspec.Struct):
    metadata: ChartMeta | None = None
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
    for storage in STORAGES:
        try:
            installed = await _installed(client, storage)
        except PawlError as error:
            unread.append(Unread(source=f"Helm releases in {PATHS[storage]}", why=str(error)))
            continue
        for revision in installed:
            source = f"Helm release {revision.namespace}/{revision.release}"
            try:
                found.append(_told(revision, await fetch(client, revision, _Release)))
            except KubeRefused as error:
                if error.code != 404:  # gone since it was listed
                    unread.append(Unread(source=source, why=str(error)))
            except PawlError as error:
                unread.append(Unread(source=source, why=str(error)))
            except ValueError as error:
                unread.append(Unread(source=source, why=f"it holds no Helm release: {error}"))
    return tuple(found), tuple(unread)


async def _installed(client: KubeClient, storage: Storage) -> list[Revision]:
    newest: dict[tuple[str, str], Revision] = {}
    for revision in await revisions(client, storage):
        key = (revision.namespace, revision.release)
        if key not in newest or newest[key].number < revision.number:
            newest[key] = revision
    return [r for r in newest.values() if r.status not in HISTORY]


def _told(revision: Revision, release: _Release) -> Release:
    chart = release.chart or _Chart()
    about = chart.metadata or ChartMeta()
    return Release(
        namespace=revision.namespace,
        name=revision.release,
        revision=release.version,
        status=(release.info.status if release.info else "") or revision.status,
        chart=about.name,
        version=about.version,
        app_version=about.app_version,
        kube_version=about.kube_version,
        crds=tuple(sorted({n for f in chart.files or () for n in _crds(f)})),
    )


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
