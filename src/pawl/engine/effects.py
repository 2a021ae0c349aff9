"""The guarded step, in one place: fence, intent, act, done.

    async with context.effect("stop", "etcd-1") as epoch:
        await hosts.stop("etcd-1", "etcd.service", 60, epoch)

Before the body the fence is checked and the intention is on disk; after it the journal says that it
is done. An intent without its end means "may have happened": whoever resumes looks at the cluster.

`EffectHook` is called right around the act. It exists for whoever must prove that a crash at any
of these instants is harmless; in an ordinary run nothing is hooked in.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import msgspec

from pawl.core.errors import Fenced
from pawl.core.events import EffectDone, EffectIntended
from pawl.engine.guard import Guard
from pawl.engine.record import Record


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """One change of the world: `name` is a verb ("stop"), `target` what it is done to."""

    step: str
    name: str
    target: str


class EffectHook(Protocol):
    """Sees every effect; an exception, or the end of the process, may come from either side."""

    async def before(self, effect: Effect) -> None: ...

    async def after(self, effect: Effect) -> None: ...


class NoHook:
    async def before(self, effect: Effect) -> None:
        return

    async def after(self, effect: Effect) -> None:
        return


class Effects:
    """Makes guarded effects of one run."""

    def __init__(self, guard: Guard, record: Record, hook: EffectHook) -> None:
        self._guard = guard
        self._record = record
        self._hook = hook

    @asynccontextmanager
    async def effect(
        self, step: str, name: str, target: str, *, on_host: bool = True
    ) -> AsyncIterator[int]:
        """Yields the epoch that the act must carry. `on_host` as in `Guard.check`."""
        effect = Effect(step=step, name=name, target=target)
        await self._guard.check(on_host=on_host)
        stamp = self._record.stamp()
        self._record.append(EffectIntended(step=step, effect=name, target=target, **stamp))
        await self._hook.before(effect)
        epoch = self._guard.epoch
        try:
            yield epoch
        except Fenced as error:
            raise self._guard.refused(epoch, error) from error
        await self._hook.after(effect)
        stamp = self._record.stamp()
        self._record.append(EffectDone(step=step, effect=name, target=target, **stamp))
