"""A control group for each machine: the one authority on which processes belong to it.

Each machine gets `pawl/LAB/MACHINE` in every mounted hierarchy before its supervisor starts, so all
that ever runs in it is inside, whatever it forks and however its parents die. A process cannot
leave, because nspawn gives the machine a cgroup namespace of its own. So `kill` finds everything
without looking at names, and cannot hit another lab. Without it the machines would also share
`/system.slice` and `/kubepods` of the host and remove each other's groups.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PERIOD_US = 20_000
"""Length of a scheduling period in microseconds: short, so that a machine which has used its share
is not away for long."""

MACHINES = 10
"""Machines of an ordinary lab."""


def hierarchies(mounts: Path = Path("/proc/self/mountinfo")) -> list[Path]:
    """Mount points of every cgroup hierarchy, v1 and v2."""
    found: list[Path] = []
    for line in mounts.read_text().splitlines():
        left, _, right = line.partition(" - ")
        if right.split(" ", 1)[0] in ("cgroup", "cgroup2"):
            path = Path(left.split(" ")[4])
            if path not in found and path.is_relative_to(ROOT):
                found.append(path)
    return found


def _inherit_cpuset(group: Path) -> None:
    # cgroup v1: a new cpuset is empty and takes no process until cpus and mems are set.
    for name in ("cpuset.cpus", "cpuset.mems"):
        here = group / name
        if here.exists() and not here.read_text().strip():
            here.write_text((group.parent / name).read_text())


def _weigh(group: Path) -> None:
    """All machines of a lab together weigh like `MACHINES` processes of this host, not like one."""
    if (group / "cpu.shares").exists():
        (group / "cpu.shares").write_text(str(1024 * MACHINES))
    elif (group / "cpu.weight").exists():
        (group / "cpu.weight").write_text(str(100 * MACHINES))


def _one_cpu(group: Path, share: int) -> None:
    """A machine has one CPU, as a small VM has. Without the bound a machine that boots, or an API
    server that starts, takes every core of this host, and its neighbours, which would have cores
    of their own, seem to stall. `share` is its part where the host has too few for all."""
    if (group / "cpu.cfs_quota_us").exists():
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(PERIOD_US))
        (group / "cpu.shares").write_text(str(1024 * share))
    elif (group / "cpu.max").exists():
        (group / "cpu.max").write_text(f"{PERIOD_US} {PERIOD_US}")
        (group / "cpu.weight").write_text(str(100 * share))


def create(lab: str, machine: str, share: int = 1) -> list[Path]:
    """Make the machine's group in each hierarchy; returns their `cgroup.procs` files. `share`: how
    much CPU it gets, beside a machine of one share, while both want more than there is."""
    files = []
    for hierarchy in hierarchies():
        group = hierarchy
        for part in ("pawl", lab, machine):
            group = group / part
            group.mkdir(exist_ok=True)
            _inherit_cpuset(group)
            if part != machine:
                _weigh(group)
        _one_cpu(group, share)
        files.append(group / "cgroup.procs")
    return files


def _groups(lab: str, machine: str | None) -> list[Path]:
    tail = Path("pawl", lab, machine) if machine else Path("pawl", lab)
    return [g for h in hierarchies() if (g := h / tail).is_dir()]


def pids(lab: str, machine: str | None = None) -> set[int]:
    """Every process of the machine, or of the whole lab, in any hierarchy."""
    found: set[int] = set()
    for group in _groups(lab, machine):
        for directory, _, _ in os.walk(group):
            try:
                text = Path(directory, "cgroup.procs").read_text()
            except OSError:
                continue
            found.update(int(p) for p in text.split())
    found.discard(0)
    return found


def kill(lab: str, machine: str | None = None, timeout: float = 300.0) -> None:
    """SIGKILL everything inside until nothing is left; TimeoutError names what would not die. A
    process that waits for a disk dies when that answers."""
    deadline = time.monotonic() + timeout
    while alive := pids(lab, machine):
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {sorted(alive)} of lab {lab} survive SIGKILL")
        time.sleep(0.02)


def remove(lab: str, machine: str | None = None) -> None:
    """Remove the emptied groups, deepest first, and the parents when nobody else uses them."""
    for group in _groups(lab, machine):
        for directory, _, _ in os.walk(group, topdown=False):
            _rmdir(Path(directory))
        for parent in list(group.parents)[: 1 if machine is None else 2]:
            if parent in hierarchies():
                break
            try:
                parent.rmdir()
            except OSError:
                break


def _rmdir(group: Path) -> None:
    # The kernel answers EBUSY for some milliseconds after the last process is gone, busy ones more.
    end = time.monotonic() + 60
    while True:
        try:
            group.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
