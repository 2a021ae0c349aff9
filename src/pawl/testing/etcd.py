"""Simulated etcd: membership, leadership, cluster version, downgrade, and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pawl.core.version import Minor

if TYPE_CHECKING:
    from pawl.testing.machine import SimHost
    from pawl.testing.world import World

MONITOR = 4.0
"""Seconds of the servers' version monitor; measured 3.4–4.1 s from the last start."""
ENTRIES_PER_SECOND = 150
SINCE_STORAGE = Minor(3, 6)


@dataclass
class Member:
    host: str
    member_id: str


@dataclass
class SimEtcd:
    world: World
    members: dict[str, Member] = field(default_factory=dict)
    cluster: Minor = field(default_factory=lambda: Minor(3, 5))
    storage: Minor = field(default_factory=lambda: Minor(3, 5))
    downgrade: Minor | None = None
    leader: str = ""
    term: int = 2
    leader_changes: int = 0
    alarms: tuple[str, ...] = ()
    corrupt: set[str] = field(default_factory=set)
    lagging: dict[str, int] = field(default_factory=dict)
    stalled: set[str] = field(default_factory=set)
    """Members whose disk stalls just now: no linearizable read is answered in time."""
    snapshots: int = 0
    _advancing: bool = False

    def alive(self, host: str) -> bool:
        return host in self.members and self.world.runs(host, "etcd")

    def up(self) -> list[str]:
        return [h for h in self.members if self.alive(h)]

    def has_quorum(self) -> bool:
        return len(self.up()) >= len(self.members) // 2 + 1

    def version(self, host: str) -> str:
        return self.world.hosts[host].units["etcd"].version

    def refuses(self, host: SimHost) -> bool:
        """An empty disk cannot join an existing cluster; an old binary refuses newer data, and a
        new one more than a minor ahead."""
        if host.name not in self.members or not host.disk_has_data:
            return True
        binary = Minor.parse(host.current["etcd"])
        if binary < self.cluster:
            return True
        return self.downgrade is not None and binary < self.downgrade

    def settle(self) -> None:
        """Leadership and versions follow whoever is up."""
        if not self.members:
            return
        up = self.up()
        if self.leader not in up and self.has_quorum():
            self.lead(up[0])
        everybody = len(up) == len(self.members)
        if not everybody:
            return
        lowest = min(Minor.parse(self.version(h)) for h in up)
        if self.downgrade is not None and all(
            Minor.parse(self.version(h)) == self.downgrade for h in up
        ):
            self.downgrade = None
        if lowest > self.cluster and self.downgrade is None and not self._advancing:
            self._advancing = True
            self.world.later(MONITOR, self._advance)

    def _advance(self) -> None:
        self._advancing = False
        up = self.up()
        if len(up) < len(self.members) or self.downgrade is not None:
            return
        lowest = min(Minor.parse(self.version(h)) for h in up)
        if lowest > self.cluster:
            self.cluster = self.storage = lowest

    def lead(self, host: str) -> None:
        self.leader = host
        self.term += 1
        self.leader_changes += 1

    def enable_downgrade(self, minor: Minor) -> None:
        self.downgrade = self.cluster = minor

        def lowered() -> None:
            self.storage = minor

        self.world.later(MONITOR, lowered)

    def cancel_downgrade(self) -> None:
        self.downgrade = None
        self.settle()

    def index(self) -> int:
        return 10_000 + int((self.world.now - 1_800_000_000.0) * ENTRIES_PER_SECOND)

    def applied(self, host: str) -> int:
        """A restarted member applies what it missed at ten times the speed of new entries."""
        unit = self.world.hosts[host].units["etcd"]
        missed = self.lagging.get(host, 400)
        since = max(0.0, self.world.now - unit.ready_at)
        return self.index() - max(0, missed - int(since * ENTRIES_PER_SECOND * 10))

    def broken(self) -> list[str]:
        if not self.members:
            return []
        world = self.world
        down = [h for h in self.members if not self.alive(h)]
        mine = [h for h in down if h not in world.excused]
        found = []
        if len(mine) > 1:
            found.append(f"etcd members {mine} are down at once")
        others = [h for h in down if h in world.excused]
        if mine and not others and len(self.members) > 2 and not self.has_quorum():
            found.append("etcd lost quorum")
        return found
