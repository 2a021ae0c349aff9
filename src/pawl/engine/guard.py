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

import secrets
from collections.abc import Callable, Iterable

import anyio

from pawl.core.errors import Fenced, PawlError, Refused, StepFailed, Temporary, Unreachable
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

DRAWN = 1 << 16
"""Epochs of which one is drawn where no Lease tells the next: two who begin together, and cannot
see each other, have different ones, and the hosts admit the higher."""
HOSTS_AT_ONCE = 64
"""Hosts that are claimed together."""

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
        self._renewing = anyio.Lock()
        self._renewed = (float("-inf"), float("-inf"))

    def _times(self) -> tuple[float, float]:
        """Of the clock that nobody can set, and of the one that goes on in a suspended machine."""
        return anyio.current_time(), self._clock.now()

    def _age(self) -> float:
        """Seconds since the last renewal was asked for, by whichever clock has gone further."""
        return max(now - then for now, then in zip(self._times(), self._renewed, strict=True))

    async def take(self, hosts: Iterable[str], at_least: int, previous: LockNote) -> None:
        """Take Lease and hosts. Raises `Refused` naming a living holder."""
        if previous.holder and previous.holder != self.holder and self._known_dead(previous.holder):
            await self._bury(previous)
        at_least = max(at_least, previous.epoch)
        try:
            asked = self._times()
            self._held = await self._lease.acquire(self.holder, DURATION, at_least)
            self.epoch, self._renewed = self._held.epoch, asked
        except Unreachable:
            # The API is down, perhaps because a killed pawl left a member stopped. The hosts'
            # fence still admits one operator only; the Lease follows when the API is back.
            self.epoch = at_least + 1 + secrets.randbelow(DRAWN)
        silent = await self.claim(*hosts)
        if not self._claimed:
            why = f" ({silent[0]})" if silent else ""
            raise Refused(
                [
                    f"no host can be reached to take its fence{why}: check `pawl status` and the "
                    "network."
                ]
            )

    async def _bury(self, previous: LockNote) -> None:
        dead = LeaseHeld(
            holder=previous.holder, epoch=previous.epoch, renewed=0.0, duration=DURATION
        )
        try:
            await self._lease.release(dead)
        except (Fenced, *NOT_NOW):
            return  # somebody else has it by now, or nobody can say: acquire will tell

    async def claim(self, *hosts: str) -> list[PawlError]:
        """Make our epoch the hosts'; returns why some could not be asked, or cannot keep it (a full
        disk must not forbid an abort): such a one is claimed by its first effect."""
        epoch, limit = self.epoch, anyio.CapacityLimiter(HOSTS_AT_ONCE)
        fenced: list[Fenced] = []
        silent: list[PawlError] = []

        async def one(host: str) -> None:
            async with limit:
                try:
                    await self._hosts.claim(host, epoch)
                    self._claimed.add(host)
                except Fenced as error:
                    fenced.append(error)
                except (Unreachable, StepFailed) as error:
                    silent.append(error)

        async with anyio.create_task_group() as group:
            for host in hosts:
                group.start_soon(one, host)
        if fenced:
            raise fenced[0]
        return silent

    async def check(self, *, on_host: bool) -> None:
        """Raise `Fenced` if the cluster is no longer ours. Called right before every effect.

        `on_host`: the effect carries the epoch to a host that checks it. All others (Kubernetes
        objects, machines) need a Lease that was renewed just now.
        """
        serves = RENEW_EVERY + 1.0 if on_host else JUST_NOW
        try:
            with anyio.fail_after(HOST_WAITS if on_host else None):
                await self._renew(serves)
        except TimeoutError:
            return  # the host's own fence decides
        except NOT_NOW as error:
            if not on_host:
                raise Temporary(
                    f"the Lease cannot be renewed ({error}), and without it nothing but hosts "
                    "may be changed.",
                    RENEW_EVERY,
                ) from error

    def refused(self, epoch: int, why: Fenced) -> PawlError:
        """What it means that a host has refused an effect with this epoch: that it is our own which
        has risen meanwhile, or that somebody else has this cluster, and all effects must end."""
        if self.lost is None and epoch < self.epoch:
            return Temporary(f"{why} It was this operator that has taken it anew.", 0.0)
        self.lost = self.lost or why
        return self.lost

    async def _renew(self, serves: float = 0.0) -> None:
        """One at a time, and none where the last one is not older than `serves` seconds: many
        effects begin together, and none of them needs one of its own."""
        async with self._renewing:
            if self.lost is not None:
                raise self.lost
            if self._held is not None and self._age() < serves:
                return
            asked = self._times()
            try:
                if self._held is None:
                    # With the epoch that the hosts know, unless others have had the Lease since.
                    held = await self._lease.acquire(self.holder, DURATION, self.epoch - 1)
                    self._held, risen = held, held.epoch > self.epoch
                    self.epoch = held.epoch
                    if risen:
                        await self.claim(*self._claimed)
                else:
                    self._held = await self._lease.renew(self._held)
            except Fenced as error:
                self.lost = error
                raise
            self._renewed = asked

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
        with anyio.move_on_after(DURATION):  # by then it has expired by itself
            try:
                await self._lease.release(self._held)
            except (Fenced, *NOT_NOW):
                return
            self._held = None
