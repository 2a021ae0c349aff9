"""The connections that nodes know of, over SSH: evidence of who talks to whom."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib import resources

from pawl.adapters.hosts.connection import Connections
from pawl.core.errors import PawlError, Unreachable
from pawl.core.workloads import conntrack
from pawl.core.workloads.facts import Connection

SCRIPT = resources.files("pawl.adapters.hosts").joinpath("connections.sh").read_text()


async def read_connections(
    connections: Connections, hosts: Sequence[tuple[str, str]], seconds: float
) -> list[tuple[str, set[Connection] | PawlError]]:
    """For each (host, node): what was seen there, or why nothing could be read."""

    async def one(host: str, node: str) -> tuple[str, set[Connection] | PawlError]:
        try:
            argv = [*connections.prefix, "/bin/sh"]
            ran = await connections.run(host, argv, timeout=seconds, stdin=SCRIPT)
        except PawlError as error:
            return node, error
        how, _, text = ran.out.partition("\n")
        match how:
            case "conntrack":
                return node, conntrack.parse(text, node)
            case "sockets":
                return node, conntrack.sockets(text, node)
            case _:
                why = ran.err.strip() or "neither conntrack nor socket tables are readable"
                return node, Unreachable(f"the connections on {host} cannot be read: {why}")

    return list(await asyncio.gather(*(one(*h) for h in hosts)))
