"""What a watch writes down. The history is these, in order, and nothing is ever changed in it."""

from __future__ import annotations

import msgspec

from pawl.core.watch.sighting import Sighting


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="event"):
    """`at` in seconds since the epoch."""

    at: float


class Looked(Event, frozen=True, kw_only=True):
    """A round ended. `unread` names the sources that gave no answer."""

    seconds: float
    server: str
    target: str
    seen: int
    unread: tuple[str, ...] = ()


class Failed(Event, frozen=True, kw_only=True):
    """A round gave nothing at all."""

    why: str


class Appeared(Event, frozen=True, kw_only=True):
    sighting: Sighting


class Changed(Event, frozen=True, kw_only=True):
    """A finding that stands has another owner, or another remedy."""

    sighting: Sighting


class Gone(Event, frozen=True, kw_only=True):
    """No longer seen by a complete round. If it comes back, it is new again."""

    key: str


class Told(Event, frozen=True, kw_only=True):
    """A letter was delivered. `route` is where to; `keys` are the findings that were new in it,
    none for a digest."""

    letter: str
    route: str
    owner: str
    keys: tuple[str, ...] = ()


class Undelivered(Event, frozen=True, kw_only=True):
    """A letter did not get through; it is tried again in the next round."""

    letter: str
    route: str
    why: str


AnyEvent = Looked | Failed | Appeared | Changed | Gone | Told | Undelivered
