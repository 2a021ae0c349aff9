"""The `Hosts` port over a real sshd: the fence, staging, links, flags, lost connections."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import msgspec
import pytest
from support_sshd import SSHD, Systemd, free_port, keygen, sshd

from pawl.adapters.hosts import Connections, HostReader, Inventory, SshHosts, ssh
from pawl.adapters.hosts.ssh import GUARD, INSTALL
from pawl.core.config import HostConfig, LayoutConfig, SshConfig, TimeoutConfig
from pawl.core.errors import Fenced, StepFailed, Temporary, Unreachable
from pawl.ports.hosts import StagedFile

pytestmark = [
    pytest.mark.skipif(not Path(SSHD).exists(), reason="needs sshd"),
    pytest.mark.skipif(os.geteuid() != 0, reason="sshd needs root to log in"),
    pytest.mark.anyio,
]
H1 = HostConfig(name="h1", address="127.0.0.1", roles=("control-plane", "etcd"))


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshConfig]:
    with sshd(tmp_path_factory.mktemp("sshd")) as config:
        yield config


@pytest.fixture
def layout() -> Iterator[LayoutConfig]:
    # In memory where that is possible: the guard flushes every change to disk, and how long a
    # busy disk takes for that is not what is tested here.
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as base:
        yield LayoutConfig(
            root=f"{base}/opt",
            flags=f"{base}/etc/{{component}}.env",
            etcd_flags=f"{base}/etc/etcd.env",
            epoch=f"{base}/var/epoch",
        )


@pytest.fixture
async def connections(server: SshConfig) -> AsyncIterator[Connections]:
    made = Connections(server, Inventory([H1]))
    yield made
    await made.aclose()


@pytest.fixture
def hosts(connections: Connections, layout: LayoutConfig) -> SshHosts:
    return SshHosts(connections, layout, TimeoutConfig())


def staged(path: Path, content: bytes) -> StagedFile:
    path.write_bytes(content)
    return StagedFile(name=path.name, path=path, sha256=hashlib.sha256(content).hexdigest())


async def test_the_fence_keeps_the_highest_epoch(hosts: SshHosts, layout: LayoutConfig) -> None:
    await hosts.claim("h1", 3)
    await hosts.claim("h1", 3)
    await hosts.claim("h1", 7)
    assert Path(layout.epoch).read_text().strip() == "7"
    with pytest.raises(Fenced, match="epoch 6 is behind 7"):
        await hosts.claim("h1", 6)


async def test_whether_a_port_is_listened_on(hosts: SshHosts, server: SshConfig) -> None:
    assert await hosts.listens("h1", server.port) is True
    assert await hosts.listens("h1", free_port()) is False


async def test_a_fenced_operator_changes_nothing(
    hosts: SshHosts, layout: LayoutConfig, tmp_path: Path
) -> None:
    file = staged(tmp_path / "etcd", b"binary")
    await hosts.stage("h1", "etcd", "3.5.33", [file], 2)
    await hosts.set_flags("h1", "etcd", ["--name=a"], 2)
    for attempt in (
        hosts.stage("h1", "etcd", "3.6.14", [file], 1),
        hosts.switch("h1", "etcd", "3.5.33", 1),
        hosts.set_flags("h1", "etcd", ["--name=b"], 1),
        hosts.stop("h1", "etcd.service", 1, 1),
        hosts.start("h1", "etcd.service", 1),
    ):
        with pytest.raises(Fenced):
            await attempt
    assert os.listdir(f"{layout.root}/etcd") == ["3.5.33"]
    assert Path(layout.etcd_flags).read_text() == "FLAGS=--name=a\n"


async def test_staging_verifies_on_the_host_and_is_idempotent(
    hosts: SshHosts, layout: LayoutConfig, tmp_path: Path
) -> None:
    files = [staged(tmp_path / n, n.encode() * 1000) for n in ("etcd", "etcdctl", "etcdutl")]
    for _ in range(2):
        await hosts.stage("h1", "etcd", "3.6.14", files, 1)
    at = Path(layout.root, "etcd", "3.6.14")
    assert sorted(os.listdir(at)) == ["etcd", "etcdctl", "etcdutl"]
    assert os.access(at / "etcd", os.X_OK)
    # A damaged binary is put right, not trusted because its directory is there.
    (at / "etcdctl").write_bytes(b"rot")
    await hosts.stage("h1", "etcd", "3.6.14", files, 1)
    assert (at / "etcdctl").read_bytes() == b"etcdctl" * 1000
    assert os.listdir(at.parent) == ["3.6.14"]


async def test_a_wrong_checksum_leaves_nothing_behind(
    hosts: SshHosts, layout: LayoutConfig, tmp_path: Path
) -> None:
    file = msgspec.structs.replace(staged(tmp_path / "etcd", b"good"), sha256="0" * 64)
    with pytest.raises(StepFailed, match="checksum"):
        await hosts.stage("h1", "etcd", "3.6.14", [file], 1)
    assert os.listdir(f"{layout.root}/etcd") == []


async def test_a_binary_that_is_too_slow_to_say_refuses_nothing(
    hosts: SshHosts, layout: LayoutConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = Path(layout.root, "kubelet", "1.37.0", "kubelet")
    binary.parent.mkdir(parents=True)
    binary.write_text("#!/bin/sh\nexec sleep 300\n")
    binary.chmod(0o755)
    monkeypatch.setattr(ssh, "PROBE_SECONDS", 1.0)
    with pytest.raises(Unreachable, match=r"kubelet 1\.37\.0 on h1 did not say within 1 s"):
        await hosts.accepts_flags("h1", "kubelet", "1.37.0", ())


async def test_switch_is_one_rename_and_needs_the_version(
    hosts: SshHosts, layout: LayoutConfig, tmp_path: Path
) -> None:
    for version in ("1.36.0", "1.37.0"):
        await hosts.stage("h1", "kubelet", version, [staged(tmp_path / "kubelet", b"k")], 1)
    link = Path(layout.root, "kubelet", "current")
    for version in ("1.36.0", "1.37.0", "1.37.0"):
        await hosts.switch("h1", "kubelet", version, 1)
        assert os.readlink(link) == version
    with pytest.raises(StepFailed, match=r"1\.38\.0 does not exist"):
        await hosts.switch("h1", "kubelet", "1.38.0", 1)
    assert os.readlink(link) == "1.37.0"


async def test_flags_keep_mode_and_other_lines(hosts: SshHosts, layout: LayoutConfig) -> None:
    file = Path(layout.flags_file("kube-apiserver"))
    file.parent.mkdir(parents=True)
    file.write_text("# ours\nFLAGS=--v=2 \\\n  --secure-port=6443\nHTTPS_PROXY=x\n")
    file.chmod(0o640)
    await hosts.set_flags("h1", "kube-apiserver", ["--v=2", "--emulated-version=1.36"], 1)
    assert file.read_text() == "# ours\nFLAGS=--v=2 --emulated-version=1.36\nHTTPS_PROXY=x\n"
    assert file.stat().st_mode & 0o777 == 0o640
    with pytest.raises(StepFailed, match="white space"):
        await hosts.set_flags("h1", "kube-apiserver", ["--a=b c"], 1)


async def test_somebody_elses_edit_is_not_overwritten(
    hosts: SshHosts, layout: LayoutConfig
) -> None:
    await hosts.set_flags("h1", "etcd", ["--name=a"], 1)
    with pytest.raises(Temporary, match="changed by somebody else"):
        await hosts.write_file("h1", layout.etcd_flags, "FLAGS=--old\n", "FLAGS=--new\n", 1)
    assert Path(layout.etcd_flags).read_text() == "FLAGS=--name=a\n"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("arrived", ["", "FLAGS=--na"])
async def test_a_file_that_did_not_arrive_as_a_whole_replaces_nothing(
    hosts: SshHosts, layout: LayoutConfig, arrived: str
) -> None:
    """What a host has when pawl or the network dies after the command and before its input."""
    await hosts.set_flags("h1", "etcd", ["--name=a"], 1)
    before, after = "FLAGS=--name=a\n", "FLAGS=--name=b\n"
    args = (layout.etcd_flags, digest(before), digest(after))
    with pytest.raises(Temporary, match="did not arrive as a whole"):
        await hosts.guarded("h1", 1, "write", *args, stdin=arrived)
    assert Path(layout.etcd_flags).read_text() == before
    assert os.listdir(Path(layout.etcd_flags).parent) == ["etcd.env"]
    await hosts.guarded("h1", 1, "write", *args, stdin=after)
    assert Path(layout.etcd_flags).read_text() == after


async def test_a_file_is_never_readable_for_more_than_may_read_it(
    hosts: SshHosts, layout: LayoutConfig, connections: Connections
) -> None:
    """A balancer's configuration holds passwords, also in the moment before it has its mode."""
    await hosts.claim("h1", 1)
    path = f"{layout.root}/secret.cfg"
    writing = hosts._argv(1, 10.0, "write", path, "absent", digest("x"))
    async with connections.use("h1", 20) as connection:
        process = await connection.create_process(shlex.join(writing))
        while not Path(f"{path}.pawl").exists():
            await asyncio.sleep(0.01)
        assert Path(f"{path}.pawl").stat().st_mode & 0o777 == 0o600
        process.stdin.write_eof()
        await process.wait()


