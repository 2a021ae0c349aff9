"""CRDs, aggregated APIs and admission webhooks, with the state of the pods behind them.

All through v1, and of each only the fields that are judged: a CRD's schema can be a megabyte.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from urllib.parse import quote

import msgspec
from cryptography import x509
from msgspec import field

from pawl.adapters.kube.client import KubeClient, KubeRefused
from pawl.adapters.kube.objects import ListMeta, Slice
from pawl.core.errors import PawlError, Unreachable
from pawl.core.lint.judge import OWNER_KEYS
from pawl.core.scan.facts import (
    ApiServiceFact,
    Backend,
    Counted,
    Definition,
    DefinitionVersion,
    Hook,
    HookRule,
    Missed,
    ScanFact,
)

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
API_SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
HOOKS = "/apis/admissionregistration.k8s.io/v1"
KINDS = {
    "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
    "MutatingWebhookConfiguration": "mutatingwebhookconfigurations",
}
CRD_PAGE = "20"


class _Part(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    pass


class _Meta(_Part, frozen=True, gc=False):
    name: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None

    @property
    def owner(self) -> str:
        for place in (self.annotations or {}, self.labels or {}):
            for name in OWNER_KEYS:
                if place.get(name):
                    return place[name]
        return ""


class _Service(_Part, frozen=True, gc=False):
    namespace: str = ""
    name: str = ""

    @property
    def full(self) -> str:
        return f"{self.namespace}/{self.name}"


class _Client(_Part, frozen=True, gc=False):
    service: _Service | None = None
    url: str | None = None
    ca: str = field(name="caBundle", default="")


class _Webhook(_Part, frozen=True, gc=False):
    client: _Client | None = field(name="clientConfig", default=None)


class _Conversion(_Part, frozen=True, gc=False):
    strategy: str = ""
    webhook: _Webhook | None = None


class _Version(_Part, frozen=True, gc=False):
    name: str = ""
    served: bool = False
    storage: bool = False
    deprecated: bool = False


class _Names(_Part, frozen=True, gc=False):
    kind: str = ""


class _CrdSpec(_Part, frozen=True, gc=False):
    names: _Names = _Names()
    versions: tuple[_Version, ...] | None = None
    conversion: _Conversion | None = None


class _CrdStatus(_Part, frozen=True, gc=False):
    stored_versions: tuple[str, ...] | None = None


class _Crd(_Part, frozen=True, gc=False):
    metadata: _Meta
    spec: _CrdSpec = _CrdSpec()
    status: _CrdStatus = _CrdStatus()


class _ApiSpec(_Part, frozen=True, gc=False):
    service: _Service | None = None
    ca: str | None = field(name="caBundle", default="")


class _Condition(_Part, frozen=True, gc=False):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


class _ApiStatus(_Part, frozen=True, gc=False):
    conditions: tuple[_Condition, ...] | None = None


class _ApiService(_Part, frozen=True, gc=False):
    metadata: _Meta
    spec: _ApiSpec = _ApiSpec()
    status: _ApiStatus = _ApiStatus()


class _Rule(_Part, frozen=True, gc=False):
    groups: tuple[str, ...] | None = field(name="apiGroups", default=None)
    versions: tuple[str, ...] | None = field(name="apiVersions", default=None)
    resources: tuple[str, ...] | None = None
    operations: tuple[str, ...] | None = None


class _Hook(_Part, frozen=True, gc=False):
    name: str = ""
    client: _Client = field(name="clientConfig", default=_Client())
    failure_policy: str = ""
    match_policy: str = ""
    rules: tuple[_Rule, ...] | None = None


class _Configuration(_Part, frozen=True, gc=False):
    metadata: _Meta
    webhooks: tuple[_Hook, ...] | None = None


class _Page(msgspec.Struct, frozen=True):
    items: tuple[msgspec.Raw, ...] | None = None
    metadata: ListMeta = ListMeta()


async def definitions(
    client: KubeClient,
) -> tuple[tuple[ScanFact, ...], frozenset[tuple[str, str]]]:
    """Facts of every CRD, and the (apiVersion, kind)s that their owners mark as deprecated: a
    request for one of those would set the metric. Raises PawlError."""
    found: list[_Crd] = []
    query = {"limit": CRD_PAGE}
    deprecated: set[tuple[str, str]] = set()
    while True:
        body = await client.raw(CRDS, query)
        try:
            page = msgspec.json.decode(body, type=_Page)
            found += (msgspec.json.decode(item, type=_Crd) for item in page.items or ())
        except msgspec.DecodeError as error:
            raise Unreachable(f"the list of CRDs cannot be read: {error}") from error
        if not page.metadata.more:
            break
        query["continue"] = page.metadata.more
    facts: list[ScanFact] = [Counted(what="CRDs", objects=len(found))]
    for crd in found:
        group = crd.metadata.name.partition(".")[2]
        deprecated |= {
            (f"{group}/{v.name}", crd.spec.names.kind)
            for v in crd.spec.versions or ()
            if v.deprecated
        }
        conversion = crd.spec.conversion
        calls = conversion.webhook.client if conversion and conversion.webhook else None
        webhook = ""
        backend: Backend | None = None
        if conversion and conversion.strategy == "Webhook" and calls:
            webhook = calls.service.full if calls.service else calls.url or ""
            if calls.service:
                backend = await _backend(client, calls.service)
        facts.append(
            Definition(
                name=crd.metadata.name,
                kind=crd.spec.names.kind,
                versions=tuple(
                    DefinitionVersion(
                        name=v.name, served=v.served, storage=v.storage, deprecated=v.deprecated
                    )
                    for v in crd.spec.versions or ()
                ),
                stored=crd.status.stored_versions or (),
                webhook=webhook,
                backend=backend,
                ca_expires=expires(calls.ca) if webhook and calls else None,
                owner=crd.metadata.owner,
            )
        )
    return tuple(facts), frozenset(deprecated)


async def api_services(client: KubeClient) -> tuple[ScanFact, ...]:
    facts: list[ScanFact] = []
    for found in await client.every(API_SERVICES, _ApiService):
        if found.spec.service is None:
            continue
        condition = next(
            (c for c in found.status.conditions or () if c.type == "Available"), _Condition()
        )
        facts.append(
            ApiServiceFact(
                name=found.metadata.name,
                service=found.spec.service.full,
                available=condition.status == "True",
                why=": ".join(p for p in (condition.reason, condition.message[:200]) if p),
                ca_expires=expires(found.spec.ca or ""),
            )
        )
    return tuple(facts)


async def hooks(client: KubeClient) -> tuple[ScanFact, ...]:
    facts: list[ScanFact] = []
    for kind, resource in KINDS.items():
        for configuration in await client.every(f"{HOOKS}/{resource}", _Configuration):
            for hook in configuration.webhooks or ():
                service = hook.client.service
                facts.append(
                    Hook(
                        kind=kind,
                        configuration=configuration.metadata.name,
                        name=hook.name,
                        fails_closed=hook.failure_policy != "Ignore",
                        rules=tuple(
                            HookRule(
                                groups=r.groups or (),
                                versions=r.versions or (),
                                resources=r.resources or (),
                                operations=r.operations or (),
                            )
                            for r in hook.rules or ()
                        ),
                        match_policy=hook.match_policy or "Equivalent",
                        backend=await _backend(client, service) if service else None,
                        ca_expires=expires(hook.client.ca),
                        owner=configuration.metadata.owner,
                    )
                )
    return tuple(facts)


async def _backend(client: KubeClient, service: _Service) -> Backend:
    """Whether the Service is there and what is ready behind it, by its EndpointSlices."""
    namespace = quote(service.namespace, safe="")
    try:
        await client.get(
            f"/api/v1/namespaces/{namespace}/services/{quote(service.name, safe='')}", _Crd
        )
    except KubeRefused as error:
        if error.code == 404:
            return Backend(service=service.full, exists=False)
        raise
    slices = await client.every(
        f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
        Slice,
        {"labelSelector": f"kubernetes.io/service-name={service.name}"},
    )
    ready = [e for s in slices for e in s.endpoints or () if e.conditions.ready is not False]
    return Backend(
        service=service.full,
        ready=len(ready),
        nodes=tuple(sorted({e.node_name for e in ready if e.node_name})),
    )


def expires(bundle: str) -> float | None:
    """When the last certificate of a base64 CA bundle ends, and with it the trust (a renewal leaves
    the old one beside the new). None where there is none, or none that can be read."""
    try:
        certificates = x509.load_pem_x509_certificates(base64.b64decode(bundle))
    except (ValueError, binascii.Error):
        return None
    return max((c.not_valid_after_utc.timestamp() for c in certificates), default=None)


Part = Callable[[], Awaitable[tuple[ScanFact, ...]]]


async def guarded(where: str, part: Part) -> tuple[ScanFact, ...]:
    """The facts of one source; a `Missed` in their place when it fails."""
    try:
        return await part()
    except PawlError as error:
        return (Missed(where=where, why=str(error)),)


async def read(client: KubeClient) -> tuple[ScanFact, ...]:
    """Facts of aggregated APIs and webhooks."""
    parts = await asyncio.gather(
        guarded("live/apiservices.apiregistration.k8s.io", lambda: api_services(client)),
        guarded("live/webhookconfigurations", lambda: hooks(client)),
    )
    return tuple(fact for part in parts for fact in part)
