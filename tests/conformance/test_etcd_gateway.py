"""The `Etcd` port and its reader against three real etcd members with mutual TLS."""

from __future__ import annotations

import asyncio
import signal
import socket
import stat
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from support_binaries import binaries

from pawl.adapters.etcd import EtcdReader, Gateway, GatewayEtcd
from pawl.adapters.etcd.gateway import Values
from pawl.adapters.scan import stored
from pawl.core.config import EtcdConfig, HostConfig
from pawl.core.errors import StepFailed, Temporary, Unreachable
from pawl.core.model import EtcdMember
from pawl.core.scan.encoded import Suspect
from pawl.core.scan.facts import Counted, Encoded, Missed
from support_pki import Authority

pytestmark = pytest.mark.anyio
HOSTS = tuple(
    HostConfig(name=f"etcd-{n}", address=f"127.0.0.{n + 1}", roles=("etcd",)) for n in (1, 2, 3)
)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


class Cluster:
    """Three members on loopback addresses, as hosts have them: one port, three addresses."""

    def __init__(self, directory: Path, binary: Path) -> None:
        self.directory = directory
        self.binary = binary
        self.client, self.peer = free_ports()
        authority = Authority(directory)
        self.crt, self.key = authority.issue("etcd")
        crt, key = authority.issue("client")
        self.config = EtcdConfig(
            ca=str(authority.ca), cert=str(crt), key=str(key), client_port=self.client
        )
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, host: HostConfig) -> None:
        c, p = self.client, self.peer
        peers = ",".join(f"{h.name}=https://{h.address}:{p}" for h in HOSTS)
        tls = [f"--{s}cert-file={self.crt}" for s in ("", "peer-")]
        tls += [f"--{s}key-file={self.key}" for s in ("", "peer-")]
        tls += [f"--{s}trusted-ca-file={self.config.ca}" for s in ("", "peer-")]
        self.processes[host.name] = subprocess.Popen(
            [
                self.binary,
                f"--name={host.name}",
                f"--data-dir={self.directory}/{host.name}",
                f"--listen-client-urls=https://{host.address}:{c}",
                f"--advertise-client-urls=https://{host.address}:{c}",
                f"--listen-peer-urls=https://{host.address}:{p}",
                f"--initial-advertise-peer-urls=https://{host.address}:{p}",
                f"--initial-cluster={peers}",
                "--client-cert-auth",
                "--peer-client-cert-auth",
                "--unsafe-no-fsync",
                *tls,
            ],
            stderr=(self.directory / f"{host.name}.log").open("ab"),
        )

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()


def stands_still(pid: int) -> bool:
    """Whether every thread has taken the stop signal."""
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    return all(t.read_text().rpartition(") ")[2].startswith("T") for t in threads)


def free_ports() -> tuple[int, int]:
    with socket.socket() as a, socket.socket() as b:
        a.bind(("127.0.0.2", 0))
        b.bind(("127.0.0.2", 0))
        return a.getsockname()[1], b.getsockname()[1]


@pytest.fixture(scope="module", params=["3.5.33", "3.6.14"])
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("etcd")
    made = Cluster(directory, binaries("etcd", request.param, directory / "bin") / "etcd")
    for host in HOSTS:
        made.start(host)
    yield made
    made.stop()


@pytest.fixture
async def gateway(cluster: Cluster) -> AsyncIterator[Gateway]:
    made = Gateway(cluster.config, timeout=1.5)
    end = time.monotonic() + 30
    while True:
        members, unread = await EtcdReader(made, cluster.client).read(HOSTS)
        if not unread and all(m.healthy for m in members) and any(m.leader for m in members):
            break
        assert time.monotonic() < end, (members, unread)
        await asyncio.sleep(0.2)
    yield made
    await made.aclose()


@pytest.fixture
def port(gateway: Gateway, cluster: Cluster) -> GatewayEtcd:
    return GatewayEtcd(gateway, lambda: HOSTS, cluster.client)


