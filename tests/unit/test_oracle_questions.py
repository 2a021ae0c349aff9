"""What a binary is shown of another host: its flags, copies of its files, and no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from pawl.adapters.hosts.oracle import laid_out, likeness, of_the_host, question_of
from pawl.core.inuse.blame import blame
from pawl.core.inuse.facts import Document, FlagUse, HostUse, Setting
from pawl.ports.inuse import Reading

SERVER = (
    "--advertise-address=198.18.0.51",
    "--service-account-signing-key-file=/etc/kubernetes/pki/sa.key",
    "--audit-policy-file=/etc/kubernetes/audit.yaml",
    "--encryption-provider-config=/etc/kubernetes/encryption.yaml",
)


def reading(component: str, *flags: str, host: str = "cp-1", **files: bytes) -> Reading:
    use = HostUse(
        host=host,
        flags=tuple(
            FlagUse(component=component, flag=f, path="/x.env", line=n)
            for n, f in enumerate(flags, 1)
        ),
    )
    contents = {f"/etc/kubernetes/{n}.yaml": data for n, data in files.items()}
    return Reading(use=use, contents=contents)


def test_files_are_private_and_the_signing_key_is_a_stand_in(tmp_path: Path) -> None:
    question = question_of(
        reading("kube-apiserver", *SERVER, audit=b"kind: Policy\n", encryption=b"s3cret"),
        "kube-apiserver",
    )
    assert set(question.files) == {"/etc/kubernetes/audit.yaml"}
    flags = laid_out(question, tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o700
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert {p.name for p in files} == {"audit.yaml", "signing.key"}
    assert all(p.stat().st_mode & 0o777 == 0o600 for p in files)
    assert f"--service-account-signing-key-file={tmp_path}/signing.key" in flags
    assert f"--cert-dir={tmp_path}/made" in flags


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("open /etc/x: no such file or directory", ""),
        ("maxPods -4 is bad, open /etc/x: no such file or directory", "maxPods -4 is bad"),
        (
            "kubelet is configured to not run on a host using cgroup v1. cgroup v1 support is "
            "unsupported and will be removed in a future release",
            "",
        ),
        ("unknown flag: --x", "unknown flag: --x"),
    ],
)
def test_what_is_about_this_machine_is_no_complaint(said: str, left: str) -> None:
    assert of_the_host(said) == left


def test_hosts_that_differ_in_name_and_address_alone_are_alike() -> None:
    def key(host: str, address: str, *more: str) -> str:
        flags = (f"--hostname-override={host}", f"--node-ip={address}", *more)
        return likeness(
            question_of(reading("kubelet", *flags, host=host), "kubelet"), host, address
        )

    one = key("worker-1", "198.18.0.101")
    assert one == key("worker-2", "198.18.0.102")
    assert one != key("worker-2", "198.18.0.102", "--v=2")
    assert key("w", "198.18.0.1", "--x=198.18.0.11") == key("v", "198.18.0.2", "--x=198.18.0.11")


def test_a_config_directory_goes_along_and_other_files_do_not(tmp_path: Path) -> None:
    flags = ("--config=/etc/kubernetes/k.yaml", "--config-dir=/etc/kubernetes/drop")
    given = reading("kubelet", *flags, k=b"a: 1", **{"drop/10": b"b: 1", "other": b"c: 1"})
    question = question_of(given, "kubelet")
    assert set(question.files) == {"/etc/kubernetes/k.yaml", "/etc/kubernetes/drop/10.yaml"}
    assert laid_out(question, tmp_path) == [
        f"--config={tmp_path}/files/etc/kubernetes/k.yaml",
        f"--config-dir={tmp_path}/files/etc/kubernetes/drop",
    ]


def test_a_scheduler_is_shown_no_kubeconfig(tmp_path: Path) -> None:
    given = reading(
        "kube-scheduler",
        "--config=/etc/kubernetes/s.yaml",
        s=b"kind: KubeSchedulerConfiguration\nclientConnection: {kubeconfig: /etc/x, qps: 5}\n",
    )
    laid_out(question_of(given, "kube-scheduler"), tmp_path)
    text = (tmp_path / "files/etc/kubernetes/s.yaml").read_text()
    assert "/etc/x" not in text
    assert "pawl-no-kubeconfig" in text
    assert '"qps":5' in text


USE = HostUse(
    host="w",
    flags=(
        FlagUse(component="kubelet", flag="--containerd=/x", path="/f", line=4),
        FlagUse(component="kubelet", flag="--feature-gates=A=true,Sidecar=true", path="/f", line=5),
        FlagUse(component="kubelet", flag="--runtime-config=a.b/v1beta1=true", path="/f", line=6),
    ),
    documents=(
        Document(
            component="kubelet",
            role="config",
            path="/c",
            settings=(
                Setting(key="featureGates.Other", value="true", line=8),
                Setting(key="parallelism", value="-4", line=9),
            ),
        ),
    ),
)


@pytest.mark.parametrize(
    ("complaint", "where"),
    [
        ("unknown flag: --containerd", "w:/f:4"),
        ("unrecognized feature gate: Sidecar", "w:/f:5"),
        ("unknown api groups a.b/v1beta1", "w:/f:6"),
        ("cannot set feature gate Other to true, feature is locked", "w:/c:8"),
        ("parallelism: Invalid value: -4", "w:/c:9"),
        ("something else altogether", ""),
    ],
)
def test_the_line_that_a_complaint_is_about_is_found(complaint: str, where: str) -> None:
    assert blame(USE, "kubelet", complaint) == where
