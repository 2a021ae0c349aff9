"""Where a watch stands, folded out of its history; and what a round changes in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pawl.core.watch.events import (
    AnyEvent,
    Appeared,
    Changed,
    Failed,
    Gone,
    Looked,
    Told,
    Undelivered,
)
from pawl.core.watch.sighting import Round, Sighting


@dataclass(slots=True)
class Open:
    """A finding that stands. `told` holds the routes that have had it."""

    sighting: Sighting
    since: float
    told: set[str] = field(default_factory=set)


@dataclass(slots=True)
class State:
    """`open` by key. `letters` is when each (owner, route) last had one, `delivered` and `failed`
    count by notifier. `last` is the newest round that gave anything."""

    open: dict[str, Open] = field(default_factory=dict)
    letters: dict[tuple[str, str], float] = field(default_factory=dict)
    delivered: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    rounds: dict[str, int] = field(default_factory=dict)
    last: Looked | None = None

    def apply(self, event: AnyEvent) -> None:
        match event:
            case Looked():
                self._count("incomplete" if event.unread else "complete")
                self.last = event
            case Failed():
                self._count("failed")
            case Appeared():
                self.open[event.sighting.key] = Open(sighting=event.sighting, since=event.at)
            case Changed():
                if held := self.open.get(event.sighting.key):
                    held.sighting = event.sighting
            case Gone():
                self.open.pop(event.key, None)
            case Told():
                self.letters[event.owner, event.route] = event.at
                name = notifier_of(event.route)
                self.delivered[name] = self.delivered.get(name, 0) + 1
                for key in event.keys:
                    if key in self.open:
                        self.open[key].told.add(event.route)
            case Undelivered():
                name = notifier_of(event.route)
                self.failed[name] = self.failed.get(name, 0) + 1

    def _count(self, outcome: str) -> None:
        self.rounds[outcome] = self.rounds.get(outcome, 0) + 1


def fold(events: Iterable[AnyEvent]) -> State:
    state = State()
    for event in events:
        state.apply(event)
    return state


def notifier_of(route: str) -> str:
    """The notifier's name in a route "name" or "name address"."""
    return route.partition(" ")[0]


def compare(state: State, seen: Round, at: float, seconds: float) -> tuple[AnyEvent, ...]:
    """What a round changes. Invariant: an incomplete round resolves nothing, for what it did not
    read may hold what it does not see (not read is not clean)."""
    keys = {s.key for s in seen.sightings}
    found: list[AnyEvent] = [
        Appeared(at=at, sighting=s)
        for s in {s.key: s for s in seen.sightings}.values()
        if s.key not in state.open
    ]
    for sighting in seen.sightings:
        held = state.open.get(sighting.key)
        if held and (held.sighting.owner, held.sighting.remedy) != (
            sighting.owner,
            sighting.remedy,
        ):
            found.append(Changed(at=at, sighting=sighting))
    if not seen.unread:
        found += [Gone(at=at, key=key) for key in state.open if key not in keys]
    found.append(
        Looked(
            at=at,
            seconds=seconds,
            server=seen.server,
            target=seen.target,
            seen=len(keys),
            unread=tuple(u.source for u in seen.unread),
        )
    )
    return tuple(found)
