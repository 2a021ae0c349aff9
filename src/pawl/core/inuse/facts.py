"""The facts: one `HostUse` for each host, every item with the place where a person finds it.

Values of secrets never come here: of an encryption configuration only its kinds and the names of
its providers, of a kubeconfig only the version of its exec plugin's API, of variables only those
that change what a Kubernetes component does (`KUBE_…`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pawl.core import flags as flag_rules
from pawl.core.model import Fact, Unread

SELinux = Literal["", "disabled", "permissive", "enforcing"]


class FlagUse(Fact, frozen=True, kw_only=True):
    """One flag of a component, as "--a=b". `line` is 0 where the place has no lines (a process)."""

    component: str
    flag: str
    path: str
    line: int = 0

    @property
    def name(self) -> str:
        """The bare name: "feature-gates" of "--feature-gates=A=true"."""
        return flag_rules.name_of(self.flag).lstrip("-").replace("_", "-")

    @property
    def value(self) -> str:
        return self.flag.partition("=")[2]


class Setting(Fact, frozen=True, kw_only=True):
    """One scalar of a document: `key` is its path ("featureGates.A", "plugins[0].name")."""

    key: str
    value: str
    line: int = 0


class Document(Fact, frozen=True, kw_only=True):
    """A configuration file that a component reads. `role` says what for ("config", "audit policy",
    "encryption", "admission", "exec plugin" …)."""

    component: str
    role: str
    path: str
    api_version: str = ""
    kind: str = ""
    line: int = 1
    settings: tuple[Setting, ...] = ()

    def setting(self, key: str) -> Setting | None:
        return next((s for s in self.settings if s.key == key), None)

    def objects(self) -> Iterator[tuple[str, str, int]]:
        """(apiVersion, kind, line) of the document and of every object inside it."""
        if self.api_version or self.kind:
            yield self.api_version, self.kind, self.line
        kinds = {s.key.removesuffix(".kind"): s for s in self.settings if s.key.endswith(".kind")}
        for s in self.settings:
            if s.key.endswith(".apiVersion"):
                kind = kinds.get(s.key.removesuffix(".apiVersion"))
                yield s.value, kind.value if kind else "", s.line


class Variable(Fact, frozen=True, kw_only=True):
    """An environment variable of a component that changes what it does."""

    component: str
    name: str
    value: str
    path: str
    line: int = 0


class HostUse(Fact, frozen=True, kw_only=True):
    """Everything that is in use on one host. `runtime` is "containerd 2.1.4", "" when not known."""

    host: str
    flags: tuple[FlagUse, ...] = ()
    documents: tuple[Document, ...] = ()
    variables: tuple[Variable, ...] = ()
    runtime: str = ""
    selinux: SELinux = ""
    unread: tuple[Unread, ...] = ()

    @property
    def components(self) -> tuple[str, ...]:
        named = [f.component for f in self.flags] + [d.component for d in self.documents]
        return tuple(dict.fromkeys(n for n in named if n))

    def of(self, component: str) -> tuple[FlagUse, ...]:
        return tuple(f for f in self.flags if f.component == component)

    def config(self, component: str) -> tuple[Document, ...]:
        """The component's own configuration, base file first, then its drop-ins."""
        return tuple(d for d in self.documents if d.component == component and d.role == "config")


def place(host: str, path: str, line: int) -> str:
    """ "worker-1:/etc/kubernetes/kubelet.env:1", without a line where there is none."""
    return f"{host}:{path}:{line}" if line else f"{host}:{path}"
