"""Runs the source reader of `goread/` (standard library only, built once into a scratch place)."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent / "goread"

K = "k8s.io/kubernetes"
COMPONENTS = {
    "kube-apiserver": (
        f"{K}/cmd/kube-apiserver/app/options:ServerRunOptions.Flags",
        f"{K}/cmd/kube-apiserver/app:NewAPIServerCommand",
    ),
    "kube-controller-manager": (
        f"{K}/cmd/kube-controller-manager/app/options:KubeControllerManagerOptions.Flags",
        f"{K}/cmd/kube-controller-manager/app:NewControllerManagerCommand",
        f"{K}/pkg/controller/apis/config/v1alpha1:",
        "k8s.io/kube-controller-manager/config/v1alpha1:",
    ),
    "kube-scheduler": (
        f"{K}/cmd/kube-scheduler/app/options:Options.Flags",
        f"{K}/cmd/kube-scheduler/app/options:Options.initFlags",
        f"{K}/cmd/kube-scheduler/app:NewSchedulerCommand",
    ),
    "kubelet": (
        f"{K}/cmd/kubelet/app/options:KubeletFlags.AddFlags",
        f"{K}/cmd/kubelet/app/options:AddKubeletConfigFlags",
        f"{K}/cmd/kubelet/app/options:AddGlobalFlags",
        f"{K}/cmd/kubelet/app:NewKubeletCommand",
        f"{K}/pkg/kubelet/apis/config/v1beta1:",
    ),
    "kube-proxy": (
        f"{K}/cmd/kube-proxy/app:Options.AddFlags",
        f"{K}/cmd/kube-proxy/app:NewProxyCommand",
        f"{K}/pkg/proxy/apis/config/v1alpha1:",
    ),
}
"""Where each component's flags begin. A start without a function is read for defaults only."""

GATES = {
    f"{K}/pkg/features": "kubernetes",
    "k8s.io/apiserver/pkg/features": "apiserver",
    "k8s.io/apiextensions-apiserver/pkg/features": "apiextensions",
    "k8s.io/component-base/metrics/features": "component-base",
    "k8s.io/component-base/logs/api/v1": "component-base",
    "k8s.io/component-base/zpages/features": "component-base",
    "k8s.io/controller-manager/pkg/features": "controller-manager",
    "k8s.io/client-go/features": "client-go",
    f"{K}/cmd/kubeadm/app/features": "kubeadm",
}


@functools.cache
def program() -> Path:
    """Build the reader; the file's name carries the hash of its source, so it is built once."""
    digest = hashlib.sha256()
    for source in sorted(HERE.glob("*.go")):
        digest.update(source.read_bytes())
    place = Path(tempfile.gettempdir()) / f"pawl-goread-{os.getuid()}-{digest.hexdigest()[:16]}"
    if not place.exists():
        subprocess.run(
            ["go", "build", "-o", str(place), "."],
            cwd=HERE,
            check=True,
            env=dict(os.environ, GOFLAGS="", GOWORK="off", CGO_ENABLED="0"),
        )
    return place


def read(roots: dict[str, Path], verb: str, *args: str) -> Any:
    argv = [str(program())]
    for prefix, directory in roots.items():
        argv += ["-root", f"{prefix}={directory}"]
    done = subprocess.run([*argv, verb, *args], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)
