"""`InventorySource` over a live cluster. Each part fails for itself and is then listed as unread.

Only versions that every supported API server serves by default are asked for, under pawl's own user
agent, so that an inventory never shows up in the signals that a scan reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from pawl.adapters.inventory import helm, workloads
from pawl.adapters.inventory.objects import (
    Account,
    BindingObject,
    ConfigMapObject,
    CrdObject,
    Named,
    PolicyRule,
    RoleObject,
)
from pawl.adapters.kube.client import KubeClient
from pawl.adapters.kube.objects import VersionInfo
from pawl.core.errors import PawlError
from pawl.core.inventory.facts import (
    Binary,
    Binding,
    Call,
    CorefileText,
    Crd,
    InventoryFacts,
    Requested,
    Role,
    Rule,
    ServiceAccountFact,
    Subject,
    WorkloadFact,
    owner_of,
)
from pawl.core.model import Unread
from pawl.core.version import Version

T = TypeVar("T")
RBAC = "/apis/rbac.authorization.k8s.io/v1"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
DEFAULTS = ("kubernetes.io/bootstrapping", "rbac-defaults")
FEW = {"limit": "50"}
"""CRDs carry their schemas, often 100 KB and more each: small pages keep memory flat."""

Callers = Callable[[], Awaitable[tuple[tuple[Call, ...], tuple[Unread, ...], bool]]]
Binaries = Callable[
    [Sequence[WorkloadFact]], Awaitable[tuple[tuple[Binary, ...], tuple[Unread, ...]]]
]
Metrics = Callable[[], Awaitable[tuple[tuple[Requested, ...], tuple[Unread, ...]]]]


class LiveInventory:
    """`servers` are the API servers' own URLs (none: the common endpoint is asked for its version).
    `callers`, `binaries` and `metrics` read audit logs, programs and metrics, where there is a way
    to them."""

    def __init__(
        self,
        client: KubeClient,
        *,
        servers: Sequence[str] = (),
        callers: Callers | None = None,
        binaries: Binaries | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._client = client
        self._servers = servers
        self._callers, self._binaries, self._metrics = callers, binaries, metrics

    async def read(self) -> InventoryFacts:
        unread: list[Unread] = []

        async def part(source: str, work: Awaitable[T], empty: T) -> T:
            try:
                return await work
            except PawlError as error:
                unread.append(Unread(source=source, why=str(error)))
                return empty

        server = await self._version(unread)
        kinds = [
            part(kind, workloads.controllers(self._client, kind, path), ([], []))
            for kind, path in workloads.CONTROLLERS
        ]
        every = self._client.every
        no_accounts: list[Account] = []
        no_names: list[Named] = []
        no_crds: list[CrdObject] = []
        accounts, spaces, crds = await asyncio.gather(
            part("service accounts", every("/api/v1/serviceaccounts", Account), no_accounts),
            part("namespaces", every("/api/v1/namespaces", Named), no_names),
            part("custom resource definitions", every(CRDS, CrdObject, FEW), no_crds),
        )
        roles = await part("roles", self._roles(), ())
        bindings = await part("role bindings", self._bindings(), ())
        found: list[WorkloadFact] = []
        configured: list[tuple[str, str]] = []
        for facts, maps in await asyncio.gather(*kinds):
            found += facts
            configured += maps
        running, others = await part("pods", workloads.pods(self._client), ({}, []))
        every_workload = workloads.with_pods([*found, *others], running)
        releases, lost = await helm.read(self._client)
        unread += lost
        calls: tuple[Call, ...] = ()
        calls_read = False
        if self._callers:
            calls, lost, calls_read = await self._callers()
            unread += lost
        binaries: tuple[Binary, ...] = ()
        if self._binaries:
            binaries, lost = await self._binaries(every_workload)
            unread += lost
        requested: tuple[Requested, ...] = ()
        if self._metrics:
            requested, lost = await self._metrics()
            unread += lost
        return InventoryFacts(
            server=server,
            workloads=every_workload,
            accounts=tuple(
                ServiceAccountFact(
                    namespace=a.metadata.namespace, name=a.metadata.name, token=a.automount
                )
                for a in accounts
                if a.automount is not None
            ),
            roles=roles,
            bindings=bindings,
            namespace_owners={
                n.metadata.name: owner
                for n in spaces
                if (owner := owner_of(n.metadata.annotations, n.metadata.labels))
            },
            releases=releases,
            crds=tuple(_crd(c) for c in crds),
            calls=calls,
            calls_read=calls_read,
            requested=requested,
            binaries=binaries,
            corefiles=await self._corefiles(sorted(set(configured)), unread),
            unread=tuple(unread),
        )

    async def _version(self, unread: list[Unread]) -> str:
        """The oldest of all API servers: a hop begins where the last of them is."""
        found: list[str] = []
        for base in self._servers or ("",):
            try:
                info = await self._client.get("/version", VersionInfo, base=base)
            except PawlError as error:
                if not self._servers:
                    raise
                unread.append(Unread(source=f"the API server at {base}", why=str(error)))
                continue
            found.append(info.git_version.removeprefix("v"))
        return min(found, key=Version.parse, default="")

    async def _roles(self) -> tuple[Role, ...]:
        cluster, spaced = await asyncio.gather(
            self._client.every(f"{RBAC}/clusterroles", RoleObject),
            self._client.every(f"{RBAC}/roles", RoleObject),
        )
        return tuple(_role(r) for r in (*cluster, *spaced))

    async def _bindings(self) -> tuple[Binding, ...]:
        cluster, spaced = await asyncio.gather(
            self._client.every(f"{RBAC}/clusterrolebindings", BindingObject),
            self._client.every(f"{RBAC}/rolebindings", BindingObject),
        )
        return tuple(_binding(b) for b in (*cluster, *spaced))

    async def _corefiles(
        self, wanted: Sequence[tuple[str, str]], unread: list[Unread]
    ) -> tuple[CorefileText, ...]:
        found = []
        for namespace, name in wanted:
            path = f"/api/v1/namespaces/{namespace}/configmaps/{name}"
            try:
                held = await self._client.get(path, ConfigMapObject)
            except PawlError as error:
                unread.append(Unread(source=f"ConfigMap {namespace}/{name}", why=str(error)))
                continue
            if text := (held.data or {}).get("Corefile", ""):
                found.append(CorefileText(namespace=namespace, name=name, text=text))
        return tuple(found)


def _rule(rule: PolicyRule) -> Rule:
    return Rule(
        verbs=rule.verbs or (),
        groups=rule.api_groups or (),
        resources=rule.resources or (),
        names=rule.resource_names or (),
        urls=rule.urls or (),
    )


def _role(role: RoleObject) -> Role:
    gathered = (role.aggregation_rule.selectors if role.aggregation_rule else None) or ()
    return Role(
        namespace=role.metadata.namespace,
        name=role.metadata.name,
        rules=tuple(_rule(r) for r in role.rules or ()),
        labels=role.metadata.labels or {},
        aggregates=tuple(s.match_labels for s in gathered if s.match_labels),
    )


def _binding(binding: BindingObject) -> Binding:
    key, value = DEFAULTS
    return Binding(
        namespace=binding.metadata.namespace,
        name=binding.metadata.name,
        role_kind=binding.role_ref.kind,
        role=binding.role_ref.name,
        subjects=tuple(
            Subject(kind=s.kind, name=s.name, namespace=s.namespace) for s in binding.subjects or ()
        ),
        default=(binding.metadata.labels or {}).get(key) == value,
    )


def _crd(crd: CrdObject) -> Crd:
    return Crd(
        name=crd.metadata.name,
        group=crd.spec.group,
        kind=crd.spec.names.kind,
        served=tuple(v.name for v in crd.spec.versions if v.served),
        stored=crd.status.stored_versions or (),
        managers=tuple(dict.fromkeys(m.manager for m in crd.metadata.managed or () if m.manager)),
        release=workloads.release_of(crd.metadata.annotations),
        app=(crd.metadata.labels or {}).get("app.kubernetes.io/name", ""),
    )
