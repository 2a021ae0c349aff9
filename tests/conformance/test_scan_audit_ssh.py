"""Audit logs over a real sshd: looked at where they lie, rotated and compressed files too."""

from __future__ import annotations

import gzip
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support_sshd import SSHD, sshd

from pawl.adapters.hosts import Connections, Inventory
from pawl.adapters.scan.audit import AuditLog, remote
from pawl.core.config import HostConfig, SshConfig
from pawl.core.knowledge.store import shipped
from pawl.core.lint.judge import Judge
from pawl.core.scan.facts import Audited, Call, Missed, Note, ScanFact
from pawl.core.scan.lens import Lens

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not Path(SSHD).exists(), reason="no sshd on this machine"),
]
HOST = HostConfig(name="cp-1", address="127.0.0.1", roles=("control-plane",))


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshConfig]:
    with sshd(tmp_path_factory.mktemp("sshd")) as config:
        yield config


def record(agent: str, time_: str, *, deprecated: bool = True) -> bytes:
    notes = {"k8s.io/deprecated": "true", "k8s.io/removed-release": "1.25"} if deprecated else {}
    return json.dumps(
        {
            "stage": "ResponseComplete",
            "verb": "list",
            "user": {"username": "v"},
            "userAgent": agent,
            "objectRef": {
                "resource": "cronjobs",
                "apiGroup": "batch",
                "apiVersion": "v1beta1" if deprecated else "v1",
            },
            "requestReceivedTimestamp": time_,
            "annotations": notes,
        },
        separators=(",", ":"),
    ).encode()


async def read(server: SshConfig, path: str, days: float = 7.0) -> tuple[ScanFact, ...]:
    connections = Connections(server, Inventory((HOST,)))
    try:
        log = AuditLog(host="cp-1", path=path)
        return await remote(connections, log, Lens(Judge(shipped(), "1.25")), "1.24", days)
    finally:
        await connections.aclose()


async def test_the_log_and_its_rotated_files(server: SshConfig, tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    quiet = record("quiet/1", "2026-11-22T00:00:00Z", deprecated=False)
    log.write_bytes(
        b"\n".join([quiet, record("now/1", "2026-11-23T10:00:00Z"), quiet.replace(b"22T", b"23T")])
        + b"\n"
    )
    rotated = tmp_path / "audit-2026-11-21T00-00-00.000.log"
    rotated.write_bytes(record("rotated/1", "2026-11-21T10:00:00Z") + b"\n")
    packed = tmp_path / "audit-2026-11-20T00-00-00.000.log.gz"
    packed.write_bytes(gzip.compress(record("packed/1", "2026-11-20T10:00:00Z") + b"\n"))
    old = tmp_path / "audit-2025-01-01T00-00-00.000.log"
    old.write_bytes(record("old/1", "2025-01-01T10:00:00Z") + b"\n")
    os.utime(old, (time.time() - 90 * 86400,) * 2)
    (tmp_path / "audit-policy.yaml").write_text("not a log")
    facts = await read(server, str(log))
    assert {f.agent for f in facts if isinstance(f, Call)} == {"now/1", "rotated/1", "packed/1"}
    logs = {Path(f.file).name: f for f in facts if isinstance(f, Audited)}
    assert logs.keys() == {log.name, rotated.name, packed.name}
    assert (logs[log.name].first[:10], logs[log.name].last[:10]) == ("2026-11-22", "2026-11-23")
    assert not [f for f in facts if isinstance(f, Missed)]


async def test_records_are_read_as_a_stream_and_folded(server: SshConfig, tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_bytes((record("busy/1", "2026-11-23T10:00:00Z") + b"\n") * 20_000)
    (call,) = [f for f in await read(server, str(log)) if isinstance(f, Call)]
    assert call.count == 20_000


async def test_a_log_that_is_not_there_is_not_read(server: SshConfig, tmp_path: Path) -> None:
    facts = await read(server, str(tmp_path / "none.log"))
    (missed,) = facts
    assert isinstance(missed, Missed)
    assert missed.where == f"hosts/cp-1{tmp_path}/none.log"
    (missed,) = await read(server, "?")
    assert isinstance(missed, Missed)


async def test_no_audit_log_at_all_is_said(server: SshConfig) -> None:
    (note,) = await read(server, "")
    assert isinstance(note, Note)
    (note,) = await read(server, "-")
    assert isinstance(note, Note)


async def test_a_host_that_does_not_answer_is_not_read(server: SshConfig, tmp_path: Path) -> None:
    gone = HostConfig(name="cp-1", address="127.0.0.9", roles=("control-plane",))
    connections = Connections(server, Inventory((gone,)))
    log = AuditLog(host="cp-1", path="/audit.log")
    (missed,) = await remote(connections, log, Lens(Judge(shipped(), "1.25")), "1.24", 7.0)
    assert isinstance(missed, Missed)
    await connections.aclose()
