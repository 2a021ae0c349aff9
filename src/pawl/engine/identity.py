"""Who holds the lock: a name that no later process can bear by chance.

A pid alone is reused; with its start time (clock ticks since boot, field 22 of /proc/PID/stat) and
the boot's id it is unique. The next pawl on the same machine can therefore tell a dead holder from
a live one without asking it.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

SEPARATOR = "/"


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def _start_time(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]  # the command before ")" may hold spaces


def holder() -> str:
    """ "host/boot-id/pid/start-time" of this process."""
    pid = os.getpid()
    return SEPARATOR.join((socket.gethostname(), _boot_id(), str(pid), _start_time(pid)))


def known_dead(name: str) -> bool:
    """Whether this holder lived on this machine and is gone: only then may its Lease be taken
    before it expires."""
    parts = name.split(SEPARATOR)
    if len(parts) != 4 or parts[0] != socket.gethostname() or not parts[2].isdigit():
        return False
    if parts[1] != _boot_id():
        return parts[1] != "unknown"
    return _start_time(int(parts[2])) != parts[3]
