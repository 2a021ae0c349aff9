"""What was read from a live cluster, one struct for each kind of evidence.

Times are RFC 3339 texts in UTC as the API writes them, "" when unknown. `where` is a path that a
finding carries: "live/NAMESPACE/KIND/NAME", "helm/NAMESPACE/RELEASE", "hosts/HOST/FILE".
"""

from __future__ import annotations

import msgspec

from pawl.core.lint.finding import LintFinding


class ScanFact(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of all facts."""


class Running(ScanFact, frozen=True, kw_only=True):
    """The minor whose APIs the cluster serves now ("1.36"): the emulated one where there is one."""

    minor: str


class Served(ScanFact, frozen=True, kw_only=True):
    """One resource of one API version that the cluster serves now, from its discovery.

    `preferred`: the version in which clients of discovery (the garbage collector, the namespace
    controller, backup tools) take the resource, deprecated or not.
    """

    api_version: str
    kind: str
    resource: str
    preferred: bool = False


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of managedFields. `applied`: it owns the last-applied annotation."""

    manager: str
    operation: str
    api_version: str
    time: str = ""
    subresource: str = ""
    applied: bool = False


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """An annotation that holds the object as somebody sent it. `text` is its JSON."""

    annotation: str
    text: str


class Seen(ScanFact, frozen=True, kw_only=True):
    """An object's metadata, as far as it may say something about how it is written.

    `source` says where the object's manifest is kept ("Helm release a/b"), when its marks tell.
    `deleting` is its deletionTimestamp.
    """

    api_version: str
    kind: str
    namespace: str
    name: str
    owner: str = ""
    source: str = ""
    applied: tuple[Applied, ...] = ()
    writes: tuple[Write, ...] = ()
    deleting: str = ""
    finalizers: tuple[str, ...] = ()


class Requested(ScanFact, frozen=True, kw_only=True):
    """A series of `apiserver_requested_deprecated_apis` of one API server since its start."""

    host: str
    api_version: str
    resource: str
    subresource: str = ""
    removed: str = ""


class Audited(ScanFact, frozen=True, kw_only=True):
    """An audit log that was read, with the times of its first and last record."""

    host: str
    file: str
    first: str = ""
    last: str = ""


class Call(ScanFact, frozen=True, kw_only=True):
    """One client's calls of one API, folded from the records of one host's audit log.

    `removed` is the release that the API server itself announced in the record.
    """

    host: str
    user: str
    agent: str
    api_version: str
    resource: str
    subresource: str = ""
    verbs: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    count: int = 1
    first: str = ""
    last: str = ""
    removed: str = ""


class Release(ScanFact, frozen=True, kw_only=True):
    """A Helm 3 release that a `helm upgrade` would start from, and what lint says of its
    manifest and of its hooks.

    `storage` is "Secret" or "ConfigMap"; `kube_version` the chart's own constraint.
    """

    namespace: str
    name: str
    revision: int
    status: str
    storage: str
    chart: str = ""
    chart_version: str = ""
    app_version: str = ""
    kube_version: str = ""
    updated: str = ""
    findings: tuple[LintFinding, ...] = ()
    hooks: tuple[LintFinding, ...] = ()


class Backend(msgspec.Struct, frozen=True, kw_only=True):
    """A Service that the API server calls. `nodes`: where its ready pods run; `ready`: how many
    ready endpoints it has (some may be on no node). `exists` False: there is no such Service."""

    service: str
    exists: bool = True
    ready: int = 0
    nodes: tuple[str, ...] = ()


class DefinitionVersion(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    served: bool = True
    storage: bool = False
    deprecated: bool = False


class Definition(ScanFact, frozen=True, kw_only=True):
    """A CustomResourceDefinition. `ca_expires` is when the CA bundle of its conversion webhook
    ends, in seconds since the epoch."""

    name: str
    kind: str
    versions: tuple[DefinitionVersion, ...] = ()
    stored: tuple[str, ...] = ()
    webhook: str = ""
    backend: Backend | None = None
    ca_expires: float | None = None
    owner: str = ""


class ApiServiceFact(ScanFact, frozen=True, kw_only=True):
    """An aggregated API: `available` and the reason are the aggregator's own words."""

    name: str
    service: str
    available: bool
    why: str = ""
    ca_expires: float | None = None


class HookRule(msgspec.Struct, frozen=True, kw_only=True):
    groups: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()


class Hook(ScanFact, frozen=True, kw_only=True):
    """A webhook of an admission configuration. `backend` is None for one that is called by URL."""

    kind: str
    configuration: str
    name: str
    fails_closed: bool
    rules: tuple[HookRule, ...] = ()
    match_policy: str = "Equivalent"
    backend: Backend | None = None
    ca_expires: float | None = None
    owner: str = ""


class Stored(ScanFact, frozen=True, kw_only=True):
    """How many objects of a resource lie in etcd, from an API server's own metric."""

    resource: str
    group: str
    count: int


class Encoded(ScanFact, frozen=True, kw_only=True):
    """Objects that lie in etcd in a version that the target cannot read. `examples` are the ends of
    their keys ("NAMESPACE/NAME")."""

    resource: str
    kind: str
    api_version: str
    count: int
    examples: tuple[str, ...] = ()


class Judged(ScanFact, frozen=True, kw_only=True):
    """Objects that were read in full and judged at once (PersistentVolumes, StorageClasses)."""

    findings: tuple[LintFinding, ...]


class Counted(ScanFact, frozen=True, kw_only=True):
    """Objects of a resource that were looked at: what the verdict's numbers come from."""

    what: str
    objects: int


class Missed(ScanFact, frozen=True, kw_only=True):
    """A source that could not be read. `why` is a sentence: the report is incomplete."""

    where: str
    why: str


class Note(ScanFact, frozen=True, kw_only=True):
    """Something about the scan itself that a reader should know, and that costs no exit code."""

    text: str
