"""What a host has in use, over a real sshd: files of flags, configuration, secrets, processes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from support_sshd import SSHD, sshd

from pawl.adapters.hosts import Connections, Inventory
from pawl.adapters.hosts.inuse import UseReader
from pawl.core.config import HostConfig, LayoutConfig, SshConfig
from pawl.ports.inuse import Reading

pytestmark = [
    pytest.mark.skipif(not Path(SSHD).exists(), reason="needs sshd"),
    pytest.mark.skipif(os.geteuid() != 0, reason="sshd needs root to log in"),
    pytest.mark.anyio,
]
H1 = HostConfig(name="h1", address="127.0.0.1", roles=("control-plane",))


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshConfig]:
    with sshd(tmp_path_factory.mktemp("sshd")) as config:
        yield config


@pytest.fixture
async def connections(server: SshConfig) -> AsyncIterator[Connections]:
    made = Connections(server, Inventory([H1]))
    yield made
    await made.aclose()


def layout(base: Path) -> LayoutConfig:
    return LayoutConfig(
        root=f"{base}/opt",
        flags=f"{base}/{{component}}.env",
        # No unit of this name is there: the flags file alone is read.
        unit="pawl-test-{component}.service",
        epoch=f"{base}/epoch",
    )


async def read(connections: Connections, base: Path) -> Reading:
    (reading,) = await UseReader(connections, layout(base), 20.0).read([H1])
    return reading


async def test_flags_lead_to_the_files_that_they_name(
    connections: Connections, tmp_path: Path
) -> None:
    (tmp_path / "kubelet.env").write_text(
        f"# ours\nFLAGS=--config={tmp_path}/kubelet.json --config-dir={tmp_path}/drop "
        f"--kubeconfig={tmp_path}/kubeconfig --bootstrap-kubeconfig={tmp_path}/none\n"
    )
    (tmp_path / "kubelet.json").write_text(
        '{\n"apiVersion": "kubelet.config.k8s.io/v1beta1",\n"kind": "KubeletConfiguration",\n'
        '"featureGates": {\n"A": true}}'
    )
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop/10.conf").write_text("featureGates: {B: false}\n")
    (tmp_path / "drop/readme.txt").write_text("not read\n")
    (tmp_path / "kubeconfig").write_text(
        "apiVersion: v1\nkind: Config\nusers:\n- user:\n    token: s3cret\n    exec:\n"
        "      apiVersion: client.authentication.k8s.io/v1beta1\n"
    )
    (tmp_path / "kube-apiserver.env").write_text(
        f"FLAGS=--encryption-provider-config={tmp_path}/encryption.yaml "
        f"--audit-policy-file={tmp_path}/gone.yaml "
        f"--admission-control-config-file={tmp_path}/admission.yaml\n"
    )
    (tmp_path / "encryption.yaml").write_text(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"
        "- resources: [secrets]\n  providers:\n  - secretbox:\n      keys:\n"
        "      - name: k\n        secret: c2VjcmV0\n  - identity: {}\n"
    )
    (tmp_path / "admission.yaml").write_text(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n"
        "- name: ImagePolicyWebhook\n  path: policy.yaml\n"
    )
    (tmp_path / "policy.yaml").write_text("imagePolicy:\n  kubeConfigFile: /x\n: broken\n\t")

    reading = await read(connections, tmp_path)
    use = reading.use
    base = str(tmp_path)
    flag = next(f for f in use.flags if f.name == "config-dir")
    assert (flag.path, flag.line) == (f"{base}/kubelet.env", 2)
    ours = {d.path.removeprefix(base): d for d in use.documents if d.path.startswith(base)}
    assert set(ours) == {
        "/kubelet.json",
        "/drop/10.conf",
        "/kubeconfig",
        "/encryption.yaml",
        "/admission.yaml",
    }
    gate = ours["/kubelet.json"].setting("featureGates.A")
    assert gate is not None
    assert (gate.value, gate.line) == ("True", 5) or (gate.value, gate.line) == ("true", 5)
    assert [s.key for s in ours["/drop/10.conf"].settings] == ["featureGates.B"]
    assert [(s.value, s.line) for s in ours["/encryption.yaml"].settings] == [
        ("secretbox", 6),
        ("identity", 10),
    ]
    assert [s.value for s in ours["/kubeconfig"].settings] == [
        "client.authentication.k8s.io/v1beta1"
    ]
    told = repr(reading)
    assert "s3cret" not in told
    assert "c2VjcmV0" not in told
    unread = {u.source.removeprefix(base): u.why for u in use.unread}
    assert unread["/gone.yaml (audit policy of kube-apiserver)"] == "it is not there"
    assert "line" in unread["/policy.yaml"]
    assert not any("none" in source for source in unread)
    assert f"{base}/kubelet.json" in reading.contents
    assert f"{base}/encryption.yaml" not in reading.contents
    assert use.selinux in ("disabled", "permissive", "enforcing")


async def test_a_process_tells_what_no_file_does(connections: Connections, tmp_path: Path) -> None:
    process = subprocess.Popen(
        ["bash", "-c", "exec -a /opt/x/kube-scheduler sleep 60"],
        env={"KUBE_TEST": "1", "KUBE_TOKEN": "s3cret", "PATH": os.environ["PATH"]},
    )
    other = subprocess.Popen(
        ["bash", "-c", 'exec -a kube-proxy bash -c "sleep 60; true" --boot-id-file=/x']
    )
    try:
        use = (await read(connections, tmp_path)).use
    finally:
        for each in (process, other):
            each.kill()
            each.wait()
    flags = [f for f in use.flags if f.path == f"process {other.pid}"]
    assert "--boot-id-file=/x" in [f.flag for f in flags]
    variables = {v.name: v.value for v in use.variables if v.path == f"process {process.pid}"}
    assert variables == {"KUBE_TEST": "1"}


async def test_a_file_that_is_too_large_is_named_not_read(
    connections: Connections, tmp_path: Path
) -> None:
    (tmp_path / "kube-proxy.env").write_text(f"FLAGS=--config={tmp_path}/proxy.yaml\n")
    (tmp_path / "proxy.yaml").write_bytes(b"#" * 300_000)
    use = (await read(connections, tmp_path)).use
    assert any("larger than" in u.why for u in use.unread)


async def test_a_host_that_does_not_answer_is_named(server: SshConfig, tmp_path: Path) -> None:
    gone = HostConfig(name="h2", address="127.0.0.2", roles=("worker",))
    connections = Connections(SshConfig(**{**_fields(server), "port": 1}), Inventory([gone]))
    readings = await UseReader(connections, layout(tmp_path), 5.0).read(
        [gone, HostConfig(name="lb", address="127.0.0.3", roles=("load-balancer",))]
    )
    await connections.aclose()
    (reading,) = readings
    assert reading.use.host == "h2"
    assert reading.use.unread[0].source == "configuration"


def _fields(ssh: SshConfig) -> dict[str, object]:
    return {"user": ssh.user, "key": ssh.key, "known_hosts": ssh.known_hosts}
