"""Audit logs: folded on the hosts where they lie, or read from local files that were fetched."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from pawl.adapters.hosts.connection import Connections
from pawl.core.errors import PawlError
from pawl.core.inventory.callers import Callers
from pawl.core.inventory.facts import Call
from pawl.core.model import Unread

SCRIPT = resources.files("pawl.adapters.inventory").joinpath("callers.sh").read_text()
SECONDS = 120
"""How long one file may take on a host; 1 GB of records takes mawk some 20 s."""
FLAG = "--audit-log-path="
Answer = tuple[tuple[Call, ...], tuple[Unread, ...], bool]
"""Calls, what was not read, and whether any log was."""


async def read(
    logs: Sequence[tuple[str, Sequence[str]]],
    connections: Connections | None,
    files: Sequence[Path],
    days: float,
) -> Answer:
    """`logs` are hosts with the flags of their
    API server; a server that keeps no log is no failure: there is nothing to read."""
    folded = Callers()
    unread: list[Unread] = []
    read_any = False
    for path in files:
        try:
            await asyncio.to_thread(local, path, folded)
            read_any = True
        except (OSError, EOFError, zlib.error) as error:
            why = getattr(error, "strerror", None) or str(error)
            unread.append(Unread(source=f"audit log {path}", why=why))
    if connections is not None:
        for host, flags in logs:
            path_there = log_path(flags)
            if not path_there:
                continue
            lost = await _remote(connections, host, path_there, folded, days)
            unread += lost
            read_any = read_any or not lost
    if folded.unparsable:
        why = f"{folded.unparsable} lines are no audit records"
        unread.append(Unread(source="audit logs", why=why))
    return folded.calls(), tuple(unread), read_any


def log_path(flags: Sequence[str]) -> str:
    """Where an API server writes its audit log; "" when to no file."""
    paths = [f.removeprefix(FLAG).strip("\"'") for f in flags if f.startswith(FLAG)]
    return paths[-1] if paths and paths[-1].startswith("/") else ""


def local(path: Path, folded: Callers) -> None:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for line in file:
            folded.line(line)


async def _remote(
    connections: Connections, host: str, path: str, folded: Callers, days: float
) -> list[Unread]:
    source = f"audit log on {host}"
    argv = [*connections.prefix, "/bin/sh", "-s", "--", path, str(int(days) + 1), str(SECONDS)]
    try:
        ran = await connections.run(host, argv, timeout=4.0 * SECONDS, stdin=SCRIPT)
    except PawlError as error:
        return [Unread(source=source, why=str(error))]
    unread: list[Unread] = []
    ended = False
    for line in ran.out.splitlines():
        match line.split("\t"):
            case ["C", user, agent, count, last]:
                folded.add(user, agent, int(count), last, {})
            case ["D", user, agent, api, removed]:
                folded.add(user, agent, 0, "", {api: removed})
            case ["U", file]:
                why = f"{file} cannot be read there, or took longer than {SECONDS} s"
                unread.append(Unread(source=source, why=why))
            case ["E"]:
                ended = True
    if not ended:
        why = f"the reading of it broke off (code {ran.code})"
        unread.append(Unread(source=source, why=why))
    return unread
