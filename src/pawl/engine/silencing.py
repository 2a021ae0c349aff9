"""Keeps the silences of machines that are being worked on, and lets them lapse afterwards.

Nothing depends on it: an Alertmanager that cannot be reached costs somebody a night's sleep, and
no upgrade its safety. So a failure is told and tried again, and never stops the run.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from pawl.core.verify.silence import RENEW, TAIL, ends, matchers
from pawl.ports.clock import Clock
from pawl.ports.silences import Matcher, Silence, Silences

LOOK = 2.0
"""Seconds between two looks at which machines are worked on."""


class Silencing(msgspec.Struct, frozen=True, kw_only=True):
    """Where silences are kept, and of which alerts."""

    silences: Silences
    alerts: tuple[str, ...]


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

    async def keep(self) -> None:
        """Until cancelled. What a process that died has left is taken over, by its matchers."""
        while True:
            try:
                await self.turn()
            except Exception as error:  # whatever it is, no upgrade ends for a silence
                self._tell(f"alerts could not be silenced: {error}")
            await self._clock.sleep(LOOK)

    async def turn(self) -> None:
        """Make, renew, or shorten what is due now."""
        now, working = self._clock.now(), self._machines()
        for machine, names in working.items():
            for index, pairs in enumerate(matchers(self._silencing.alerts, names)):
                await self._hold(machine, index, pairs, now)
        for key in [k for k in self._held if k[0] not in working]:
            lease = self._held.pop(key)
            until = min(lease.silence.ends, now + TAIL)
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
        until = ends(lease.began, now, working=True)
        if until is None:
            return  # the cap is reached: from here on alerts are what somebody should hear
        held = await self._silencing.silences.hold(
            msgspec.structs.replace(lease.silence, ends=until)
        )
        self._held[machine, index] = _Lease(silence=held, began=lease.began, renewed=now)
