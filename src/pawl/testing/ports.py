"""Every port of one simulated operator over the shared world.

Each call takes its time, lets due events happen, fires the test's triggers, and then does what the
real adapter does. An operator can be frozen, as SIGSTOP would: its calls and sleeps then hang
while the world goes on, which is how a fenced operator is made.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pawl.core.errors import ArtifactError, Fenced, Refused, StepFailed, Temporary, Unreachable
from pawl.core.model import BalancerMember, ClusterState, Machine
from pawl.core.version import Minor, Version
from pawl.core.workloads.facts import Workloads
from pawl.ports.artifacts import Artifact, ArtifactFile, Report, silent
from pawl.ports.etcd import Hash, Snapshot
from pawl.ports.hosts import StagedFile
from pawl.ports.kube import LeaseHeld
from pawl.ports.machines import Image
from pawl.ports.observer import EVERYTHING, Part
from pawl.testing.machine import BOOT_SECONDS, SimHost
from pawl.testing.observe import snapshot
from pawl.testing.virtual import VirtualClock
from pawl.testing.workloads import workload_facts
from pawl.testing.world import Entry, World

SSH = 0.05
API = 0.01
OBSERVE = 0.3
REFRESH = 0.1
SILENT = 5.0
"""Seconds until a client gives up on a machine that is off."""
HANGS = 15.0
"""Seconds until a client gives up on an API server whose etcd has no quorum: its own deadline,
once for each address that it tries."""


class Operator:
    """One pawl process as the world meets it: its clock, and whether it runs at all."""

    def __init__(self, world: World, name: str = "operator") -> None:
        self.world = world
        self.name = name
        self.clock = VirtualClock()
        self._running = asyncio.Event()
        self._running.set()

    def freeze(self) -> None:
        self._running.clear()

    def thaw(self) -> None:
        self._running.set()

    async def turn(self, seconds: float) -> World:
        """Spend the time of a call; returns the world as it is then."""
        await self._running.wait()
        await asyncio.sleep(seconds)
        await self._running.wait()
        self.world.advance()
        return self.world

    async def hang(self) -> None:
        """A question that the API can only answer from etcd, which has no quorum."""
        if self.world.etcd.members and not self.world.etcd.has_quorum():
            await self.turn(HANGS)


class SimClock:
    def __init__(self, operator: Operator) -> None:
        self._operator = operator

    def now(self) -> float:
        return self._operator.clock.now()

    async def sleep(self, seconds: float) -> None:
        await self._operator.turn(max(0.0, seconds))


class SimObserver:
    def __init__(self, operator: Operator) -> None:
        self._operator = operator

    async def observe(self, known: ClusterState | None = None) -> ClusterState:
        return await self._seen(OBSERVE)

    async def _seen(self, seconds: float) -> ClusterState:
        """What a reading of so many seconds has seen: the cluster at its end, or its beginning."""
        operator = self._operator
        world = operator.world
        if not world.slow_readings:
            world = await operator.turn(seconds)
            return snapshot(world, operator.clock.offset)
        world.advance()
        seen = snapshot(world, operator.clock.offset)
        await operator.turn(seconds)
        return seen

    async def refresh(
        self, state: ClusterState, *hosts: str, parts: frozenset[Part] = EVERYTHING
    ) -> ClusterState:
        """As stale as a real one: what was not asked for stays as it was read before."""
        fresh = await self._seen(REFRESH)
        world = self._operator.world
        if parts & {"api", "nodes"}:
            await self._operator.hang()
        elif "etcd" in parts and any(not world.hosts[m].up for m in world.etcd.members):
            await self._operator.turn(SILENT)
        again = {*hosts, *(n.host for n in state.nodes if n.name in hosts)}
        known = {h.name: h for h in state.hosts}
        held = {(c.component, c.host): c for c in state.controllers}
        return msgspec.structs.replace(
            fresh,
            hosts=tuple(h if h.name in again else known.get(h.name, h) for h in fresh.hosts),
            controllers=tuple(
                c if c.host in again else held.get((c.component, c.host), c)
                for c in fresh.controllers
            ),
        )


class SimHosts:
    def __init__(self, operator: Operator) -> None:
        self._operator = operator

    async def _reach(self, host: str) -> tuple[World, SimHost]:
        world = await self._operator.turn(SSH)
        return world, world.host(host)

    async def claim(self, host: str, epoch: int) -> None:
        _, found = await self._reach(host)
        found.fence(epoch)

    async def stage(
        self, host: str, component: str, version: str, files: Sequence[StagedFile], epoch: int
    ) -> None:
        world, found = await self._reach(host)
        found.fence(epoch)
        target = f"{host}/{component} {version}"
        world.trigger("before", "stage", target)
        if (component, version) in world.bad_checksums:
            raise ArtifactError(
                f"{component} {version} on {host} is not what its checksum says; nothing was "
                "installed. Fetch it again: pawl artifact fetch."
            )
        versions = found.staged.setdefault(component, [])
        if version not in versions:
            versions.append(version)
            world.changed("stage", target)
        world.trigger("after", "stage", target)

    async def accepts_flags(
        self, host: str, component: str, version: str, flags: Sequence[str]
    ) -> tuple[str, ...]:
        world, found = await self._reach(host)
        if version not in found.staged.get(component, []):
            raise StepFailed(f"{component} {version} is not staged on {host}.")
        return tuple(
            why
            for (name, at), why in world.refused_flags.items()
            if at == version and any(f.split("=")[0] == name for f in flags)
        )

    async def listens(self, host: str, port: int) -> bool | None:
        world, _ = await self._reach(host)
        return port in world.listening(host)

    async def switch(self, host: str, component: str, version: str, epoch: int) -> None:
        world, found = await self._reach(host)
        found.fence(epoch)
        target = f"{host}/{component} to {version}"
        world.trigger("before", "switch", target)
        world.host(host)
        if version not in found.staged.get(component, []):
            raise StepFailed(f"{component} {version} is not staged on {host}.")
        if found.current.get(component) != version:
            found.current[component] = version
            world.changed("switch", target)
        world.trigger("after", "switch", target)

    async def set_flags(self, host: str, component: str, flags: Sequence[str], epoch: int) -> None:
        world, found = await self._reach(host)
        found.fence(epoch)
        if found.flags.get(component) != tuple(flags):
            found.flags[component] = tuple(flags)
            world.changed("set-flags", f"{host}/{component} {' '.join(flags)}")

    async def stop(self, host: str, unit: str, timeout: float, epoch: int) -> None:
        world, found = await self._reach(host)
        found.fence(epoch)
        component = unit.removesuffix(".service")
        target = f"{host}/{component}"
        world.trigger("before", "stop", target)
        world.host(host)
        if world.stop(found, component):
            world.changed("stop", target)
        world.trigger("after", "stop", target)
        await self._operator.turn(0.1)

    async def start(self, host: str, unit: str, epoch: int) -> None:
        world, found = await self._reach(host)
        found.fence(epoch)
        component = unit.removesuffix(".service")
        target = f"{host}/{component}"
        world.trigger("before", "start", target)
        world.host(host)
        if world.start(found, component):
            world.changed("start", target)
        world.trigger("after", "start", target)

    async def restore_snapshot(
        self, host: str, snapshot: Path, expected_revision: int, epoch: int
    ) -> str:
        _, found = await self._reach(host)
        found.fence(epoch)
        await self._operator.turn(0.7)
        return f"Restored on {host}: 1000 keys at revision {expected_revision}."


class SimEtcdPort:
    def __init__(self, operator: Operator) -> None:
        self._operator = operator

    async def move_leader(self, leader_host: str, to_host: str, timeout: float) -> None:
        world = await self._operator.turn(API)
        world.trigger("before", "move-leader", to_host)
        etcd = world.etcd
        if etcd.leader != leader_host:
            raise Temporary(f"etcd member {leader_host} is not the leader.", 0.5)
        if not etcd.alive(to_host):
            await self._operator.turn(timeout)
            raise Unreachable(f"move-leader to {to_host} had no answer within {timeout:.0f} s.")
        etcd.lead(to_host)
        world.changed("move-leader", to_host)
        world.trigger("after", "move-leader", to_host)

    async def snapshot(self, host: str, directory: Path) -> Snapshot:
        world = await self._operator.turn(0.9)
        if not world.etcd.alive(host):
            raise Unreachable(f"etcd member {host} does not answer.")
        world.etcd.snapshots += 1
        world.changed("snapshot", host)
        name = f"etcd-{world.etcd.snapshots}.db"
        digest = hashlib.sha256(name.encode()).hexdigest()
        revision = world.etcd.index()
        return Snapshot(path=directory / name, sha256=digest, size=20_000_000, revision=revision)

    async def hashes(self, revision: int = 0) -> tuple[Hash, ...]:
        world = await self._operator.turn(API)
        etcd = world.etcd
        at = revision or etcd.index()
        return tuple(
            Hash(
                host=h,
                hash=666 if h in etcd.corrupt else 4711,
                revision=at,
                compact_revision=1,
            )
            for h in etcd.up()
        )

    async def downgrade(self, verb: str, minor: str = "") -> str:
        world = await self._operator.turn(API)
        etcd = world.etcd
        match verb:
            case "validate":
                if etcd.cluster - Minor.parse(minor) != 1:
                    raise StepFailed(f"etcd refuses a downgrade from {etcd.cluster} to {minor}.")
            case "enable":
                etcd.enable_downgrade(Minor.parse(minor))
                world.changed("enable-downgrade", minor)
            case "cancel":
                etcd.cancel_downgrade()
                world.changed("cancel-downgrade", "etcd")
            case _:
                raise StepFailed(f"etcd knows no downgrade {verb}.")
        return "ok"


class SimWorkloads:
    """The facts that decide over order and method: Deployments, their pods and budgets."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator

    async def read(self) -> Workloads:
        world = await self._operator.turn(API)
        world.api()
        world.settle()
        return workload_facts(world)


