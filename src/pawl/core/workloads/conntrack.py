"""Connections that a node knows of: lines of conntrack, or of a pod's own socket table.

Conntrack (`conntrack -L`, or /proc/net/nf_conntrack) shows each connection twice: as its opener
sent it, and as the answers come back. The first source is who opened it, the second who really
answers, behind a Service's address. A socket table (/proc/PID/net/tcp of a process in the pod)
shows only the pod's own side: the address that it connected to, which may be a Service's.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from pawl.core.workloads.facts import Connection

_PAIR = re.compile(r"\b(src|dst|sport|dport)=(\S+)")
_FRUITLESS = ("[UNREPLIED]", "SYN_SENT", "SYN_RECV")
ESTABLISHED = "01"
"""State of an open connection in /proc/net/tcp (include/net/tcp_states.h)."""
LISTEN = "0A"


def parse(text: str, node: str = "") -> set[Connection]:
    """Connections that were answered; what is no line of conntrack is passed over."""
    found = set()
    for line in text.splitlines():
        if any(word in line for word in _FRUITLESS):
            continue
        pairs = _PAIR.findall(line)
        sources = [v for k, v in pairs if k == "src"]
        ports = [v for k, v in pairs if k == "dport"]
        if len(sources) == 2 and ports and ports[0].isdigit():
            found.add(
                Connection(source=sources[0], target=sources[1], port=int(ports[0]), node=node)
            )
    return found


def sockets(text: str, node: str = "") -> set[Connection]:
    """Open connections out of socket tables, each table of one network namespace.

    A connection to a port that somebody listens on here was opened by the other side, and is left
    out: the other side's table has it. Tables are separated by a line that starts with "sl" (their
    own heading)."""
    found: set[Connection] = set()
    for table in _tables(text.splitlines()):
        rows = [(_address(r[1]), _address(r[2]), r[3]) for r in table]
        listening = {local[1] for local, _, state in rows if state == LISTEN}
        for local, remote, state in rows:
            outgoing = state == ESTABLISHED and local[1] not in listening
            if outgoing and not ipaddress.ip_address(remote[0]).is_loopback:
                found.add(Connection(source=local[0], target=remote[0], port=remote[1], node=node))
    return found


def _tables(lines: Iterable[str]) -> list[list[list[str]]]:
    tables: list[list[list[str]]] = []
    for line in lines:
        words = line.split()
        if words[:1] == ["sl"]:
            tables.append([])
        elif tables and len(words) > 3 and ":" in words[1] and ":" in words[2]:
            tables[-1].append(words)
    return tables


def _address(text: str) -> tuple[str, int]:
    """ "0100007F:1F90" -> ("127.0.0.1", 8080): words of 32 bits in the host's order."""
    raw, _, port = text.partition(":")
    words = [bytes.fromhex(raw[i : i + 8])[::-1] for i in range(0, len(raw), 8)]
    address = ipaddress.ip_address(b"".join(words))
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(address), int(port, 16)
