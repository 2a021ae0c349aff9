"""The programs that pods run, read on their nodes: client-go's version without any registry.

One command for each host lists the processes whose cgroup belongs to a wanted pod; then a few
kilobytes of /proc/PID/exe are read over SFTP, where Go's build information lies. At most one pod
of each workload is looked at, at most `MOST` processes of a host, nothing of memory or environment.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib import resources

import asyncssh

from pawl.adapters.hosts.connection import Connections
from pawl.adapters.inventory.gofile import fact
from pawl.core.errors import PawlError
from pawl.core.inventory import gobuild
from pawl.core.inventory.facts import Binary, WorkloadFact
from pawl.core.model import Unread

SCRIPT = resources.files("pawl.adapters.inventory").joinpath("processes.sh").read_text()
MOST = 400
SECONDS = 60.0
Answer = tuple[tuple[Binary, ...], tuple[Unread, ...]]
NOT_IT = ("/pause", "/sh", "/bash", "/busybox", "/tini", "/dumb-init", "/catatonit")


async def read(
    connections: Connections,
    hosts: Mapping[str, str],
    workloads: Sequence[WorkloadFact],
    *,
    proc: str = "/proc",
) -> Answer:
    """`hosts` maps a node's name to its host's. Pods on other nodes are passed over: there is no
    way to them, and their workloads' client-go stays unknown."""
    wanted: dict[str, dict[str, str]] = defaultdict(dict)
    for workload in workloads:
        for uid, node in workload.pods:
            if node in hosts:
                wanted[hosts[node]][uid] = workload.ref
                break
    done = await asyncio.gather(
        *(_host(connections, host, pods, proc) for host, pods in sorted(wanted.items()))
    )
    found: dict[str, Binary] = {}
    for binaries, _ in done:
        for binary in binaries:
            held = found.get(binary.workload)
            if held is None or (binary.client_go and not held.client_go):
                found[binary.workload] = binary
    return tuple(found.values()), tuple(u for _, unread in done for u in unread)


async def _host(
    connections: Connections, host: str, pods: Mapping[str, str], proc: str
) -> tuple[list[Binary], list[Unread]]:
    source = f"programs of pods on {host}"
    argv = [*connections.prefix, "/bin/sh", "-s", "--", proc, str(MOST), *pods]
    try:
        ran = await connections.run(host, argv, timeout=SECONDS, stdin=SCRIPT)
        if ran.code != 0:
            why = ran.err.strip() or f"the listing ended with code {ran.code}"
            return [], [Unread(source=source, why=why)]
        lines = [line.split("\t") for line in ran.out.splitlines()]
        processes = [(p, u, x) for p, u, x in (li for li in lines if len(li) == 3)]
        return await _programs(connections, host, pods, processes, proc)
    except PawlError as error:
        return [], [Unread(source=source, why=str(error))]


async def _programs(
    connections: Connections,
    host: str,
    pods: Mapping[str, str],
    processes: Sequence[tuple[str, str, str]],
    proc: str,
) -> tuple[list[Binary], list[Unread]]:
    found: list[Binary] = []
    denied = 0
    async with (
        connections.use(host, SECONDS) as connection,
        connection.start_sftp_client() as sftp,
    ):
        for pid, uid, executable in processes:
            if executable.removesuffix(" (deleted)").endswith(NOT_IT):
                continue
            try:
                async with sftp.open(f"{proc}/{pid}/exe", "rb") as file:
                    info = await _pull(file)
            except gobuild.NotGo:
                continue
            except asyncssh.SFTPNoSuchFile:  # it has ended since
                continue
            except asyncssh.SFTPError:
                denied += 1
                continue
            found.append(fact(info, executable, workload=pods[uid], where=host))
    if denied:
        why = f"{denied} programs may not be read by the SSH user; root may (`ssh.user`)"
        return found, [Unread(source=f"programs of pods on {host}", why=why)]
    return found, []


async def _pull(file: asyncssh.SFTPClientFile) -> gobuild.BuildInfo:
    reading = gobuild.read()
    wanted = next(reading)
    while True:
        at, length = wanted
        data = await file.read(length, at) if length else b""
        try:
            wanted = reading.send(data.encode() if isinstance(data, str) else data)
        except StopIteration as done:
            info: gobuild.BuildInfo = done.value
            return info
