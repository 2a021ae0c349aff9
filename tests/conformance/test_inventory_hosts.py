"""What an inventory reads over SSH: programs of pods and audit logs, by a real sshd."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from support_sshd import SSHD, sshd

from pawl.adapters.hosts import Connections, Inventory
from pawl.adapters.inventory import callers, processes
from pawl.core.config import HostConfig, SshConfig
from pawl.core.inventory.callers import Callers
from pawl.core.inventory.facts import WorkloadFact

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not Path(SSHD).exists(), reason="no sshd"),
]
UID = "0f9c1c1e-7b1d-4a0e-8a3d-6f5f3a1c2b3d"
GO = shutil.which("containerd") or shutil.which("runc")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshConfig]:
    with sshd(tmp_path_factory.mktemp("sshd")) as config:
        yield config


@pytest.fixture
async def connections(ssh: SshConfig) -> AsyncIterator[Connections]:
    hosts = (HostConfig(name="worker-1", address="127.0.0.1", roles=("worker",)),)
    made = Connections(ssh, Inventory(hosts))
    yield made
    await made.aclose()


def process(proc: Path, pid: int, cgroup: str, exe: Path) -> None:
    directory = proc / str(pid)
    directory.mkdir(parents=True)
    (directory / "cgroup").write_text(cgroup)
    (directory / "exe").symlink_to(exe)


def workload(name: str, uid: str, node: str = "node-1") -> WorkloadFact:
    return WorkloadFact(kind="Deployment", namespace="web", name=name, pods=((uid, node),))


@pytest.mark.skipif(GO is None, reason="no Go program on this machine")
async def test_the_program_of_a_pod_is_found_by_its_cgroup(
    connections: Connections, tmp_path: Path
) -> None:
    proc = tmp_path / "proc"
    assert GO
    dashes = UID
    under = UID.replace("-", "_").replace("0f9c", "1f9c")
    process(proc, 11, f"0::/kubepods.slice/kubepods-pod{under}.slice/cri-1.scope\n", Path(GO))
    process(proc, 12, f"0::/kubepods/burstable/pod{dashes}/ab\n", Path("/bin/sh"))
    process(proc, 13, f"0::/kubepods/burstable/pod{dashes}/cd\n", Path(GO))
    process(proc, 14, "0::/system.slice/containerd.service\n", Path(GO))
    process(proc, 15, "0::/kubepods/pod99999999-0000-0000-0000-000000000000/x\n", Path(GO))
    found, unread = await processes.read(
        connections,
        {"node-1": "worker-1"},
        [
            workload("cgroupfs", UID),
            workload("systemd", UID.replace("0f9c", "1f9c")),
            workload("elsewhere", UID.replace("0f9c", "2f9c"), node="node-9"),
        ],
        proc=str(proc),
    )
    assert unread == ()
    assert {b.workload for b in found} == {"Deployment web/cgroupfs", "Deployment web/systemd"}
    assert all(b.go.startswith("go1.") and b.where == "worker-1" for b in found)


async def test_a_program_that_may_not_be_read_is_told(
    connections: Connections, tmp_path: Path
) -> None:
    proc = tmp_path / "proc"
    process(proc, 11, f"0::/kubepods/pod{UID}/a\n", tmp_path)  # a directory cannot be opened
    found, unread = await processes.read(
        connections, {"node-1": "worker-1"}, [workload("x", UID)], proc=str(proc)
    )
    assert found == ()
    assert "1 programs may not be read" in unread[0].why


def record(user: str, agent: str, time: str = "2026-11-20T10:00:00.000000Z", **more: object) -> str:
    """A record as kube-apiserver writes it, fields in its order."""
    return json.dumps(
        {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Metadata",
            "auditID": "1",
            "stage": "ResponseComplete",
            "requestURI": "/api",
            "verb": "list",
            "user": {"username": user, "uid": "u", "groups": ["system:authenticated"]},
            "sourceIPs": ["198.18.0.1"],
            "userAgent": agent,
            "requestReceivedTimestamp": time,
            **more,
        },
        separators=(",", ":"),
    )


OLD = {
    "objectRef": {
        "resource": "flowschemas",
        "apiGroup": "flowcontrol.apiserver.k8s.io",
        "apiVersion": "v1beta3",
    },
    "annotations": {"k8s.io/deprecated": "true", "k8s.io/removed-release": "1.32"},
}
SA = "system:serviceaccount:web:app"
LOG = [
    record(SA, "app/v1 (linux)"),
    record(SA, "app/v1 (linux)", "2026-11-20T11:00:00.000000Z", **OLD),
    record("ada", 'odd "agent"\tx'),
    record("ada", "pawl/0.1.0"),
    record(SA, "app/v1 (linux)").replace("ResponseComplete", "RequestReceived"),
]
EXPECTED = {
    (SA, "app/v1 (linux)"): (
        2,
        "2026-11-20T11:00:00.000000Z",
        (("flowcontrol.apiserver.k8s.io/v1beta3/flowschemas", "1.32"),),
    )
}


async def test_audit_logs_fold_alike_on_a_host_and_here(
    connections: Connections, tmp_path: Path
) -> None:
    log = tmp_path / "audit.log"
    log.write_text("\n".join(LOG) + "\n")
    with gzip.open(tmp_path / "audit-2026-11-19T00-00-00.000.log.gz", "wt") as old:
        old.write(record("bob", "kubectl/v1.30") + "\n")
    flags = ("--v=2", f"--audit-log-path={log}")
    remote, unread, was_read = await callers.read([("worker-1", flags)], connections, (), 7.0)
    assert (unread, was_read) == ((), True)
    here, unread, was_read = await callers.read(
        [], None, [log, tmp_path / "audit-2026-11-19T00-00-00.000.log.gz"], 7.0
    )
    assert (unread, was_read) == ((), True)
    for found in (remote, here):
        by = {(c.user, c.agent): (c.count, c.last, c.deprecated) for c in found}
        assert by.items() >= EXPECTED.items()
        assert {user for user, _ in by} == {SA, "ada", "bob"}
        assert not any(agent.startswith("pawl/") for _, agent in by), "its own calls are left out"


async def test_a_log_that_is_not_there_is_told_and_a_server_without_one_is_not_unread(
    connections: Connections, tmp_path: Path
) -> None:
    absent = ("--audit-log-path=/no/such/audit.log",)
    _, unread, was_read = await callers.read([("worker-1", absent)], connections, (), 7.0)
    assert not was_read
    assert "/no/such/audit.log cannot be read" in unread[0].why
    _, unread, was_read = await callers.read([("worker-1", ("--v=2",))], connections, (), 7.0)
    assert (unread, was_read) == ((), False)
    _, unread, was_read = await callers.read([], None, [tmp_path / "none"], 7.0)
    assert "No such file" in unread[0].why


def test_a_line_that_is_no_record_is_counted() -> None:
    folded = Callers()
    folded.line(b"panic: something\n")
    folded.line(b"\n")
    assert folded.unparsable == 1
