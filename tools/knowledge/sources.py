"""The source of a release, out of the Go module cache.

A Kubernetes minor N is `k8s.io/kubernetes v1.N.0` and its staging modules `k8s.io/NAME v0.N.0`.
Two of them were first tagged later than their release (see `FIRST_TAG`), and single tags are not
served by every module mirror: then the nearest later patch is read, and the extract names it.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
from pathlib import Path

FIRST_MINOR, LAST_MINOR = 15, 37
"""1.15 is read only to know what 1.16 took away."""

STAGING = (
    "api",
    "apiextensions-apiserver",
    "apimachinery",
    "apiserver",
    "client-go",
    "cloud-provider",
    "component-base",
    "controller-manager",
    "kube-aggregator",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubelet",
)
FIRST_TAG = {15: "v0.15.7", 16: "v0.16.4"}
"""v0.N.P tags begin with these patches."""
EXISTS_FROM = {"controller-manager": 20}
ETCD = {
    "3.4": ("go.etcd.io/etcd", "v0.5.0-alpha.5.0.20200910180754-dd1b699fc489"),
    "3.5": ("go.etcd.io/etcd/server/v3", "v3.5.33"),
    "3.6": ("go.etcd.io/etcd/server/v3", "v3.6.14"),
    "3.7": ("go.etcd.io/etcd/server/v3", "v3.7.1"),
}
"""3.4 was never tagged as a module: the pseudo-version is the commit of v3.4.13, which
k8s.io/kubernetes v1.20 requires."""


def go(*args: str) -> str:
    """Run the go command in module mode, outside any module, with the caller's GOMODCACHE."""
    env = dict(os.environ, GOFLAGS="-mod=mod", GOTOOLCHAIN="local", GOWORK="off")
    done = subprocess.run(
        ["go", *args], env=env, capture_output=True, text=True, cwd="/", check=False
    )
    if done.returncode and not done.stdout:
        raise LookupError(f"go {' '.join(args)}: {done.stderr.strip()}")
    return done.stdout


@functools.cache
def module(name: str, version: str) -> Path:
    """The directory of a module's source, downloaded when it is not there.

    Raises LookupError with the go command's own words when it cannot be had.
    """
    answer = json.loads(go("mod", "download", "-json", f"{name}@{version}"))
    if "Dir" not in answer:
        raise LookupError(f"{name}@{version}: {answer.get('Error', 'no source')}")
    return Path(answer["Dir"])


@functools.cache
def versions(name: str) -> tuple[str, ...]:
    """Releases of a module, pre-releases left out, in the go command's (semantic) order."""
    return tuple(v for v in go("list", "-m", "-versions", name).split()[1:] if "-" not in v)


@functools.cache
def kubernetes(minor: int) -> dict[str, tuple[str, Path]]:
    """Import path prefix -> (version, directory) of everything that makes up a minor."""
    found = {"k8s.io/kubernetes": (f"v1.{minor}.0", module("k8s.io/kubernetes", f"v1.{minor}.0"))}
    for name in STAGING:
        if minor < EXISTS_FROM.get(name, 0):
            continue
        path = f"k8s.io/{name}"
        wanted = FIRST_TAG.get(minor, f"v0.{minor}.0")
        try:
            found[path] = (wanted, module(path, wanted))
        except LookupError:
            for other in (v for v in versions(path) if v.startswith(f"v0.{minor}.")):
                try:
                    found[path] = (other, module(path, other))
                    break
                except LookupError:
                    continue
    return found


def directories(minor: int) -> dict[str, Path]:
    """Import path prefix -> directory of everything that makes up a minor."""
    return {path: directory for path, (_, directory) in kubernetes(minor).items()}


def released(name: str, version: str) -> str:
    """The day of a module version's commit, "2026-08-19" (UTC); "" when it is not known."""
    try:
        answer = json.loads(go("list", "-m", "-json", f"{name}@{version}"))
    except (LookupError, json.JSONDecodeError):
        return ""
    return str(answer.get("Time", ""))[:10]
