"""The fence of one operator: its Lease, its hosts, and what it means when one of them says no."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from pawl.core.errors import Fenced, PawlError, Refused, StepFailed, Temporary, Unreachable
from pawl.engine import guard as guarding
from pawl.engine.effects import Effects, NoHook
from pawl.engine.guard import DURATION, JUST_NOW, RENEW_EVERY, Guard
from pawl.engine.record import Narrator, Record
from pawl.ports.kube import LeaseHeld
from pawl.ports.lock import LockNote
from pawl.testing.journal import MemoryJournal
from pawl.testing.virtual import VirtualClock, run_virtual


def virtual(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        run_virtual(test(*args, **kwargs))  # type: ignore[arg-type]

    return wrapper


class Api:
    """The cluster's Lease. Each question takes a tenth of a second; `down` answers none."""

    def __init__(self) -> None:
        self.down = False
        self.holder, self.epoch = "", 0
        self.renewals = self.asking = self.most = 0

    async def _ask(self) -> None:
        self.asking += 1
        self.most = max(self.most, self.asking)
        await anyio.sleep(0.1)
        self.asking -= 1
        if self.down:
            raise Unreachable("the API does not answer.")

    async def acquire(self, holder: str, duration: float, at_least: int) -> LeaseHeld:
        await self._ask()
        if self.holder not in ("", holder):
            raise Refused([f"{self.holder} is at work"])
        if self.holder != holder or self.epoch <= at_least:
            self.epoch = max(self.epoch, at_least) + 1
        self.holder = holder
        return LeaseHeld(holder=holder, epoch=self.epoch, renewed=0.0, duration=duration)

    async def renew(self, held: LeaseHeld) -> LeaseHeld:
        await self._ask()
        self.renewals += 1
        if (self.holder, self.epoch) != (held.holder, held.epoch):
            raise Fenced(f"{self.holder} has the Lease.")
        return held

    async def release(self, held: LeaseHeld) -> None:
        await self._ask()
        self.holder = ""


class Hosts:
    """Each keeps the highest epoch. `broken`: hosts that cannot, and why."""

    def __init__(self, *names: str) -> None:
        self.epochs = dict.fromkeys(names, 0)
        self.broken: dict[str, PawlError] = {}
        self.asking = self.most = 0

    async def claim(self, host: str, epoch: int) -> None:
        self.asking += 1
        self.most = max(self.most, self.asking)
        await anyio.sleep(0.1)
        self.asking -= 1
        if host in self.broken:
            raise self.broken[host]
        if epoch < self.epochs[host]:
            raise Fenced(f"{host} refuses: epoch {epoch} is behind {self.epochs[host]}")
        self.epochs[host] = epoch


def make(api: Api, hosts: Hosts, holder: str = "me", clock: Any = None) -> Guard:
    return Guard(api, hosts, clock or VirtualClock(), holder, lambda name: False)  # type: ignore[arg-type]


def effects(guard: Guard) -> Effects:
    clock: Any = VirtualClock()
    return Effects(guard, Record(MemoryJournal(), clock, guard, "r", Narrator()), NoHook())


@virtual
async def test_many_effects_at_once_ask_for_one_renewal() -> None:
    """Each of them by itself would have met the writes of the others, and lost."""
    api, hosts = Api(), Hosts("a")
    guard = make(api, hosts)
    await guard.take(["a"], 0, LockNote())
    await anyio.sleep(JUST_NOW * 2)
    api.most = 0
    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(functools.partial(guard.check, on_host=False))
        group.start_soon(guard._renew)
    assert api.most == 1
    assert api.renewals <= 2


@virtual
async def test_a_renewal_of_before_the_machine_slept_does_not_count() -> None:
    """The clock that nobody can set stands still meanwhile."""
    api, hosts, clock = Api(), Hosts("a"), VirtualClock()
    guard = make(api, hosts, clock=clock)
    await guard.take(["a"], 0, LockNote())
    await guard.check(on_host=False)
    asked = api.renewals
    clock.offset = 600.0
    api.holder, api.epoch = "other", 9
    with pytest.raises(Fenced):
        await guard.check(on_host=False)
    assert api.renewals == asked + 1


