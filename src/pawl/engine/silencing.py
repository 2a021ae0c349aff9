"""Keeps the silences of machines that are being worked on, and lets them lapse afterwards.

Nothing depends on it: an Alertmanager that cannot be reached costs somebody a night's sleep, and
no upgrade its safety. So a failure is told and tried again, and never stops the run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

import anyio
import msgspec

from pawl.core.verify.silence import RENEW, TAIL, ends, matchers
from pawl.ports.clock import Clock
from pawl.ports.silences import Matcher, Silence, Silences

LOOK = 2.0
"""Seconds between two looks at which machines are worked on, unless told that one more is."""
PARTING = 5.0
"""Seconds that the end of a run waits at most for an Alertmanager to hear of it."""


class Silencing(msgspec.Struct, frozen=True, kw_only=True):
    """Where silences are kept, of which alerts, and for how many seconds after the work."""

    silences: Silences
    alerts: tuple[str, ...]
    tail: float = TAIL


class _Lease(msgspec.Struct, kw_only=True):
    silence: Silence
    began: float
    renewed: float


class Silencer:
    """One run's silences. `machines` tells which machines are worked on now, each with all names
    that alerts may know it by; `tell` takes a sentence about what went wrong."""

    def __init__(
        self,
        silencing: Silencing,
        clock: Clock,
        by: str,
        machines: Callable[[], dict[str, frozenset[str]]],
        tell: Callable[[str], None],
    ) -> None:
        self._silencing = silencing
        self._clock = clock
        self._by = by
        self._machines = machines
        self._tell = tell
        self._held: dict[tuple[str, int], _Lease] = {}
        self._due = anyio.Event()

    def wake(self) -> None:
        """Work on a machine begins: it may be over before the next look."""
        self._due.set()

    async def keep(self) -> None:
        """Until cancelled: then nothing is worked on any more. What a process that died has left
        is taken over, by its matchers."""
        try:
            while True:
                self._due = anyio.Event()
                await self._told(self.turn)
                with anyio.move_on_after(LOOK):
                    await self._due.wait()
        finally:
            with anyio.move_on_after(PARTING, shield=True):
                await self._told(self._part)

    async def _told(self, call: Callable[[], Awaitable[None]]) -> None:
        try:
            await call()
        except Exception as error:  # whatever it is, no upgrade ends for a silence
            self._tell(f"alerts could not be silenced: {error}")

    async def _part(self) -> None:
        await self._release(list(self._held))

    async def turn(self) -> None:
        """Make, renew, or shorten what is due now."""
        now, working = self._clock.now(), self._machines()
        for machine, names in working.items():
            for index, pairs in enumerate(matchers(self._silencing.alerts, names)):
                await self._hold(machine, index, pairs, now)
        await self._release([k for k in self._held if k[0] not in working])

    async def _release(self, keys: Collection[tuple[str, int]]) -> None:
        for key in keys:
            lease = self._held.pop(key)
            until = min(lease.silence.ends, self._clock.now() + self._silencing.tail)
            if lease.silence.ends > until:
                await self._silencing.silences.hold(
                    msgspec.structs.replace(lease.silence, ends=until)
                )

    async def _hold(
        self, machine: str, index: int, pairs: tuple[tuple[str, str], ...], now: float
    ) -> None:
        lease = self._held.get((machine, index))
        if lease is not None and now - lease.renewed < RENEW:
            return
        wanted = tuple(Matcher(name=n, value=v, regex=True) for n, v in pairs)
        if lease is None:
            found = [
                s
                for s in await self._silencing.silences.active(self._by)
                if set(s.matchers) == set(wanted)
            ]
            if found:
                lease = _Lease(silence=found[0], began=found[0].starts, renewed=0.0)
            else:
                made = Silence(
                    id="",
                    matchers=wanted,
                    starts=now,
                    ends=now,
                    by=self._by,
                    comment=f"pawl works on {machine}; renewed while it does, lapses by itself",
                )
                lease = _Lease(silence=made, began=now, renewed=0.0)
        until = ends(lease.began, now)
        if until is None:
            return  # the cap is reached: from here on alerts are what somebody should hear
        held = await self._silencing.silences.hold(
            msgspec.structs.replace(lease.silence, ends=until)
        )
        self._held[machine, index] = _Lease(silence=held, began=lease.began, renewed=now)
