"""Silences end soon after the work on a machine, and soon after the run, whatever ended it."""

from __future__ import annotations

import asyncio

import anyio
from msgspec.structs import replace

from pawl.core.errors import Unreachable
from pawl.core.verify.silence import TTL
from pawl.engine.silencing import Silencer, Silencing
from pawl.ports.silences import Silence

WORK = {"w-1": frozenset({"w-1"})}


class Kept:
    """Silences in memory."""

    def __init__(self) -> None:
        self.all: dict[str, Silence] = {}
        self.down = False

    async def active(self, by: str) -> tuple[Silence, ...]:
        return tuple(s for s in self.all.values() if s.by == by)

    async def hold(self, wanted: Silence) -> Silence:
        if self.down:
            raise Unreachable("no answer")
        made = replace(wanted, id=wanted.id or str(len(self.all)))
        self.all[made.id] = made
        return made

    async def end(self, silence_id: str) -> None:
        self.all.pop(silence_id, None)


class Still:
    """A clock that stands at 1000 s, and whose sleep ends when it is cancelled."""

    def now(self) -> float:
        return 1000.0

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep_forever()


def run(kept: Kept, told: list[str], down: bool = False) -> set[float]:
    """A run that works on one machine until it is ended; when its silences end then."""

    async def go() -> None:
        silencing = Silencing(silences=kept, alerts=("KubeletDown",), tail=30.0)
        silencer = Silencer(silencing, Still(), "pawl:run", lambda: WORK, told.append)
        async with anyio.create_task_group() as group:
            group.start_soon(silencer.keep)
            await anyio.wait_all_tasks_blocked()
            assert {s.ends for s in kept.all.values()} == {1000.0 + TTL}
            kept.down = down
            group.cancel_scope.cancel()

    asyncio.run(go())
    return {s.ends for s in kept.all.values()}


def test_what_a_run_holds_it_gives_back_when_it_ends() -> None:
    told: list[str] = []
    assert run(Kept(), told) == {1030.0}
    assert told == []


def test_an_alertmanager_that_went_away_does_not_stop_a_run_from_ending() -> None:
    told: list[str] = []
    assert run(Kept(), told, down=True) == {1000.0 + TTL}
    assert told == ["alerts could not be silenced: no answer"]


def test_work_that_is_over_before_the_next_look_is_silenced_too() -> None:
    kept, working = Kept(), dict[str, frozenset[str]]()

    async def go() -> None:
        silencing = Silencing(silences=kept, alerts=("KubeletDown",), tail=30.0)
        silencer = Silencer(silencing, Still(), "pawl:run", lambda: working, lambda why: None)
        async with anyio.create_task_group() as group:
            group.start_soon(silencer.keep)
            await anyio.wait_all_tasks_blocked()
            working.update(WORK)
            silencer.wake()
            await anyio.wait_all_tasks_blocked()
            working.clear()
            group.cancel_scope.cancel()

    asyncio.run(go())
    assert {s.ends for s in kept.all.values()} == {1030.0}