@virtual
async def test_its_own_new_epoch_fences_no_operator() -> None:
    """Begun without a Lease, which others have had more often than the hosts know of: the epoch
    rises in the middle of an effect, and is on the host before the effect comes to it."""
    api, hosts = Api(), Hosts("a")
    api.down, api.epoch = True, 1 << 20
    guard = make(api, hosts)
    await guard.take(["a"], 0, LockNote())
    made = effects(guard)

    async def stop() -> None:
        async with made.effect("step", "stop", "a") as epoch:
            api.down = False
            await guard._renew()
            await hosts.claim("a", epoch)

    with pytest.raises(Temporary, match="this operator"):
        await stop()
    assert guard.lost is None
    await stop()
    assert hosts.epochs["a"] == api.epoch == guard.epoch


@virtual
async def test_the_epoch_that_the_hosts_know_becomes_the_leases() -> None:
    """So that nothing in flight is refused, and the note in the lock file stays true."""
    api, hosts = Api(), Hosts("a", "b")
    api.down, api.epoch = True, 3
    guard = make(api, hosts)
    await guard.take(["a", "b"], 3, LockNote())
    begun = guard.epoch
    api.down = False
    await guard.check(on_host=False)
    assert (guard.epoch, api.epoch) == (begun, begun)
    assert set(hosts.epochs.values()) == {begun}


@virtual
async def test_of_two_without_a_lease_one_is_admitted(monkeypatch: pytest.MonkeyPatch) -> None:
    api, hosts = Api(), Hosts("a")
    api.down = True
    drawn = iter((4711, 815))
    monkeypatch.setattr(guarding.secrets, "randbelow", lambda below: next(drawn))
    first, second = make(api, hosts, "first"), make(api, hosts, "second")
    await first.take(["a"], 3, LockNote())
    with pytest.raises(Fenced):
        await second.take(["a"], 3, LockNote())


@virtual
async def test_a_host_that_refuses_stops_all_effects() -> None:
    """The Lease may still be ours by its own word: the host has seen a newer operator."""
    api, hosts = Api(), Hosts("a")
    guard = make(api, hosts)
    await guard.take(["a"], 0, LockNote())
    made = effects(guard)
    hosts.epochs["a"] = 99
    with pytest.raises(Fenced):
        async with made.effect("one", "stop", "a") as epoch:
            await hosts.claim("a", epoch)
    with pytest.raises(Fenced):
        async with made.effect("two", "evict", "shop/web", on_host=False):
            raise AssertionError("nothing more is done")


@virtual
async def test_a_host_that_cannot_keep_an_epoch_forbids_no_run() -> None:
    """One full disk among a thousand would forbid the abort as well."""
    api, hosts = Api(), Hosts("a", "b")
    hosts.broken["b"] = StepFailed("b could not claim: No space left on device")
    guard = make(api, hosts)
    await guard.take(["a", "b"], 0, LockNote())
    assert hosts.epochs["a"] == guard.epoch
    hosts.broken["a"] = StepFailed("a could not claim: sudo: a password is required")
    with pytest.raises(Refused, match="password is required"):
        await make(Api(), hosts).take(["a", "b"], 0, LockNote())


@virtual
async def test_many_hosts_are_claimed_within_the_lease() -> None:
    api, hosts = Api(), Hosts(*(f"n-{i}" for i in range(1000)))
    guard = make(api, hosts)
    began = anyio.current_time()
    await guard.take(hosts.epochs, 0, LockNote())
    assert set(hosts.epochs.values()) == {guard.epoch}
    assert anyio.current_time() - began < DURATION - RENEW_EVERY
    assert hosts.most == guarding.HOSTS_AT_ONCE


@virtual
async def test_giving_back_waits_no_longer_than_the_lease_lasts() -> None:
    api, hosts = Api(), Hosts("a")
    guard = make(api, hosts)
    await guard.take(["a"], 0, LockNote())

    async def hangs(held: LeaseHeld) -> None:
        await anyio.sleep(3600.0)

    api.release = hangs  # type: ignore[method-assign]
    began = anyio.current_time()
    await guard.give_back()
    assert anyio.current_time() - began <= DURATION
