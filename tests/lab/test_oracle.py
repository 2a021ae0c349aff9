"""The target's real binaries, asked on this machine about flags and files of another host."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from pawl.adapters.artifacts.factory import artifact_store
from pawl.adapters.hosts.oracle import CachedOracle
from pawl.core.checks import FlagComplaint
from pawl.core.config import HostConfig
from pawl.core.inuse.documents import document
from pawl.core.inuse.facts import FlagUse, HostUse
from pawl.core.lint.node import Node
from pawl.core.version import Version
from pawl.ports.inuse import Reading

VERSION = "1.37.0"
HOSTS = [
    HostConfig(name="cp-1", address="198.18.0.51", roles=("control-plane",)),
    HostConfig(name="cp-2", address="198.18.0.52", roles=("control-plane",)),
]
SERVER = (
    "--etcd-servers=https://198.18.0.21:2379",
    "--client-ca-file=/etc/kubernetes/pki/ca.crt",
    "--tls-cert-file=/etc/kubernetes/pki/apiserver.crt",
    "--tls-private-key-file=/etc/kubernetes/pki/apiserver.key",
    "--service-account-issuer=https://kubernetes.default.svc",
    "--service-account-key-file=/etc/kubernetes/pki/sa.pub",
    "--service-account-signing-key-file=/etc/kubernetes/pki/sa.key",
    "--service-cluster-ip-range=198.18.128.0/24",
    "--authorization-mode=Node,RBAC",
    "--audit-policy-file=/etc/kubernetes/audit.yaml",
    "--encryption-provider-config=/etc/kubernetes/encryption.yaml",
)
KUBELET = b"apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
SCHEDULER = b"kind: KubeSchedulerConfiguration\napiVersion: kubescheduler.config.k8s.io/"


@pytest.fixture(scope="module", autouse=True)
def _held() -> None:
    held = asyncio.run(artifact_store().resolver.held("kubernetes"))
    if Version.parse(VERSION) not in held:
        pytest.skip(f"Kubernetes {VERSION} is not in the artefact cache")


def reading(component: str, *flags: str, host: str = "cp-1", **files: bytes) -> Reading:
    contents = {f"/etc/kubernetes/{n}.yaml": data for n, data in files.items()}
    use = HostUse(
        host=host,
        flags=tuple(
            FlagUse(component=component, flag=f, path=f"/etc/kubernetes/{component}.env", line=n)
            for n, f in enumerate(flags, 1)
        ),
        documents=tuple(document(Node(None, 1), component, "config", path) for path in contents),
    )
    return Reading(use=use, contents=contents)


def asked(*readings: Reading, component: str, directory: Path | None = None) -> list[str]:
    answer = complaints(*readings, component=component, directory=directory)
    assert answer is not None
    return [c.complaint for c in answer]


def complaints(
    *readings: Reading, component: str, version: str = VERSION, directory: Path | None = None
) -> tuple[FlagComplaint, ...] | None:
    made = CachedOracle(artifact_store().resolver, HOSTS, directory)
    return asyncio.run(made.ask(readings, component, version))


def test_a_server_with_flags_that_it_takes_has_no_complaint() -> None:
    assert asked(reading("kube-apiserver", *SERVER), component="kube-apiserver") == []


@pytest.mark.parametrize(
    ("flag", "complaint"),
    [
        ("--feature-gates=SidecarContainers=true", "SidecarContainers"),
        ("--feature-gates=HostnameOverride=false", "locked to true"),
        ("--enable-admission-plugins=JobValidation", "JobValidation"),
        ("--runtime-config=gone.k8s.io/v1=true", "unknown api groups gone.k8s.io/v1"),
        ("--insecure-port=0", "unknown flag: --insecure-port"),
    ],
)
def test_what_a_server_refuses_is_told_with_its_line(flag: str, complaint: str) -> None:
    answer = complaints(reading("kube-apiserver", *SERVER, flag), component="kube-apiserver")
    assert answer is not None
    (said,) = answer
    assert complaint in said.complaint
    assert said.where == f"cp-1:/etc/kubernetes/kube-apiserver.env:{len(SERVER) + 1}"


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        (b"maxPods: 30\n", ""),
        (b"featureGates: {SidecarContainers: true}\n", "unrecognized feature gate"),
        (b"maxPods: -4\n", "maxPods (--max-pods) -4"),
    ],
)
def test_a_kubelets_file_is_read_by_the_kubelet_itself(config: bytes, complaint: str) -> None:
    said = asked(
        reading("kubelet", "--config=/etc/kubernetes/kubelet.yaml", kubelet=KUBELET + config),
        component="kubelet",
    )
    assert len(said) == bool(complaint)
    assert complaint in "".join(said)
    assert "cgroup" not in "".join(said)


def test_a_removed_flag_of_a_kubelet_is_told() -> None:
    (said,) = asked(reading("kubelet", "--containerd=/run/c.sock"), component="kubelet")
    assert "unknown flag: --containerd" in said


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        (b"v1\n", ""),
        (b"v1beta3\n", "v1beta3"),
        (b"v1\nparallelism: -4\n", "parallelism"),
        (b"v1\nfoo: 1\n", 'unknown field "foo"'),
    ],
)
def test_a_schedulers_file_is_read_though_it_is_read_late(config: bytes, complaint: str) -> None:
    said = asked(
        reading(
            "kube-scheduler",
            "--config=/etc/kubernetes/scheduler.yaml",
            scheduler=SCHEDULER + config,
        ),
        component="kube-scheduler",
    )
    assert len(said) == bool(complaint), said
    assert complaint in "".join(said)


def test_a_proxys_file_and_a_controller_managers_flags() -> None:
    proxy = b"apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
    flags = ("--config=/etc/kubernetes/proxy.yaml",)
    assert asked(reading("kube-proxy", *flags, proxy=proxy), component="kube-proxy") == []
    gate = proxy + b"featureGates: {SidecarContainers: true}\n"
    (said,) = asked(reading("kube-proxy", *flags, proxy=gate), component="kube-proxy")
    assert "SidecarContainers" in said
    manager = "kube-controller-manager"
    assert asked(reading(manager, "--kubeconfig=/x"), component=manager) == []
    (said,) = asked(reading(manager, "--concurrent-service-syncs=2"), component=manager)
    assert "--concurrent-service-syncs" in said


def test_a_release_that_is_not_at_hand_is_not_guessed_about() -> None:
    assert complaints(reading("kubelet", "--v=2"), component="kubelet", version="1.99.0") is None


def test_nothing_is_left_behind_and_no_port_is_opened(tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("0.0.0.0", 0))
        port = held.getsockname()[1]
        # The port is taken: a server that came to listen would complain of it.
        for component in ("kube-apiserver", "kube-scheduler", "kube-controller-manager"):
            flags = SERVER if component == "kube-apiserver" else ("--kubeconfig=/x",)
            given = reading(component, *flags, f"--secure-port={port}")
            assert asked(given, component=component, directory=tmp_path) == []
    assert list(tmp_path.iterdir()) == []
