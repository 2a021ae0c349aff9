"""How well nodes were emptied: the time that it took beside the least that it could have taken."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import msgspec

from pawl.core.events import AnyEvent, Evidence
from pawl.core.workloads.bound import Piece

EVIDENCE = "emptied"


class Emptied(msgspec.Struct, frozen=True, kw_only=True):
    """One node. `least` is the lower bound of its moves in seconds from what was measured of them,
    bound by `term`, which is the sum of `pieces`; `peak` the most pods of the run that were on
    their way at once, of `cap`. `settled`: seconds of it in which a provider only had to stay
    Ready."""

    node: str
    moved: int
    seconds: float
    least: float
    term: str
    peak: int
    cap: int
    settled: float = 0.0
    pieces: tuple[Piece, ...] = ()

    @property
    def efficiency(self) -> float:
        """Least over actual time; 1 where nothing moved."""
        return self.least / self.seconds if self.seconds and self.moved else 1.0


def emptied(events: Iterable[AnyEvent]) -> tuple[Emptied, ...]:
    found = []
    for e in events:
        if isinstance(e, Evidence) and e.name == EVIDENCE:
            with contextlib.suppress(msgspec.DecodeError):
                found.append(msgspec.json.decode(e.data, type=Emptied))
    return tuple(found)


def sentence(found: Iterable[Emptied]) -> str:
    """All nodes together, "" where none was emptied."""
    rows = [r for r in found if r.moved]
    if not rows:
        return ""
    least, seconds = sum(r.least for r in rows), sum(r.seconds for r in rows)
    slowest = max(rows, key=lambda r: r.least)
    return (
        f"{len(rows)} nodes were emptied of {sum(r.moved for r in rows)} pods in {seconds:.0f} s; "
        f"at the least {least:.0f} s ({least / seconds:.0%}), bound by {slowest.term}. At most "
        f"{max(r.peak for r in rows)} pods were on their way at once, of {rows[0].cap} allowed."
    )
