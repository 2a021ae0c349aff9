"""Which resources the cluster serves, in which versions, and through which of them to read.

Aggregated discovery (1.27 on, KEP-3352) answers in two requests; before that each group version is
asked. Discovery is no request for a resource, so it never sets the deprecated-API metric.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import msgspec

from pawl.adapters.kube.client import KubeClient
from pawl.core.errors import PawlError
from pawl.core.scan.facts import Missed, Served

ACCEPT = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,"
    "application/json"
)

SKIPPED = ("events", "componentstatuses")
"""Events end by themselves and are many; ComponentStatus is not stored."""
SKIPPED_GROUPS = ("metrics.k8s.io", "custom.metrics.k8s.io", "external.metrics.k8s.io")
"""Groups whose objects are computed by an adapter and were never written by anybody."""


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """One resource in one version. `order` counts from the version that the server prefers."""

    group: str
    version: str
    resource: str
    kind: str
    listable: bool
    order: int = 0

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def path(self) -> str:
        root = f"/apis/{self.group}" if self.group else "/api"
        return f"{root}/{self.version}/{self.resource}"

    @property
    def name(self) -> str:
        return f"{self.resource}.{self.group}" if self.group else self.resource


class _Kind(msgspec.Struct):
    kind: str = ""


class _Resource(msgspec.Struct, rename="camel"):
    resource: str = ""
    name: str = ""
    kind: str = ""
    response_kind: _Kind | None = None
    verbs: tuple[str, ...] = ()


class _Version(msgspec.Struct, rename="camel"):
    version: str = ""
    group_version: str = ""
    freshness: str = ""
    resources: tuple[_Resource, ...] = ()


class _Name(msgspec.Struct):
    name: str = ""


class _Group(msgspec.Struct, rename="camel"):
    metadata: _Name = msgspec.field(default_factory=_Name)
    name: str = ""
    versions: tuple[_Version, ...] = ()
    preferred_version: _Version | None = None


class _Discovery(msgspec.Struct):
    """Either kind of answer: `items` when aggregated, `groups` or `versions` when not."""

    kind: str = ""
    items: tuple[_Group, ...] = ()
    groups: tuple[_Group, ...] = ()
    versions: tuple[str, ...] = ()


class _Resources(msgspec.Struct):
    resources: tuple[_Resource, ...] = ()


async def discover(client: KubeClient) -> tuple[tuple[Resource, ...], tuple[Missed, ...]]:
    """Every resource in every served version. Raises PawlError when nothing can be learnt."""
    core, rest = await asyncio.gather(*(_ask(client, path) for path in ("/api", "/apis")))
    found: list[Resource] = []
    missed: list[Missed] = []
    separate: list[tuple[str, str, int]] = []
    for answer in (core, rest):
        for group in answer.items:
            for order, version in enumerate(group.versions):
                if version.freshness == "Stale":
                    missed.append(
                        _missed(group.metadata.name, version.version, "its backend is unavailable")
                    )
                found += _resources(group.metadata.name, version.version, version.resources, order)
        for group in answer.groups:
            preferred = group.preferred_version.version if group.preferred_version else ""
            ordered = sorted(group.versions, key=lambda v: v.version != preferred)
            separate += [(group.name, v.version, order) for order, v in enumerate(ordered)]
        separate += [("", version, order) for order, version in enumerate(answer.versions)]

    async def one(group: str, version: str, order: int) -> None:
        root = f"/apis/{group}/{version}" if group else f"/api/{version}"
        try:
            answer = await client.get(root, _Resources)
        except PawlError as error:
            missed.append(_missed(group, version, str(error)))
            return
        plain = [r for r in answer.resources if "/" not in r.name]
        found.extend(_resources(group, version, plain, order))

    await asyncio.gather(*(one(*which) for which in separate))
    return tuple(found), tuple(missed)


async def _ask(client: KubeClient, path: str) -> _Discovery:
    body = await client.raw(path, accept=ACCEPT)
    try:
        return msgspec.json.decode(body, type=_Discovery)
    except msgspec.DecodeError as error:
        raise PawlError(f"the API's answer to {path} cannot be read: {error}") from error


def _resources(
    group: str, version: str, resources: Iterable[_Resource], order: int
) -> list[Resource]:
    return [
        Resource(
            group=group,
            version=version,
            resource=r.resource or r.name,
            kind=r.response_kind.kind if r.response_kind else r.kind,
            listable="list" in r.verbs,
            order=order,
        )
        for r in resources
    ]


def _missed(group: str, version: str, why: str) -> Missed:
    name = f"{group}/{version}" if group else version
    return Missed(where=f"live/{name}", why=f"the resources of {name} are not known: {why}")


def served(resources: Iterable[Resource]) -> list[Served]:
    """As facts."""
    listed = list(resources)
    first: dict[tuple[str, str], int] = {}
    for r in listed:
        name = r.group, r.resource
        first[name] = min(r.order, first.get(name, r.order))
    return [
        Served(
            api_version=r.api_version,
            kind=r.kind,
            resource=r.resource,
            preferred=r.listable and r.order == first[r.group, r.resource],
        )
        for r in listed
    ]


def to_list(
    resources: Iterable[Resource], deprecated: Callable[[Resource], bool]
) -> tuple[tuple[Resource, ...], tuple[Resource, ...]]:
    """Each stored resource once, through the version that the server prefers among those that are
    not deprecated; and those that have no such version, which must not be touched."""
    by_name: dict[tuple[str, str], list[Resource]] = {}
    for r in resources:
        if r.listable and r.resource not in SKIPPED and r.group not in SKIPPED_GROUPS:
            by_name.setdefault((r.group, r.resource), []).append(r)
    chosen, left = [], []
    for versions in by_name.values():
        live = sorted((r for r in versions if not deprecated(r)), key=lambda r: r.order)
        if live:
            chosen.append(live[0])
        else:
            left.append(versions[0])
    return tuple(chosen), tuple(left)
