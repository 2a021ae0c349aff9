"""What can be fetched: components, their binaries, and where upstream keeps them. Data only.

Package paths are those of the unmodified upstream main packages. Release addresses are the ones
that the projects document: https://kubernetes.io/releases/download/#binaries and the release pages
of https://github.com/etcd-io/etcd.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass

from pawl.core.errors import ArtifactError
from pawl.core.version import Version


@dataclass(frozen=True, slots=True)
class Component:
    """One component: `packages` maps each of its binaries to the Go main package behind it."""

    name: str
    project: str
    """"kubernetes", "etcd" …: parts of one project are released and built together."""
    packages: tuple[tuple[str, str], ...]

    @property
    def binaries(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.packages)


def _kubernetes(name: str) -> Component:
    return Component(name, "kubernetes", ((name, f"k8s.io/kubernetes/cmd/{name}"),))


ETCD_MODULES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "etcdctl": "go.etcd.io/etcd/etcdctl/v3",
    "etcdutl": "go.etcd.io/etcd/etcdutl/v3",
}
"""etcd's binaries; each module's root package is the command."""
KUBE_STATE_METRICS_MODULE = "k8s.io/kube-state-metrics/v2"
"""Its root package is the command too."""

COMPONENTS: dict[str, Component] = {
    c.name: c
    for c in (
        Component("etcd", "etcd", tuple(ETCD_MODULES.items())),
        _kubernetes("kube-apiserver"),
        _kubernetes("kube-controller-manager"),
        _kubernetes("kube-scheduler"),
        _kubernetes("kubelet"),
        _kubernetes("kube-proxy"),
        _kubernetes("kubectl"),
        _kubernetes("kubeadm"),
        Component(
            "kube-state-metrics",
            "kube-state-metrics",
            (("kube-state-metrics", KUBE_STATE_METRICS_MODULE),),
        ),
    )
}

BUNDLES: dict[str, tuple[str, ...]] = {
    "kubernetes": (
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kube-proxy",
        "kubectl",
    ),
}
"""Several components under one name. kubeadm is left out: pawl does not need it."""


def expand(name: str) -> tuple[Component, ...]:
    """The components behind a name. Raises ArtifactError listing the known names."""
    if name in BUNDLES:
        return tuple(COMPONENTS[part] for part in BUNDLES[name])
    if name in COMPONENTS:
        return (COMPONENTS[name],)
    known = ", ".join((*BUNDLES, *COMPONENTS))
    raise ArtifactError(f"there is no artefact called {name!r}. Known are: {known}.")


def parse_version(component: str, version: Version | str) -> Version:
    """A full release number. Raises ArtifactError for "1.37" and the like."""
    if isinstance(version, Version):
        return version
    try:
        return Version.parse(version)
    except ValueError:
        raise ArtifactError(
            f"{component} {version}: not a release. Name all three numbers, for example 1.37.0."
        ) from None


@dataclass(frozen=True, slots=True)
class Platform:
    """Operating system and processor in Go's words."""

    os: str = "linux"
    arch: str = "amd64"

    @classmethod
    def here(cls) -> Platform:
        machine = platform.machine().lower()
        arch = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
        return cls(platform.system().lower(), arch.get(machine, machine))

    def __str__(self) -> str:
        return f"{self.os}-{self.arch}"
