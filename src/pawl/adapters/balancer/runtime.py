"""What HAProxy's runtime socket says, as facts (management guide, "show servers state")."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Literal

from pawl.core.config import HostConfig
from pawl.core.errors import Unreachable
from pawl.core.model import BalancerMember

# Bits of srv_admin_state: maintenance ordered, inherited, from the configuration, or by DNS;
# drain ordered or inherited.
MAINTENANCE = 0x01 | 0x02 | 0x04 | 0x20
DRAIN = 0x08 | 0x10
STOPPED = 0  # of srv_op_state; 1 to 3 are starting, running, stopping: all take traffic


def read_commands(backend: str) -> str:
    """One line with both questions; type 4 is "server", -1 "all of them"."""
    return f"show servers state {backend}; show stat {backend} 4 -1"


def parse(text: str, backend: str, hosts: Sequence[HostConfig]) -> tuple[BalancerMember, ...]:
    """Members in the balancer's order. Raises `Unreachable` for an answer that is none."""
    states = _table(text, "# be_id ", " ")
    stats = {row["svname"]: row for row in _table(text, "# pxname,", ",")}
    by_name = {h.name: h.name for h in hosts}
    by_address = {h.address: h.name for h in hosts}
    return tuple(
        BalancerMember(
            name=row["srv_name"],
            address=f"{row['srv_addr']}:{row['srv_port']}",
            host=by_name.get(row["srv_name"]) or by_address.get(row["srv_addr"], ""),
            admin=_admin(int(row["srv_admin_state"])),
            check=_check(int(row["srv_admin_state"]), int(row["srv_op_state"])),
            sessions=int(stats.get(row["srv_name"], {}).get("scur") or 0),
        )
        for row in states
        if row["be_name"] == backend
    )


def _table(text: str, header: str, separator: str) -> list[dict[str, str]]:
    """The rows after the line that starts with `header`, up to an empty line."""
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith(header)), None)
    if start is None:
        raise Unreachable(f"HAProxy's answer cannot be read: {text.strip()[:200]}")
    block: list[str] = [lines[start].removeprefix("# ")]
    for line in lines[start + 1 :]:
        if not line.strip():
            break
        block.append(line)
    return list(csv.DictReader(io.StringIO("\n".join(block)), delimiter=separator))


def _admin(bits: int) -> Literal["ready", "drain", "maint"]:
    if bits & MAINTENANCE:
        return "maint"
    return "drain" if bits & DRAIN else "ready"


def _check(bits: int, operational: int) -> Literal["up", "down", "unknown"]:
    if bits & MAINTENANCE:
        return "unknown"  # not checked meanwhile
    return "down" if operational == STOPPED else "up"