class SimLease:
    def __init__(self, operator: Operator) -> None:
        self._operator = operator

    async def _api(self) -> World:
        world = await self._operator.turn(API)
        await self._operator.hang()
        world.api()
        if "NOSPACE" in world.etcd.alarms:
            raise Temporary("the API refused the lease: etcd has no space left.", 1.0)
        return world

    async def acquire(self, holder: str, duration: float, at_least: int) -> LeaseHeld:
        world = await self._api()
        lease = world.lease
        fresh = lease.holder and world.now < lease.renewed + lease.duration
        if fresh and lease.holder != holder:
            raise Refused([f"{lease.holder} holds this cluster: wait for it, or end it."])
        if lease.holder != holder or lease.epoch <= at_least:
            lease.epoch = max(lease.epoch, at_least) + 1
        lease.holder, lease.renewed, lease.duration = holder, world.now, duration
        return LeaseHeld(holder=holder, epoch=lease.epoch, renewed=lease.renewed, duration=duration)

    async def renew(self, held: LeaseHeld) -> LeaseHeld:
        world = await self._api()
        lease = world.lease
        if lease.holder != held.holder or lease.epoch != held.epoch:
            raise Fenced(f"{lease.holder or 'nobody'} holds this cluster now, with a newer epoch.")
        lease.renewed = world.now
        return LeaseHeld(
            holder=held.holder, epoch=held.epoch, renewed=world.now, duration=held.duration
        )

    async def release(self, held: LeaseHeld) -> None:
        world = await self._api()
        if world.lease.holder == held.holder:
            world.lease.holder = ""


