"""The `Balancer` port against a real HAProxy, its socket reached over a real sshd."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from support_sshd import SSHD, free_port, sshd

from pawl.adapters.balancer import HaproxyBalancer
from pawl.adapters.hosts import Connections, Inventory, SshHosts
from pawl.core.config import (
    HostConfig,
    LayoutConfig,
    LoadBalancerConfig,
    SshConfig,
    TimeoutConfig,
)
from pawl.core.errors import Fenced, StepFailed, Unreachable
from support_pki import Authority

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/sbin:/bin") or ""
pytestmark = [
    pytest.mark.skipif(not HAPROXY, reason="needs haproxy"),
    pytest.mark.skipif(not Path(SSHD).exists() or os.geteuid() != 0, reason="needs sshd as root"),
    pytest.mark.anyio,
]
HOSTS = (
    HostConfig(name="lb", address="127.0.0.1", roles=("load-balancer",)),
    HostConfig(name="cp-1", address="127.0.0.2", roles=("control-plane",)),
    HostConfig(name="cp-2", address="127.0.0.3", roles=("control-plane",)),
)
CONFIG = """\
global
    stats socket {d}/admin.sock mode 600 level admin
defaults
    mode tcp
    timeout connect 2s
    timeout client 1h
    timeout server 1h
frontend apiserver
    bind 127.0.0.1:{front}
    default_backend apiservers
backend apiservers  # the API servers
    option httpchk GET /readyz
    default-server check check-ssl verify required ca-file {d}/ca.crt inter 100ms fall 2 rise 1
    server cp-1 127.0.0.2:{api}
    server cp-2 127.0.0.3:{api}
"""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshConfig]:
    with sshd(tmp_path_factory.mktemp("sshd")) as config:
        yield config


class Rig:
    """HAProxy and one answering API server at 127.0.0.2; 127.0.0.3 is down."""

    def __init__(self, directory: Path, balancer: HaproxyBalancer, file: Path, front: int) -> None:
        self.directory = directory
        self.balancer = balancer
        self.file = file
        self.front = front


@pytest.fixture
async def rig(server: SshConfig, tmp_path: Path) -> AsyncIterator[Rig]:
    authority = Authority(tmp_path)
    crt, key = authority.issue("kube-apiserver")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):  # HAProxy resets the connection of its check
            await reader.readline()
            writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()
            await reader.read()  # stay open until the client goes
        writer.close()

    api = await asyncio.start_server(answer, "127.0.0.2", 0, ssl=context)
    port = api.sockets[0].getsockname()[1]
    file = tmp_path / "haproxy.cfg"
    front = free_port()
    file.write_text(CONFIG.format(d=tmp_path, front=front, api=port))
    process = subprocess.Popen(
        [HAPROXY, "-db", "-f", str(file)], stderr=(tmp_path / "haproxy.log").open("wb")
    )
    connections = Connections(server, Inventory(HOSTS))
    layout = LayoutConfig(epoch=str(tmp_path / "var" / "epoch"))
    balancer = HaproxyBalancer(
        LoadBalancerConfig(host="lb", socket=f"{tmp_path}/admin.sock", config=str(file)),
        connections,
        SshHosts(connections, layout, TimeoutConfig()),
        lambda: HOSTS,
        port,
        5.0,
    )
    while not (tmp_path / "admin.sock").exists():
        assert process.poll() is None, (tmp_path / "haproxy.log").read_text()
        await asyncio.sleep(0.02)
    yield Rig(tmp_path, balancer, file, front)
    await connections.aclose()
    process.terminate()
    process.wait()
    api.close()


async def until(rig: Rig, name: str, **wanted: object) -> None:
    end = time.monotonic() + 10
    while True:
        member = next((m for m in await rig.balancer.members() if m.name == name), None)
        if member and all(getattr(member, k) == v for k, v in wanted.items()):
            return
        assert time.monotonic() < end, member
        await asyncio.sleep(0.05)


async def test_members_with_what_was_ordered_and_what_is_seen(rig: Rig) -> None:
    await until(rig, "cp-1", admin="ready", check="up", host="cp-1")
    await until(rig, "cp-2", admin="ready", check="down", host="cp-2")


async def test_drain_and_enable_are_idempotent(rig: Rig) -> None:
    await until(rig, "cp-1", check="up")
    for _ in range(2):
        await rig.balancer.drain("cp-1", 1)
        await until(rig, "cp-1", admin="drain", check="up")
    for _ in range(2):
        await rig.balancer.enable("cp-1", 1)
        await until(rig, "cp-1", admin="ready", check="up")


async def test_sessions_are_counted_and_a_drain_keeps_them(rig: Rig) -> None:
    await until(rig, "cp-1", check="up")
    _, writer = await asyncio.open_connection("127.0.0.1", rig.front)
    await until(rig, "cp-1", sessions=1)
    await rig.balancer.drain("cp-1", 1)
    await until(rig, "cp-1", admin="drain", sessions=1)
    writer.close()
    await until(rig, "cp-1", admin="drain", sessions=0)


async def test_a_fenced_operator_orders_nothing(rig: Rig) -> None:
    await rig.balancer.drain("cp-1", 5)
    before = rig.file.read_text()
    for attempt in (
        rig.balancer.enable("cp-1", 4),
        rig.balancer.add("cp-3", "127.0.0.4", 4),
        rig.balancer.remove("cp-1", 4),
    ):
        with pytest.raises(Fenced):
            await attempt
    assert rig.file.read_text() == before
    members = {m.name: m.admin for m in await rig.balancer.members()}
    assert members == {"cp-1": "drain", "cp-2": "ready"}


async def test_an_added_server_is_checked_and_survives_a_restart(rig: Rig) -> None:
    for _ in range(2):
        await rig.balancer.add("cp-3", "127.0.0.2", 1)
    await until(rig, "cp-3", admin="maint", check="unknown")
    await rig.balancer.enable("cp-3", 1)
    await until(rig, "cp-3", admin="ready", check="up")
    lines = [line.split() for line in rig.file.read_text().splitlines()]
    servers = [words[1] for words in lines if words and words[0] == "server"]
    assert servers == ["cp-1", "cp-2", "cp-3"]
    done = subprocess.run([HAPROXY, "-c", "-f", str(rig.file)], capture_output=True)
    assert done.returncode == 0, done.stderr
    with pytest.raises(StepFailed, match="already has a server cp-3"):
        await rig.balancer.add("cp-3", "127.0.0.9", 1)


async def test_a_removed_server_is_gone_from_both(rig: Rig) -> None:
    for _ in range(2):
        await rig.balancer.remove("cp-2", 1)
    assert [m.name for m in await rig.balancer.members()] == ["cp-1"]
    assert "cp-2" not in rig.file.read_text()
    assert "# the API servers" in rig.file.read_text()


async def test_an_unknown_server_and_an_odd_name(rig: Rig) -> None:
    with pytest.raises(StepFailed, match="No such server"):
        await rig.balancer.drain("cp-9", 1)
    with pytest.raises(StepFailed, match="cannot be the name"):
        await rig.balancer.drain("cp-1 state ready; show info", 1)


async def test_a_dead_balancer_is_unreachable(rig: Rig) -> None:
    rig.balancer._config = LoadBalancerConfig(host="lb", socket=f"{rig.directory}/gone.sock")
    with pytest.raises(Unreachable, match=r"runtime socket .*gone.sock on lb does not answer"):
        await rig.balancer.members()
    with pytest.raises(Unreachable, match=r"\(nobody listens there\); is HAProxy running there"):
        await rig.balancer.drain("cp-1", 1)
