"""Silences of alerts, as leases: each has an end that comes by itself unless it is renewed."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Matcher(msgspec.Struct, frozen=True, kw_only=True):
    """A label and what it must be; `regex` is anchored on both sides, as Alertmanager's are."""

    name: str
    value: str
    regex: bool = False


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """All matchers must match. Times are seconds since the epoch."""

    id: str
    matchers: tuple[Matcher, ...]
    starts: float
    ends: float
    by: str
    comment: str = ""


class Silences(Protocol):
    async def active(self, by: str) -> tuple[Silence, ...]:
        """Silences made by `by` that have not ended. Raises `Unreachable`."""
        ...

    async def hold(self, wanted: Silence) -> Silence:
        """Make it, or move the end of one that has this id and is still there; the answer's id may
        be another. Raises `Unreachable`."""
        ...

    async def end(self, silence_id: str) -> None:
        """End it now; one that is gone already is no error. Raises `Unreachable`."""
        ...
