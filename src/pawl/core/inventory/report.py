"""The inventory: one row for each workload that may or does call the Kubernetes API."""

from __future__ import annotations

from typing import Literal

import msgspec

from pawl.core.findings import Finding, Severity
from pawl.core.inventory.compat import Hop, Verdict
from pawl.core.model import Unread

Seen = Literal["rbac", "audit", "add-on"]
ORDER: dict[Verdict, int] = {
    "breaks": 0, "unsupported": 1, "untested": 2, "unknown": 3, "untied": 4, "supported": 5,
}  # fmt: skip


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """One user agent of a workload's service account, or of a user from outside, in audit logs."""

    user: str
    agent: str
    count: int
    last: str = ""
    deprecated: tuple[tuple[str, str], ...] = ()


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """A workload. `seen` says why it is listed; `access` is its RBAC in a few words, and `bindings`
    what gives it. `token`: whether its pods get one (None: not said, so by default yes).

    `version` is of its first image, the chart's app version or the label, in this order; `chart` is
    "name version". `client_go` is the release of client-go in its program, `client_minor` the
    Kubernetes minor of that; "" when no program was read. `crds` are those it owns.
    """

    kind: str
    namespace: str
    name: str
    service_account: str
    seen: tuple[Seen, ...] = ()
    owner: str = ""
    owner_by: str = ""
    images: tuple[str, ...] = ()
    version: str = ""
    release: str = ""
    chart: str = ""
    kube_version: str = ""
    addon: str = ""
    access: str = ""
    bindings: tuple[str, ...] = ()
    token: bool | None = None
    go: str = ""
    client_go: str = ""
    client_minor: str = ""
    crds: tuple[str, ...] = ()
    callers: tuple[Caller, ...] = ()
    hops: tuple[Hop, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ref(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def verdict(self) -> str:
        """The worst of its hops; "" for what is no known add-on."""
        return min((h.verdict for h in self.hops), key=lambda v: ORDER[v], default="")


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer. `path` are the minors, the running one first; `outside` are callers whose
    user is no workload here (people, CI, kubelets); `orphans` CRDs that nobody here owns."""

    schema: int = 1
    server: str
    path: tuple[str, ...]
    as_of: str
    clients: tuple[Client, ...] = ()
    outside: tuple[Caller, ...] = ()
    orphans: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    questions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unread: tuple[Unread, ...] = ()

    @property
    def exit_code(self) -> int:
        """2 blockers, 3 something was not read, 1 warnings, 0: in this order."""
        found = {f.counts for f in self.findings}
        if Severity.BLOCKER in found:
            return 2
        if self.unread:
            return 3
        return 1 if Severity.WARNING in found else 0
