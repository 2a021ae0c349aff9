"""Makes a pack's checks: commands, and experiments around them.

An experiment is begun, held for its seconds, and taken back whatever happens: it is taken back when
its command fails, when the time is over, and when pawl is told to stop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import anyio
import msgspec

from pawl.core.errors import PawlError
from pawl.core.verify.pack import Check, Ended, Outcome, Pack, Phase, judged

Commands = Callable[[Check], Awaitable[Ended]]
"""Runs a check's command to its end."""
Experiments = Callable[[Check], AbstractAsyncContextManager[str]]
"""Begins an experiment, says what was done, and takes it back on leaving."""


class Packer(msgspec.Struct, frozen=True, kw_only=True):
    """`experiments` is None where none may be made: outside a lab."""

    pack: Pack
    commands: Commands
    experiments: Experiments | None = None

    async def make(self, phase: Phase) -> tuple[Outcome, ...]:
        """All checks of a phase, one after the other, in the file's order."""
        return tuple([await self.one(check, phase) for check in self.pack.of(phase)])

    async def repeat(
        self, told: Callable[[Outcome], None], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        """The checks of "during", each again and again, until cancelled."""
        async with anyio.create_task_group() as group:
            for check in self.pack.of("during"):
                group.start_soon(self._again, check, told, sleep)

    async def _again(
        self,
        check: Check,
        told: Callable[[Outcome], None],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        while True:
            told(await self.one(check, "during"))
            await sleep(check.every)

    async def one(self, check: Check, phase: Phase) -> Outcome:
        if check.chaos is None:
            return judged(check, phase, await self.commands(check))
        if self.experiments is None:
            return Outcome(
                check=check.name,
                phase=phase,
                verdict="error",
                why=f"{check.name}: it could not be made: experiments are made in a lab only "
                "(machines.provider: lab).",
            )
        began = anyio.current_time()
        try:
            async with self.experiments(check) as done:
                outcome = await self._held(check, phase)
        except PawlError as error:
            return Outcome(
                check=check.name,
                phase=phase,
                verdict="error",
                why=f"{check.name}: it could not be made: {error}",
                seconds=anyio.current_time() - began,
            )
        return msgspec.structs.replace(
            outcome,
            why=f"{outcome.why} Meanwhile: {done}.",
            seconds=anyio.current_time() - began,
        )

    async def _held(self, check: Check, phase: Phase) -> Outcome:
        """While the experiment lasts: its command, and at least its seconds."""
        ended = Ended(code=0, seconds=0.0)
        if not check.command():
            await anyio.sleep(check.seconds)
            return judged(check, phase, ended)
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, check.seconds)
            ended = await self.commands(check)
            if ended.code != 0:
                group.cancel_scope.cancel()
        return judged(check, phase, ended)