class SimBalancer:
    def __init__(self, operator: Operator) -> None:
        self._operator = operator

    async def _reach(self, epoch: int) -> World:
        world = await self._operator.turn(SSH)
        if not world.balancer_up:
            raise Unreachable("the load balancer's runtime socket does not answer.")
        world.host(world.balancer_host).fence(epoch)
        return world

    async def members(self) -> tuple[BalancerMember, ...]:
        world = await self._operator.turn(SSH)
        if not world.balancer_up:
            raise Unreachable("the load balancer's runtime socket does not answer.")
        return snapshot(world).balancer

    async def drain(self, name: str, epoch: int) -> None:
        world = await self._reach(epoch)
        world.trigger("before", "drain", name)
        entry = world.balancer[name]
        if entry.admin != "drain":
            entry.admin, entry.drained_at = "drain", world.now
            world.changed("drain", name)

    async def enable(self, name: str, epoch: int) -> None:
        world = await self._reach(epoch)
        entry = world.balancer[name]
        if entry.admin != "ready":
            if not world.api_ready(name):
                world.violations.append(f"API server {name} entered the balancer unready")
            entry.admin = "ready"
            world.changed("enable", name)

    async def add(self, name: str, address: str, epoch: int) -> None:
        world = await self._reach(epoch)
        if name not in world.balancer:
            world.balancer[name] = Entry(host=name, admin="maint")
            world.changed("add-to-balancer", name)

    async def remove(self, name: str, epoch: int) -> None:
        world = await self._reach(epoch)
        if world.balancer.pop(name, None) is not None:
            world.changed("remove-from-balancer", name)


CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")


class SimMachines:
    def __init__(self, operator: Operator) -> None:
        self._operator = operator

    async def list(self) -> tuple[Machine, ...]:
        return snapshot(await self._operator.turn(SSH)).machines

    async def add(self, name: str, role: str, pool: str, image: Image) -> Machine:
        world = await self._operator.turn(SSH)
        if name not in world.hosts:
            host = SimHost(
                name=name,
                address=f"198.18.9.{len(world.hosts) + 1}",
                roles=(role,),
                pool=pool,
                up=False,
                machine_id=f"machine-{name}",
                epoch=image.epoch,
            )
            parts = CONTROL_PLANE if role == "control-plane" else ("kubelet", "kube-proxy")
            for part in parts:
                host.install(part, image.versions["kubernetes"], image.flags.get(part, ()))
            world.hosts[name] = host
            world.excused.add(name)
            world.changed("add-machine", name)
            world.later(BOOT_SECONDS, lambda: world.boot(name))
        return await self._booted(name)

    async def _booted(self, name: str) -> Machine:
        while not self._operator.world.hosts[name].up:
            await self._operator.turn(0.5)
        return next(m for m in snapshot(self._operator.world).machines if m.name == name)

    async def replace(self, name: str, image: Image) -> Machine:
        world = await self._operator.turn(SSH)
        host = world.hosts[name]
        versions = {
            c: image.versions.get(c, image.versions.get("kubernetes", v))
            for c, v in host.current.items()
        }
        if host.current == versions and host.up:
            return await self._booted(name)
        for unit in host.units.values():
            if unit.up:
                world.violations.append(f"machine {name} was replaced with a process running")
        world.power_off(name)
        host.epoch = image.epoch
        host.machine_id = f"machine-{name}-{len(world.changes)}"
        if name in world.blank_disks:
            host.disk_has_data = False
        for component, version in versions.items():
            host.staged[component] = []
            host.install(component, version, host.flags.get(component, ()))
        world.changed("replace-machine", f"{name} {sorted(versions.items())}")
        world.later(BOOT_SECONDS, lambda: world.boot(name))
        return await self._booted(name)

    async def remove(self, name: str) -> None:
        world = await self._operator.turn(SSH)
        if name in world.hosts:
            world.power_off(name)
            del world.hosts[name]
            world.changed("remove-machine", name)


class SimArtifacts:
    def __init__(self, operator: Operator) -> None:
        self._operator = operator

    async def fetch(
        self, component: str, version: Version | str, *, progress: Report = silent
    ) -> Artifact:
        await self._operator.turn(0.2)
        name = f"{component}-{version}"
        file = ArtifactFile(
            name=component,
            path=Path("/nowhere") / name,
            sha256=hashlib.sha256(name.encode()).hexdigest(),
            size=1,
        )
        at = version if isinstance(version, Version) else Version.parse(version)
        return Artifact(component=component, version=at, files=(file,), source="simulated")

    async def held(self, component: str) -> tuple[Version, ...]:
        return ()