@pytest.mark.parametrize("part", [0, 0.5])
async def test_half_a_guard_is_none(hosts: SshHosts, layout: LayoutConfig, part: float) -> None:
    """A shell whose script ends early says 0, and whatever was ordered would count as done."""
    await hosts.claim("h1", 5)
    guard = next(Path(layout.epoch).parent.glob("guard-*"))
    guard.unlink()
    install = [
        "/bin/sh",
        "-c",
        INSTALL,
        "sh",
        str(guard),
        hashlib.sha256(GUARD.encode()).hexdigest(),
    ]
    half = GUARD[: int(part * len(GUARD))]
    ran = await hosts._connections.run("h1", install, timeout=5, stdin=half)
    assert (ran.code, guard.exists()) == (75, False)
    with pytest.raises(Fenced):
        await hosts.claim("h1", 4)


async def test_an_epoch_that_cannot_be_read_is_not_none(
    hosts: SshHosts, layout: LayoutConfig
) -> None:
    await hosts.claim("h1", 5)
    epoch = Path(layout.epoch)
    epoch.unlink()
    epoch.mkdir()
    with pytest.raises(StepFailed, match="cannot be read"):
        await hosts.claim("h1", 4)


async def test_an_order_that_nobody_waits_for_is_not_carried_out_later(
    hosts: SshHosts, layout: LayoutConfig, tmp_path: Path
) -> None:
    """While somebody has the host's lock; `_call_seconds` is how long pawl waits for an answer."""
    for version in ("1.36.0", "1.37.0"):
        await hosts.stage("h1", "kubelet", version, [staged(tmp_path / "kubelet", b"k")], 1)
    await hosts.switch("h1", "kubelet", "1.36.0", 1)
    hosts._call_seconds = 2.0
    with Path(f"{layout.epoch}.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Temporary, match="another operator is at work"):
            await hosts.switch("h1", "kubelet", "1.37.0", 1)
    assert os.readlink(f"{layout.root}/kubelet/current") == "1.36.0"


async def test_arguments_are_never_shell(hosts: SshHosts, tmp_path: Path) -> None:
    evil = "$(touch pwned); `touch pwned` ' \" \n*"
    ran = await hosts._connections.run("h1", ["printf", "%s", evil], timeout=5)
    assert ran.out == evil
    with pytest.raises(StepFailed):
        await hosts.switch("h1", "etcd", evil, 1)
    assert not (tmp_path / "pwned").exists()


async def test_a_deadline_means_unknown_and_the_next_call_works(connections: Connections) -> None:
    with pytest.raises(Unreachable, match=r"within 0\.2 s"):
        await connections.run("h1", ["sleep", "5"], timeout=0.2)
    assert (await connections.run("h1", ["echo", "back"], timeout=5)).out == "back\n"


async def test_a_late_answer_breaks_off_nothing_beside_it(connections: Connections) -> None:
    async with asyncio.TaskGroup() as group:
        upload = group.create_task(connections.run("h1", ["sleep", "0.8"], timeout=20))
        await asyncio.sleep(0.2)
        with pytest.raises(Unreachable, match=r"within 0\.2 s"):
            await connections.run("h1", ["sleep", "5"], timeout=0.2)
        assert (await connections.run("h1", ["echo", "anew"], timeout=5)).out == "anew\n"
    assert upload.result().code == 0
    assert len(connections._users) == 0


async def test_only_the_connection_that_was_late_is_given_up(connections: Connections) -> None:
    """Two are late on the first; the second of them finds another one in its place."""

    async def late(seconds: float) -> None:
        with pytest.raises(Unreachable):
            await connections.run("h1", ["sleep", "9"], timeout=seconds)

    async with asyncio.TaskGroup() as group:
        group.create_task(late(0.3))
        group.create_task(late(0.6))
        await asyncio.sleep(0.4)
        anew = group.create_task(connections.run("h1", ["sleep", "0.6"], timeout=20))
    assert anew.result().code == 0


async def test_what_a_dead_operator_left_does_not_pile_up(
    hosts: SshHosts, layout: LayoutConfig, tmp_path: Path
) -> None:
    left = Path(layout.root, "etcd", ".pawl-3.6.14-3")
    left.mkdir(parents=True)
    (left / "etcd").write_bytes(b"half of it")
    mine = Path(layout.root, "etcd", ".pawl-3.5.33-4")
    mine.mkdir()
    await hosts.stage("h1", "etcd", "3.6.14", [staged(tmp_path / "etcd", b"binary")], 4)
    assert sorted(os.listdir(f"{layout.root}/etcd")) == [".pawl-3.5.33-4", "3.6.14"]
    await hosts.stage("h1", "etcd", "3.6.14", [staged(tmp_path / "etcd", b"binary")], 5)
    assert os.listdir(f"{layout.root}/etcd") == ["3.6.14"], "also where nothing has to be uploaded"


async def test_a_local_file_that_is_gone_is_no_host_out_of_reach(
    hosts: SshHosts, tmp_path: Path
) -> None:
    file = staged(tmp_path / "etcd", b"binary")
    file.path.unlink()
    with pytest.raises(StepFailed, match="on this machine cannot be read"):
        await hosts.stage("h1", "etcd", "3.6.14", [file], 1)


async def test_a_restored_snapshot_does_not_outlive_the_proof(
    hosts: SshHosts, layout: LayoutConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds every Secret of the cluster."""
    restores = tmp_path / "restores"
    (restores / "pawl-restore-of-somebody-dead").mkdir(parents=True)
    monkeypatch.setattr(ssh, "RESTORES", f"{restores}/pawl-restore-")
    tool = Path(layout.root, "etcd", "current", "etcdutl")
    tool.parent.mkdir(parents=True)
    tool.write_text(f"#!/bin/sh\ncd {tmp_path} && ls restores >new && mv new ran\nsleep 30\n")
    tool.chmod(0o755)
    snapshot = tmp_path / "etcd-1.db"
    snapshot.write_bytes(b"secrets")
    async with anyio.create_task_group() as group:
        group.start_soon(hosts.restore_snapshot, "h1", snapshot, 1, 1)
        while not (tmp_path / "ran").exists():
            await asyncio.sleep(0.02)
        group.cancel_scope.cancel()
    assert len((tmp_path / "ran").read_text().split()) == 1, "one at a time, whoever began it"
    assert not list(restores.iterdir())


async def test_a_connection_that_drops_under_a_command_means_unknown(
    connections: Connections, tmp_path: Path
) -> None:
    """The command's parent is the sshd of this connection: it kills that one when it has run."""
    ran = ["sh", "-c", f"touch {tmp_path}/ran; kill -KILL $PPID; sleep 5"]
    with pytest.raises(Unreachable, match=r"what it did is unknown"):
        await connections.run("h1", ran, timeout=5)
    assert (tmp_path / "ran").exists()
    assert (await connections.run("h1", ["echo", "back"], timeout=5)).out == "back\n"
    assert (await connections.run("h1", ["sh", "-c", "kill -KILL $$"], timeout=5)).code == -1


async def test_an_unknown_host_key_is_refused(server: SshConfig, tmp_path: Path) -> None:
    keygen(tmp_path / "other")
    key = (tmp_path / "other.pub").read_text().strip()
    (tmp_path / "known").write_text(f"[127.0.0.1]:{server.port} {key}\n")
    for known in (tmp_path / "known", tmp_path / "empty"):
        known.touch()
        config = msgspec.structs.replace(server, known_hosts=str(known))
        connections = Connections(config, Inventory([H1]))
        with pytest.raises(Unreachable):
            await connections.run("h1", ["true"], timeout=5)
        await connections.aclose()


async def test_a_key_that_went_bad_is_no_traceback(server: SshConfig, tmp_path: Path) -> None:
    """It was good when pawl.yaml was read, and somebody has written over it since."""
    keygen(tmp_path / "locked")
    (tmp_path / "locked").write_text("not a key any more\n")
    locked = msgspec.structs.replace(server, key=str(tmp_path / "locked"))
    with pytest.raises(Unreachable, match="cannot be used for SSH"):
        await Connections(locked, Inventory([H1])).run("h1", ["true"], timeout=5.0)


async def test_a_host_that_nobody_knows(connections: Connections) -> None:
    with pytest.raises(Unreachable, match=r"neither in pawl\.yaml"):
        await connections.run("h9", ["true"], timeout=5)


async def test_facts_of_a_host(
    hosts: SshHosts, connections: Connections, layout: LayoutConfig, tmp_path: Path
) -> None:
    await hosts.stage("h1", "etcd", "3.5.33", [staged(tmp_path / "etcd", b"e")], 4)
    await hosts.switch("h1", "etcd", "3.5.33", 4)
    await hosts.set_flags("h1", "etcd", ["--name=a", f"--cert-file={tmp_path}/etcd.crt"], 4)
    made = shutil.which("openssl")
    if made:
        subprocess.run(
            [made, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-keyout", f"{tmp_path}/etcd.key", "-out", f"{tmp_path}/etcd.crt",
             "-subj", "/CN=etcd-a", "-days", "9"],
            check=True, capture_output=True,
        )  # fmt: skip
    reader = HostReader(connections, layout, str(tmp_path), 5.0)
    host = await reader.read(H1)
    assert host.reachable
    assert host.epoch == 4
    assert host.current == {"etcd": "3.5.33"}
    assert host.staged == {"etcd": ("3.5.33",)}
    assert host.flags["etcd"][0] == "--name=a"
    assert host.clock_offset == 0.0
    assert host.kernel == os.uname().release
    assert host.disk_free["/"] > 0
    assert host.disk_free[str(tmp_path)] > 0
    assert host.etcd_data == "", "the disk holds no member"
    (tmp_path / "member").mkdir()
    (tmp_path / "member" / "wal").mkdir()
    first = (await reader.read(H1)).etcd_data
    assert first
    assert (await reader.read(H1)).etcd_data == first
    (tmp_path / "member").rename(tmp_path / "gone")
    (tmp_path / "member").mkdir()
    assert (await reader.read(H1)).etcd_data not in ("", first)
    if made:
        assert [c.subject for c in host.certificates] == ["CN=etcd-a"]
    (tmp_path / "etcd.crt").unlink(missing_ok=True)
    await hosts.claim("h1", 7)
    again = await reader.read(H1, host)
    assert again.epoch == 7, "what changes is read again"
    assert again.certificates == host.certificates, "what lasts is kept, and its file not looked at"
    assert again.disk_free == host.disk_free
    rebooted = msgspec.structs.replace(host, boot_id="another")
    assert (await reader.read(H1, rebooted)).certificates == (), "a new boot is read as a whole"


@pytest.fixture
def systemd(server: SshConfig) -> Iterator[Systemd]:
    made = Systemd(server)
    yield made
    made.says("running")


async def test_units_as_systemd_tells_them(
    connections: Connections, layout: LayoutConfig, systemd: Systemd
) -> None:
    reader = HostReader(connections, layout, "/nonexistent", 5.0)
    systemd.says("degraded", etcd="active", kubelet="failed")
    host = await reader.read(H1)
    assert {u.name: (u.active, u.since) for u in host.units} == {
        "etcd.service": ("active", 7.0),
        "kubelet.service": ("failed", 7.0),
    }


async def test_a_host_that_goes_down_tells_nothing_of_its_units(
    connections: Connections, layout: LayoutConfig, hosts: SshHosts, systemd: Systemd
) -> None:
    """A unit that is down because all are is no answer, and nor is a systemd that says nothing."""
    reader = HostReader(connections, layout, "/nonexistent", 5.0)
    systemd.says("stopping", etcd="active")
    assert (await reader.read(H1)).reachable
    systemd.says("stopping", etcd="inactive")
    with pytest.raises(Unreachable, match="going down"):
        await reader.read(H1)
    with pytest.raises(Temporary, match="going down"):
        await hosts.start("h1", "etcd.service", 20)
    systemd.says("silent")
    with pytest.raises(Unreachable, match="does not answer"):
        await reader.read(H1)
    with pytest.raises(Temporary, match="does not answer"):
        await hosts.stop("h1", "etcd.service", 1, 20)


async def test_a_systemd_that_is_too_busy_for_an_order_is_asked_again(
    hosts: SshHosts, systemd: Systemd
) -> None:
    systemd.says("busy")
    with pytest.raises(Temporary, match=r"does not answer: .*Connection timed out"):
        await hosts.stop("h1", "etcd.service", 1, 20)
    systemd.says("masked")
    with pytest.raises(StepFailed, match=r"systemctl start failed: .*is masked") as refused:
        await hosts.start("h1", "etcd.service", 20)
    assert not isinstance(refused.value, Temporary)


@pytest.mark.parametrize("active", ["inactive", "failed"])
async def test_a_start_that_waits_for_its_turn_has_not_failed(
    hosts: SshHosts, systemd: Systemd, monkeypatch: pytest.MonkeyPatch, active: str
) -> None:
    """An order stands in systemd's queue, and the unit is down until its turn comes."""
    monkeypatch.setattr(hosts, "_call_seconds", 1.0)
    states = iter([active] * 15 + ["active"] * 3)  # some two seconds

    async def state(host: str, unit: str) -> str:
        return next(states)

    monkeypatch.setattr(hosts, "_active_state", state)
    systemd.says("running")
    if active == "inactive":
        await hosts.start("h1", "etcd.service", 20)
    else:
        with pytest.raises(StepFailed, match=r"etcd\.service on h1 is failed"):
            await hosts.start("h1", "etcd.service", 20)


UTILITY = """\
#!/bin/sh
case $2 in
restore) mkdir -p "$5" ;;
status) echo '{"revision": 7, "totalKey": 3}' ;;
esac
"""


async def test_etcd_before_3_5_is_proven_with_the_utility_that_lies_ready(
    hosts: SshHosts, layout: LayoutConfig, tmp_path: Path
) -> None:
    etcd, snapshot = Path(layout.root, "etcd"), tmp_path / "snapshot.db"
    (etcd / "3.4.45").mkdir(parents=True)
    (etcd / "current").symlink_to("3.4.45")
    snapshot.write_bytes(b"data")
    with pytest.raises(StepFailed, match="no etcdutl"):
        await hosts.restore_snapshot("h1", snapshot, 7, 1)
    (etcd / "3.5.33").mkdir()
    tool = etcd / "3.5.33" / "etcdutl"
    tool.write_text(UTILITY)
    tool.chmod(0o755)
    said = await hosts.restore_snapshot("h1", snapshot, 7, 1)
    assert said == "restored on h1: 3 keys at revision 7"
