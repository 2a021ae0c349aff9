"""The fence: proof, renewed all the time, that this process still owns the cluster.

Three things exclude each other's failures:
  the Lease    one holder in the cluster; its epoch rises with each change of holder;
  the hosts    each keeps the highest epoch it has seen and refuses a lower one, atomically with
               the change, so a process that slept through its Lease can do nothing more there;
  the file     one process on this machine, known dead when the lock is free.

A Lease that cannot be read (the only API server is being swapped, etcd has lost quorum) does not
stop work on hosts: their own fence decides there. It does stop everything that no host guards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import anyio

from pawl.core.errors import Fenced, Refused, StepFailed, Temporary, Unreachable
from pawl.ports.clock import Clock
from pawl.ports.hosts import Hosts
from pawl.ports.kube import Lease, LeaseHeld
from pawl.ports.lock import LockNote

DURATION = 12.0
"""Seconds for which the Lease holds. Short, so that another machine may take over soon after a
pawl has died; long against the 3 s for which a plain API server restart stalls requests."""
RENEW_EVERY = 3.0
JUST_NOW = 0.5
"""Seconds for which a renewal counts for effects that no host guards: many evictions at once need
no renewal each."""
HOST_WAITS = 2.0
"""Seconds for which work on a host waits for a renewal: while etcd has no quorum every question to
the API hangs, and starting a stopped member is what brings it back."""

NOT_NOW = (Unreachable, Refused, StepFailed)
"""Why a renewal may fail without anybody else owning the cluster: it is tried again."""


class Guard:
    """Held from `take` to `give_back`. `epoch` is what every effect on a host must carry."""

    def __init__(
        self,
        lease: Lease,
        hosts: Hosts,
        clock: Clock,
        holder: str,
        known_dead: Callable[[str], bool],
    ) -> None:
        self.holder = holder
        self.epoch = 0
        self.lost: Fenced | None = None
        self._lease = lease
        self._hosts = hosts
        self._clock = clock
        self._known_dead = known_dead
        self._held: LeaseHeld | None = None
        self._claimed: set[str] = set()
        self._renewed_at = 0.0

    async def take(self, hosts: Iterable[str], at_least: int, previous: LockNote) -> None:
        """Take Lease and hosts. Raises `Refused` naming a living holder."""
        if previous.holder and previous.holder != self.holder and self._known_dead(previous.holder):
            await self._bury(previous)
        at_least = max(at_least, previous.epoch)
        try:
            self._held = await self._lease.acquire(self.holder, DURATION, at_least)
            self.epoch = self._held.epoch
            self._renewed_at = anyio.current_time()
        except Unreachable:
            # The API is down, perhaps because a killed pawl left a member stopped. The hosts'
            # fence still admits one operator only; the Lease follows when the API is back.
            self.epoch = at_least + 1
        await self.claim(*hosts)
        if not self._claimed:
            raise Refused(
                ["no host can be reached to take its fence: check `pawl status` and the network."]
            )

    async def _bury(self, previous: LockNote) -> None:
        dead = LeaseHeld(
            holder=previous.holder, epoch=previous.epoch, renewed=0.0, duration=DURATION
        )
        try:
            await self._lease.release(dead)
        except (Fenced, *NOT_NOW):
            return  # somebody else has it by now, or nobody can say: acquire will tell

    async def claim(self, *hosts: str) -> None:
        """Make our epoch the hosts'. One that does not answer is claimed by its first effect."""
        for host in hosts:
            try:
                await self._hosts.claim(host, self.epoch)
                self._claimed.add(host)
            except Unreachable:
                continue

    async def check(self, *, on_host: bool) -> None:
        """Raise `Fenced` if the cluster is no longer ours. Called right before every effect.

        `on_host`: the effect carries the epoch to a host that checks it. All others (Kubernetes
        objects, machines) need a Lease that was renewed just now.
        """
        if self.lost is not None:
            raise self.lost
        age = anyio.current_time() - self._renewed_at
        if self._held is not None and age < (RENEW_EVERY + 1.0 if on_host else JUST_NOW):
            return
        try:
            with anyio.fail_after(HOST_WAITS if on_host else None):
                await self._renew()
        except TimeoutError:
            return  # the host's own fence decides
        except NOT_NOW as error:
            if not on_host:
                raise Temporary(
                    f"the Lease cannot be renewed ({error}), and without it nothing but hosts "
                    "may be changed.",
                    RENEW_EVERY,
                ) from error

    async def _renew(self) -> None:
        asked_at = anyio.current_time()
        try:
            if self._held is None:
                self._held = await self._lease.acquire(self.holder, DURATION, self.epoch)
                self.epoch = self._held.epoch
                await self.claim(*self._claimed)
            else:
                self._held = await self._lease.renew(self._held)
            self._renewed_at = asked_at
        except Fenced as error:
            self.lost = error
            raise

    async def keep(self) -> None:
        """Renew until cancelled or fenced."""
        while self.lost is None:
            await self._clock.sleep(RENEW_EVERY)
            try:
                await self._renew()
            except NOT_NOW:
                continue
            except Fenced:
                return

    async def give_back(self) -> None:
        """Let others in at once."""
        if self._held is None or self.lost is not None:
            return
        try:
            await self._lease.release(self._held)
        except (Fenced, *NOT_NOW):
            return  # it expires by itself
        self._held = None