async def members(gateway: Gateway, cluster: Cluster) -> tuple[EtcdMember, ...]:
    return (await EtcdReader(gateway, cluster.client).read(HOSTS))[0]


async def test_each_member_as_it_reports_itself(gateway: Gateway, cluster: Cluster) -> None:
    read, unread = await EtcdReader(gateway, cluster.client).read(HOSTS)
    assert unread == ()
    assert [m.host for m in read] == ["etcd-1", "etcd-2", "etcd-3"]
    assert len({m.member_id for m in read}) == 3
    assert len({m.cluster_id for m in read}) == 1
    assert sum(m.leader for m in read) == 1
    for member in read:
        assert member.healthy
        assert member.version
        assert member.cluster_version
        assert member.raft_index >= member.applied_index > 0
        assert member.db_size >= member.db_in_use > 0
        assert (member.storage_version != "") == member.version.startswith("3.6")


async def test_leadership_moves_and_only_from_the_leader(
    gateway: Gateway, cluster: Cluster, port: GatewayEtcd
) -> None:
    before = await members(gateway, cluster)
    old = next(m.host for m in before if m.leader)
    new = next(m.host for m in before if not m.leader)
    await port.move_leader(old, new, 5)
    assert next(m.host for m in await members(gateway, cluster) if m.leader) == new
    with pytest.raises(Temporary, match="not leader"):
        await port.move_leader(old, new, 5)
    with pytest.raises(StepFailed, match="not a member"):
        await port.move_leader(new, "etcd-9", 5)


async def test_snapshot_is_whole_and_private(port: GatewayEtcd, tmp_path: Path) -> None:
    snapshot = await port.snapshot("etcd-2", tmp_path / "backups")
    assert stat.S_IMODE(snapshot.path.stat().st_mode) == 0o600
    assert snapshot.path.stat().st_size == snapshot.size
    assert [p.name for p in snapshot.path.parent.iterdir()] == [snapshot.path.name]


async def test_hashes_at_one_revision_are_equal(port: GatewayEtcd) -> None:
    hashes = await port.hashes()
    assert len(hashes) == 3
    assert len({(h.hash, h.revision, h.compact_revision) for h in hashes}) == 1


async def test_a_silent_member_is_told_and_the_rest_is_read(
    gateway: Gateway, cluster: Cluster
) -> None:
    before = await members(gateway, cluster)
    victim = next(m.host for m in before if not m.leader)
    cluster.processes[victim].send_signal(signal.SIGSTOP)
    try:
        read, unread = await EtcdReader(gateway, cluster.client).read(HOSTS)
    finally:
        cluster.processes[victim].send_signal(signal.SIGCONT)
    silent = next(m for m in read if m.host == victim)
    assert silent.version is None
    assert not silent.healthy
    assert all(victim in u.source for u in unread)
    assert unread
    assert all(m.healthy for m in read if m.host != victim)


async def test_without_quorum_nobody_is_healthy(gateway: Gateway, cluster: Cluster) -> None:
    stopped = [cluster.processes[h.name] for h in HOSTS[:2]]
    for process in stopped:
        process.send_signal(signal.SIGSTOP)
    try:
        while not all(stands_still(p.pid) for p in stopped):
            await asyncio.sleep(0.01)
        read, unread = await EtcdReader(gateway, cluster.client).read(HOSTS)
    finally:
        for process in stopped:
            process.send_signal(signal.SIGCONT)
    assert not any(m.healthy for m in read)
    assert any("quorum" in u.why for u in unread)


async def test_a_client_that_the_ca_did_not_sign_is_refused(
    cluster: Cluster, tmp_path: Path
) -> None:
    other = Authority(tmp_path)
    crt, key = other.issue("stranger")
    config = EtcdConfig(
        ca=cluster.config.ca, cert=str(crt), key=str(key), client_port=cluster.client
    )
    gateway = Gateway(config, timeout=1.5)
    with pytest.raises(Unreachable):
        await gateway.status(f"https://{HOSTS[0].address}:{cluster.client}")
    await gateway.aclose()


