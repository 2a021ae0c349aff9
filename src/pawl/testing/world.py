"""One simulated cluster in memory: what the real programs do, as far as an upgrade meets it.

Time moves by itself (the virtual loop); things that take time are scheduled and happen, in order,
before anybody looks. After every change the invariants are checked, by rules of the simulator's
own, so a test that ends with `violations == []` has looked at every virtual instant.

Behaviour is taken from measurements: etcd raises its cluster version 4 s after the last member is
new and refuses the old binary from then on; an API server is ready 2.5 s after its start; a
kubelet's node is called lost after 40 s.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from pawl.core import flags, skew
from pawl.core.errors import Unreachable
from pawl.testing.etcd import SimEtcd
from pawl.testing.holders import Leases
from pawl.testing.machine import BOOT_SECONDS, NEVER, START_SECONDS, SimHost, Unit
from pawl.testing.observe import snapshot
from pawl.testing.pods import SimNode, SimPods
from pawl.testing.virtual import VirtualClock

LOAD_BALANCER = "lb-1"
PROXY_HEALTH = 10256


@dataclass(frozen=True)
class Change:
    """Something that really changed: a repeated command that finds its work done makes none."""

    at: float
    verb: str
    target: str

    @property
    def identity(self) -> tuple[str, str]:
        return (self.verb, self.target)


@dataclass
class Entry:
    """A server behind the load balancer."""

    host: str
    admin: str = "ready"
    drained_at: float = 0.0


@dataclass
class LeaseRecord:
    holder: str = ""
    epoch: int = 0
    renewed: float = 0.0
    duration: float = 0.0


Trigger = Callable[["World"], None]


@dataclass
class World:
    hosts: dict[str, SimHost] = field(default_factory=dict)
    balancer: dict[str, Entry] = field(default_factory=dict)
    has_balancer: bool = True
    balancer_host: str = LOAD_BALANCER
    balancer_up: bool = True
    machines_provider: bool = True
    lease: LeaseRecord = field(default_factory=LeaseRecord)
    changes: list[Change] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    excused: set[str] = field(default_factory=set)
    """Machines that a test has broken on purpose: their absence is not pawl's doing."""
    crashing: set[tuple[str, str]] = field(default_factory=set)
    """(component, version) whose process ends right after its start; host-bound as
    (component@host, version)."""
    never_ready: set[tuple[str, str]] = field(default_factory=set)
    bad_checksums: set[tuple[str, str]] = field(default_factory=set)
    refused_flags: dict[tuple[str, str], str] = field(default_factory=dict)
    blank_disks: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    """Sources that no reading gets just now: "nodes", "machines", "load balancer", "etcd member
    list"."""
    slow_readings: bool = False
    """What is read is as old as the beginning of its reading, which is the worst that it can be."""
    unready: set[str] = field(default_factory=set)
    """Hosts whose API server runs, and says just now that it is not ready."""
    triggers: dict[tuple[str, str, str], list[Trigger]] = field(default_factory=dict)
    """("before" or "after", verb, target) -> what a test makes happen there, once."""
    stages: int = 0

    def __post_init__(self) -> None:
        self._clock = VirtualClock()
        self._at: float | None = None
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._skew_seen: object = None
        self.etcd = SimEtcd(self)
        self.pods = SimPods(self)
        self.leases = Leases(self)
        self.nodes: dict[str, SimNode] = self.pods.nodes

    # -- time --------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        return self._at if self._at is not None else self._clock.now()

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.now + seconds, next(self._order), what))

    def advance(self) -> None:
        """Let everything happen that was due until now."""
        while self._heap and self._heap[0][0] <= self._clock.now():
            self._at, _, what = heapq.heappop(self._heap)
            what()
            self.settle()
            self._at = None

    def changed(self, verb: str, target: str) -> None:
        self.changes.append(Change(at=self.now, verb=verb, target=target))
        self.settle()

    def settle(self) -> None:
        self.etcd.settle()
        self.pods.settle()
        self._check()

    def briefly(self, seconds: float, fault: set[str], *names: str) -> None:
        """What a noisy machine does: the fault, gone again by itself."""
        fault.update(names)
        self.later(seconds, lambda: fault.difference_update(names))

    def trigger(self, when: str, verb: str, target: str) -> None:
        for what in self.triggers.pop((when, verb, target), []):
            what(self)
            self.settle()

    def on(self, when: str, verb: str, target: str, what: Trigger) -> None:
        """Make `what` happen once, right before or after a verb on a target."""
        self.triggers.setdefault((when, verb, target), []).append(what)

    # -- machines and units ------------------------------------------------------------------------

    def host(self, name: str) -> SimHost:
        """The machine, answering. Raises Unreachable otherwise."""
        found = self.hosts.get(name)
        if found is None:
            raise Unreachable(f"host {name} is not known.")
        if not found.up:
            raise Unreachable(f"host {name} does not answer over SSH.")
        return found

    def runs(self, host: str, component: str) -> bool:
        """Whether the process is there and serves."""
        found = self.hosts.get(host)
        if found is None or not found.up or component not in found.units:
            return False
        unit = found.units[component]
        return unit.up and self.now >= unit.ready_at

    def listening(self, host: str) -> set[int]:
        """Ports; a kube-proxy opens its own once it knows its node."""
        return {PROXY_HEALTH} if self.runs(host, "kube-proxy") else set()

    def start(self, host: SimHost, component: str) -> bool:
        """Start a unit as systemd would; False if it was up already."""
        unit = host.units.setdefault(component, Unit())
        if unit.active in ("active", "activating"):
            return False
        version = host.current.get(component, "")
        unit.version, unit.flags = version, host.flags.get(component, ())
        unit.active, unit.since, unit.restarts = "active", self.now, 0
        unit.ready_at = self.now + START_SECONDS.get(component, 1.0)
        refused = component == "etcd" and self.etcd.refuses(host)
        if refused or self._is_in(self.crashing, host, component, version):
            self._crash_loop(host, component)
        elif self._is_in(self.never_ready, host, component, version):
            unit.ready_at = NEVER
        else:
            self.later(START_SECONDS.get(component, 1.0), lambda: self._came_up(host, component))
        return True

    def _is_in(
        self, faults: set[tuple[str, str]], host: SimHost, component: str, version: str
    ) -> bool:
        return (component, version) in faults or (f"{component}@{host.name}", version) in faults

    def _crash_loop(self, host: SimHost, component: str) -> None:
        unit = host.units[component]
        unit.ready_at, unit.active = NEVER, "activating"

        def again() -> None:
            if unit.active != "activating":
                return  # stopped meanwhile
            unit.restarts += 1
            if unit.restarts >= 5:
                unit.active = "failed"
            else:
                self.later(1.0, again)

        self.later(0.5, again)

    def _came_up(self, host: SimHost, component: str) -> None:
        if self.runs(host.name, component) and component in ("kubelet", "kube-proxy"):
            self.pods.reports(host, component)

    def stop(self, host: SimHost, component: str) -> bool:
        unit = host.units.setdefault(component, Unit())
        if unit.active in ("inactive", "failed"):
            unit.active = "inactive"
            return False
        if component == "kube-apiserver" and unit.up:
            self._stopped_in_service(host)
        unit.active, unit.since, unit.ready_at = "inactive", self.now, NEVER
        return True

    def _stopped_in_service(self, host: SimHost) -> None:
        entry = self.balancer.get(host.name)
        serving = [e for e in self.balancer.values() if e.admin == "ready"]
        if entry is not None and entry.admin == "ready" and len(serving) > 1:
            self.violations.append(f"API server {host.name} was stopped while in the balancer")

    def power_off(self, name: str) -> None:
        host = self.hosts[name]
        host.up = False
        for unit in host.units.values():
            unit.active, unit.ready_at = "inactive", NEVER

    def boot(self, name: str) -> None:
        """Power on: all units that are enabled start by themselves."""
        host = self.hosts[name]
        host.up = True
        host.boot_id = f"boot-{next(self._order)}"
        for component in list(host.current):
            self.start(host, component)

    def reboot(self, name: str, seconds: float = BOOT_SECONDS) -> None:
        self.excused.add(name)
        self.power_off(name)
        self.later(seconds, lambda: self.boot(name))

    # -- the control plane -------------------------------------------------------------------------

    def api_ready(self, host: str) -> bool:
        found = self.hosts.get(host)
        return (
            found is not None
            and self.runs(host, "kube-apiserver")
            and host not in self.unready
            and (not self.etcd.members or self.etcd.has_quorum())
        )

    def emulates(self, host: str) -> str:
        return flags.emulated_minor(self.hosts[host].units["kube-apiserver"].flags)

    def api(self) -> None:
        """Raise Unreachable unless the API answers through the balancer."""
        servers = [h for h in self.hosts if "kube-apiserver" in self.hosts[h].units]
        for host in servers:
            entry = self.balancer.get(host)
            out = self.has_balancer and (entry is None or entry.admin != "ready")
            if self.api_ready(host) and not out:
                return
        raise Unreachable("the API does not answer through the load balancer.")

    # -- invariants --------------------------------------------------------------------------------

    def _check(self) -> None:
        found = [*self.etcd.broken(), *self._control_plane_broken(), *self.pods.broken()]
        for violation in found:
            told = f"{violation}"
            if told not in self.violations:
                self.violations.append(told)

    def _control_plane_broken(self) -> list[str]:
        broken = []
        servers = [n for n, h in self.hosts.items() if "kube-apiserver" in h.units]
        down = [n for n in servers if not self.runs(n, "kube-apiserver") and n not in self.excused]
        members = [n for n in down if n in self.balancer]
        if len(members) > 1:
            broken.append(f"API servers {members} are down at once")
        seen = tuple(
            (n, c, u.version, u.active, u.flags)
            for n, h in self.hosts.items()
            for c, u in h.units.items()
        )
        if seen != self._skew_seen:
            self._skew_seen = seen
            broken.extend(skew.breaches(snapshot(self)))
        return broken
