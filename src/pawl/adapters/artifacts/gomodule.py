"""The throw-away Go module that builds unmodified upstream commands. Pure text.

`go install k8s.io/kubernetes/cmd/kubelet@v1.37.0` is refused by Go, because Kubernetes' own go.mod
replaces its staging modules (k8s.io/api …, all required at v0.0.0) by directories. Those modules
are published under the matching number v0.37.0. So a module of our own requires k8s.io/kubernetes,
and requires and replaces each k8s.io module *required at exactly v0.0.0* by its published twin;
modules with pseudo-versions (k8s.io/utils v0.0.0-2026…) are ordinary dependencies and stay.

The result is the code of the release, byte for byte, with go.sum and the checksum database
vouching for every module; only the build stamps (commit, date) differ from the official binary.
"""

from __future__ import annotations

import re

from pawl.adapters.artifacts.catalog import ETCD_MODULES, KUBE_STATE_METRICS_MODULE, Component
from pawl.core.version import Version

KUBERNETES_MODULE = "k8s.io/kubernetes"

_GO = re.compile(r"^go\s+(\d+(?:\.\d+){1,2})\s*$", re.MULTILINE)
_STAGING = re.compile(r"\b(k8s\.io/[\w.-]+) v0\.0\.0(?=\s|$)")
_GODEBUG = re.compile(r"^godebug\s+(?:\([^)]*\)|\S+)\s*$", re.MULTILINE)
_REPLACED = re.compile(
    r"^\s*(?:replace\s+)?(\S+(?: v\S+)?) => ([^\s./]\S*\.\S*/\S+ v\S+)\s*$", re.MULTILINE
)


def go_directive(go_mod: str) -> str:
    """The Go version that a go.mod asks for: "1.26.0". "1.16" where it names none (Go's rule)."""
    match = _GO.search(go_mod)
    return match[1] if match else "1.16"


def go_at_least(have: str, need: str) -> bool:
    """Whether Go `have` ("1.26.8", "go1.24.1", "1.27rc1") can build what needs `need`."""
    return _go_key(have) >= _go_key(need)


def _go_key(version: str) -> tuple[int, ...]:
    numbers = [int(n) for n in re.findall(r"\d+", re.split(r"rc|beta", version)[0])]
    return (*numbers, 0, 0, 0)[:3]


def upstream_modules(project: str, components: tuple[Component, ...]) -> tuple[str, ...]:
    """The modules whose main packages are to be built."""
    if project == "kubernetes":
        return (KUBERNETES_MODULE,)
    if project == "kube-state-metrics":
        return (KUBE_STATE_METRICS_MODULE,)
    return tuple(ETCD_MODULES[name] for c in components for name in c.binaries)


def main_packages(components: tuple[Component, ...]) -> dict[str, str]:
    """Binary name → main package, for all components together."""
    return {name: package for c in components for name, package in c.packages}


def throwaway_go_mod(project: str, version: Version, upstream: dict[str, str]) -> str:
    """The go.mod text; `upstream` maps each module of `upstream_modules` to its own go.mod."""
    needed = max((go_directive(text) for text in upstream.values()), key=_go_key)
    lines = ["module pawl.invalid/build", "", f"go {needed}", ""]
    godebug = {m[0].strip() for text in upstream.values() for m in _GODEBUG.finditer(text)}
    lines += sorted(godebug)
    required = [f"\t{module} v{version}" for module in upstream]
    if project == "kubernetes":
        text = upstream[KUBERNETES_MODULE]
        staging = sorted(set(_STAGING.findall(text)))
        twin = f"v0.{version.minor}.{version.patch}" + (f"-{version.pre}" if version.pre else "")
        required += [f"\t{name} {twin}" for name in staging]
        replaced = [f"\t{name} => {name} {twin}" for name in staging]
        replaced += [f"\t{m[1]} => {m[2]}" for m in _REPLACED.finditer(text)]
        lines += ["replace (", *replaced, ")", ""]
    lines += ["require (", *required, ")"]
    return "\n".join(lines) + "\n"


def link_flags(project: str, version: Version) -> str:
    """-ldflags: stripped, and the version stamps of the project's own release script or Makefile.

    etcd carries its version in its source.
    """
    flags = ["-s", "-w"]
    if project == "kubernetes":
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
            flags += [
                f"-X {package}.gitVersion=v{version}",
                f"-X {package}.gitMajor={version.major}",
                f"-X {package}.gitMinor={version.minor}",
                f"-X {package}.gitTreeState=clean",
            ]
    if project == "kube-state-metrics":
        flags.append(f"-X github.com/prometheus/common/version.Version=v{version}")
    return " ".join(flags)
