"""What an inventory reads of a cluster: workloads, RBAC, Helm releases, CRDs, calls, binaries.

Nothing here holds a secret: of a Helm release only the chart's identity is kept, never a value, and
of an object only the labels and annotations that say whose it is.
"""

from __future__ import annotations

import msgspec

from pawl.core.model import Unread

OWNER_KEYS = ("pawl.dev/owner", "owner", "team")
"""Annotations, then labels, that name an object's owner; the first that is set counts."""


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Container(Fact, frozen=True, kw_only=True):
    name: str
    image: str


class WorkloadFact(Fact, frozen=True, kw_only=True):
    """One workload: the controller of pods, or a pod by itself.

    `token`: whether its pods get a service account token (None: the service account decides).
    `release` is the Helm release "namespace/name" that its annotations name, `chart` the content of
    its label `helm.sh/chart`. `pods` are (uid, node) of the pods that run it.
    """

    kind: str
    namespace: str
    name: str
    service_account: str = "default"
    token: bool | None = None
    host_network: bool = False
    containers: tuple[Container, ...] = ()
    owner: str = ""
    release: str = ""
    chart: str = ""
    app: str = ""
    version_label: str = ""
    pods: tuple[tuple[str, str], ...] = ()

    @property
    def ref(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class ServiceAccountFact(Fact, frozen=True, kw_only=True):
    namespace: str
    name: str
    token: bool | None = None


class Rule(Fact, frozen=True, kw_only=True):
    """A PolicyRule of RBAC."""

    verbs: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()


class Role(Fact, frozen=True, kw_only=True):
    """`namespace` is "" for a ClusterRole. `aggregates`: label sets, each of which adds the rules
    of the ClusterRoles that carry it (the controller manager writes them into `rules` too)."""

    namespace: str
    name: str
    rules: tuple[Rule, ...] = ()
    labels: dict[str, str] = {}
    aggregates: tuple[dict[str, str], ...] = ()


class Subject(Fact, frozen=True, kw_only=True):
    kind: str
    name: str
    namespace: str = ""


class Binding(Fact, frozen=True, kw_only=True):
    """`namespace` is "" for a ClusterRoleBinding. `default`: one of the API server's own
    (label kubernetes.io/bootstrapping=rbac-defaults), which every client has anyway."""

    namespace: str
    name: str
    role_kind: str
    role: str
    subjects: tuple[Subject, ...] = ()
    default: bool = False


class Release(Fact, frozen=True, kw_only=True):
    """A Helm release, newest revision. `crds` are names of CRDs in the chart's `crds/`."""

    namespace: str
    name: str
    revision: int
    status: str
    chart: str
    version: str
    app_version: str = ""
    kube_version: str = ""
    crds: tuple[str, ...] = ()

    @property
    def ref(self) -> str:
        return f"{self.namespace}/{self.name}"


class Crd(Fact, frozen=True, kw_only=True):
    """`managers` are the field managers of the definition, `release` as for a workload."""

    name: str
    group: str
    kind: str
    served: tuple[str, ...] = ()
    stored: tuple[str, ...] = ()
    managers: tuple[str, ...] = ()
    release: str = ""
    app: str = ""


class Call(Fact, frozen=True, kw_only=True):
    """What audit logs saw of one user and user agent. `deprecated` holds
    (group/version/resource, the minor that removes it); `last` is RFC 3339."""

    user: str
    agent: str
    count: int
    last: str = ""
    deprecated: tuple[tuple[str, str], ...] = ()


class Requested(Fact, frozen=True, kw_only=True):
    """`apiserver_requested_deprecated_apis` of one API server: that somebody asked, not who."""

    server: str
    group: str
    version: str
    resource: str
    removed: str

    @property
    def api(self) -> str:
        return "/".join(part for part in (self.group, self.version, self.resource) if part)


class Binary(Fact, frozen=True, kw_only=True):
    """Go build information of a program. `workload` is "Kind namespace/name", or "" by hand."""

    workload: str
    path: str
    go: str
    main: str = ""
    main_version: str = ""
    client_go: str = ""
    controller_runtime: str = ""
    where: str = ""


class CorefileText(Fact, frozen=True, kw_only=True):
    namespace: str
    name: str
    text: str


class InventoryFacts(Fact, frozen=True, kw_only=True):
    """All of it. `server` is the oldest API server's version, "" when it was not read."""

    server: str = ""
    workloads: tuple[WorkloadFact, ...] = ()
    accounts: tuple[ServiceAccountFact, ...] = ()
    roles: tuple[Role, ...] = ()
    bindings: tuple[Binding, ...] = ()
    namespace_owners: dict[str, str] = {}
    releases: tuple[Release, ...] = ()
    crds: tuple[Crd, ...] = ()
    calls: tuple[Call, ...] = ()
    calls_read: bool = False
    requested: tuple[Requested, ...] = ()
    binaries: tuple[Binary, ...] = ()
    corefiles: tuple[CorefileText, ...] = ()
    unread: tuple[Unread, ...] = ()


def owner_of(annotations: dict[str, str] | None, labels: dict[str, str] | None) -> str:
    """The owner that an object names itself; "" for none."""
    for kept in (annotations or {}, labels or {}):
        for key in OWNER_KEYS:
            if value := kept.get(key, "").strip():
                return value
    return ""