@pytest.fixture
def older(tmp_path: Path) -> Path:
    return binaries("etcd", "3.5.33", tmp_path) / "etcd"


async def test_downgrade_one_minor_and_its_cancel(
    gateway: Gateway, cluster: Cluster, port: GatewayEtcd, older: Path
) -> None:
    """Cancelled when the first endpoint runs 3.5 already: asked there, the call would take effect
    and have no answer. The last test of its cluster, which it leaves mixed."""
    if not (await members(gateway, cluster))[0].storage_version:
        pytest.skip("storage versions came with 3.6")
    with pytest.raises(StepFailed, match="invalid downgrade"):
        await port.downgrade("validate", "3.3")
    await port.downgrade("validate", "3.5")
    await port.downgrade("enable", "3.5")
    end = time.monotonic() + 40
    while {m.storage_version for m in await members(gateway, cluster)} != {"3.5.0"}:
        assert time.monotonic() < end
        await asyncio.sleep(0.2)
    assert {m.downgrade_target for m in await members(gateway, cluster)} == {"3.5.0"}
    first = cluster.processes[HOSTS[0].name]
    first.terminate()
    first.wait()
    cluster.binary = older
    cluster.start(HOSTS[0])
    while not all(m.healthy for m in await members(gateway, cluster)):
        assert time.monotonic() < end
        await asyncio.sleep(0.2)
    assert (await members(gateway, cluster))[0].version == "3.5.33"
    assert "accepted" in await port.downgrade("cancel")
    while {m.downgrade_target for m in await members(gateway, cluster)} != {""}:
        assert time.monotonic() < end
        await asyncio.sleep(0.2)
    await port.downgrade("cancel")  # repeated, it finds its work done


CIDRS = Suspect(
    group="networking.k8s.io",
    resource="servicecidrs",
    kind="ServiceCIDR",
    versions={"networking.k8s.io/v1alpha1": "1.34"},
)
RULES = Suspect(group="example.com", resource="rules", kind="Rule", versions={"example.com/v1": ""})


async def test_the_versions_in_which_objects_lie_are_read_page_by_page(
    gateway: Gateway, cluster: Cluster
) -> None:
    url, dead = f"https://127.0.0.2:{cluster.client}", "https://127.0.0.9:1"

    async def put(key: str, value: str) -> None:
        await gateway.call(url, "kv/put", {"key": key.encode(), "value": value.encode()}, Values)

    for number in range(7):
        version = "v1alpha1" if number % 2 else "v1"
        value = f'{{"apiVersion":"networking.k8s.io/{version}","kind":"ServiceCIDR"}}'
        await put(f"/registry/servicecidrs/c{number}", value)
    # Neighbours that must not be counted, and one that cannot be told.
    old = '{"apiVersion":"networking.k8s.io/v1alpha1","kind":"X"}'
    await put("/registry/servicecidrs", old)
    await put("/registry/servicecidrs0", old)
    await put("/registry/rules/r", "k8s:enc:kms:v2:key:…")

    facts = await stored.read(gateway, [dead, url], stored.Store(), [CIDRS, RULES], limit=2)
    assert facts == (
        Counted(what="values in etcd", objects=7),
        Encoded(
            resource="servicecidrs",
            kind="ServiceCIDR",
            api_version="networking.k8s.io/v1alpha1",
            count=3,
            examples=("c1", "c3", "c5"),
        ),
        Counted(what="values in etcd", objects=1),
        Missed(
            where="etcd",
            why="in which version rules.example.com lie is not seen: it is encrypted at rest",
        ),
    )
    own = stored.Store(elsewhere=("networking.k8s.io/servicecidrs",))
    (missed,) = await stored.read(gateway, [url], own, [CIDRS])
    assert isinstance(missed, Missed)
    assert "an etcd of its own" in missed.why
    (missed,) = await stored.read(gateway, [dead], stored.Store(), [CIDRS, RULES])
    assert isinstance(missed, Missed)
    assert missed.where == "etcd/servicecidrs.networking.k8s.io"
